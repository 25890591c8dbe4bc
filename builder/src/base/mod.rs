//! The base system of a site, out of Debian's packages: resolved once, locked, cached, the same ever after.
//!
//! apt resolves and downloads with folders of its own, dpkg-deb opens packages, mmdebstrap installs where something is to
//! be installed. None of it needs root, and nothing of the host gets in.

mod apt;
mod boot;
pub mod changes;
mod debian;
mod debs;
mod error;
pub(crate) mod kernel;
pub mod lock;
mod micro;
mod packages;
pub mod tree;
mod variant;

pub use error::BaseError;
pub use lock::Lock;

use crate::site::{Base, PackageSet, Site};
use crate::store::{Origin, Step, Store};
use crate::tools;
use handoff::hash::Sha256Digest;
use lock::Part;
use std::path::PathBuf;

/// Everything that an image takes from Debian. The files lie in the store and are not to be changed.
#[derive(Debug, Clone)]
pub struct BaseSystem {
    /// Its packages, and no others of the site.
    pub lock: Lock,
    /// The root's file tree, without kernel modules.
    pub tree_tar: PathBuf,
    /// The kernel's release, as `uname -r` says it.
    pub kernel_release: String,
    /// The kernel.
    pub vmlinuz: PathBuf,
    /// Its modules: `lib/modules/RELEASE` with what depmod made.
    pub modules_dir: PathBuf,
    /// The folder of the store with both.
    pub kernel_place: PathBuf,
    /// systemd's stub for UKIs.
    pub stub: PathBuf,
    /// A static busybox, for the rescue shell.
    pub busybox: PathBuf,
    /// A static e2fsck, for the same.
    pub e2fsck: PathBuf,
    /// The SSH server of rescue, where the site wants one: places in the initramfs, and the files that go there.
    pub ssh_server: Vec<(&'static str, PathBuf)>,
    /// How it came to be.
    pub steps: Vec<Step>,
}

impl BaseSystem {
    /// The key of one of its steps.
    #[must_use]
    pub fn key_of(&self, step: &str) -> Sha256Digest {
        let found = self.steps.iter().find(|known| known.name == step);
        found.map_or_else(|| Sha256Digest::of(b""), |step| step.inputs.key())
    }

    /// Whether the unpacked kernel is what was put into the store. One that is not goes away.
    pub fn check_kernel(&self) -> Result<(), BaseError> {
        Ok(kernel::check(&self.kernel_place)?)
    }
}

/// Makes the base system of the nodes of `site` that have this set of packages, or takes it from the store. Where the
/// site has no lock file, one is written.
pub fn prepare(
    site: &Site,
    set: &PackageSet,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<BaseSystem, BaseError> {
    let _alone = store.lock()?;
    let locked = Lock::read(site)?;
    let (whole, is_new) = match locked {
        Some(lock) => (lock, false),
        None => (packages::resolve(site, store, progress)?, true),
    };
    if is_new {
        // The archive may not have them any more when another node is built.
        debs::fetch(site, whole.all(), store, progress)?;
    }
    let lock = whole.of(site, set)?;
    debs::fetch(site, lock.all(), store, progress)?;
    let kernel = kernel::prepare(&lock, store, progress)?;
    let boot = boot::prepare(&lock, store)?;
    let (tree_tar, tree) = prepare_tree(site, &lock, store, progress)?;
    // Only what could be built is recorded.
    if is_new {
        whole.write(site)?;
    }
    Ok(BaseSystem {
        lock,
        tree_tar,
        kernel_release: kernel.release,
        vmlinuz: kernel.vmlinuz,
        modules_dir: kernel.modules_dir,
        kernel_place: kernel.place,
        stub: boot.stub,
        busybox: boot.busybox,
        e2fsck: boot.e2fsck,
        ssh_server: boot.ssh_server,
        steps: vec![kernel.step, boot.step, tree],
    })
}

/// The root's file tree without kernel modules: where it lies, and how it came there.
fn prepare_tree(
    site: &Site,
    lock: &Lock,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(PathBuf, Step), BaseError> {
    let mut inputs = lock.inputs("base tree", Part::Base).with("base", site.base);
    inputs.add("build time", site.build_time);
    let tool = match site.base {
        Base::Micro => tools::DPKG_DEB,
        Base::Debian => tools::MMDEBSTRAP,
    };
    inputs.add(tool.name, tool.digest()?);
    let place = store.derived(site.base.name(), &inputs.key(), "tar");
    if place.is_file() {
        return Ok((place.clone(), Step::stored("base tree", inputs, Origin::Kept, &place)));
    }
    match site.base {
        Base::Micro => {
            progress("merging the packages of the micro base");
            micro::make(lock, store, site.build_time, &place)?;
        }
        Base::Debian => {
            progress("installing the debian base (a minute or two, once for each set of packages)");
            debian::make(lock, store, site.build_time, &place, progress)?;
        }
    }
    Ok((place.clone(), Step::stored("base tree", inputs, Origin::Made, &place)))
}

/// Whether the lock file of `site`, if it has one, knows the packages of all these sets. Takes no time.
pub fn check_lock<'a>(site: &Site, sets: impl Iterator<Item = &'a PackageSet>) -> Result<(), BaseError> {
    let Some(lock) = Lock::read(site)? else { return Ok(()) };
    for set in sets {
        lock.of(site, set)?;
    }
    Ok(())
}

/// Asks the archive for what `site` wants now. Nothing is written but to the store.
pub fn present_lock(site: &Site, store: &Store, progress: &dyn Fn(&str)) -> Result<Lock, BaseError> {
    let _alone = store.lock()?;
    packages::resolve(site, store, progress)
}

/// Replaces the lock file of `site`, when its packages are all in the store.
pub fn take_lock(site: &Site, lock: &Lock, store: &Store, progress: &dyn Fn(&str)) -> Result<(), BaseError> {
    let _alone = store.lock()?;
    debs::fetch(site, lock.all(), store, progress)?;
    lock.write(site)
}
