//! Identities, recipients, signatures, the seal, and reconciling a secret store with it: for workstation and node.
//!
//! Without the feature `issue` this crate only verifies, opens and repairs: PID 1 and the agent have no other code.
//! With it, the workstation makes keys, signs, seals and encrypts.
//!
//! It does not mount and does not read a clock; the only folder that it reads and writes is the secret store.
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
