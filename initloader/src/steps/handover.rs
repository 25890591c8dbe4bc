//! Step `handover`: replaces the initramfs by the new root, and the loader by the root's init.

use crate::boot::Boot;
use crate::failure::{Failure, FailureKind, StepError};
use crate::mounts::{self, MountError};
use crate::process;
use crate::steps::root::MountedRoot;
use crate::{systemd, teardown};
use handoff::{marker, paths};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The kernel's magic number of ramfs (linux/magic.h), which the initramfs is in if tmpfs is not built in.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Errors of the step `handover`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    /// A mount cannot be moved.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The root directory cannot be changed.
    #[error("cannot {action}: {}", errno.desc())]
    Root {
        /// The action that failed.
        action: &'static str,
        /// The kernel's error.
        errno: Errno,
    },
    /// The init does not start, though it was checked before.
    #[error("{} does not start: {}", init.display(), errno.desc())]
    Init {
        /// The path of the init in the root.
        init: PathBuf,
        /// The kernel's error.
        errno: Errno,
    },
}

impl StepError for HandoverError {
    fn kind(&self) -> FailureKind {
        FailureKind::Handover
    }

    fn remedy(&self) -> String {
        "start the other slot; the init of this root cannot be started".into()
    }
}

/// Moves the kernel's own file systems and `/run` into the new root.
pub(crate) fn move_kernel_mounts() -> Result<(), MountError> {
    for place in ["/dev", "/proc", "/sys", "/run"] {
        let target = format!("{}{place}", paths::NEW_ROOT);
        // An image may not have these folders.
        let _ = std::fs::create_dir(&target);
        mounts::relocate(place, &target)?;
    }
    Ok(())
}

/// Runs the step `handover`: afterwards `/` is the new root, and the memory of the initramfs is free.
pub(crate) fn run() -> Result<(), HandoverError> {
    let failed = |action| move |errno| HandoverError::Root { action, errno };
    let old = File::open("/").map_err(|error| HandoverError::Root {
        action: "open the initramfs",
        errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
    })?;
    move_kernel_mounts()?;
    nix::unistd::chdir(paths::NEW_ROOT).map_err(failed("enter the new root"))?;
    empty(&old);
    let none = None::<&str>;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).map_err(failed("move the new root to /"))?;
    nix::unistd::chroot(".").map_err(failed("change the root"))?;
    nix::unistd::chdir("/").map_err(failed("enter /"))
}

/// Removes all files of the initramfs: they cannot be reached any more, but would keep their memory. Files of other
/// file systems are not removed, and nothing at all if the old root is on a disk.
fn empty(old: &File) {
    let in_memory = |kind: FsType| kind == RAMFS_MAGIC || kind == TMPFS_MAGIC;
    let (Ok(kind), Ok(metadata)) = (fstatfs(old), old.metadata()) else { return };
    if in_memory(kind.filesystem_type()) {
        teardown::remove_below(Path::new("/"), metadata.dev(), &[]);
    }
}

/// Writes the report and the log, and executes the init. Returns only if that fails.
pub(crate) fn execute(boot: &mut Boot, root: &MountedRoot) -> Result<Infallible, Failure> {
    let init = root.init.display();
    boot.log.info(&format!("outcome so far: {}", boot.report.outcome));
    boot.log.marked(marker::HANDOVER, &init.to_string());
    leave_word(boot);
    boot.stop_watchdog();
    let program = CString::new(root.init.as_os_str().as_bytes()).unwrap_or_default();
    // Words that the kernel did not understand on its command line are for the init (`single`, `emergency`).
    let mut arguments = vec![program.clone()];
    match systemd::arguments(&root.init, boot.started) {
        Ok(words) => arguments.extend(words.into_iter().filter_map(|word| CString::new(word).ok())),
        Err(error) => boot.log.error(&format!("cannot tell systemd when this boot began: {error}")),
    }
    arguments.extend(std::env::args_os().skip(1).filter_map(|word| CString::new(word.as_bytes()).ok()));
    let environment: Vec<CString> = std::env::vars_os()
        .filter_map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()).ok())
        .collect();
    let errno = process::execute(&program, &arguments, &environment);
    Err(Failure::new("handover", &HandoverError::Init { init: root.init.clone(), errno }))
}

/// Writes report and log to the files where the agent, and a person in the rescue shell, look for them.
pub(crate) fn leave_word(boot: &mut Boot) {
    for (path, text) in
        [(paths::BOOT_REPORT, boot.report.to_json() + "\n"), (paths::BOOT_LOG, boot.log.text().to_owned())]
    {
        if let Err(error) = write(path, &text) {
            boot.log.error(&format!("{path}: {error}"));
        }
    }
}

/// Writes a file in memory, so without flushing, but completely or not at all.
fn write(path: &str, text: &str) -> std::io::Result<()> {
    let temporary = format!("{path}.new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640);
    options.open(&temporary)?.write_all(text.as_bytes())?;
    std::fs::rename(&temporary, path)
}
