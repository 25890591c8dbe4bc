//! Mounting with an error that says what was mounted where.

use handoff::paths;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount as mount2, umount2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use std::path::{Path, PathBuf};

/// For file systems that have data and no programs.
pub(crate) const DATA_ONLY: MsFlags = MsFlags::MS_NODEV.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NOEXEC);

/// For a file system that another system may have written: links in it are not followed either.
pub(crate) const STRANGERS_DATA: MsFlags =
    DATA_ONLY.union(MsFlags::from_bits_retain(nix::libc::MS_NOSYMFOLLOW));

/// A mount that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {what} at {}: {}", place.display(), errno.desc())]
pub(crate) struct MountError {
    /// The action: `mount`, `move`, `remount`...
    pub(crate) action: &'static str,
    /// The device or kind of file system.
    pub(crate) what: String,
    /// The mount point.
    pub(crate) place: PathBuf,
    /// The kernel's error.
    pub(crate) errno: Errno,
}

/// Mounts a file system of type `kind`; if only the mount point itself is missing, creates it.
pub(crate) fn mount(
    source: &str,
    place: &str,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), MountError> {
    let _ = nix::unistd::mkdir(place, Mode::from_bits_truncate(0o755));
    let options = (!options.is_empty()).then_some(options);
    mount2(Some(source), place, Some(kind), flags, options).map_err(|errno| MountError {
        action: "mount",
        what: if source == kind { kind.to_owned() } else { format!("{source} ({kind})") },
        place: place.into(),
        errno,
    })
}

/// Makes [`paths::PRIVATE`], which only root can enter, for mounts below it.
pub(crate) fn private_folder() -> Result<(), MountError> {
    let (place, mode) = (paths::PRIVATE, Mode::S_IRWXU);
    let created = match nix::unistd::mkdir(place, mode) {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    };
    let closed = created.and_then(|()| fchmodat(AT_FDCWD, place, mode, FchmodatFlags::FollowSymlink));
    closed.map_err(|errno| MountError {
        action: "make",
        what: "a private folder".into(),
        place: place.into(),
        errno,
    })
}

/// Changes the flags of a mount and its file system, without unmounting.
pub(crate) fn remount(place: &str, flags: MsFlags) -> Result<(), MountError> {
    let action = if flags.contains(MsFlags::MS_RDONLY) { "remount read-only" } else { "remount read-write" };
    let none = None::<&str>;
    mount2(none, place, none, flags | MsFlags::MS_REMOUNT, none).map_err(|errno| {
        let what = if errno == Errno::EBUSY { holders(Path::new(place)) } else { "the file system".into() };
        MountError { action, what, place: place.into(), errno }
    })
}

/// Moves a mount to another mount point.
pub(crate) fn relocate(from: &str, to: &str) -> Result<(), MountError> {
    let none = None::<&str>;
    mount2(Some(from), to, none, MsFlags::MS_MOVE, none).map_err(|errno| MountError {
        action: "move",
        what: from.to_owned(),
        place: to.into(),
        errno,
    })
}

/// Unmounts the file system at `place`; an error names the processes that use it.
pub(crate) fn unmount(place: &str) -> Result<(), MountError> {
    umount2(place, nix::mount::MntFlags::empty()).map_err(|errno| {
        let what = if errno == Errno::EBUSY { holders(Path::new(place)) } else { "the file system".into() };
        MountError { action: "unmount", what, place: place.into(), errno }
    })
}

/// Whether something is mounted at `place`: it is on another device than the folder above.
pub(crate) fn is_mounted(place: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    let path = Path::new(place);
    device(path).is_some() && device(path) != device(path.parent().unwrap_or(path))
}

/// A phrase for errors with the processes that have a file open below `place`.
fn holders(place: &Path) -> String {
    let mut found = Vec::new();
    for process in crate::sysfs::names("/proc").iter().filter(|name| name.parse::<u32>().is_ok()) {
        let folder = Path::new("/proc").join(process).join("fd");
        for descriptor in crate::sysfs::names(&folder) {
            if let Ok(target) = std::fs::read_link(folder.join(descriptor))
                && target.starts_with(place)
            {
                found.push(format!("{} (process {process})", target.display()));
            }
        }
    }
    format!(
        "the file system in which these files are open: {}",
        if found.is_empty() { "?".into() } else { found.join(", ") }
    )
}
