//! Comparing a secret store with the seal, and repairing what differs.
//!
//! [`compare`] only reads. [`repair`] writes what [`compare`] found, in an order that survives a power cut at any step.
//! The caller mounts, remounts and compares again. Everything is reached from the store's folder by names that are
//! opened one by one without following links, so nothing in the store can lead outside it.
//!
//! The node's identity (`age.key`) and `lost+found` are known and never touched.

mod compare;
mod folder;
mod repair;

pub use compare::{CompareError, Comparison, Difference, FileType, What, compare};
pub use nix::errno::Errno;
pub use repair::{Action, Failure, Problem, RepairError, Repaired, Step, repair};

#[cfg(all(test, feature = "issue"))]
mod cuts;
