//! Running an image in QEMU: for people on their terminal, and for tests.
//!
//! [`Setup`] says what the machine is made of, [`Machine`] is a running one that ends with its value.

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

/// Whether QEMU can be given this image: it takes the paths of a disk in layers as text.
pub fn check_disk(image: &Path) -> Result<(), MachineError> {
    let checked = chain::Chain::of(image);
    checked.map(drop).map_err(|source| MachineError::Talk { what: "give its disk to", source })
}
