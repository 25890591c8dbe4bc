//! The disks of the machine and the one that this node boots from.

pub(crate) mod choose;
pub(crate) mod facts;
pub(crate) mod usb;
