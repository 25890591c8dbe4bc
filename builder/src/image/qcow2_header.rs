//! The header of a QEMU disk (QEMU, `docs/interop/qcow2.txt`, "Header"), checked before a reader allocates memory for
//! the tables that it describes.

use crate::header_field::field;
use crate::limits::{self, OverLimit};
use crate::width::to_u64;
use thiserror::Error;

/// The bytes of the fields of versions 2 and 3 that are checked.
pub(super) const SIZE: usize = 104;
/// The first bytes of a qcow2 file.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";
/// The longest name of a backing file in bytes.
const LONGEST_NAME: u64 = 1023;
/// QEMU's own limit for the table of reference counts, in bytes (`QCOW_MAX_REFTABLE_SIZE`).
const LARGEST_COUNTS: u64 = 8 << 20;

/// Why a QEMU disk is not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadHeader {
    /// The file does not begin like a QEMU disk.
    #[error("it does not begin with the magic number of QEMU disks")]
    Magic,
    /// A field has a value that a disk of this system never has.
    #[error("the header of the QEMU disk has {field} {found}, expected is {expected}")]
    Field {
        /// The field's name in the specification.
        field: &'static str,
        /// The value of the field.
        found: u64,
        /// The expected value or values.
        expected: String,
    },
    /// A table would end after the end of the file.
    #[error("the {table} of the QEMU disk ends at byte {end}, and its file has {length} bytes")]
    Outside {
        /// The name of the table.
        table: &'static str,
        /// The offset at which it would end, in bytes.
        end: u64,
        /// The length of the file in bytes.
        length: u64,
    },
    /// A table or the disk is over a limit.
    #[error(transparent)]
    Limit(#[from] OverLimit),
}

/// Checks the header of a file of `length` bytes.
pub(super) fn check(header: &[u8; SIZE], length: u64) -> Result<(), BadHeader> {
    let long = |bytes: [u8; 4]| u64::from(u32::from_be_bytes(bytes));
    if !header.starts_with(&MAGIC) {
        return Err(BadHeader::Magic);
    }
    let within = |field, found: u64, least: u64, most: u64| {
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let error = || BadHeader::Field { field, found, expected };
        if (least..=most).contains(&found) { Ok(found) } else { Err(error()) }
    };
    let version = within("version", long(field::<4, _, _>(header)), 2, 3)?;
    let cluster = 1 << within("cluster_bits", long(field::<20, _, _>(header)), 9, 21)?;
    within("crypt_method", long(field::<32, _, _>(header)), 0, 0)?;
    within("backing_file_size", long(field::<16, _, _>(header)), 0, LONGEST_NAME)?;
    if version == 3 {
        within("refcount_order", long(field::<96, _, _>(header)), 0, 6)?;
        within("header_length", long(field::<100, _, _>(header)), to_u64(SIZE), cluster)?;
    }
    limits::QCOW2_SIZE.check(u64::from_be_bytes(field::<24, _, _>(header)))?;
    let entries = limits::QCOW2_L1.check(long(field::<36, _, _>(header)))?;
    let counts =
        within("refcount_table_clusters", long(field::<56, _, _>(header)), 0, LARGEST_COUNTS / cluster)?;
    let inside = |table, start: u64, size: u64| {
        let end = start.saturating_add(size);
        if end > length { Err(BadHeader::Outside { table, end, length }) } else { Ok(()) }
    };
    inside(
        "name of the file beneath",
        u64::from_be_bytes(field::<8, _, _>(header)),
        long(field::<16, _, _>(header)),
    )?;
    inside("first-level table", u64::from_be_bytes(field::<40, _, _>(header)), entries * 8)?;
    inside("table of reference counts", u64::from_be_bytes(field::<48, _, _>(header)), counts * cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a disk of 1 MiB in clusters of 64 KiB.
    fn header() -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&MAGIC);
        let mut put = |at: usize, value: u64, length: usize| {
            bytes[at..at + length].copy_from_slice(&value.to_be_bytes()[8 - length..]);
        };
        put(4, 3, 4);
        put(20, 16, 4);
        put(24, 1 << 20, 8);
        put(36, 1, 4);
        put(40, 3 << 16, 8);
        put(48, 1 << 16, 8);
        put(56, 1, 4);
        put(96, 4, 4);
        put(100, 104, 4);
        bytes
    }

    #[test]
    fn tables_larger_than_memory_are_refused() {
        let length = 4 << 16;
        assert_eq!(check(&header(), length), Ok(()));
        for (at, value, expected) in [
            (0, b"X".as_slice(), "it does not begin with the magic number of QEMU disks"),
            (7, &[4], "the header of the QEMU disk has version 4, expected is 2 to 3"),
            (23, &[63], "the header of the QEMU disk has cluster_bits 63, expected is 9 to 21"),
            (
                16,
                &[0xff],
                "the header of the QEMU disk has backing_file_size 4278190080, expected is 0 to 1023",
            ),
            (35, &[1], "the header of the QEMU disk has crypt_method 1, expected is 0"),
            (
                24,
                &[1],
                "the QEMU disk has 72057594038976512 bytes, more than the limit of 68719476736 bytes \
                 (twice the largest root and all other partitions)",
            ),
            (
                36,
                &[0xff; 4],
                "the first-level table of the QEMU disk has 4294967295 entries, more than the limit of 262144 entries \
                 (64 GiB in clusters of 64 KiB need 128)",
            ),
            (
                56,
                &[1],
                "the header of the QEMU disk has refcount_table_clusters 16777217, expected is 0 to 128",
            ),
            (
                40,
                &[1],
                "the first-level table of the QEMU disk ends at byte 72057594038124552, and its file has 262144 bytes",
            ),
            (103, &[1], "the header of the QEMU disk has header_length 1, expected is 104 to 65536"),
        ] {
            let mut bytes = header();
            bytes[at..at + value.len()].copy_from_slice(value);
            assert_eq!(check(&bytes, length).unwrap_err().to_string(), expected);
        }
    }
}
