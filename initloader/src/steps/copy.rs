//! Step `copy`: copies the seal's files into memory, for roles and commands. They do not read the stick, because its
//! files could be exchanged or damaged between the comparison and the moment of reading.
//!
//! The copy is in ramfs, which never goes to swap; tmpfs can do that only since Linux 6.4. The node's key is not in it.

use crate::boot::Boot;
use crate::failure::{FailureKind, StepError};
use crate::mounts::{self, MountError, STRANGERS_DATA};
use crate::tree::{Permissions, Tree};
use handoff::fault::Fault;
use handoff::manifest::Store;
use handoff::paths;
use keys::seal::OpenedSeal;
use nix::errno::Errno;
use nix::mount::MsFlags;
use std::path::Path;
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Errors of the step `copy`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// The file system in memory cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file cannot be written to memory.
    #[error("{path} of the seal cannot be kept in memory: {}", errno.desc())]
    File {
        /// The file's path in the seal.
        path: String,
        /// The kernel's error.
        errno: Errno,
    },
}

impl StepError for CopyError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(Fault::SecretPartition)
    }

    fn remedy(&self) -> String {
        "give the machine more memory".into()
    }
}

/// Runs the step `copy`.
pub(crate) fn run(boot: &mut Boot, seal: &OpenedSeal) -> Result<(), CopyError> {
    // An earlier attempt may have left a copy from another seal.
    while mounts::is_mounted(paths::SECRETS) {
        mounts::unmount(paths::SECRETS)?;
    }
    mounts::mount("ramfs", paths::SECRETS, "ramfs", STRANGERS_DATA, "mode=0700")?;
    let failed = |path: &str| {
        let path = path.to_owned();
        move |errno| CopyError::File { path, errno }
    };
    let tree = Tree::open(Path::new(paths::SECRETS)).map_err(failed(paths::SECRETS))?;
    let mut count = 0_u32;
    for entry in seal.manifest().stored_in(Store::Disk) {
        let permissions =
            Permissions { mode: entry.attributes.mode, uid: entry.attributes.uid, gid: entry.attributes.gid };
        let (place, content) = (Path::new("/").join(entry.path.as_str()), seal.content(&entry.path));
        tree.install(&place, content.unwrap_or_default(), permissions)
            .map_err(failed(entry.path.as_str()))?;
        count = count.saturating_add(1);
    }
    drop(tree);
    mounts::remount(paths::SECRETS, STRANGERS_DATA | MsFlags::MS_RDONLY)?;
    boot.log.info(&format!("{count} files of the seal are in memory, at {}", paths::SECRETS));
    Ok(())
}
