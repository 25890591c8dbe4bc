//! What each fuzz target checks of one input: a module for each target, with one function.
//!
//! `make fuzz` gives them made-up inputs; the tests of this crate give them the known ones (`fuzz/corpus/`), without the
//! fuzzer and its build of everything.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a fuzz target says that something is wrong")]

pub mod age_file;
pub mod builder_text;
pub mod device;
pub mod esp;
pub mod ext4;
pub mod initramfs;
pub mod layer;
pub mod manifest;
pub mod partition_table;
pub mod payload;
pub mod program;
pub mod qcow2;
pub mod records;
pub mod report;
pub mod seal;
pub mod settings;
pub mod squashfs;
pub mod text;
pub mod uki;
