//! Whether the root in a slot is whole: all of its data are compared with the hash tree and the root hash.

use super::reader::ImageReader;
use super::slot;
use crate::root::{superblock, verity};
use crate::site::Bytes;
use crate::width::to_usize;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::{BLOCK, RootHash};

/// Reads all data of a root and compares them with the hash tree and the root hash.
pub(crate) fn check_data(image: &ImageReader, slot: Slot, root: RootHash) -> Result<String, String> {
    let superblock = slot::check_tree(image, slot, root).map_err(|error| error.to_string())?;
    let partition = image.partition(Role::Root(slot)).map_err(|error| error.to_string())?;
    let length = superblock.data_blocks.saturating_mul(BLOCK);
    let tree_length = to_usize(superblock.hash_device_size());
    let tree = image.read(Role::Verity(slot), Bytes(0), tree_length).map_err(|error| error.to_string())?;
    if !tree.starts_with(&superblock.encode()) {
        return Err(format!(
            "the superblock in {} has bytes where the builder writes zeros",
            Role::Verity(slot)
        ));
    }
    let walked = verity::walk((image.storage(), partition.offset.0), (&superblock, &tree), root);
    walked.map_err(|error| format!("cannot be read: {error}"))?.map_err(|damage| damage.to_string())?;
    Ok(format!("{} MiB, each block as the root hash says", length >> 20))
}

/// The same, and checks the superblock of the squashfs; returns the bytes of the root.
pub(crate) fn check_squashfs(image: &ImageReader, slot: Slot, root: RootHash) -> Result<u64, String> {
    check_data(image, slot, root)?;
    let superblock = slot::superblock(image, slot).map_err(|error| error.to_string())?;
    let length = superblock.data_blocks.saturating_mul(BLOCK);
    let start =
        image.read(Role::Root(slot), Bytes(0), superblock::SIZE).map_err(|error| error.to_string())?;
    let start = start.first_chunk().ok_or("it is empty")?;
    superblock::check(start, length).map_err(|error| error.to_string())?;
    Ok(length)
}
