//! The record of the highest generation and security epoch that this node has run with, on the `data` partition.
//!
//! The format is [`handoff::highest_seen`]'s. The record is only used if `data` is mounted and only root can write to
//! its top folder. Paths are opened name by name without following links, because another system may have written to
//! the partition. A damaged record does not keep a node from starting: it is reported, and a new one replaces it.

use crate::data::is_mounted_for_root;
use crate::file::{self, FileError};
use crate::root::Root;
use handoff::highest_seen::{BadHighestSeen, HighestSeen, LONGEST};
use handoff::name::Name;
use handoff::paths;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A link, a device or something else that this program does not write.
    #[error("{path} is {what}; find out who wrote to the data partition", path = path.display())]
    Foreign {
        /// The path of the file or folder.
        path: PathBuf,
        /// The reason, for the message: for example that it is a link.
        what: &'static str,
    },
    /// The content of the file is not a valid record.
    #[error("{path} is damaged: {problem}", path = path.display())]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// Why the content is not a record.
        problem: BadHighestSeen,
    },
    /// The record is of another node.
    #[error("{path} is the record of another node: {node} of site {site}", path = path.display())]
    OtherNode {
        /// The path of the file.
        path: PathBuf,
        /// The node in the record.
        node: Name,
        /// The site in the record.
        site: Name,
    },
}

/// What to do if a seal is older than `generation`, which `node` has run with.
#[must_use]
pub fn advice(node: &Name, generation: u64) -> String {
    format!(
        "write the node's current seal (psyops-agent seal install, or flash the stick again); to go back to the older configuration, make a new seal of it: psyops seal --node {node} --above {generation}"
    )
}

/// Reads the record of `node`; `None` if no data partition is mounted, or there is no record yet.
pub fn read(root: &Root, site: &Name, node: &Name) -> Result<Option<HighestSeen>, RecordError> {
    let data = root.at(paths::DATA);
    if is_mounted_for_root(&data) { read_in(&data, site, node) } else { Ok(None) }
}

/// Replaces the record by `seen`; does nothing if no data partition is mounted.
pub fn write(root: &Root, seen: &HighestSeen) -> Result<(), RecordError> {
    let data = root.at(paths::DATA);
    if is_mounted_for_root(&data) { write_in(&data, seen) } else { Ok(()) }
}

fn read_in(data: &Path, site: &Name, node: &Name) -> Result<Option<HighestSeen>, RecordError> {
    let path = data.join(paths::ON_DATA).join(paths::HIGHEST_SEEN);
    let Some(folder) = existing_folder(data)? else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let record = match rustix::fs::openat(&folder, paths::HIGHEST_SEEN, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(RecordError::Foreign { path, what: "a link" }),
        Err(error) => return Err(failed("open", &path, error)),
    };
    let facts = record.metadata().map_err(|error| failed("read", &path, error))?;
    if !facts.is_file() {
        return Err(RecordError::Foreign { path, what: "not a file" });
    }
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o077 != 0 {
        return Err(RecordError::Foreign { path, what: "open to other users" });
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    record.take(limit).read_to_end(&mut bytes).map_err(|error| failed("read", &path, error))?;
    match HighestSeen::decode(&bytes) {
        Ok(seen) if seen.site == *site && seen.node == *node => Ok(Some(seen)),
        Ok(HighestSeen { site, node, .. }) => Err(RecordError::OtherNode { path, node, site }),
        Err(problem) => Err(RecordError::Damaged { path, problem }),
    }
}

/// Writes a temporary file, flushes it, renames it, and flushes the folder: the old record is valid or the new one.
fn write_in(data: &Path, seen: &HighestSeen) -> Result<(), RecordError> {
    let folder_path = data.join(paths::ON_DATA);
    let path = folder_path.join(paths::HIGHEST_SEEN);
    let folder = match existing_folder(data)? {
        Some(folder) => folder,
        None => new_folder(data)?,
    };
    let temporary = file::temporary_beside(Path::new(paths::HIGHEST_SEEN));
    match rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(failed("remove", &folder_path.join(&temporary), error)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = rustix::fs::openat(&folder, &temporary, flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        .and_then(|descriptor| {
            let mut file = File::from(descriptor);
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(seen.encode().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| Ok(rustix::fs::renameat(&folder, &temporary, &folder, paths::HIGHEST_SEEN)?));
    if let Err(error) = written {
        let _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
        return Err(failed("write", &path, error));
    }
    folder.sync_all().map_err(|error| failed("write", &folder_path, error))
}

/// The folder on the partition, open; `None` if it does not exist yet.
fn existing_folder(data: &Path) -> Result<Option<File>, RecordError> {
    let path = data.join(paths::ON_DATA);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(data, flags, Mode::empty()).map_err(|error| failed("open", data, error))?;
    let folder = match rustix::fs::openat(&top, paths::ON_DATA, flags, Mode::empty()) {
        Ok(folder) => File::from(folder),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(RecordError::Foreign { path, what: "a link, or not a folder" });
        }
        Err(error) => return Err(failed("open", &path, error)),
    };
    let facts = folder.metadata().map_err(|error| failed("read", &path, error))?;
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o022 != 0 {
        return Err(RecordError::Foreign { path, what: "a folder that other users can write to" });
    }
    Ok(Some(folder))
}

fn new_folder(data: &Path) -> Result<File, RecordError> {
    let path = data.join(paths::ON_DATA);
    rustix::fs::mkdir(&path, Mode::RWXU).map_err(|error| failed("create the folder", &path, error))?;
    let top = File::open(data).and_then(|top| top.sync_all());
    top.map_err(|error| failed("write", data, error))?;
    existing_folder(data)?.ok_or_else(|| failed("open", &path, Errno::NOENT))
}

fn failed(action: &'static str, path: &Path, source: impl Into<io::Error>) -> RecordError {
    FileError { action, path: path.to_owned(), source: source.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn seen(generation: u64) -> HighestSeen {
        HighestSeen { site: name("lab"), node: name("node-1"), generation, security_epoch: 1 }
    }

    fn read_back(data: &TempDir) -> Result<Option<HighestSeen>, RecordError> {
        read_in(data.path(), &name("lab"), &name("node-1"))
    }

    #[test]
    fn a_record_is_kept_for_root_alone_and_replaced_whole() {
        let data = TempDir::new().unwrap();
        assert_eq!(read_back(&data).unwrap(), None);
        write_in(data.path(), &seen(4)).unwrap();
        assert_eq!(read_back(&data).unwrap(), Some(seen(4)));
        let (folder, path) = (data.path().join("psyops"), data.path().join("psyops/highest-seen"));
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
        let old = fs::File::open(&path).unwrap();
        // A temporary file that a power cut left is ignored.
        fs::write(folder.join(".highest-seen.psyops-new"), "half").unwrap();
        write_in(data.path(), &seen(5)).unwrap();
        assert_eq!(read_back(&data).unwrap(), Some(seen(5)));
        assert_eq!(file::names(&folder).unwrap(), ["highest-seen"]);
        assert_eq!(io::read_to_string(old).unwrap(), seen(4).encode(), "the old file was not written to");
    }

    #[test]
    fn a_damaged_record_is_reported_and_replaced() {
        let data = TempDir::new().unwrap();
        write_in(data.path(), &seen(4)).unwrap();
        let path = data.path().join("psyops/highest-seen");
        let cut = seen(4).encode()[..46].to_owned();
        for (content, problem) in [
            ("", BadHighestSeen::OtherForm),
            (cut.as_str(), BadHighestSeen::BadLine("serial")),
            (&"x".repeat(1 << 20), BadHighestSeen::TooLong),
        ] {
            fs::write(&path, content).unwrap();
            let error = read_back(&data).unwrap_err();
            assert_eq!(error.to_string(), format!("{} is damaged: {problem}", path.display()));
        }
        write_in(data.path(), &seen(6)).unwrap();
        assert_eq!(read_back(&data).unwrap(), Some(seen(6)));
        let other = read_in(data.path(), &name("lab"), &name("node-2")).unwrap_err();
        assert_eq!(
            other.to_string(),
            format!("{} is the record of another node: node-1 of site lab", path.display())
        );
    }

    #[test]
    fn links_pipes_and_files_that_others_can_write_are_refused() {
        let data = TempDir::new().unwrap();
        write_in(data.path(), &seen(4)).unwrap();
        let path = data.path().join("psyops/highest-seen");
        let problem = || read_back(&data).unwrap_err().to_string();
        let is =
            |what: &str| format!("{} is {what}; find out who wrote to the data partition", path.display());
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(problem(), is("open to other users"));
        let target = data.path().join("target");
        fs::write(&target, seen(9).encode()).unwrap();
        for (make, what) in [
            (Box::new(|| symlink(&target, &path).unwrap()) as Box<dyn Fn()>, "a link"),
            (Box::new(|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap())), "not a file"),
        ] {
            fs::remove_file(&path).unwrap();
            make();
            let found = problem();
            // A socket cannot be opened at all.
            assert!(found == is(what) || found.starts_with("cannot open "), "{found}");
            write_in(data.path(), &seen(5)).unwrap();
            assert_eq!(read_back(&data).unwrap(), Some(seen(5)));
        }
        assert_eq!(
            fs::read_to_string(&target).unwrap(),
            seen(9).encode(),
            "nothing was written through the link"
        );
        let folder = data.path().join("psyops");
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let open = "a folder that other users can write to";
        let expected = format!("{} is {open}; find out who wrote to the data partition", folder.display());
        assert_eq!(problem(), expected);
        assert_eq!(write_in(data.path(), &seen(7)).unwrap_err().to_string(), expected);
        fs::remove_dir_all(&folder).unwrap();
        let elsewhere = TempDir::new().unwrap();
        symlink(elsewhere.path(), &folder).unwrap();
        let linked = "a link, or not a folder";
        let expected = format!("{} is {linked}; find out who wrote to the data partition", folder.display());
        assert_eq!(write_in(data.path(), &seen(7)).unwrap_err().to_string(), expected);
        assert!(file::names(elsewhere.path()).unwrap().is_empty());
    }
}
