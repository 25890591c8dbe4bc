//! The selector's errors: a variant for each cause, with its evidence, and the message for console and boot report.
#![cfg(target_os = "uefi")]

use core::fmt;
use handoff::boot_record::BadBootRecord;
use handoff::gpt::{DuplicateRole, NoTable, Problem};
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use uefi::Status;

/// An error of the selector.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The firmware did not report the partition that this program came from.
    NotFromAPartition,
    /// The firmware could not list its block devices.
    NoDevices(Status),
    /// Neither copy of the disk's partition table is valid.
    NoTable(NoTable),
    /// The disk has a block size for which there are no partition tables.
    NoGeometry(Problem),
    /// The disk has no partition of this name and type.
    NoPartition(Role),
    /// The disk has two partitions of this name and type.
    TwoPartitions(DuplicateRole),
    /// The firmware lists the partition but does not give access to it.
    NoAccess(&'static str, Status),
    /// A block size that the formats on the stick do not allow, or no medium.
    BadGeometry(&'static str),
    /// The firmware could not read from the device `what` at this byte.
    Read { what: &'static str, offset: u64, status: Status },
    /// The medium cannot be written.
    ReadOnly(&'static str),
    /// The firmware could not write to the partition.
    Write(&'static str, Status),
    /// The bytes that were read back are not those that were written.
    NotWritten(&'static str),
    /// The boot record is not valid.
    Record(BadBootRecord),
    /// The length in the boot record is larger than the partition.
    TooLong { length: u64, room: u64 },
    /// The UKI does not have the digest in the boot record.
    Damaged { expected: Sha256Digest, found: Sha256Digest },
    /// The firmware refused to load the UKI.
    NotLoaded(Status),
    /// The UKI returned instead of starting a kernel.
    CameBack(Status),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFromAPartition => f.write_str(
                "this program was not started from a partition of a GPT disk: start the stick itself, not a copy",
            ),
            Self::NoDevices(status) => write!(f, "the firmware lists no block devices: {status}"),
            Self::NoTable(why) => write!(f, "neither copy of the partition table on this disk is valid: {why}"),
            Self::NoGeometry(why) => write!(f, "no partition table on this disk: {why}"),
            Self::NoPartition(role) => write!(f, "no partition {role} on this disk"),
            Self::TwoPartitions(twice) => write!(f, "{twice} on this disk"),
            Self::NoAccess(what, status) => write!(f, "no access to {what}: {status}"),
            Self::BadGeometry(what) => write!(f, "{what} has no medium, or a block size that is not supported"),
            Self::Read { what, offset, status } => {
                write!(f, "reading {what} failed at byte {offset}: {status}")
            }
            Self::ReadOnly(what) => write!(f, "{what} cannot be written: read-only medium"),
            Self::Write(what, status) => write!(f, "writing {what} failed: {status}"),
            Self::NotWritten(what) => write!(f, "{what} accepted a write but did not store it: the stick is worn out or fake"),
            Self::Record(why) => write!(f, "{why}"),
            Self::TooLong { length, room } => {
                write!(f, "the boot record has a UKI of {length} bytes, the partition has room for {room}")
            }
            Self::Damaged { expected, found } => {
                write!(f, "UKI damaged: its SHA-256 is {found}, the boot record says {expected}")
            }
            Self::NotLoaded(status) => write!(f, "the firmware refused the UKI: {status}"),
            Self::CameBack(status) => write!(f, "the UKI ended without starting a kernel: {status}"),
        }
    }
}

impl core::error::Error for Fault {}
