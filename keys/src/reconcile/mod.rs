//! Comparing a secret store with the seal, and repairing what differs.
//!
//! [`mod@compare`] only reads. [`mod@repair`] writes what [`mod@compare`] found, in an order that survives a power cut at any step.
//! The caller mounts, remounts and compares again. Everything is reached from the store's folder by names that are
//! opened one by one without following links, so nothing in the store can lead outside it.
//!
//! Of the node's identity (`age.key`) only mode, owner, attributes and further names are compared and repaired, never
//! the content. `lost+found` is known as a folder; what is in it is not.

mod access;
mod compare;
mod difference;
mod folder;
mod repair;

pub use access::{FOLDER_MODE, KEY_MODE};
pub use compare::{CompareError, Comparison, compare, compare_copy};
pub use difference::{Difference, FileType, Subject, What};
pub use nix::errno::Errno;
pub use repair::{Action, Failure, Problem, RepairError, Repaired, Step, repair};

#[cfg(all(test, feature = "issue"))]
mod cuts;
