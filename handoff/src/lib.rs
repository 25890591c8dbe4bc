//! What psyopsOS's programs for build time and boot time must agree on.
//!
//! Each format has its writer beside its reader in one file, so that no string or offset is typed twice on the two
//! sides of a trust boundary. Nothing in here reads a clock, a device or a file: bytes in, values out, and back.
//!
//! It does not verify signatures or open secrets (that is `keys`), and it does no input or output.
#![no_std]
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

extern crate alloc;

pub mod advice;
pub mod architecture;
pub mod base_kind;
pub mod boot_record;
pub mod bytes;
pub mod control;
pub mod decision;
pub mod fault;
pub mod gpt;
pub mod guid;
pub mod hardening;
pub mod hash;
pub mod highest_seen;
pub mod init;
pub mod json;
pub mod kernel_arguments;
pub mod last_failure;
pub mod least_generation;
pub mod loader_config;
pub mod login;
pub mod manifest;
pub mod marker;
pub mod modules;
pub mod name;
pub mod network;
#[cfg(feature = "settings")]
pub mod node_settings;
pub mod older;
pub mod partition;
pub mod paths;
pub mod report;
pub mod report_key;
pub mod rescue;
pub mod rescue_network;
#[cfg(feature = "settings")]
pub mod role_settings;
pub mod selection;
pub mod shown;
pub mod slot;
#[cfg(feature = "settings")]
pub mod toml_problem;
pub mod variables;
pub mod verity;
