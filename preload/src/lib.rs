//! The library that ld.so(8) loads before all others into each program of the sandbox in which maintainer scripts run:
//! a clock that starts at the build time in every process, and random numbers that come from a seed.
//!
//! It needs no other library, so it works with every C library that the packages may bring. The builder's build script
//! compiles it as a shared library with `--cfg preload`; without that flag nothing is exported, and the crate is only
//! the part that the builder shares ([`Parameters`]) and the functions for the tests.
//!
//! It has no effect on programs that are linked statically, on those that make the system calls themselves, and on
//! calls of the C library inside itself (`mkstemp`).

#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod clock;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod exports;
mod parameters;
mod random;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod system_call;

pub use parameters::{MARK, Parameters, SIZE};
pub use random::word;

/// Nothing here panics, but without an operating system's runtime a handler is required.
#[cfg(preload)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
