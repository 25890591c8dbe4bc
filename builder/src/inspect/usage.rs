//! How much of each partition is filled, as far as its content tells.

use crate::image::esp_reader;
use crate::image::reader::ImageReader;
use crate::image::slot;
use crate::site::Bytes;
use handoff::boot_record;
use handoff::partition::Role;
use handoff::verity::BLOCK;

/// The offset of the superblock of an ext4 file system, and its length (kernel documentation, ext4 superblock).
const SUPERBLOCK: (u64, usize) = (1024, 1024);
/// The value of `s_magic`.
const EXT4_MAGIC: u16 = 0xef53;
/// The filled bytes, never more than the partition has; `None` if they are not known.
pub(super) fn used(image: &ImageReader, role: Role) -> Option<Bytes> {
    let size = image.partition(role).ok()?.size;
    let used = match role {
        Role::Esp => esp_reader::used(image)?,
        Role::Boot(slot) => slot::record(image, slot).ok()?.length.saturating_add(boot_record::SIZE_U64),
        Role::Root(slot) => slot::superblock(image, slot).ok()?.data_blocks.saturating_mul(BLOCK),
        Role::Verity(slot) => slot::superblock(image, slot).ok()?.hash_device_size(),
        Role::Seal(slot) => Bytes::of(slot::seal(image, slot).ok()?.ok()?.bytes()).0,
        Role::Secret | Role::Data => ext4(image, role)?,
        Role::Control => return None,
    };
    Some(Bytes(used.min(size.0)))
}

/// The bytes that are not free in an ext4 file system, according to its superblock.
fn ext4(image: &ImageReader, role: Role) -> Option<u64> {
    let superblock = image.read(role, Bytes(SUPERBLOCK.0), SUPERBLOCK.1).ok()?;
    let word = |at| number::<4>(&superblock, at).map(u32::from_le_bytes);
    if number::<2>(&superblock, 0x38).map(u16::from_le_bytes)? != EXT4_MAGIC {
        return None;
    }
    let (blocks, free) = (u64::from(word(0x4)?), u64::from(word(0xc)?));
    let block = 1024_u64.checked_shl(word(0x18)?)?;
    blocks.checked_sub(free)?.checked_mul(block)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use handoff::slot::Slot;

    #[test]
    fn the_used_size_of_each_part_is_known() {
        let fixture = fixture::image();
        let image = ImageReader::open(&fixture.image.path).unwrap();
        let used = |role| used(&image, role).map(|bytes| bytes.0);
        assert_eq!(used(Role::Root(Slot::A)), Some(3 << 20));
        // A superblock, seven blocks of hashes and the one on top.
        assert_eq!(used(Role::Verity(Slot::A)), Some(8 * 4096));
        assert_eq!([Role::Boot(Slot::B), Role::Root(Slot::B), Role::Seal(Slot::B)].map(used), [None; 3]);
        let uki = slot::record(&image, Slot::A).unwrap().length;
        assert_eq!(used(Role::Boot(Slot::A)), Some(uki + 4096));
        let seal = used(Role::Seal(Slot::A)).unwrap();
        assert!((300..2000).contains(&seal), "{seal}");
        // As fsck.vfat and dumpe2fs count: tables and a few clusters; journal, inodes and groups.
        let esp = used(Role::Esp).unwrap();
        assert!((900 << 10..2 << 20).contains(&esp), "{esp}");
        let secret = used(Role::Secret).unwrap();
        assert!((1 << 18..4 << 20).contains(&secret), "{secret}");
    }
}
