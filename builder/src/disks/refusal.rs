//! Why a disk is not written, each with an exit code of its own.
//!
//! | code | what was refused |
//! | --- | --- |
//! | 80 | neither a disk nor a file |
//! | 81 | a partition where a whole disk is wanted |
//! | 82 | a disk that is in use |
//! | 83 | the disk under the root of the running system |
//! | 84 | a disk that is too small |
//! | 85 | a disk that is read-only |
//! | 86 | the disk that the image itself is stored on |
//! | 87 | a disk neither removable nor on USB, without `--fixed-disk` |
//! | 88 | another node's stick, without `--reassign` |
//! | 89 | something else on the disk, without `--overwrite` |
//! | 90 | a serial number that was not confirmed |
//! | 91 | sectors that are not of 512 bytes |

use super::content::ContentKind;
use super::hardware::Bus;
use super::number::Number;
use super::uses::Use;
use crate::error::{Class, Classified};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a disk is not written. Nothing was written to it.
#[derive(Debug, Error, classified::Cause)]
pub enum Refusal {
    /// The path is neither a disk nor a file.
    #[error("{path} is not a disk: {reason}")]
    NoDisk {
        /// The path that the user gave.
        path: PathBuf,
        /// What it is instead, or why that is not known.
        reason: String,
    },
    /// The kernel's facts about the disk could not be read.
    #[error("cannot check {path}: {source}")]
    Look {
        /// The path of the disk.
        path: PathBuf,
        /// The error from reading them.
        r#source: io::Error,
    },
    /// The helper was asked for another device number than the path has.
    #[error("{path} is the device {found}, not {number}")]
    OtherNumber {
        /// The path that the helper was given.
        path: PathBuf,
        /// The device number that it was given.
        number: Number,
        /// The device number that the path has.
        found: Number,
    },
    /// The path is a partition, and a whole disk is wanted.
    #[error("{path} is a partition of {disk}")]
    Partition {
        /// The path that the user gave.
        path: PathBuf,
        /// The kernel's name of the whole disk.
        disk: String,
    },
    /// The path is a whole disk with partitions, and a partition is wanted.
    #[error("{path} is a whole disk with partitions ({}): name its secret partition", partitions.join(", "))]
    WholeDisk {
        /// The path that the user gave.
        path: PathBuf,
        /// The kernel's names of its partitions.
        partitions: Vec<String>,
    },
    /// The disk is in use.
    #[error("{path} is in use: {}", list(uses))]
    InUse {
        /// The path of the disk.
        path: PathBuf,
        /// What uses the disk.
        uses: Vec<Use>,
    },
    /// The kernel did not open it exclusively: another process has it open.
    #[error("{path} is in use: another process has it open")]
    Busy {
        /// The path of the disk.
        path: PathBuf,
    },
    /// The running system is on the disk.
    #[error("{path} has the running system on it: {}", list(uses))]
    Root {
        /// The path of the disk.
        path: PathBuf,
        /// Everything that uses the disk.
        uses: Vec<Use>,
    },
    /// The disk is smaller than the image.
    #[error("{path} is too small: it has {size} bytes, and {wanted} are needed")]
    TooSmall {
        /// The path of the disk.
        path: PathBuf,
        /// The size of the disk in bytes.
        size: u64,
        /// The bytes that are needed.
        wanted: u64,
    },
    /// The kernel allows no writes to the disk.
    #[error("{path} is read-only")]
    ReadOnly {
        /// The path of the disk.
        path: PathBuf,
    },
    /// The image is stored on the disk.
    #[error("{path} has the image {image} itself on it")]
    ImageDisk {
        /// The path of the disk.
        path: PathBuf,
        /// The path of the image.
        image: PathBuf,
    },
    /// The disk is neither removable nor on USB.
    #[error("{path} is a fixed disk: not removable, and on {bus}")]
    Fixed {
        /// The path of the disk.
        path: PathBuf,
        /// How the disk is attached.
        bus: Bus,
    },
    /// The stick belongs to another node.
    #[error("{path} is the stick of the node {there}, not of {wanted}")]
    OtherNode {
        /// The path of the disk.
        path: PathBuf,
        /// The node in its seal.
        there: String,
        /// The node that it would be flashed for.
        wanted: String,
    },
    /// The disk has other content, which would be lost.
    #[error("{path} has {name}{} on it, not {wanted}", also(all, name))]
    Foreign {
        /// The path of the disk.
        path: PathBuf,
        /// The name that the user must repeat to overwrite it.
        name: String,
        /// The names of everything on the disk.
        all: Vec<String>,
        /// What may be overwritten without consent.
        wanted: &'static str,
    },
    /// The node has written files to the stick's data partition.
    #[error("{path} has {name} on its data partition, which would be lost")]
    Data {
        /// The path of the disk.
        path: PathBuf,
        /// The name that the user must repeat to overwrite them.
        name: String,
    },
    /// The disk has other content than the user named with `--overwrite`.
    #[error("{path} has {there} on it, not {}", named.join(" or "))]
    HoldsOther {
        /// The path of the disk.
        path: PathBuf,
        /// What the disk is.
        there: ContentKind,
        /// The names that the user gave.
        named: Vec<String>,
    },
    /// The user did not confirm the disk, or there was no terminal to ask.
    #[error("{path} is not confirmed: {}", what_it_is(serial.as_deref(), *size))]
    Unconfirmed {
        /// The path of the disk.
        path: PathBuf,
        /// The serial number, if the disk has one.
        serial: Option<String>,
        /// The size of the disk in bytes.
        size: u64,
    },
    /// The serial number is not the one that the user gave.
    #[error("{path} is not the disk that --serial names: {}", what_it_is(serial.as_deref(), *size))]
    OtherSerial {
        /// The path of the disk.
        path: PathBuf,
        /// The serial number, if the disk has one.
        serial: Option<String>,
        /// The size of the disk in bytes.
        size: u64,
    },
    /// The sectors of the disk do not have 512 bytes.
    #[error("{path} has sectors of {sector} bytes, but images need sectors of 512 bytes")]
    Sectors {
        /// The path of the disk.
        path: PathBuf,
        /// The size of a sector in bytes.
        sector: u64,
    },
}

fn list(uses: &[Use]) -> String {
    uses.iter().map(Use::to_string).collect::<Vec<_>>().join(", ")
}

/// The other content besides the one that the user must name.
fn also(all: &[String], name: &str) -> String {
    let others: Vec<&str> = all.iter().map(String::as_str).filter(|other| *other != name).collect();
    if others.is_empty() { String::new() } else { format!(" (and {})", others.join(", ")) }
}

fn what_it_is(serial: Option<&str>, size: u64) -> String {
    match serial {
        Some(serial) => format!("its serial number is {serial}"),
        None => format!("it has no serial number, and its size is {size} bytes"),
    }
}

impl Classified for Refusal {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Look { source, .. } => Class::of_reading(source),
            _ => Class::Refused,
        })
    }

    fn own_exit_code(&self) -> Option<u8> {
        Some(match self {
            Self::Look { .. } | Self::WholeDisk { .. } | Self::OtherNumber { .. } => return None,
            Self::NoDisk { .. } => 80,
            Self::Partition { .. } => 81,
            Self::InUse { .. } | Self::Busy { .. } => 82,
            Self::Root { .. } => 83,
            Self::TooSmall { .. } => 84,
            Self::ReadOnly { .. } => 85,
            Self::ImageDisk { .. } => 86,
            Self::Fixed { .. } => 87,
            Self::OtherNode { .. } => 88,
            Self::Foreign { .. } | Self::Data { .. } | Self::HoldsOther { .. } => 89,
            Self::Unconfirmed { .. } | Self::OtherSerial { .. } => 90,
            Self::Sectors { .. } => 91,
        })
    }

    fn own_advice(&self) -> Option<String> {
        Some(match self {
            Self::NoDisk { .. } | Self::OtherNumber { .. } => {
                "to list the disks: psyops disks".to_owned()
            }
            Self::Partition { disk, .. } => format!("use the whole disk: {disk}"),
            Self::InUse { .. } => "unmount it first".to_owned(),
            Self::Busy { .. } => {
                "end that program, or unmount the disk if it is mounted in another namespace".to_owned()
            }
            Self::Root { .. } => "use another disk; to list them: psyops disks".to_owned(),
            Self::TooSmall { .. } => "use a larger one, or make the partitions smaller under [sizes] in site.toml".to_owned(),
            Self::ReadOnly { .. } => "look for a write-protect switch on it; a worn stick makes itself read-only".to_owned(),
            Self::ImageDisk { .. } => "copy the image to another disk first".to_owned(),
            Self::Fixed { .. } => "if this is the right disk, add --fixed-disk".to_owned(),
            Self::OtherNode { there, .. } => format!("if that node no longer needs it, add --reassign {there}"),
            Self::Foreign { name, .. } | Self::Data { name, .. } => {
                format!("if that may be lost, add --overwrite {}", quoted(name))
            }
            Self::Unconfirmed { .. } | Self::OtherSerial { .. } => {
                "if this is the right disk, add --serial with the last 4 or more characters of its serial number, or with its size in bytes if it has none".to_owned()
            }
            Self::Sectors { .. } => "use a disk with sectors of 512 bytes".to_owned(),
            Self::Look { .. } | Self::WholeDisk { .. } | Self::HoldsOther { .. } => return None,
        })
    }
}

/// The name quoted for a shell.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+:@%".contains(c);
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("fleet/pi1"), "fleet/pi1");
        assert_eq!(quoted("my photos"), "'my photos'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
