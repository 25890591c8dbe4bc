//! The command line: a file for each command, with its arguments and what it does with them.
//!
//! Commands return what there is to say; the programs print it.

pub mod init;
pub mod inspect;
pub mod known_hosts;
pub mod lock;
pub mod mksecrets;
pub mod run;
pub mod secret;
