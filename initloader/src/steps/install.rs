//! Step `install`: the seal's files in their places in the root, with their exact mode and owner.

use crate::boot::Boot;
use crate::failure::{Failure, Kind, StepError};
use crate::tree::{Permissions, Tree};
use handoff::manifest::{Entry, Required, Store};
use handoff::paths;
use handoff::trust::Trust;
use keys::seal::OpenedSeal;
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long it may take.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A file that cannot be put in place.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be put in place: {}", place.display(), errno.desc())]
pub(crate) struct InstallError {
    place: PathBuf,
    errno: Errno,
}

impl StepError for InstallError {
    fn kind(&self) -> Kind {
        Kind::Install
    }

    fn remedy(&self) -> String {
        match self.errno {
            Errno::ENOSPC => "let the site give the root's overlay more memory (overlay-size)",
            _ => "look what the root has in that place, and give the file another one in the site",
        }
        .into()
    }
}

/// The two trees that files go to: the initramfs, whose `/run` is moved into the root later, and the root.
struct Places {
    early: Tree,
    root: Tree,
}

/// Runs the step. Without a node there is nothing to install.
pub(crate) fn run(boot: &mut Boot, trust: &Trust, node: Option<&OpenedSeal>) -> Result<(), InstallError> {
    let Some(seal) = node else { return Ok(()) };
    let open =
        |path: &str| Tree::open(Path::new(path)).map_err(|errno| InstallError { place: path.into(), errno });
    let places = Places { early: open("/")?, root: open(paths::NEW_ROOT)? };
    let secret = Permissions { mode: 0o600, uid: 0, gid: 0 };
    places.put(Path::new(paths::MANIFEST), seal.manifest().encode().as_bytes(), secret)?;
    places.put(Path::new(paths::RUNNING_TRUST), trust.encode().as_bytes(), secret)?;
    let mut installed = 0_u32;
    for entry in &seal.manifest().entries {
        match install(&places, entry, seal.content(&entry.path).unwrap_or_default()) {
            Ok(true) => installed += 1,
            Ok(false) => {}
            Err(error) if entry.required == Required::Boot => return Err(error),
            Err(error) => boot.degrade(&Failure::new("install", &error)),
        }
    }
    boot.log.info(&format!("{installed} files installed in the root"));
    Ok(())
}

/// Installs one entry; says whether it has a place in the root.
fn install(places: &Places, entry: &Entry, content: &[u8]) -> Result<bool, InstallError> {
    let permissions = Permissions { mode: entry.mode, uid: entry.uid, gid: entry.gid };
    if entry.store == Store::Memory {
        let place = Path::new(paths::MEMORY_SECRETS).join(entry.path.as_str());
        places.put(&place, content, permissions)?;
    }
    match &entry.install {
        Some(place) => places.put(Path::new(place), content, permissions).map(|()| true),
        None => Ok(false),
    }
}

impl Places {
    fn put(&self, place: &Path, content: &[u8], permissions: Permissions) -> Result<(), InstallError> {
        let tree = if place.starts_with("/run") { &self.early } else { &self.root };
        tree.install(place, content, permissions).map_err(|errno| InstallError { place: place.into(), errno })
    }
}
