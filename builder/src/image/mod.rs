//! A disk image: what goes where (`plan`), the partition table, the file system of the ESP, and the one pass that
//! writes it all to a sparse file.
//!
//! Nothing here needs a loop device, a mount or root, and nothing is decided after the first byte is written.

pub mod assemble;
pub mod digests;
pub mod esp;
pub mod esp_reader;
pub mod ext4;
pub mod fat32;
#[cfg(test)]
pub(crate) mod fixture;
pub mod ids;
pub mod plan;
mod qcow2_header;
pub mod reader;
pub(crate) mod root_check;
pub mod seals;
#[cfg(test)]
mod seals_tests;
pub mod slot;
pub mod storage;
pub mod table;
#[cfg(test)]
pub(crate) mod table_fixture;
mod table_reader;
#[cfg(test)]
mod table_tests;
pub mod window;
pub mod write;
pub mod zeros;

pub use assemble::{Assembled, ImageError, Inputs, assemble, assemble_layer, assemble_shared};
