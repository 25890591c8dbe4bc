//! What a boot partition holds: the closure of kernel modules, the initramfs around the loader, and the UKI around
//! both.
//!
//! Every piece takes plain inputs (bytes, paths, names) and returns bytes, so each is tested without a site.

pub mod initramfs;
pub mod initramfs_reader;
pub mod modules;
pub mod rescue;
pub mod uki;
