//! What an image is written to: a disk that was checked, confirmed and opened exclusively, or a file.

use super::receipt::StickFacts;
use crate::disks::confirm::{Ask, confirm};
use crate::disks::consent::Consent;
use crate::disks::content::Content;
use crate::disks::preflight::Purpose;
use crate::disks::refusal::Refusal;
use crate::disks::{Disk, open};
use crate::error::{Class, Classified, Error};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A disk or file that an image is written to.
#[derive(Debug)]
pub struct Target {
    /// Its name in messages.
    pub name: String,
    /// The file, open for reading and writing, exclusively, and for direct I/O if possible.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a device, which may have less capacity than it claims.
    pub is_disk: bool,
}

/// What will be written, for the checks of a target.
#[derive(Debug, Clone)]
pub struct Wanted<'w> {
    /// The path of the image.
    pub image: &'w Path,
    /// All files that are read meanwhile: the images of all sticks, and the files that images share.
    pub reads: Vec<&'w Path>,
    /// The id of the site.
    pub site: &'w str,
    /// The name of the node.
    pub node: &'w str,
    /// The size of the image in bytes.
    pub size: u64,
}

impl StickFacts {
    /// The facts of a disk, or of a file that is only read.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(|source| FileError { path: path.to_owned(), source })?;
        if metadata.is_file() {
            return Ok(of_plain(path, metadata.len()));
        }
        Ok(of_device(&Disk::of(path)?))
    }
}

fn of_device(disk: &Disk) -> StickFacts {
    StickFacts { model: disk.model.clone(), serial: disk.serial.clone(), file: None, capacity: disk.size }
}

/// The facts of a file used as a stick. It may end within a sector; a stick does not.
fn of_plain(path: &Path, length: u64) -> StickFacts {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
    StickFacts { model: None, serial: None, file, capacity: length / 512 * 512 }
}

/// A file could not be opened.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot open {path}: {source}")]
pub struct FileError {
    path: PathBuf,
    r#source: io::Error,
}

impl Classified for FileError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_writing(&self.source))
    }
}

/// Checks, confirms and opens a target.
pub fn open(
    path: &Path,
    wanted: &Wanted<'_>,
    consent: &Consent,
    ask: &mut Ask<'_>,
) -> Result<(Target, StickFacts), Error> {
    let failed = |source| FileError { path: path.to_owned(), source };
    let purpose = Purpose::new(wanted.image, wanted.site, wanted.node, wanted.size).map_err(failed)?;
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let (file, facts, disk) =
        if is_file { of_file(path, wanted)? } else { of_disk(path, &purpose, consent)? };
    let found = Content::of(path, &file, facts.capacity)?;
    found.preflight(path, &purpose, consent)?;
    if let Some(disk) = &disk {
        confirm(disk, &found, consent, ask)?;
    }
    past_the_cache(&file, path)?;
    let (name, size) = (path.display().to_string(), facts.capacity);
    Ok((Target { name, file, size, is_disk: !is_file }, facts))
}

/// The user named a file twice; a disk that is already open is refused by the kernel.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{path} is named twice")]
pub struct NamedTwice {
    path: String,
}

impl Classified for NamedTwice {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Refused)
    }
}

/// Checks that a target is not one of those that were opened before, under any name.
pub fn is_another<'t>(target: &Target, before: impl IntoIterator<Item = &'t Target>) -> Result<(), Error> {
    let own = identity(target)?;
    for other in before {
        if identity(other)? == own {
            return Err(NamedTwice { path: target.name.clone() }.into());
        }
    }
    Ok(())
}

fn identity(target: &Target) -> Result<(u64, u64, u64), FileError> {
    let metadata = target.file.metadata();
    let metadata = metadata.map_err(|source| FileError { path: target.name.clone().into(), source })?;
    Ok((metadata.dev(), metadata.ino(), metadata.rdev()))
}

type Opened = (File, StickFacts, Option<Disk>);

fn of_disk(path: &Path, purpose: &Purpose, consent: &Consent) -> Result<Opened, Error> {
    let disk = Disk::of(path)?;
    disk.preflight(purpose, consent)?;
    let file = open::open(&disk, false)?;
    Ok((file, of_device(&disk), Some(disk)))
}

fn of_file(path: &Path, wanted: &Wanted<'_>) -> Result<Opened, Error> {
    let failed = |source| FileError { path: path.to_owned(), source };
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    let own = file.metadata().map_err(failed)?;
    for image in &wanted.reads {
        let other = fs::metadata(image).map_err(failed)?;
        if (own.dev(), own.ino()) == (other.dev(), other.ino()) {
            return Err(Refusal::ImageDisk { path: path.to_owned(), image: image.to_path_buf() }.into());
        }
    }
    let facts = of_plain(path, own.len());
    if facts.capacity < wanted.size {
        let (path, size) = (path.to_owned(), facts.capacity);
        return Err(Refusal::TooSmall { path, size, wanted: wanted.size }.into());
    }
    Ok((file, facts, None))
}

/// From here on nothing goes through the page cache, if the file system supports that: what is read back comes from the
/// medium.
pub fn past_the_cache(file: &File, path: &Path) -> Result<(), FileError> {
    let failed = |errno: Errno| FileError { path: path.to_owned(), source: errno.into() };
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL).map_err(failed)?);
    match fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT)) {
        Ok(_) | Err(Errno::EINVAL) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_cannot_be_one_of_the_images() {
        let folder = tempfile::tempdir().unwrap();
        let [image, shared, stick] = ["image", "shared", "stick"].map(|name| folder.path().join(name));
        for file in [&image, &shared, &stick] {
            fs::write(file, [0; 4096]).unwrap();
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&shared, &link).unwrap();
        let reads = vec![image.as_path(), &shared];
        let wanted = Wanted { image: &image, reads, site: "site", node: "node", size: 4096 };
        for target in [&image, &shared, &link] {
            let error = of_file(target, &wanted).unwrap_err();
            assert_eq!(error.exit_code(), 86, "{error}");
        }
        assert_eq!(of_file(&stick, &wanted).unwrap().1.capacity, 4096);
        assert_eq!(of_file(&stick, &Wanted { size: 4608, ..wanted }).unwrap_err().exit_code(), 84);
    }
}
