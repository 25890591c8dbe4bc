//! The steps of a boot, one file each, in the order in which `main` takes them.

pub(crate) mod configure;
pub(crate) mod copy;
pub(crate) mod disk;
pub(crate) mod early;
pub(crate) mod handover;
pub(crate) mod identity;
pub(crate) mod install;
pub(crate) mod modules;
pub(crate) mod reconcile;
pub(crate) mod root;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod selection;
