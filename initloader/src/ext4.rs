//! The state in an ext4 superblock: whether mounting the file system would change it.
//!
//! Mounting with `ro` is not enough: the kernel replays the journal of a file system that was not unmounted, and
//! writes. Fields as in the kernel's Documentation/filesystems/ext4/super.rst; nothing else of ext4 is read here.

use handoff::bytes::Reader;
use handoff::paths;

/// Offset of the superblock on the device, in bytes.
pub(crate) const OFFSET: u64 = 1024;
/// Bytes of the superblock that are read.
pub(crate) const LENGTH: usize = 1024;

const MAGIC: u16 = 0xef53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
const INCOMPAT_RECOVER: u32 = 4;

/// The state of the file system according to its superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystemState {
    /// It was unmounted properly.
    Clean,
    /// The journal has changes that are not in the file system yet.
    NeedsRecovery,
    /// The kernel or e2fsck found errors in it.
    Errors,
}

/// Why a partition is not a secret store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAStore {
    /// Not an ext4 file system.
    #[error("no ext4 file system")]
    NoExt4,
    /// An ext4 file system with another label.
    #[error("an ext4 file system labelled {0:?}, not {expected:?}", expected = paths::SECRET_LABEL)]
    Label(String),
    /// Mount options in the superblock, which the kernel would apply before the loader's.
    #[error("an ext4 file system with the mount options {0:?} in its superblock")]
    Options(String),
}

impl FileSystemState {
    /// Reads the state of the file system whose superblock this is; it must have the label of a secret store.
    pub(crate) fn of_store(superblock: &[u8]) -> Result<Self, NotAStore> {
        let field = |offset: usize| superblock.get(offset..).map(Reader::new).ok_or(NotAStore::NoExt4);
        if field(0x38)?.u16() != Some(MAGIC) {
            return Err(NotAStore::NoExt4);
        }
        let label = field(0x78)?.take(16).ok_or(NotAStore::NoExt4)?;
        let label = String::from_utf8_lossy(label).trim_end_matches('\0').to_owned();
        if label != paths::SECRET_LABEL {
            return Err(NotAStore::Label(label));
        }
        let options = field(0x200)?.take(64).ok_or(NotAStore::NoExt4)?;
        let options: Vec<u8> = options.iter().copied().take_while(|&byte| byte != 0).collect();
        if !options.is_empty() {
            return Err(NotAStore::Options(String::from_utf8_lossy(&options).into_owned()));
        }
        let state = field(0x3a)?.u16().ok_or(NotAStore::NoExt4)?;
        let incompatible = field(0x60)?.u32().ok_or(NotAStore::NoExt4)?;
        Ok(if state & STATE_ERRORS != 0 {
            Self::Errors
        } else if incompatible & INCOMPAT_RECOVER != 0 || state & STATE_CLEAN == 0 {
            Self::NeedsRecovery
        } else {
            Self::Clean
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn superblock(label: &str) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!(
            "ext4-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-L", label]).arg(&path).arg("4M");
        let made = mke2fs.output().expect("mke2fs (package e2fsprogs) is needed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let image = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        image[1024..2048].to_vec()
    }

    #[test]
    fn a_new_file_system_is_clean() {
        assert_eq!(FileSystemState::of_store(&superblock("psyops-secret")), Ok(FileSystemState::Clean));
        assert_eq!(FileSystemState::of_store(&superblock("other")), Err(NotAStore::Label("other".into())));
    }

    #[test]
    fn each_state_is_recognised() {
        let clean = superblock("psyops-secret");
        for (offset, bits, expected) in [
            (0x60, 4, Ok(FileSystemState::NeedsRecovery)),
            (0x3a, 1, Ok(FileSystemState::NeedsRecovery)),
            (0x3a, 2, Ok(FileSystemState::Errors)),
            (0x38, 1, Err(NotAStore::NoExt4)),
        ] {
            let mut changed = clean.clone();
            changed[offset] ^= bits;
            assert_eq!(FileSystemState::of_store(&changed), expected, "{offset:#x}");
        }
        let mut changed = clean.clone();
        changed[0x200..0x20c].copy_from_slice(b"errors=panic");
        assert_eq!(FileSystemState::of_store(&changed), Err(NotAStore::Options("errors=panic".into())));
        assert_eq!(FileSystemState::of_store(&clean[..0x50]), Err(NotAStore::NoExt4));
    }
}
