//! The programs on a psyopsOS node after the loader: the configuration run, the syslog pause, the status.
//!
//! The loader passes facts in `/run/psyops` (see `handoff::paths`); everything here starts from them and works without
//! a network. Functions return; only [`cli`] prints, and only `main` exits.

pub mod cli;
pub mod clock;
pub mod configure;
pub mod consoles;
pub mod data;
pub mod disk;
pub mod file;
pub mod hardening;
pub mod highest_seen;
pub mod identity;
pub mod last_failure;
pub mod mark_good;
pub mod node;
pub mod older;
pub mod overlay;
pub mod report;
pub mod required;
pub mod role;
pub mod root;
pub mod seal;
pub mod secrets;
pub mod services;
pub mod status;
pub mod syslog;
pub mod template;
