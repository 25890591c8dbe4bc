//! The immutable root: its layers, the squashfs made of them, and the dm-verity hash tree over that.

pub mod image;
pub mod layers;
pub mod squashfs;
pub mod superblock;
pub mod verity;

pub use image::{RootError, RootImage};
