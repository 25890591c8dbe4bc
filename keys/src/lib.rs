//! Identities, recipients, signatures, the seal, and reconciling a secret store with it: used on both sides.
//!
//! Without the feature `issue` this crate only verifies, opens and repairs: that is all that PID 1 and the agent may
//! do, and all that they carry. With it, the workstation makes keys, signs, seals and encrypts.
//!
//! It mounts nothing and reads no clock; the only folder that it touches is the secret store it is given.
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

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod identity;
#[cfg(feature = "issue")]
pub mod issue;
pub mod kinds;
pub mod reconcile;
pub mod seal;
pub mod signature;
pub mod timestamp;
