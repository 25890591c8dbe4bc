//! A partition of a device as the target of `mksecrets`: what it is, what is on it, and whether it may be overwritten.
//!
//! What is known of a device are facts of the kernel and of blkid; judging them is a pure function. Facts are by device
//! number, never by name, so that links and other names of the same device are seen through.

use crate::error::{Class, Classified};
use crate::tools::{self, BLKID, ToolError};
use handoff::paths::SECRET_LABEL;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Zeros at its beginning, and nothing that blkid knows.
    Blank,
    /// A secret partition of this system.
    OldSecrets,
    /// Something else, by the name that `--overwrite` must repeat.
    Other(String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::OldSecrets => f.write_str("an old secret partition"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As it was named.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Partitions that lie on it; a partition has none.
    pub partitions: Vec<String>,
    /// Where it is mounted, or `swap`.
    pub used: Vec<String>,
    /// Other devices that are made of it (LVM, RAID, encryption).
    pub holders: Vec<String>,
    /// What is on it.
    pub content: Content,
}

/// Why a device is not written to.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// It cannot be looked at.
    #[error("cannot look at {path}: {source}")]
    Look {
        /// What was to be looked at.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No block device.
    #[error("{path} is no block device")]
    NotADevice {
        /// What was named.
        path: PathBuf,
    },
    /// A whole disk.
    #[error("{path} is a whole disk with partitions ({}): name the secret partition", partitions.join(", "))]
    WholeDisk {
        /// The disk.
        path: PathBuf,
        /// Its partitions.
        partitions: Vec<String>,
    },
    /// In use.
    #[error("{path} is in use: {}", used.join(", "))]
    InUse {
        /// The device.
        path: PathBuf,
        /// By what.
        used: Vec<String>,
    },
    /// Something is on it that would be lost.
    #[error("{path} holds {content}, not an old secret partition")]
    Holds {
        /// The device.
        path: PathBuf,
        /// What is on it.
        content: String,
    },
    /// Something else is on it than the user thinks.
    #[error("{path} holds {content}, not {named}")]
    HoldsOther {
        /// The device.
        path: PathBuf,
        /// What is on it.
        content: Content,
        /// What the user says is on it.
        named: String,
    },
    /// blkid is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It cannot be opened for writing.
    #[error("cannot open {path} for writing: {source}")]
    Open {
        /// The device.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}: {source}; it is not whole now and must be written again")]
    Write {
        /// The device.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not return what was written to it.
    #[error("{path} returns something else than was written to it: the medium is worn or a fake")]
    BadMedium {
        /// The device.
        path: PathBuf,
    },
}

impl Classified for DeviceError {
    fn class(&self) -> Class {
        match self {
            Self::Look { source, .. } => Class::of_reading(source),
            Self::NotADevice { .. }
            | Self::WholeDisk { .. }
            | Self::InUse { .. }
            | Self::Holds { .. }
            | Self::HoldsOther { .. } => Class::Refused,
            Self::Tool(error) => error.class(),
            Self::Open { source, .. } => Class::of_writing(source),
            Self::Write { .. } | Self::BadMedium { .. } => Class::Io,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NotADevice { .. } => Some("write an image file with --output FILE".into()),
            Self::InUse { .. } => Some("unmount it first".into()),
            Self::Holds { content, .. } => {
                Some(format!("if that may be lost, say so: --overwrite {content}"))
            }
            Self::Tool(error) => error.advice(),
            _ => None,
        }
    }
}

impl Facts {
    /// Looks at the device; nothing is written.
    pub fn of(path: &Path) -> Result<Self, DeviceError> {
        let look = |path: &Path| {
            let path = path.to_owned();
            move |source| DeviceError::Look { path, source }
        };
        let metadata = fs::metadata(path).map_err(look(path))?;
        if !metadata.file_type().is_block_device() {
            return Err(DeviceError::NotADevice { path: path.to_owned() });
        }
        let number = metadata.rdev();
        let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
        let sysfs = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let mut file = File::open(path).map_err(look(path))?;
        let size = file.seek(SeekFrom::End(0)).map_err(look(path))?;
        let mounts = Path::new("/proc/self/mountinfo");
        let mounts = fs::read_to_string(mounts).map_err(look(mounts))?;
        let mut used =
            mounted_at(&mounts, &format!("{major}:{minor}"), |source| device_number(source) == Some(number));
        // Kernels without swap have no such file.
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        let is_swap = |line: &str| line.split_whitespace().next().and_then(device_number) == Some(number);
        used.extend(swaps.lines().skip(1).any(is_swap).then(|| "swap".to_owned()));
        let is_partition = |name: &String| sysfs.join(name).join("partition").exists();
        Ok(Self {
            path: path.to_owned(),
            size,
            partitions: names(&sysfs).into_iter().filter(is_partition).collect(),
            used,
            holders: names(&sysfs.join("holders")),
            content: content(path, &file)?,
        })
    }

    /// Whether the device may be overwritten by a user who says that `overwrite` is on it.
    pub fn judge(&self, overwrite: Option<&str>) -> Result<(), DeviceError> {
        let path = self.path.clone();
        if !self.partitions.is_empty() {
            return Err(DeviceError::WholeDisk { path, partitions: self.partitions.clone() });
        }
        let used: Vec<String> = self.used.iter().chain(&self.holders).cloned().collect();
        if !used.is_empty() {
            return Err(DeviceError::InUse { path, used });
        }
        match (&self.content, overwrite) {
            (Content::Other(content), None) => Err(DeviceError::Holds { path, content: content.clone() }),
            (Content::Other(content), Some(named)) if content == named => Ok(()),
            (content @ Content::Other(_), Some(named)) => {
                Err(DeviceError::HoldsOther { path, content: content.clone(), named: named.to_owned() })
            }
            (Content::Blank | Content::OldSecrets, _) => Ok(()),
        }
    }
}

/// The number of the block device under `path`, whatever links lead there.
fn device_number(path: &str) -> Option<u64> {
    let metadata = fs::metadata(unescape(path)).ok()?;
    metadata.file_type().is_block_device().then(|| metadata.rdev())
}

/// The kernel writes blanks and backslashes in paths as octal numbers.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |path, (escaped, plain)| path.replace(escaped, plain))
}

/// Where a device is mounted: by its number, which stands in the third field (proc(5)), and by the device that is the
/// mount's source, which comes second after the separator; a file system over several devices has a number of its own.
fn mounted_at(mountinfo: &str, number: &str, is_source: impl Fn(&str) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = before.split(' ').collect();
        let source = after.split(' ').nth(1).unwrap_or_default();
        let place = fields.get(4).map_or_else(|| "?".to_owned(), |place| unescape(place));
        if fields.get(2) == Some(&number) || is_source(source) {
            places.push(format!("mounted at {place}"));
        }
    }
    places
}

/// The names in a folder of sysfs, sorted; none where it does not exist.
fn names(folder: &Path) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// What blkid sees on the device, by probing it and not from its cache.
fn content(path: &Path, device: &File) -> Result<Content, DeviceError> {
    let mut command = BLKID.command()?;
    command.args(["-p", "-o", "export"]).arg(path);
    let output = command
        .output()
        .map_err(|source| ToolError::Start { program: tools::program_name(&command), source })?;
    // Exit status 2: nothing was recognised.
    if output.status.code() != Some(2) {
        let output = tools::check(&tools::program_name(&command), output)?;
        if let Some(content) = named(&String::from_utf8_lossy(&output.stdout)) {
            return Ok(content);
        }
    }
    let mut start = vec![0; 1024 * 1024];
    let count =
        device.read_at(&mut start, 0).map_err(|source| DeviceError::Look { path: path.into(), source })?;
    let blank = start.iter().take(count).all(|&byte| byte == 0);
    Ok(if blank { Content::Blank } else { Content::Other("data".into()) })
}

/// The name of what blkid found: label, else type of file system, else type of partition table. None of them where it
/// only says which partition this is.
fn named(export: &str) -> Option<Content> {
    let values: BTreeMap<&str, &str> = export.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |key| values.get(key).copied().filter(|value| !value.is_empty());
    if value("TYPE") == Some("ext4") && value("LABEL") == Some(SECRET_LABEL) {
        return Some(Content::OldSecrets);
    }
    let name = value("LABEL").or(value("TYPE")).or(value("PTTYPE"));
    name.map(|name| Content::Other(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(content: Content) -> Facts {
        Facts {
            path: "/dev/sdx9".into(),
            size: 1 << 24,
            partitions: Vec::new(),
            used: Vec::new(),
            holders: Vec::new(),
            content,
        }
    }

    #[test]
    fn blank_and_old_ones_are_overwritten() {
        for content in [Content::Blank, Content::OldSecrets] {
            facts(content.clone()).judge(None).unwrap();
            facts(content).judge(Some("photos")).unwrap();
        }
    }

    #[test]
    fn anything_else_only_by_its_name() {
        let photos = facts(Content::Other("photos".into()));
        let error = photos.judge(None).unwrap_err();
        assert!(matches!(&error, DeviceError::Holds { content, .. } if content == "photos"), "{error}");
        assert_eq!(error.class(), Class::Refused);
        assert!(error.advice().unwrap().ends_with("--overwrite photos"));
        assert!(matches!(photos.judge(Some("music")), Err(DeviceError::HoldsOther { .. })));
        photos.judge(Some("photos")).unwrap();
    }

    #[test]
    fn what_is_in_use_never() {
        let photos = Content::Other("photos".into());
        let mounted = Facts { used: vec!["mounted at /mnt".into()], ..facts(photos.clone()) };
        let held = Facts { holders: vec!["dm-0".into()], ..facts(photos.clone()) };
        let disk = Facts { partitions: vec!["sdx1".into()], ..facts(photos) };
        assert!(matches!(mounted.judge(Some("photos")), Err(DeviceError::InUse { .. })));
        assert!(matches!(held.judge(Some("photos")), Err(DeviceError::InUse { .. })));
        assert!(matches!(disk.judge(Some("photos")), Err(DeviceError::WholeDisk { .. })));
    }

    #[test]
    fn mounts_are_found_by_number_and_by_source() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\n\
                    37 35 0:30 / /data rw - btrfs /dev/sdb rw\n\
                    38 35 0:98 / /other rw shared:1 propagate_from:2 - tmpfs tmpfs rw\n";
        assert_eq!(mounted_at(text, "98:0", |_| false), ["mounted at /mnt 2"]);
        assert_eq!(mounted_at(text, "8:16", |source| source == "/dev/sdb"), ["mounted at /data"]);
        assert!(mounted_at(text, "8:0", |_| false).is_empty());
    }

    #[test]
    fn blkid_is_understood() {
        let secrets = "DEVNAME=/dev/sdx9\nLABEL=psyops-secret\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n";
        assert_eq!(named(secrets), Some(Content::OldSecrets));
        let other = |text: &str| named(text).unwrap();
        assert_eq!(other("LABEL=photos\nTYPE=ext4\n"), Content::Other("photos".into()));
        assert_eq!(other("LABEL=psyops-secret\nTYPE=vfat\n"), Content::Other("psyops-secret".into()));
        assert_eq!(other("TYPE=crypto_LUKS\n"), Content::Other("crypto_LUKS".into()));
        assert_eq!(other("PTTYPE=gpt\n"), Content::Other("gpt".into()));
        assert_eq!(named("PART_ENTRY_SCHEME=gpt\nPART_ENTRY_NUMBER=1\n"), None);
    }

    #[test]
    fn a_plain_file_is_no_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Facts::of(file.path()).unwrap_err();
        assert!(matches!(error, DeviceError::NotADevice { .. }), "{error}");
        assert!(matches!(Facts::of(Path::new("/nowhere")), Err(DeviceError::Look { .. })));
    }
}
