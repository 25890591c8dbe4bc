//! Step `install`: writes the seal's files to their paths in the root, with their exact mode and owner.

use crate::boot::Boot;
use crate::failure::{Failure, FailureKind, StepError};
use crate::tree::{Permissions, Tree};
use handoff::fault::{Fault, FaultAction};
use handoff::loader_config::LoaderConfig;
use handoff::manifest::{Entry, RelativePath, Required, Store};
use handoff::paths;
use keys::seal::OpenedSeal;
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Errors of the step `install`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// A file of the loader's own for the running system, or one of the two trees.
    #[error("cannot write {}: {}", place.display(), errno.desc())]
    Own {
        /// The path that cannot be written.
        place: PathBuf,
        /// The kernel's error.
        errno: Errno,
    },
    /// A file of the seal.
    #[error("{path} (required = {:?}) cannot be installed at {}: {}", required.word(), place.display(), errno.desc())]
    File {
        /// The file's path in the seal.
        path: RelativePath,
        /// Whether the boot, the configuration run or neither needs the file.
        required: Required,
        /// The path in the root that cannot be written.
        place: PathBuf,
        /// The kernel's error.
        errno: Errno,
    },
}

impl StepError for InstallError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(Fault::Install)
    }

    fn remedy(&self) -> String {
        let (Self::Own { errno, .. } | Self::File { errno, .. }) = self;
        match errno {
            Errno::ENOSPC => "set a larger overlay-size in the site, so that the root's overlay has room",
            _ => "look at what the root has at that path, and set another `install` path for the file in the site",
        }
        .into()
    }
}

/// The two trees that files go to: the initramfs, whose `/run` is moved into the root later, and the root.
struct Places {
    early: Tree,
    root: Tree,
}

/// Runs the step `install`. Without a node there is nothing to install.
pub(crate) fn run(
    boot: &mut Boot,
    trust: &LoaderConfig,
    node: Option<&OpenedSeal>,
) -> Result<(), InstallError> {
    let Some(seal) = node else { return Ok(()) };
    let open = |path: &str| {
        Tree::open(Path::new(path)).map_err(|errno| InstallError::Own { place: path.into(), errno })
    };
    let places = Places { early: open("/")?, root: open(paths::NEW_ROOT)? };
    let secret = Permissions { mode: 0o600, uid: 0, gid: 0 };
    for (place, text) in [(paths::MANIFEST, seal.manifest().encode()), (paths::RUNNING_TRUST, trust.encode())]
    {
        let put = places.put(Path::new(place), text.as_bytes(), secret);
        put.map_err(|(place, errno)| InstallError::Own { place, errno })?;
    }
    let mut installed = 0_u32;
    for entry in &seal.manifest().entries {
        match install(&places, entry, seal.content(&entry.path).unwrap_or_default()) {
            Ok(true) => installed = installed.saturating_add(1),
            Ok(false) => {}
            Err((place, errno)) => {
                let (path, required) = (entry.path.clone(), entry.attributes.required);
                boot.report.missing.push(path.to_string());
                without(boot, InstallError::File { path, required, place, errno })?;
            }
        }
    }
    boot.log.info(&format!("{installed} files installed in the root"));
    Ok(())
}

/// Goes on without a file, if `required` of the file and the site's policy allow that.
fn without(boot: &mut Boot, error: InstallError) -> Result<(), InstallError> {
    let failure = Failure::new("install", &error);
    match error {
        InstallError::File { required: Required::Optional, .. } => boot.note(&failure),
        // The configuration run checks for the file, and does not begin without it.
        InstallError::File { required: Required::Run, .. } => boot.degrade(&failure),
        error => match boot.policy.action(Fault::Install) {
            FaultAction::Reboot | FaultAction::Rescue => return Err(error),
            FaultAction::Degraded | FaultAction::Repair | FaultAction::Continue => boot.degrade(&failure),
        },
    }
    Ok(())
}

/// A path that could not be written, and the kernel's error.
type NotPut = (PathBuf, Errno);

/// Installs one entry; returns whether it has a path in the root.
fn install(places: &Places, entry: &Entry, content: &[u8]) -> Result<bool, NotPut> {
    let permissions =
        Permissions { mode: entry.attributes.mode, uid: entry.attributes.uid, gid: entry.attributes.gid };
    if entry.attributes.store == Store::Memory {
        let place = Path::new(paths::MEMORY_SECRETS).join(entry.path.as_str());
        places.put(&place, content, permissions)?;
    }
    match &entry.attributes.install {
        Some(place) => places.put(Path::new(place), content, permissions).map(|()| true),
        None => Ok(false),
    }
}

impl Places {
    fn put(&self, place: &Path, content: &[u8], permissions: Permissions) -> Result<(), NotPut> {
        let tree = if place.starts_with("/run") { &self.early } else { &self.root };
        tree.install(place, content, permissions).map_err(|errno| (place.into(), errno))
    }
}
