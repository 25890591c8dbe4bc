//! Linux' system calls (syscall(2)), without a C library. Each architecture has a file with its numbers and `call`.
//!
//! `nanosleep` is not here: it is `clock_nanosleep` of the monotonic clock.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{CLOCK_GETTIME, CLOCK_NANOSLEEP, call};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{CLOCK_GETTIME, CLOCK_NANOSLEEP, call};
