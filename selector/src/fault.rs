//! What can go wrong for the selector: a variant per cause, with the evidence, in words for the console and the report.
#![cfg(target_os = "uefi")]

use core::fmt;
use handoff::boot_record::BadBootRecord;
use handoff::gpt::{DuplicateRole, NoTable, Problem};
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use uefi::Status;

/// A step that failed.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The firmware did not say which partition this program came from.
    NotFromAPartition,
    /// The firmware could not list its block devices.
    NoDevices(Status),
    /// Neither copy of the disk's partition table holds.
    NoTable(NoTable),
    /// The disk has blocks that no partition table is made for.
    NoGeometry(Problem),
    /// The disk has no partition of this name and type.
    NoPartition(Role),
    /// The disk has two of them.
    TwoPartitions(DuplicateRole),
    /// The firmware gives no access to a partition that it lists.
    NoAccess(&'static str, Status),
    /// Blocks of a size that the formats on the stick are not made for, or no medium.
    BadGeometry(&'static str),
    /// A read failed.
    Read { what: &'static str, offset: u64, status: Status },
    /// The medium cannot be written.
    ReadOnly(&'static str),
    /// A write failed.
    Write(&'static str, Status),
    /// What was written is not what is read back.
    NotWritten(&'static str),
    /// The boot record does not hold.
    Record(BadBootRecord),
    /// The boot record speaks of more bytes than the partition has room for.
    TooLong { length: u64, room: u64 },
    /// The UKI does not hash to what the boot record says.
    Damaged { expected: Sha256Digest, found: Sha256Digest },
    /// The firmware would not take the UKI.
    NotLoaded(Status),
    /// The UKI came back instead of starting a kernel.
    CameBack(Status),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFromAPartition => f.write_str(
                "this program was not started from a partition of a GPT disk: start the stick itself, not a copy",
            ),
            Self::NoDevices(status) => write!(f, "the firmware lists no block devices: {status}"),
            Self::NoTable(why) => write!(f, "neither copy of the partition table on this disk holds: {why}"),
            Self::NoGeometry(why) => write!(f, "no partition table on this disk: {why}"),
            Self::NoPartition(role) => write!(f, "no partition {role} on this disk"),
            Self::TwoPartitions(twice) => write!(f, "{twice} on this disk"),
            Self::NoAccess(what, status) => write!(f, "no access to {what}: {status}"),
            Self::BadGeometry(what) => write!(f, "{what} has no medium or odd blocks"),
            Self::Read { what, offset, status } => {
                write!(f, "reading {what} failed at byte {offset}: {status}")
            }
            Self::ReadOnly(what) => write!(f, "{what} cannot be written: read-only medium"),
            Self::Write(what, status) => write!(f, "writing {what} failed: {status}"),
            Self::NotWritten(what) => write!(f, "{what} took a write but does not hold it: worn out or fake"),
            Self::Record(why) => write!(f, "{why}"),
            Self::TooLong { length, room } => {
                write!(f, "boot record says {length} bytes of UKI, the partition has room for {room}")
            }
            Self::Damaged { expected, found } => {
                write!(f, "UKI damaged: its SHA-256 is {found}, the boot record says {expected}")
            }
            Self::NotLoaded(status) => write!(f, "the firmware refused the UKI: {status}"),
            Self::CameBack(status) => write!(f, "the UKI came back without starting a kernel: {status}"),
        }
    }
}

impl core::error::Error for Fault {}
