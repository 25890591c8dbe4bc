//! All writes of a running node to the raw partitions of its stick: control records, the reason of the last failed
//! boot, seals. After a power cut at any byte either the old content is valid or the new one.
//!
//! All writers do the same: they write over the copy that is not current, flush, read it back from the medium and
//! compare. Which copy is current is decided by the formats themselves (`handoff`, `keys::seal::newest`).
//!
//! The caller finds the partitions. `keys::reconcile` writes the files on the secret partition, and the selector writes
//! its control record through the firmware.
// This code runs in PID 1, which must not panic: operations that can panic are denied.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used,
        reason = "tests say by panicking what went wrong, and index what they made"
    )
)]

pub mod boot_record;
pub mod control;
pub mod failure_area;
mod partition;
pub mod seal_slots;

pub use partition::{Action, MediumError, Partition, Raw};

#[cfg(test)]
mod cuts;
