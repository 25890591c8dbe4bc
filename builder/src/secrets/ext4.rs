//! An ext4 file system with given files, made by `mke2fs -d` without root, with the same bytes in each run.
//!
//! mke2fs takes owners and times from the files that it copies, which belong to the builder; debugfs then sets the
//! right ones for every inode. mke2fs copies in the order of names (C locale), gets the id and the hash seed as
//! arguments, and uses our configuration file and the site's build time as its clock. debugfs does not report failures
//! in its exit status, so the result is read back and compared file by file.

use crate::atomic::{AtomicError, AtomicFile};
use crate::error::{Class, Classified};
use crate::input::filled;
use crate::staging::{Staging, StagingError};
use crate::tools::{self, DEBUGFS, MKE2FS, ToolError};
use ext4_view::Ext4;
use handoff::manifest::RelativePath;
use keys::reconcile::FOLDER_MODE;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How many bytes of a file system are copied at once.
const PIECE: usize = 1 << 18;

/// A file of the file system.
#[derive(Clone, Copy)]
pub struct File<'c> {
    /// The permission bits.
    pub mode: u32,
    /// The user id of the owner.
    pub uid: u32,
    /// The id of the group.
    pub gid: u32,
    /// The content of the file.
    pub content: &'c [u8],
}

/// The plan of a file system.
pub struct Plan<'c> {
    /// The size of the file system in bytes.
    pub size: u64,
    /// The label of the file system.
    pub label: &'static str,
    /// The id of the file system.
    pub uuid: Uuid,
    /// The seed of the hashes in its folders.
    pub hash_seed: Uuid,
    /// The time of all its inodes, in seconds since 1970.
    pub time: u64,
    /// The files by path; the folders above them belong to root, with the mode that the loader requires.
    pub files: BTreeMap<RelativePath, File<'c>>,
}

/// The bytes of a block: small blocks, because the files are small.
const BLOCK: u64 = 1024;
/// The bytes of the file system for each inode.
const INODE_RATIO: u64 = 4096;
/// The bytes of an inode.
const INODE: u64 = 256;
/// The bytes of the journal, the smallest that ext4 allows.
const JOURNAL: u64 = 1024 * BLOCK;
/// A generous number of bytes for superblocks, group descriptors, bitmaps, `lost+found` and other data of ext4.
const REST: u64 = 384 * 1024;
/// The smallest file system that is made, in bytes.
pub const SMALLEST: u64 = 4 * 1024 * 1024;
/// The inodes that ext4 uses itself, including `lost+found`.
const OWN_INODES: u64 = 11;

/// The C library's message for a full disk.
const FULL: &str = "No space left on device";

/// The settings that mke2fs would otherwise read from the host's /etc/mke2fs.conf.
///
/// `metadata_csum` is left out on purpose. The superblock spans two sectors, with its checksum in the second one, and
/// is read before the journal is: a power cut between the two writes leaves a file system that the kernel does not
/// mount. The comparison with the seal finds the damage to files that checksums would find.
const CONFIGURATION: &str = "[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 1024
inode_size = 256
inode_ratio = 4096
[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,64bit,dir_nlink,extra_isize
}
";

/// Why the file system could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum Ext4Error {
    /// The files do not fit, with space to write the largest one a second time.
    #[error(
        "the secrets do not fit: {files} files need {needed} bytes (with space to rewrite the largest), but the file system of {size} bytes has {room}"
    )]
    TooLarge {
        /// The number of files.
        files: usize,
        /// The bytes that they need.
        needed: u64,
        /// The bytes that are free for them.
        room: u64,
        /// The size of the file system in bytes.
        size: u64,
    },
    /// There are more files and folders than inodes.
    #[error("{inodes} files and folders do not fit: the file system of {size} bytes can have {room}")]
    TooMany {
        /// The number of files and folders.
        inodes: u64,
        /// The number of inodes for them.
        room: u64,
        /// The size of the file system in bytes.
        size: u64,
    },
    /// The size is smaller than any such file system.
    #[error("a secret partition of {size} bytes is too small: the least is {SMALLEST}")]
    TooSmall {
        /// The requested size in bytes.
        size: u64,
    },
    /// The name of a file cannot be written in a command for debugfs.
    #[error(
        "the path {0:?} has quotes or control characters, which a path on the secret partition cannot have; rename it"
    )]
    Name(RelativePath),
    /// The plain text could not be stored in memory for mke2fs.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// A tool is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The output file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// The finished file system does not have the right content: what differs.
    #[error("the file system that mke2fs and debugfs made is wrong: {0}")]
    Wrong(String),
}

impl Classified for Ext4Error {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::TooSmall { .. } | Self::Name(_) => {
                Class::BadContent
            }
            Self::Wrong(_) => Class::Failure,
            Self::Staging(_) | Self::Tool(_) | Self::Write(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::TooSmall { .. } => {
                Some("make the partition larger in site.toml: [sizes] secret = \"32MiB\"".into())
            }
            _ => None,
        }
    }
}

impl Plan<'_> {
    /// Checks that everything fits, before a byte is written.
    pub fn check(&self) -> Result<(), Ext4Error> {
        let size = self.size;
        if size < SMALLEST {
            return Err(Ext4Error::TooSmall { size });
        }
        if let Some(path) = self.files.keys().find(|path| !quotable(path.as_str())) {
            return Err(Ext4Error::Name(path.clone()));
        }
        let blocks = |file: &File<'_>| (file.content.len() as u64).next_multiple_of(BLOCK);
        let folders = self.folders();
        let largest = self.files.values().map(blocks).max().unwrap_or(0);
        let needed = self.files.values().map(blocks).sum::<u64>() + folders.len() as u64 * BLOCK + largest;
        let overhead = JOURNAL + REST + size / INODE_RATIO * INODE + size / 100;
        let room = size.saturating_sub(overhead);
        if needed > room {
            return Err(Ext4Error::TooLarge { files: self.files.len(), needed, room, size });
        }
        let inodes = (self.files.len() + folders.len()) as u64 + 1;
        let room = (size / INODE_RATIO).saturating_sub(OWN_INODES);
        if inodes > room { Err(Ext4Error::TooMany { inodes, room, size }) } else { Ok(()) }
    }

    /// The folders above the files, without the root folder.
    fn folders(&self) -> BTreeSet<&Path> {
        let parents = self.files.keys().flat_map(|path| Path::new(path.as_str()).ancestors().skip(1));
        parents.filter(|folder| !folder.as_os_str().is_empty()).collect()
    }

    /// Makes the file system in the file `image`, which appears only when it is complete. Until then its content, with
    /// the keys, is only in memory.
    pub fn write(&self, image: &Path) -> Result<(), Ext4Error> {
        self.check()?;
        let staging = Staging::new()?;
        let place = staging.path().join("image");
        let failed = |source| StagingError::Write { path: place.clone(), source };
        let made = fs::File::create_new(&place).map_err(failed)?;
        made.set_len(self.size).map_err(failed)?;
        if let Err(error) = self.make(&staging, &place) {
            // The tool reports a full folder; anything else is an error of its own.
            return match &error {
                Ext4Error::Tool(ToolError::Failed { complaint, .. }) if complaint.contains(FULL) => {
                    Err(failed(io::ErrorKind::StorageFull.into()).into())
                }
                _ => Err(error),
            };
        }
        self.verify(&place)?;
        let mut file = AtomicFile::create_private(image)?;
        file.set_len(self.size)?;
        let mut offset = 0;
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        // Ranges that were not written are holes in the output as well.
        while let Some(start) = next_data(&made, offset).map_err(failed)? {
            let count = made.read_at(&mut piece, start).map_err(failed)?;
            let bytes = filled(&piece, count).map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            file.write_at(start, bytes)?;
            offset = start + bytes.len() as u64;
        }
        Ok(file.commit()?)
    }

    fn make(&self, staging: &Staging, image: &Path) -> Result<(), Ext4Error> {
        for (path, file) in &self.files {
            staging.write(&format!("tree/{path}"), file.content)?;
        }
        // Without any file the folder must still exist.
        staging.write("tree/.keep", b"")?;
        fs::remove_file(staging.path().join("tree/.keep"))
            .map_err(|source| StagingError::Write { path: staging.path().to_owned(), source })?;
        staging.write("mke2fs.conf", CONFIGURATION.as_bytes())?;
        staging.write("commands", self.commands().as_bytes())?;
        let extended = format!(
            "hash_seed={},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard",
            self.hash_seed
        );
        let mut mke2fs = MKE2FS.command()?;
        mke2fs.args(["-q", "-F", "-t", "ext4", "-T", "ext4", "-b", "1024", "-I", "256", "-m", "0"]);
        mke2fs.args(["-J", "size=1", "-o", "Linux", "-L", self.label, "-U"]).arg(self.uuid.to_string());
        mke2fs.arg("-E").arg(extended).arg("-d").arg(staging.path().join("tree")).arg(image);
        mke2fs.env("MKE2FS_CONFIG", staging.path().join("mke2fs.conf"));
        mke2fs.env("E2FSPROGS_FAKE_TIME", self.time.to_string());
        tools::run(&mut mke2fs)?;
        let mut debugfs = DEBUGFS.command()?;
        debugfs.arg("-w").arg("-f").arg(staging.path().join("commands")).arg(image);
        debugfs.env("E2FSPROGS_FAKE_TIME", self.time.to_string());
        tools::run(&mut debugfs)?;
        Ok(())
    }

    /// The commands for debugfs: type and mode, owner and the four times of every inode with a name.
    fn commands(&self) -> String {
        let mut text = String::new();
        let mut set = |path: &str, mode: u32, uid: u32, gid: u32| {
            text.push_str(&format!("sif \"/{path}\" mode 0{mode:o}\n"));
            text.push_str(&format!("sif \"/{path}\" uid {uid}\nsif \"/{path}\" gid {gid}\n"));
            for field in ["atime", "ctime", "mtime", "crtime"] {
                text.push_str(&format!("sif \"/{path}\" {field} @{}\n", self.time));
            }
        };
        set("", 0o40000 | FOLDER_MODE, 0, 0);
        set("lost+found", 0o40000 | FOLDER_MODE, 0, 0);
        for folder in self.folders() {
            set(&folder.to_string_lossy(), 0o40000 | FOLDER_MODE, 0, 0);
        }
        for (path, file) in &self.files {
            set(path.as_str(), 0o100_000 | file.mode, file.uid, file.gid);
        }
        text
    }

    /// Reads everything back with other code and compares it.
    fn verify(&self, image: &Path) -> Result<(), Ext4Error> {
        let wrong = |path: &str, what: &str| Ext4Error::Wrong(format!("/{path}: {what}"));
        let unreadable = |error: ext4_view::Ext4Error| Ext4Error::Wrong(error.to_string());
        let read = Ext4::load_from_path(image).map_err(unreadable)?;
        for (path, file) in &self.files {
            let place = format!("/{path}");
            let metadata = read.symlink_metadata(&*place).map_err(unreadable)?;
            if u32::from(metadata.mode()) & 0o7777 != file.mode {
                return Err(wrong(path.as_str(), "its mode"));
            }
            if (metadata.uid(), metadata.gid()) != (file.uid, file.gid) {
                return Err(wrong(path.as_str(), "its owner"));
            }
            if zeroize::Zeroizing::new(read.read(&*place).map_err(unreadable)?).as_slice() != file.content {
                return Err(wrong(path.as_str(), "its content"));
            }
        }
        for folder in self.folders() {
            let place = PathBuf::from("/").join(folder);
            let metadata = read.symlink_metadata(&*place.to_string_lossy()).map_err(unreadable)?;
            if (u32::from(metadata.mode()) & 0o7777, metadata.uid(), metadata.gid()) != (FOLDER_MODE, 0, 0) {
                return Err(wrong(&folder.to_string_lossy(), "its mode or owner"));
            }
        }
        Ok(())
    }
}

/// Whether a path can be written between quotes in a command for debugfs.
fn quotable(path: &str) -> bool {
    !path.chars().any(|c| c == '"' || c.is_control())
}

/// The offset of the next written byte from `offset` on (lseek(2), `SEEK_DATA`); `None` after the last one.
fn next_data(file: &fs::File, offset: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(start) => Ok(Some(start)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
