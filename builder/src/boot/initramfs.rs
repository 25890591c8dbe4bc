//! The initramfs: a cpio archive in the `newc` form around the loader, packed with zstd.
//!
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Inodes are counted, times are the
//! site's build time, and root owns all files: the same inputs give the same bytes.

use super::modules::ModuleFile;
use super::rescue::{RescueContent, RescueFile};
use crate::error::{Class, Classified};
use crate::width::to_u64;
use cpio::newc::{Builder, ModeFileType, trailer};
use handoff::loader_config::LoaderConfig;
use handoff::paths;
use std::collections::BTreeSet;
use std::io::{self, Write};
use thiserror::Error;

/// zstd's level. The kernel unpacks all levels at about the same speed; past 19 they need more memory at boot.
const LEVEL: i32 = 19;

/// The inputs of an initramfs.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The loader, which becomes `/init`.
    pub loader: &'a [u8],
    /// The files for the rescue shell and its SSH server.
    pub rescue: &'a [RescueFile],
    /// The loader's configuration: the keys that the site trusts, and its settings.
    pub trust: &'a LoaderConfig,
    /// The kernel modules in loading order.
    pub modules: &'a [ModuleFile],
}

/// A packed initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    /// The zstd frame, padded to four bytes so that another archive may follow.
    pub packed: Vec<u8>,
    /// Bytes of the archive before it was packed.
    pub unpacked_size: u64,
}

/// Why an initramfs could not be built.
#[derive(Debug, Error, classified::Cause)]
pub enum InitramfsError {
    /// A file is larger than a cpio archive allows.
    #[error(
        "{path} has {size} bytes; a cpio archive takes at most 4 GiB a file: leave it out of the initramfs"
    )]
    TooLarge {
        /// The path of the file in the archive.
        path: String,
        /// The size of the file in bytes.
        size: usize,
    },
    /// The build time, in seconds since 1970, does not fit into the archive.
    #[error(
        "the build time {0} (seconds since 1970) is after 2106, which a cpio archive cannot express: set an earlier one"
    )]
    Time(u64),
    /// zstd could not pack the archive: its error.
    #[error("cannot pack the initramfs: {0}; free some memory and build again")]
    Pack(io::Error),
}

impl From<io::Error> for InitramfsError {
    fn from(error: io::Error) -> Self {
        Self::Pack(error)
    }
}

impl Classified for InitramfsError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::TooLarge { .. } | Self::Time(_) => Class::BadContent,
            Self::Pack(_) => Class::Failure,
        })
    }
}

/// Builds and packs the initramfs.
pub fn pack(contents: &Contents<'_>) -> Result<Initramfs, InitramfsError> {
    let archive = archive(contents)?;
    Ok(padded(compress(&archive)?, archive.len()))
}

/// Bytes of an archive before it was packed, from the header of its zstd frame; 0 if the header lacks the size.
#[must_use]
pub fn unpacked_size(packed: &[u8]) -> u64 {
    zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().unwrap_or(0)
}

fn compress(archive: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    // The kernel checks the checksum, so an image that was damaged after the firmware read it is not run in part.
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(u64::try_from(archive.len()).ok())?;
    encoder.write_all(archive)?;
    encoder.finish()
}

fn padded(mut frame: Vec<u8>, unpacked: usize) -> Initramfs {
    frame.resize(frame.len().next_multiple_of(4), 0);
    Initramfs { packed: frame, unpacked_size: to_u64(unpacked) }
}

fn archive(contents: &Contents<'_>) -> Result<Vec<u8>, InitramfsError> {
    let time = contents.trust.build_time;
    let time = u32::try_from(time).map_err(|_| InitramfsError::Time(time))?;
    let mut archive = Archive::new(time);
    for folder in ["/proc", "/sys", "/run", paths::NEW_ROOT] {
        archive.folder(folder)?;
    }
    // Without these two, Rust's start-up code aborts before `main`.
    archive.device("/dev/console", 5, 1, 0o600)?;
    archive.device("/dev/null", 1, 3, 0o666)?;
    archive.file("/init", 0o755, contents.loader)?;
    for file in contents.rescue {
        match &file.what {
            RescueContent::Data(content) => archive.file(&file.path, 0o444, content)?,
            RescueContent::Program(content) => archive.file(&file.path, 0o755, content)?,
            RescueContent::Link(target) => archive.link(&file.path, target)?,
        }
    }
    archive.file(paths::TRUST, 0o444, contents.trust.encode().as_bytes())?;
    let list: Vec<_> = contents.modules.iter().map(|module| module.entry.clone()).collect();
    archive.file(paths::MODULES, 0o444, handoff::modules::encode(&list).as_bytes())?;
    for module in contents.modules {
        archive.file(&module.entry.file, 0o444, &module.content)?;
    }
    archive.file(paths::INITRAMFS_END, 0o444, b"")?;
    archive.finish()
}

/// A plain archive of one file, to be appended to an initramfs (the kernel unpacks one after the other).
pub fn single_file(path: &str, mode: u32, content: &[u8]) -> Result<Vec<u8>, InitramfsError> {
    let mut archive = Archive::new(0);
    archive.file(path, mode, content)?;
    archive.finish()
}

/// The archive while it is written.
struct Archive {
    out: Vec<u8>,
    time: u32,
    inode: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    fn new(time: u32) -> Self {
        Self { out: Vec::new(), time, inode: 0, folders: BTreeSet::new() }
    }

    fn entry(&mut self, path: &str, kind: ModeFileType, mode: u32) -> Result<Builder, InitramfsError> {
        if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
            self.folder(parent)?;
        }
        self.inode = self.inode.saturating_add(1);
        let name = path.trim_start_matches('/');
        Ok(Builder::new(name).ino(self.inode).mode(mode).mtime(self.time).set_mode_file_type(kind))
    }

    fn put(&mut self, path: &str, entry: Builder, content: &[u8]) -> Result<(), InitramfsError> {
        let size = u32::try_from(content.len())
            .map_err(|_| InitramfsError::TooLarge { path: path.to_owned(), size: content.len() })?;
        let mut writer = entry.write(&mut self.out, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }

    /// Adds a folder and those above it, each only once.
    fn folder(&mut self, path: &str) -> Result<(), InitramfsError> {
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        let entry = self.entry(path, ModeFileType::Directory, 0o755)?.nlink(2);
        self.put(path, entry, b"")
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), InitramfsError> {
        let entry = self.entry(path, ModeFileType::Regular, mode)?;
        self.put(path, entry, content)
    }

    fn link(&mut self, path: &str, target: &str) -> Result<(), InitramfsError> {
        let entry = self.entry(path, ModeFileType::Symlink, 0o777)?;
        self.put(path, entry, target.as_bytes())
    }

    fn device(&mut self, path: &str, major: u32, minor: u32, mode: u32) -> Result<(), InitramfsError> {
        let entry = self.entry(path, ModeFileType::Char, mode)?.rdev_major(major).rdev_minor(minor);
        self.put(path, entry, b"")
    }

    fn finish(self) -> Result<Vec<u8>, InitramfsError> {
        let mut out = trailer(self.out)?;
        out.resize(out.len().next_multiple_of(4), 0);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::fault::Policy;
    use handoff::least_generation::LeastGeneration;
    use handoff::modules::{Module, ModuleKind};
    use std::process::{Command, Stdio};

    fn trust() -> LoaderConfig {
        LoaderConfig {
            site: "demo".parse().unwrap(),
            release: "1".parse().unwrap(),
            security_epoch: 1,
            least_generation: LeastGeneration::default(),
            build_time: 1_700_000_000,
            signing_keys: vec!["RWQ".into()],
            overlay_size: "50%".into(),
            root_corruption: handoff::verity::OnCorruption::default(),
            identity_deadline: 30,
            policy: Policy::default(),
            rescue: handoff::rescue::RescuePolicy::default(),
        }
    }

    fn small() -> Initramfs {
        let entry = Module {
            name: "ext4".into(),
            file: "/lib/modules/ext4.ko".into(),
            kind: ModuleKind::Part,
            needs: Vec::new(),
            drives: Vec::new(),
        };
        let modules = [ModuleFile { entry, content: b"module".to_vec() }];
        let file = |path: &str, what| RescueFile { path: path.into(), what };
        let rescue = [
            file("/bin/busybox", RescueContent::Program(b"busybox".to_vec())),
            file("/bin/status", RescueContent::Link("/init".into())),
            file("/etc/passwd", RescueContent::Data(b"root".to_vec())),
        ];
        pack(&Contents { loader: b"loader", rescue: &rescue, trust: &trust(), modules: &modules }).unwrap()
    }

    /// The list that cpio(1) prints.
    fn listing(archive: &[u8]) -> String {
        let mut child = Command::new("cpio")
            .args(["-tv", "--numeric-uid-gid", "--quiet"])
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cpio is needed: install the Debian package cpio");
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn cpio_reads_it_and_the_end_marker_is_last() {
        let initramfs = small();
        assert_eq!(initramfs.packed.len() % 4, 0);
        assert_eq!(unpacked_size(&initramfs.packed), initramfs.unpacked_size);
        let mut frame = initramfs.packed.clone();
        while frame.last() == Some(&0) {
            frame.pop();
        }
        let archive = zstd::decode_all(frame.as_slice()).unwrap();
        let listing = listing(&archive);
        let names: Vec<_> = listing.lines().map(|line| line.rsplit("2023 ").next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "proc",
                "sys",
                "run",
                "sysroot",
                "dev",
                "dev/console",
                "dev/null",
                "init",
                "bin",
                "bin/busybox",
                "bin/status -> /init",
                "etc",
                "etc/passwd",
                "psyops",
                "psyops/trust",
                "psyops/modules",
                "lib",
                "lib/modules",
                "lib/modules/ext4.ko",
                "psyops/end"
            ]
        );
        assert!(listing.contains("5,   1"), "{listing}");
        assert!(listing.lines().all(|line| line.contains(" 0        0 ")), "{listing}");
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes() {
        assert_eq!(small(), small());
    }

    #[test]
    fn one_file_makes_an_archive_that_can_be_appended() {
        let archive = single_file(paths::INITRAMFS_SEAL, 0o400, b"seal").unwrap();
        assert_eq!(archive.len() % 4, 0);
        assert!(listing(&archive).ends_with("node.seal\n"));
    }
}
