//! The immutable root: a squashfs and the dm-verity hash tree over it.

pub mod squashfs;
pub mod verity;
