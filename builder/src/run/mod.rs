//! Running an image in QEMU: for the user on a terminal, and for tests.
//!
//! [`Setup`] describes the machine, [`Machine`] is a running one that is killed when it is dropped.

pub mod acceleration;
mod arguments;
pub(crate) mod chain;
mod console;
pub mod direct;
pub mod disk;
pub mod filter;
pub mod kvm;
pub mod machine;
mod parent;
pub mod qmp;
pub mod setup;
pub mod text;
pub mod trouble;
pub mod watch;

pub use acceleration::Acceleration;
pub use arguments::shell_line;

pub use disk::{Access, Bus, Disk};
pub use machine::{Machine, MachineError};
pub use setup::{Boot, OnReset, Serial, Setup};
pub use trouble::{BadSector, Request, Trouble};

use std::path::Path;

/// Checks that QEMU can use this image: it takes the paths of a layered disk as text.
pub fn check_disk(image: &Path) -> Result<(), MachineError> {
    let checked = chain::Chain::of(image);
    checked.map(drop).map_err(|source| MachineError::Talk { what: "give its disk to", source })
}
