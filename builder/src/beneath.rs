//! Paths that must not lead out of a folder, and paths that must not lead through another user's link.
//!
//! [`open`] resolves a path beneath a folder, with `openat2(2)` and `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`, or
//! by a walk over its parts if the kernel or a seccomp filter does not have that call. The walk never lets the kernel
//! follow a link: each part is opened with `O_NOFOLLOW`, and links are read and followed here. [`parent`] is the same
//! walk for outputs, which may be anywhere: it applies the kernel's rule `protected_symlinks` (`proc_sys_fs(5)`) even
//! on machines where that is switched off.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// More links than this in one path count as a loop (as `MAXSYMLINKS` of Linux).
const MOST_LINKS: usize = 40;
/// How often `openat2` is repeated if something was renamed meanwhile (`EAGAIN`).
const TRIES: usize = 8;
/// The permission bit by which only the owner of a name may rename or remove it.
const STICKY: u32 = 0o1000;
/// Permission bits by which others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// Why a path was not followed. It is the inner error of an [`io::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// A link in the path is absolute, or has too many `..`.
    #[error("a symbolic link in the path leads out of {}; put the file itself there", folder.display())]
    Outside {
        /// The path of the folder.
        folder: PathBuf,
    },
    /// The path, or a link in it, names files of version control.
    #[error("the path leads into files of version control (such as .git), which are not part of a site")]
    VersionControl,
    /// The path has a loop, a magic link of `/proc`, or a link where none is followed.
    #[error("the path goes through a loop of symbolic links, or through a link that psyops does not follow")]
    Loop,
    /// The path is not a file.
    #[error("it is {kind}, not a file")]
    NotAFile {
        /// The kind of file, with an article.
        kind: &'static str,
    },
    /// The file is larger than any valid one.
    #[error("it has {size} bytes; the limit is {most}")]
    TooLarge {
        /// The size of the file in bytes.
        size: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// The file is not UTF-8.
    #[error("it is not text (UTF-8)")]
    NotText,
    /// The path has a link of another user in a folder where every user may write.
    #[error("{link} is a symbolic link of user {owner} in a folder where every user may write")]
    ForeignLink {
        /// The path of the link.
        link: String,
        /// The id of the link's owner.
        owner: u32,
    },
}

impl From<PathProblem> for io::Error {
    fn from(problem: PathProblem) -> Self {
        Self::new(io::ErrorKind::InvalidData, problem)
    }
}

/// The links in a path that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Links that stay beneath the folder.
    Inside,
    /// No links, not even at the end.
    None,
}

/// Folders that belong to the working copy and not to what was committed: settings and hooks in them can start
/// programs, and they may have passwords of servers.
const VERSION_CONTROL: [&str; 4] = [".git", ".hg", ".jj", ".svn"];

/// Whether a name is that of version control's own files, also on file systems that ignore case.
fn is_version_control(name: &OsStr) -> bool {
    VERSION_CONTROL.iter().any(|known| name.eq_ignore_ascii_case(known))
}

pub(crate) fn leads_to_version_control(path: &Path) -> bool {
    path.components().any(|part| is_version_control(part.as_os_str()))
}

/// Opens `path` beneath `top`. An empty path is `top` itself. The errors `EXDEV` and `ELOOP` mean that a link leads
/// outside or is not followed, `EPERM` that the path leads to version control's own files; [`named`] converts them to
/// messages.
pub(crate) fn open(top: impl AsFd, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if links == Links::Inside && leads_to_version_control(path) {
        return Err(Errno::PERM);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(&top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Filters of container engines that do not know the call return EPERM.
            Err(Errno::NOSYS | Errno::PERM) => break,
            // The kernel does not report where links lead, so each part is checked.
            Err(Errno::LOOP) if links == Links::Inside => break,
            other => return other,
        }
    }
    walk(top.as_fd(), path, flags, links)
}

/// The same without `openat2`, or with links.
fn walk(top: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut todo = parts(path).ok_or(Errno::XDEV)?;
    let mut followed = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            // The parent of the top folder is outside.
            folders.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        if links == Links::Inside && is_version_control(&part) {
            return Err(Errno::PERM);
        }
        let here = folders.last().map_or(top, AsFd::as_fd);
        if let Some(target) = link(here, &part)? {
            followed += 1;
            if links == Links::None || followed > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            todo.extend(parts(&target).ok_or(Errno::XDEV)?);
        } else if todo.is_empty() {
            return rustix::fs::openat(here, part, flags, Mode::empty());
        } else {
            let folder = rustix::fs::openat(here, part, folder_flags(), Mode::empty())?;
            folders.push(folder);
        }
    }
    rustix::fs::openat(folders.last().map_or(top, AsFd::as_fd), ".", flags, Mode::empty())
}

fn folder_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// The parts of a relative path, the last one first; `None` if the path is absolute.
fn parts(path: &Path) -> Option<Vec<OsString>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => parts.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    parts.reverse();
    Some(parts)
}

/// The target of the link at `name`; `None` if it is not a link.
fn link(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Option<PathBuf>, Errno> {
    match rustix::fs::readlinkat(folder, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error of [`open`] as a message: `folder` is the path of `top`.
pub(crate) fn named(error: Errno, folder: &Path) -> io::Error {
    match error {
        Errno::XDEV => PathProblem::Outside { folder: folder.to_owned() }.into(),
        Errno::LOOP => PathProblem::Loop.into(),
        Errno::PERM => PathProblem::VersionControl.into(),
        other => other.into(),
    }
}

/// The folder that contains `path`, following all links, including one at the end, and the name in it. That name is not
/// a link; it need not exist. Links of other users in a folder where every user may write are errors.
pub(crate) fn parent(path: &Path, me: u32) -> io::Result<(OwnedFd, OsString)> {
    let start = |path: &Path| {
        let at = if path.is_absolute() { "/" } else { "." };
        rustix::fs::openat(CWD, at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let relative = |path: &Path| parts(path.strip_prefix("/").unwrap_or(path)).unwrap_or_default();
    let (mut here, mut todo) = (start(path)?, relative(path));
    let mut followed = 0;
    while let Some(part) = todo.pop() {
        let target = match link(here.as_fd(), &part) {
            Err(Errno::NOENT) if todo.is_empty() => None,
            other => other?,
        };
        if let Some(target) = target {
            let facts = rustix::fs::statat(&here, &part, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
            if !may_follow(&rustix::fs::fstat(&here)?, &facts, me) {
                let link = part.display().to_string();
                return Err(PathProblem::ForeignLink { link, owner: facts.st_uid }.into());
            }
            followed += 1;
            if followed > MOST_LINKS {
                return Err(PathProblem::Loop.into());
            }
            if target.is_absolute() {
                here = start(&target)?;
            }
            todo.extend(relative(&target));
        } else if todo.is_empty() && part != ".." {
            return Ok((here, part));
        } else {
            here = rustix::fs::openat(&here, part, folder_flags(), Mode::empty())?;
        }
    }
    // The path is that of a folder.
    Ok((here, ".".into()))
}

/// The kernel's rule: in a sticky folder where every user may write, only links of this user and of the folder's owner
/// are followed.
fn may_follow(folder: &Stat, link: &Stat, me: u32) -> bool {
    !is_shared(folder) || link.st_uid == me || link.st_uid == folder.st_uid
}

/// Whether every user may create names in a folder, and remove only their own.
pub(crate) fn is_shared(folder: &Stat) -> bool {
    folder.st_mode & STICKY != 0 && folder.st_mode & OTHERS_WRITE & 0o002 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    fn top(folder: &Path) -> OwnedFd {
        File::open(folder).unwrap().into()
    }

    /// Both ways to open, which must agree.
    fn both(top: &OwnedFd, path: &str, links: Links) -> Result<String, Errno> {
        let read = |opened: Result<OwnedFd, Errno>| {
            let mut text = String::new();
            File::from(opened?).read_to_string(&mut text).unwrap();
            Ok(text)
        };
        let one = read(open(top, Path::new(path), OFlags::RDONLY, links));
        let other = read(walk(top.as_fd(), Path::new(path), OFlags::RDONLY, links));
        assert_eq!(one, other, "{path}");
        one
    }

    #[test]
    fn the_walk_and_the_system_call_follow_and_refuse_the_same_links() {
        let outer = tempfile::tempdir().unwrap();
        let at = |path: &str| outer.path().join(path);
        fs::create_dir_all(at("site/files/deep")).unwrap();
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("site/files/plain"), "plain").unwrap();
        symlink("plain", at("site/files/link")).unwrap();
        symlink("files", at("site/same")).unwrap();
        symlink("../../files/plain", at("site/files/deep/up")).unwrap();
        symlink("../secret", at("site/out")).unwrap();
        symlink("../..", at("site/files/top")).unwrap();
        symlink(at("secret"), at("site/absolute")).unwrap();
        symlink(at("site/files/plain"), at("site/absolute-inside")).unwrap();
        symlink("loop-b", at("site/loop-a")).unwrap();
        symlink("loop-a", at("site/loop-b")).unwrap();
        symlink("/proc/self/root", at("site/proc")).unwrap();
        let site = top(&at("site"));
        let follow = |path: &str| both(&site, path, Links::Inside);
        for path in ["files/plain", "files/link", "same/plain", "same/link", "files/deep/up", "same/deep/up"]
        {
            assert_eq!(follow(path).as_deref(), Ok("plain"), "{path}");
        }
        assert_eq!(follow("files/deep/../plain").as_deref(), Ok("plain"));
        for path in ["out", "files/top/secret", "absolute", "absolute-inside", "proc/etc/passwd", "../secret"]
        {
            assert_eq!(follow(path), Err(Errno::XDEV), "{path}");
        }
        assert_eq!(follow("loop-a"), Err(Errno::LOOP));
        assert_eq!(follow("nothing"), Err(Errno::NOENT));
        for path in ["files/link", "same/plain", "out", "loop-a"] {
            assert_eq!(both(&site, path, Links::None), Err(Errno::LOOP), "{path}");
        }
        assert_eq!(both(&site, "files/plain", Links::None).as_deref(), Ok("plain"));
        let proc = top(Path::new("/proc/self"));
        let magic = "root/etc/passwd";
        assert_eq!(both(&proc, magic, Links::Inside), Err(Errno::XDEV));
    }

    #[test]
    fn links_of_others_are_followed_where_the_kernel_would_follow_them() {
        let folder = tempfile::tempdir().unwrap();
        let like = |mode: u32, uid: u32| {
            let mut facts = rustix::fs::stat(folder.path()).unwrap();
            (facts.st_mode, facts.st_uid) = (mode, uid);
            facts
        };
        let link = |uid| like(0o777, uid);
        for (folder, owner, follows) in [
            (like(0o1777, 0), 1000, true),
            (like(0o1777, 0), 0, true),
            (like(0o1777, 0), 1001, false),
            (like(0o1777, 1001), 1001, true),
            (like(0o0777, 0), 1001, true),
            (like(0o1755, 0), 1001, true),
        ] {
            assert_eq!(may_follow(&folder, &link(owner), 1000), follows, "{owner}");
        }
    }

    #[test]
    fn the_folder_of_an_output_is_found_through_ones_own_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("images")).unwrap();
        symlink("images/real.img", at("link.img")).unwrap();
        symlink(at("images"), at("folder")).unwrap();
        let me = nix::unistd::geteuid().as_raw();
        for path in ["link.img", "folder/real.img", "images/../link.img"] {
            let (found, name) = parent(&at(path), me).unwrap();
            assert_eq!(name, "real.img", "{path}");
            let (found, images) =
                (rustix::fs::fstat(&found).unwrap(), rustix::fs::stat(at("images")).unwrap());
            assert_eq!(found.st_ino, images.st_ino, "{path}");
        }
    }
}
