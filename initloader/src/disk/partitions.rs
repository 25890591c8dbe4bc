//! The partition table of a disk (UEFI 2.10, chapter 5), from its primary copy or its backup.
//!
//! The table itself is read, not the kernel's view of it: only the table has the partitions' GUIDs. Not with the `gpt`
//! crate, which the builder uses: it asserts that entries have 128 bytes, allocates what a header asks for, and does
//! not turn to the backup where only the primary's entries are torn. A stick that anybody plugs in must not stop PID 1.
//! It writes nothing and does not look at partitions without a role in psyopsOS.

use handoff::bytes::Reader;
use handoff::partition::Role;
use std::fmt;
use std::io::{Read, Seek, SeekFrom};

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// The header's fixed part; its checksum covers this and nothing in our tables is longer.
const HEADER: usize = 92;
/// Where the header's own checksum stands in it, counted as zero when it is computed.
const HEADER_CRC: std::ops::Range<usize> = 16..20;
/// The specification asks for at least 128 entries of 128 bytes; no more than eight times that is read.
const LONGEST_TABLE: u64 = 128 * 1024;

/// A partition's own GUID, as text in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionGuid(String);

impl PartitionGuid {
    /// A GUID as any tool prints it.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.trim().to_ascii_lowercase())
    }

    /// A GUID as it stands on the disk: the first three groups little-endian (appendix A).
    fn from_disk(bytes: [u8; 16]) -> Self {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut text = String::new();
        for position in ORDER {
            let byte = bytes.get(position).copied().unwrap_or_default();
            if matches!(text.len(), 8 | 13 | 18 | 23) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }
}

impl fmt::Display for PartitionGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One partition of the table that has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its number, from 1, as the kernel counts.
    pub(crate) number: u64,
    /// What it is for.
    pub(crate) role: Role,
    /// Its own GUID.
    pub(crate) guid: PartitionGuid,
}

/// Why a copy of the table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTable {
    /// The device gives nothing to read there.
    #[error("sector {sector} cannot be read: {reason}")]
    Unreadable {
        /// The sector.
        sector: u64,
        /// What the kernel says.
        reason: String,
    },
    /// There is no header.
    #[error("no GPT")]
    NoSignature,
    /// The header's checksum does not hold.
    #[error("GPT header damaged")]
    HeaderDamaged,
    /// The entries' checksum does not hold.
    #[error("GPT entries damaged")]
    EntriesDamaged,
    /// The header asks for a table that no disk of ours has.
    #[error("GPT with {count} entries of {size} bytes")]
    Shape {
        /// How many entries.
        count: u32,
        /// How long each is.
        size: u32,
    },
}

/// Reads the table of a device with `sectors` sectors of `sector` bytes: the primary copy, or else the backup.
/// Partitions have a role where both their name and their type are the role's.
pub(crate) fn read(
    device: &mut (impl Read + Seek),
    sector: u64,
    sectors: u64,
) -> Result<Vec<Partition>, BadTable> {
    read_copy(device, sector, 1).or_else(|primary| {
        let last = sectors.saturating_sub(1);
        // What is wrong with the primary copy says more than that there is no backup either.
        read_copy(device, sector, last).map_err(|_| primary)
    })
}

fn read_copy(device: &mut (impl Read + Seek), sector: u64, at: u64) -> Result<Vec<Partition>, BadTable> {
    let header = bytes(device, sector, at, HEADER as u64)?;
    let mut fields = Reader::new(&header);
    if fields.array::<8>().as_ref() != Some(SIGNATURE) {
        return Err(BadTable::NoSignature);
    }
    let header_crc = header.get(HEADER_CRC).and_then(|crc| crc.try_into().ok()).map(u32::from_le_bytes);
    let mut zeroed = header.clone();
    zeroed.get_mut(HEADER_CRC).ok_or(BadTable::HeaderDamaged)?.fill(0);
    if header_crc != Some(crc32(&zeroed)) {
        return Err(BadTable::HeaderDamaged);
    }
    // Revision, header size, checksum, reserved; own sector, other copy's, first and last usable; disk GUID.
    let skipped = fields.take(4 * 4 + 4 * 8 + 16);
    let (Some(_), Some(start), Some(count), Some(size), Some(entries_crc)) =
        (skipped, fields.u64(), fields.u32(), fields.u32(), fields.u32())
    else {
        return Err(BadTable::HeaderDamaged);
    };
    let length = u64::from(count).saturating_mul(u64::from(size));
    if size < 128 || length > LONGEST_TABLE {
        return Err(BadTable::Shape { count, size });
    }
    let entries = bytes(device, sector, start, length)?;
    if crc32(&entries) != entries_crc {
        return Err(BadTable::EntriesDamaged);
    }
    Ok(entries
        .chunks_exact(size as usize)
        .zip(1..)
        .filter_map(|(entry, number)| partition(entry, number))
        .collect())
}

fn partition(entry: &[u8], number: u64) -> Option<Partition> {
    let mut fields = Reader::new(entry);
    let kind = PartitionGuid::from_disk(fields.array()?);
    let guid = PartitionGuid::from_disk(fields.array()?);
    fields.take(3 * 8)?;
    let units = std::iter::from_fn(|| fields.u16()).take(36).take_while(|&unit| unit != 0);
    let name: String = char::decode_utf16(units).filter_map(Result::ok).collect();
    let role = Role::from_name(&name).filter(|role| kind == PartitionGuid::new(role.type_guid()))?;
    Some(Partition { number, role, guid })
}

fn bytes(device: &mut (impl Read + Seek), sector: u64, at: u64, length: u64) -> Result<Vec<u8>, BadTable> {
    let unreadable = |error: std::io::Error| BadTable::Unreadable { sector: at, reason: error.to_string() };
    device.seek(SeekFrom::Start(at.saturating_mul(sector))).map_err(unreadable)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    device.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// CRC-32 as in Ethernet; bit by bit, because a table of a few KiB is all that it ever sees.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::slot::Slot;
    use std::io::Cursor;
    use std::process::Command;

    const SECTORS: u64 = 8192;
    const BYTES: usize = 8192 * 512;

    /// A disk made by sgdisk, which is not ours.
    fn disk() -> Vec<u8> {
        let path = std::env::temp_dir().join(format!(
            "partitions-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, vec![0; BYTES]).unwrap();
        let mut sgdisk = Command::new("sgdisk");
        for (number, role) in
            [Role::Esp, Role::Control, Role::Seal(Slot::B), Role::Secret].into_iter().enumerate()
        {
            let number = number + 1;
            sgdisk.arg(format!("--new={number}:0:+64K"));
            sgdisk.arg(format!("--change-name={number}:{role}"));
            sgdisk.arg(format!("--typecode={number}:{}", role.type_guid()));
            sgdisk.arg(format!("--partition-guid={number}:0000000{number}-1234-5678-9ABC-DEF012345678"));
        }
        // The name of one of ours with another type, and the other way round.
        sgdisk.args(["--new=7:0:+64K", "--change-name=7:secret", "--typecode=7:8300"]);
        let done =
            sgdisk.arg("--set-alignment=8").arg(&path).output().expect("sgdisk (package gdisk) is needed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let image = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        image
    }

    fn table(image: &[u8]) -> Result<Vec<Partition>, BadTable> {
        read(&mut Cursor::new(image), 512, SECTORS)
    }

    #[test]
    fn the_table_that_another_tool_wrote_is_read() {
        let partitions = table(&disk()).unwrap();
        let roles: Vec<Role> = partitions.iter().map(|partition| partition.role).collect();
        assert_eq!(roles, [Role::Esp, Role::Control, Role::Seal(Slot::B), Role::Secret]);
        let third = partitions.get(2).unwrap();
        assert_eq!(third.number, 3);
        assert_eq!(third.guid, PartitionGuid::new("00000003-1234-5678-9ABC-DEF012345678"));
    }

    #[test]
    fn a_torn_primary_copy_leads_to_the_backup() {
        let whole = disk();
        for torn in [512, 512 + 60, 1024 + 57, 2048] {
            let mut image = whole.clone();
            image[torn] ^= 1;
            assert_eq!(table(&image), table(&whole), "byte {torn}");
        }
    }

    #[test]
    fn with_both_copies_torn_the_error_is_that_of_the_primary() {
        let mut whole = disk();
        let backup = whole.len() - 512;
        whole[backup] ^= 1;
        for (torn, expected) in [
            (512, BadTable::NoSignature),
            (512 + 40, BadTable::HeaderDamaged),
            (1024 + 57, BadTable::EntriesDamaged),
        ] {
            let mut image = whole.clone();
            image[torn] ^= 1;
            assert_eq!(table(&image), Err(expected), "byte {torn}");
        }
    }

    #[test]
    fn a_header_that_asks_for_gigabytes_is_refused() {
        let mut image = disk();
        image.truncate(1024);
        image[512 + 80..512 + 84].copy_from_slice(&u32::MAX.to_le_bytes());
        image[512 + 16..512 + 20].fill(0);
        let crc = crc32(&image[512..512 + HEADER]);
        image[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(table(&image), Err(BadTable::Shape { count: u32::MAX, size: 128 }));
    }

    #[test]
    fn crc_of_the_standard_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
