//! The root file system: a tar stream in, a squashfs with zstd out, made by `tar2sqfs`.
//!
//! Nothing is unpacked, so owners, device nodes and extended attributes need no privilege. The result depends neither
//! on the number of cores nor on the user: `mksquashfs -tar` (4.5.1) gives the top folder to its own user, whatever its
//! options are. All times in it are the given one.

use crate::error::{Class, Classified};
use crate::tools::{self, TAR2SQFS, ToolError};
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use thiserror::Error;

/// The zstd level. Higher levels cost minutes and save little: most of the bytes are kernel modules.
const LEVEL: &str = "9";
/// The size of its blocks: the fastest from a slow stick (docs/benchmarks.md).
const BLOCK: &str = "128K";

/// Why the squashfs could not be made.
#[derive(Debug, Error, classified::Cause)]
pub enum SquashfsError {
    /// tar2sqfs is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The tar stream could not be written to tar2sqfs.
    #[error("cannot pass the root's files to tar2sqfs: {0}")]
    Stream(io::Error),
}

impl Classified for SquashfsError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            // The archive did not fit: tar2sqfs printed the reason.
            Self::Tool(ToolError::Failed { complaint, .. }) if complaint.contains("No space left") => {
                Class::CannotCreate
            }
            Self::Stream(_) => Class::Io,
            Self::Tool(_) => return None,
        })
    }
}

/// Makes a squashfs at `output` (which must not exist) from the tar archive that `write_tar` writes.
pub fn make<E>(
    output: &Path,
    time: u64,
    write_tar: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<SquashfsError>,
{
    let mut command = TAR2SQFS.command().map_err(SquashfsError::Tool)?;
    command
        .args(["--quiet", "--no-skip", "--exportable", "--no-tail-packing", "--block-size", BLOCK])
        .args(["--compressor", "zstd", "--comp-extra", &format!("level={LEVEL}")])
        // The attributes of the top folder and of folders without an entry, and with `--no-keep-time` the times of
        // everything.
        .args(["--no-keep-time", "--defaults", &format!("uid=0,gid=0,mode=0755,mtime={time}")])
        .arg(output)
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let running = tools::start(&mut command).map_err(SquashfsError::Tool)?;
    let mut written = Ok(());
    if let Some(stdin) = running.stdin() {
        let mut stdin = io::BufWriter::with_capacity(1 << 20, stdin);
        written = write_tar(&mut stdin);
        if written.is_ok()
            && let Err(error) = stdin.flush()
        {
            written = Err(SquashfsError::Stream(error).into());
        }
    }
    // If tar2sqfs failed, its message is better than the broken pipe that followed.
    running.finish().map_err(SquashfsError::Tool)?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn archive(out: &mut dyn Write) -> Result<(), SquashfsError> {
        let mut archive = tar::Builder::new(out);
        let mut put = |path: &str, kind, mode, uid, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(uid);
            header.set_gid(0);
            header.set_mtime(1_600_000_000);
            header.set_size(u64::try_from(content.len()).unwrap());
            header.set_cksum();
            archive.append_data(&mut header, path, content).map_err(SquashfsError::Stream)
        };
        put("etc", tar::EntryType::Directory, 0o755, 0, b"")?;
        put("etc/shadow", tar::EntryType::Regular, 0o640, 42, &[b'x'; 7_000])?;
        put("etc/motd", tar::EntryType::Regular, 0o644, 0, b"hello\n")
    }

    #[test]
    fn unsquashfs_shows_owners_modes_and_the_given_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.squashfs");
        make(&path, 1_700_000_000, archive).unwrap();
        let list = Command::new("unsquashfs").env("TZ", "UTC").args(["-lln", "-no"]).arg(&path).output();
        let list =
            String::from_utf8(list.expect("unsquashfs is needed: install squashfs-tools").stdout).unwrap();
        let lines: Vec<_> =
            list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let shadow = "-rw-r----- 42/0 7000 2023-11-14 22:13 squashfs-root/etc/shadow";
        assert!(lines.iter().any(|line| line == shadow), "{list}");
        assert!(list.lines().all(|line| line.contains(" 2023-11-14 22:13 ")), "{list}");
        assert!(
            lines.iter().any(|line| line.starts_with("drwxr-xr-x 0/0 ") && line.ends_with(" squashfs-root"))
        );
        let facts = Command::new("unsquashfs").env("TZ", "UTC").arg("-s").arg(&path).output().unwrap();
        let facts = String::from_utf8(facts.stdout).unwrap();
        assert!(facts.contains("zstd") && facts.contains("Tue Nov 14 22:13:20 2023"), "{facts}");
        assert_eq!(std::fs::metadata(&path).unwrap().len() % 4096, 0);
    }

    #[test]
    fn extended_attributes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.squashfs");
        // The capability cap_net_raw=ep, as ping has it.
        let capability: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        make(&path, 1_700_000_000, |out| -> Result<(), SquashfsError> {
            let mut archive = tar::Builder::new(out);
            let extension = [("SCHILY.xattr.security.capability", capability)];
            archive.append_pax_extensions(extension).map_err(SquashfsError::Stream)?;
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o755);
            header.set_size(4);
            header.set_cksum();
            archive.append_data(&mut header, "ping", &b"ping"[..]).map_err(SquashfsError::Stream)
        })
        .unwrap();
        let shown = Command::new("rdsquashfs").arg("-x").arg("ping").arg(&path).output();
        let shown = shown.expect("rdsquashfs is needed: install squashfs-tools-ng").stdout;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains("security.capability=0x0100000200200000"), "{shown}");
    }

    #[test]
    fn the_same_archive_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            make(&path, 1_700_000_000, archive).unwrap();
            std::fs::read(path).unwrap()
        };
        assert!(make("one") == make("two"));
    }

    #[test]
    fn an_output_that_cannot_be_written_is_reported_by_tar2sqfs() {
        let error = make(Path::new("/nowhere/x"), 1, archive).unwrap_err();
        assert!(matches!(error, SquashfsError::Tool(ToolError::Failed { .. })), "{error}");
    }
}
