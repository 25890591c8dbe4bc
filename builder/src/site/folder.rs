//! The folder of a site. All its files are opened through it, and so beneath it.
//!
//! A person who can push to a site's repository does not have its keys, and must not reach them with a symbolic link in
//! the repository: a link that leads outside is always an error. Links that stay inside are followed, except in
//! overlays and roles, whose links are data. Writing works the same way, so that a link cannot redirect it. Files of
//! version control (`.git`) are beneath the folder, but are not part of the site: writing there could start programs,
//! and reading there could reveal passwords.

use super::entry::{Entry, SiteEntryKind, entries, plain_file};
use crate::atomic::{AtomicError, AtomicFile};
use crate::beneath::{self, Links, PathProblem};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::trace;

/// The most bytes of a file of a site that are read into memory.
const MOST: u64 = 64 << 20;
/// More links than this count as a loop.
const MOST_LINKS: usize = 40;

/// The folder of a site, or a folder in it.
#[derive(Clone)]
pub struct SiteFolder {
    /// The open folder of the site.
    top: Arc<OwnedFd>,
    /// Its path, for messages.
    dir: PathBuf,
    /// The path of this folder in it; empty for the site's own folder.
    below: PathBuf,
}

impl PartialEq for SiteFolder {
    fn eq(&self, other: &Self) -> bool {
        (&self.dir, &self.below) == (&other.dir, &other.below)
    }
}

impl Eq for SiteFolder {}

impl fmt::Debug for SiteFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().fmt(f)
    }
}

impl SiteFolder {
    /// Opens the folder of a site. `dir` itself may be a link: the user named it.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(dir, flags, Mode::empty())?;
        Ok(Self { top: Arc::new(top), dir: dir.to_owned(), below: PathBuf::new() })
    }

    /// A folder in this one, which need not exist.
    #[must_use]
    pub fn folder(&self, relative: impl AsRef<Path>) -> Self {
        Self { top: Arc::clone(&self.top), dir: self.dir.clone(), below: self.below.join(relative) }
    }

    /// The path of this folder, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if self.below.as_os_str().is_empty() { self.dir.clone() } else { self.dir.join(&self.below) }
    }

    /// The path of a file in it, for messages.
    #[must_use]
    pub fn path_of(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path().join(relative)
    }

    fn open_at(&self, relative: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        beneath::open(&self.top, &self.below.join(relative), flags, Links::Inside)
            .map_err(|error| beneath::named(error, &self.dir))
    }

    /// Opens a file. Pipes and devices are errors, and are never waited for.
    pub fn file(&self, relative: impl AsRef<Path>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        trace!(path = %self.path_of(&relative).display(), "opening");
        plain_file(self.open_at(relative.as_ref(), flags)?)
    }

    /// Reads a file of at most 64 MiB.
    pub fn read(&self, relative: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let file = self.file(relative)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::new();
        // The file may grow meanwhile.
        (&file).take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(PathProblem::TooLarge { size, most: MOST }.into());
        }
        Ok(bytes)
    }

    /// Reads a text of at most 64 MiB.
    pub fn text(&self, relative: impl AsRef<Path>) -> io::Result<String> {
        String::from_utf8(self.read(relative)?).map_err(|_| PathProblem::NotText.into())
    }

    /// The kind of the file at a path, following links; `None` if there is none.
    pub fn kind(&self, relative: impl AsRef<Path>) -> io::Result<Option<SiteEntryKind>> {
        match self.open_at(relative.as_ref(), OFlags::PATH) {
            Ok(file) => Ok(Some(SiteEntryKind::of(rustix::fs::fstat(&file)?.st_mode))),
            Err(error) if is_nothing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The entries of the folder, sorted by name.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        entries(&self.open_at(Path::new(""), folder_flags())?)
    }

    /// Writes a file in one step, with missing folders above it. If there is a link at its place, the link stays, and
    /// the file inside the site that it leads to is replaced.
    pub fn write(&self, relative: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<(), AtomicError> {
        let path = self.path_of(&relative);
        let create = |source| AtomicError::Create { path: path.clone(), source };
        let (folder, name) = self.place(&self.below.join(relative)).map_err(create)?;
        match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) if SiteEntryKind::of(facts.st_mode) != SiteEntryKind::File => {
                return Err(AtomicError::NotAPlainFile { path });
            }
            _ => {}
        }
        let mut file = AtomicFile::within(folder, name, path.clone(), mode)?;
        let written = file.write_all(bytes);
        file.check(written)?;
        file.commit()
    }

    /// The folder and name of a file to be written, following links.
    fn place(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            if beneath::leads_to_version_control(&path) {
                return Err(PathProblem::VersionControl.into());
            }
            let (above, name) = match (path.parent(), path.file_name()) {
                (Some(above), Some(name)) => (above.to_owned(), name.to_owned()),
                _ => return Err(PathProblem::NotAFile { kind: "a folder" }.into()),
            };
            let folder = self.made_folder(&above)?;
            match rustix::fs::readlinkat(&folder, &name, Vec::new()) {
                Ok(target) => {
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        return Err(PathProblem::Outside { folder: self.dir.clone() }.into());
                    }
                    // The kernel resolves what precedes a `..`.
                    path = above.join(target);
                }
                Err(Errno::INVAL | Errno::NOENT) => return Ok((folder, name)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(PathProblem::Loop.into())
    }

    /// Opens a folder of the site, and makes missing folders on the way.
    fn made_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let open = || {
            let opened = beneath::open(&self.top, path, folder_flags(), Links::Inside);
            opened.map_err(|error| beneath::named(error, &self.dir))
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return open() };
        match rustix::fs::mkdirat(self.made_folder(above)?, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder as data: no link in it is followed.
    pub(crate) fn data(&self) -> io::Result<DataFolder> {
        let open = self.open_at(Path::new(""), folder_flags())?;
        Ok(DataFolder { folder: self.clone(), open })
    }

    /// Opens a file of a folder that is data.
    pub(crate) fn data_file(&self, relative: &Path) -> io::Result<File> {
        self.data()?.file(relative)
    }
}

/// A folder whose links are data, like those of overlays and roles.
#[derive(Debug)]
pub(crate) struct DataFolder {
    folder: SiteFolder,
    open: OwnedFd,
}

impl DataFolder {
    fn open_at(&self, relative: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        beneath::open(&self.open, relative, flags, Links::None)
            .map_err(|error| beneath::named(error, &self.folder.dir))
    }

    /// The entries of a folder in it, sorted by name.
    pub(crate) fn entries(&self, relative: &Path) -> io::Result<Vec<Entry>> {
        entries(&self.open_at(relative, folder_flags())?)
    }

    /// The target of a link.
    pub(crate) fn link(&self, relative: &Path) -> io::Result<PathBuf> {
        let above = self.open_at(relative.parent().unwrap_or(Path::new("")), folder_flags())?;
        let target = rustix::fs::readlinkat(above, relative.file_name().unwrap_or_default(), Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Opens a file.
    pub(crate) fn file(&self, relative: &Path) -> io::Result<File> {
        plain_file(self.open_at(relative, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?)
    }
}

/// Opens a file outside a site that the site or the user names; links are followed.
pub(crate) fn open_anywhere(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    plain_file(rustix::fs::open(path, flags, Mode::empty())?)
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY
}

/// Whether the error means that there is no such file.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A folder with a site, and a secret beside the site.
    fn sample() -> (TempDir, SiteFolder) {
        let outer = tempfile::tempdir().unwrap();
        let at = |path: &str| outer.path().join(path);
        fs::create_dir_all(at("site/files")).unwrap();
        fs::create_dir(at("keys")).unwrap();
        fs::write(at("keys/signing.key"), "secret").unwrap();
        fs::write(at("site/files/plain"), "plain").unwrap();
        symlink("../../keys/signing.key", at("site/files/out")).unwrap();
        symlink("plain", at("site/files/in")).unwrap();
        symlink("../keys", at("site/receipts")).unwrap();
        symlink("files", at("site/seals")).unwrap();
        let folder = SiteFolder::open(&at("site")).unwrap();
        (outer, folder)
    }

    #[test]
    fn a_link_out_of_the_site_is_not_read() {
        let (outer, site) = sample();
        assert_eq!(site.text("files/in").unwrap(), "plain");
        assert_eq!(site.folder("seals").text("in").unwrap(), "plain");
        let error = site.read("files/out").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "a symbolic link in the path leads out of {}; put the file itself there",
                outer.path().join("site").display()
            )
        );
        let kind = site.kind("files/out").unwrap_err().to_string();
        let entries = site.folder("receipts").entries().unwrap_err().to_string();
        assert_eq!([kind, entries], [error.to_string(), error.to_string()]);
        assert_eq!(site.kind("files/nothing").unwrap(), None);
        assert_eq!(site.kind("files/plain/below").unwrap(), None);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let (outer, site) = sample();
        mknodat(CWD, outer.path().join("site/pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        assert_eq!(site.read("pipe").unwrap_err().to_string(), "it is a pipe, not a file");
        assert_eq!(site.read("files").unwrap_err().to_string(), "it is a folder, not a file");
        let large = File::create(outer.path().join("site/large")).unwrap();
        large.set_len(1 << 40).unwrap();
        assert_eq!(
            site.read("large").unwrap_err().to_string(),
            format!("it has {} bytes; the limit is {MOST}", 1_u64 << 40)
        );
        fs::write(outer.path().join("site/binary"), [0xff]).unwrap();
        assert_eq!(site.text("binary").unwrap_err().to_string(), "it is not text (UTF-8)");
    }

    #[test]
    fn a_link_cannot_redirect_a_written_file() {
        let (outer, site) = sample();
        let at = |path: &str| outer.path().join(path);
        for path in ["files/out", "receipts/n1/stick.json", "receipts/signing.key"] {
            let error = site.write(path, b"new", 0o644).unwrap_err();
            let expected = format!(
                "cannot create {}: a symbolic link in the path leads out of {}; put the file itself there",
                at("site").join(path).display(),
                at("site").display()
            );
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(fs::read(at("keys/signing.key")).unwrap(), b"secret");
        assert!(!at("keys/n1").exists());
        site.write("seals/in", b"new", 0o600).unwrap();
        assert!(at("site/files/in").is_symlink());
        assert_eq!(fs::read(at("site/files/plain")).unwrap(), b"new");
        site.write("a/b/c", b"deep", 0o644).unwrap();
        assert_eq!(fs::read(at("site/a/b/c")).unwrap(), b"deep");
        assert!(matches!(site.write("files", b"", 0o644), Err(AtomicError::NotAPlainFile { .. })));
    }

    #[test]
    fn version_control_is_neither_read_nor_written() {
        let (outer, site) = sample();
        let at = |path: &str| outer.path().join("site").join(path);
        fs::create_dir_all(at(".git/hooks")).unwrap();
        fs::write(at(".git/config"), "password").unwrap();
        fs::create_dir_all(at("overlays")).unwrap();
        symlink("../.git", at("overlays/common")).unwrap();
        symlink("../.git/config", at("files/config")).unwrap();
        symlink("../.git/commondir", at("files/common")).unwrap();
        symlink("../.GIT", at("files/gitlink")).unwrap();
        let problem = PathProblem::VersionControl.to_string();
        for path in
            ["files/config", "overlays/common/config", ".git/config", ".Git/config", "files/../.git/config"]
        {
            assert_eq!(site.read(path).unwrap_err().to_string(), problem, "{path}");
        }
        assert_eq!(site.folder("overlays/common").data().unwrap_err().to_string(), problem);
        assert_eq!(site.folder("overlays/common").entries().unwrap_err().to_string(), problem);
        assert_eq!(site.kind("files/config").unwrap_err().to_string(), problem);
        for path in
            ["files/common", "overlays/common/hooks/post-checkout", "files/gitlink", ".hg/hgrc", ".git"]
        {
            let error = site.write(path, b"evil", 0o644).unwrap_err().to_string();
            assert_eq!(error, format!("cannot create {}: {problem}", at(path).display()));
        }
        let git: Vec<_> = SiteFolder::open(&at(".git")).unwrap().entries().unwrap();
        assert_eq!(git.iter().map(|entry| entry.name.as_os_str()).collect::<Vec<_>>(), ["config", "hooks"]);
        assert!(!at(".GIT").exists() && !at(".hg").exists());
        // Files with similar names belong to the site.
        site.write("files/.gitignore", b"x", 0o644).unwrap();
        assert_eq!(site.text("files/.gitignore").unwrap(), "x");
    }

    #[test]
    fn links_in_data_are_not_followed() {
        let (outer, site) = sample();
        symlink("/etc", outer.path().join("site/files/etc")).unwrap();
        let data = site.folder("files").data().unwrap();
        let names: Vec<_> =
            data.entries(Path::new("")).unwrap().into_iter().map(|e| (e.name, e.kind)).collect();
        let expected = [
            ("etc", SiteEntryKind::Link),
            ("in", SiteEntryKind::Link),
            ("out", SiteEntryKind::Link),
            ("plain", SiteEntryKind::File),
        ];
        assert_eq!(names, expected.map(|(name, kind)| (name.into(), kind)));
        assert_eq!(data.link(Path::new("etc")).unwrap(), Path::new("/etc"));
        for path in ["in", "out", "etc/passwd"] {
            assert_eq!(data.file(Path::new(path)).unwrap_err().to_string(), PathProblem::Loop.to_string());
        }
    }
}
