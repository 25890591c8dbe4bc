//! All that a running node writes to the raw partitions of its stick: control records, the reason of the last failed
//! boot, seals. After a power cut at any byte, what was there before holds, or what was written; never neither.
//!
//! One way for all: what is new goes where the state that holds does not lie, then a flush, then it is read back from
//! the medium and compared. What holds is decided by the formats themselves (`handoff`, `keys::seal::newest`).
//!
//! Partitions are found by the caller. Files on the secret partition are `keys::reconcile`'s, and the selector writes its
//! control record through the firmware.
// This code runs in PID 1, which must not panic: no operation that could is written here.
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
