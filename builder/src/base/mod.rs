//! The base system of a site, made from Debian's packages, a tar or an image: resolved once, locked, cached, and then
//! always the same.
//!
//! apt resolves and downloads with folders of its own, dpkg-deb opens packages, mmdebstrap installs the packages of the
//! debian base. None of them needs root, and no file of the host gets in.

mod applets;
mod apt;
mod boot;
pub mod changes;
mod debian;
mod debs;
mod error;
#[cfg(feature = "fuzzing")]
mod fuzzing;
pub mod imported;
mod index_digests;
mod init;
mod kernel;
mod leftovers;
pub mod lock;
pub mod lock_file;
pub mod locked_package;
mod micro;
mod openpgp;
mod packages;
mod sandbox;
mod variant;
pub mod vouch;

#[cfg(test)]
pub(crate) use imported::{hostile_server, resolve_reference};
#[cfg(feature = "fuzzing")]
pub(crate) use {fuzzing::text as fuzz_text, imported::manifest::fuzz as fuzz_manifest};

pub use error::BaseError;
pub use index_digests::IndexDigests;
pub use init::Init;
pub use kernel::KernelFolder;
pub use lock::Lock;
pub use lock_file::LockFile;
pub use openpgp::BadOpenPgp;
pub use vouch::VouchedLock;

use crate::next_command::psyops;
use crate::secrets::credentials::{CredentialError, Locations, load_signing_key};
use crate::secrets::key_error::KeyError;
use crate::secrets::trust::SiteAndKeys;
use crate::site::{Base, PackageSet, Site};
use crate::store::{Inputs, Step, StepName, StepOrigin, Store};
use crate::tools;
use handoff::init::InitKind;
use keys::issue::signing::SigningKey;
use locked_package::Part;
use std::path::{Path, PathBuf};
use vouch::Trusted;

/// Everything that an image takes from Debian. The files are in the store and must not be changed.
#[derive(Debug, Clone)]
pub struct BaseSystem {
    /// The lock with only the packages of this system.
    pub lock: Lock,
    /// The tar of the root's file tree, without kernel modules.
    pub tree_tar: PathBuf,
    /// The program that becomes PID 1.
    pub init: Init,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_release: String,
    /// The path of the kernel image.
    pub vmlinuz: PathBuf,
    /// The kernel modules: `lib/modules/RELEASE` with the files that depmod made.
    pub modules_dir: PathBuf,
    /// The folder of the store with kernel and modules.
    pub kernel: KernelFolder,
    /// systemd's stub for UKIs.
    pub stub: PathBuf,
    /// A static busybox, for the rescue shell.
    pub busybox: PathBuf,
    /// A static e2fsck, for the rescue shell.
    pub e2fsck: PathBuf,
    /// The rescue SSH server, if the site has one: places in the initramfs, and the files that go there.
    pub ssh_server: Vec<(String, PathBuf)>,
    /// The step that made the tree.
    pub tree_step: Step,
    /// The step that unpacked the kernel.
    pub kernel_step: Step,
    /// The step that unpacked the boot stub and the programs of rescue.
    pub boot_step: Step,
}

impl BaseSystem {
    /// The three steps that made it.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        [&self.kernel_step, &self.boot_step, &self.tree_step].into_iter()
    }

    /// The kernel as an input of a later step.
    #[must_use]
    pub fn kernel_input(&self) -> String {
        format!("{} {}", self.kernel_release, self.kernel_step.inputs.key())
    }

    /// Checks that the unpacked kernel is what was put into the store. A damaged one is removed.
    pub fn check_kernel(&self) -> Result<(), BaseError> {
        Ok(self.kernel.check()?)
    }
}

/// Makes the base system of the nodes of `site` that have this set of packages, or takes it from the store. A package
/// is only opened if the site's signing key or the archive's index vouches for it.
///
/// If the site has no lock file, one is written with packages that the archive vouches for, and signed if the signing
/// key is available.
pub fn prepare(
    site: &SiteAndKeys,
    set: &PackageSet,
    store: &Store,
    keys: &Locations,
    progress: &dyn Fn(&str),
) -> Result<BaseSystem, BaseError> {
    let _exclusive = store.lock()?;
    let trusted = Trusted::of(site)?;
    let locked = LockFile::read(site)?;
    let is_new = locked.is_none();
    let file = match locked {
        Some(file) => file,
        None => first_lock(site, &trusted, store, keys, progress)?,
    };
    let lock = file.vouched_for(site, set, &trusted, store)?;
    // Checked before fetching packages that this machine could not use.
    if site.base == Base::Debian && !tree_place(site, &lock, store)?.1.is_file() {
        debian::check_machine(site.architecture, store, site.build_time)?;
    }
    fetch(site, &lock, store, progress)?;
    let kernel = kernel::prepare(&lock, store, progress)?;
    let boot = boot::prepare(&lock, store)?;
    let (tree_tar, init, tree) = prepare_tree(site, &lock, store, progress)?;
    // Only a lock that could be built is written.
    if is_new {
        file.write()?;
    }
    Ok(BaseSystem {
        lock: lock.into_lock(),
        tree_tar,
        init,
        kernel_release: kernel.release,
        vmlinuz: kernel.vmlinuz,
        modules_dir: kernel.modules_dir,
        kernel: kernel.folder,
        stub: boot.stub,
        busybox: boot.busybox,
        e2fsck: boot.e2fsck,
        ssh_server: boot.ssh_server,
        tree_step: tree,
        kernel_step: kernel.step,
        boot_step: boot.step,
    })
}

/// Makes the lock of a site that has none. Only a person can know whether a base that is a tar or an image is right.
fn first_lock(
    site: &Site,
    trusted: &Trusted,
    store: &Store,
    keys: &Locations,
    progress: &dyn Fn(&str),
) -> Result<LockFile, BaseError> {
    let mut file = packages::resolve(site, store, progress)?;
    let lock = file.vouched(trusted, store).map_err(|error| match error {
        BaseError::NotVouched(problem) => BaseError::FirstNotVouched(problem),
        other => other,
    })?;
    // The user may not know that another person removed the lock.
    let made = format!(
        "site.lock: there was none; made with {} packages that the index of {} vouches for",
        lock.all().count(),
        site.packages.mirror
    );
    match signing_key(site, keys)? {
        Ok(key) => {
            file.sign(site, &key)?;
            let show = psyops("lock show");
            progress(&format!("{made}, signed by key {}; to list them: {show}", key.public().id()));
        }
        Err(problem) => {
            progress(&format!("{made}, not signed, so it is valid only with this store: {problem}"));
        }
    }
    // The archive may not have them any more when another node is built.
    fetch(site, &lock, store, progress)?;
    Ok(file)
}

/// The site's signing key, or why none is available. A key that is available but cannot be used is an error.
pub fn signing_key(
    site: &Site,
    keys: &Locations,
) -> Result<Result<SigningKey, CredentialError>, CredentialError> {
    match load_signing_key(site.clone(), keys) {
        Ok((_, key)) => Ok(Ok(key)),
        Err(error) if keys.signing_key.is_some() => Err(error),
        Err(CredentialError::Key(KeyError::File(error))) if error.is_missing() => {
            Ok(Err(KeyError::File(error).into()))
        }
        Err(error @ (CredentialError::Key(KeyError::NoFolder(_)) | CredentialError::NotASigner { .. })) => {
            Ok(Err(error))
        }
        Err(error) => Err(error),
    }
}

/// Fetches the files of a lock that the store lacks.
fn fetch(site: &Site, lock: &VouchedLock, store: &Store, progress: &dyn Fn(&str)) -> Result<(), BaseError> {
    if let Some(imported) = &lock.imported {
        imported::fetch(site, imported, store, progress)?;
    }
    debs::fetch(site, lock, store, progress)
}

/// The inputs of the tree, and its path in the store once it is made.
fn tree_place(site: &Site, lock: &VouchedLock, store: &Store) -> Result<(Inputs, PathBuf), BaseError> {
    let mut inputs = lock.inputs(StepName::BaseTree, Part::Base).with("base", site.base.kind());
    inputs.add("build time", site.build_time);
    let tool = match &site.base {
        Base::Micro => Some(tools::DPKG_DEB),
        Base::Debian => Some(tools::MMDEBSTRAP),
        Base::Tar(_) | Base::Oci(_) => None,
    };
    if let Some(tool) = tool {
        inputs.add(tool.name, tool.digest()?);
    }
    if let Some(imported) = &lock.imported {
        imported.add_to(&mut inputs);
    }
    let place = store.derived(site.base.kind().word(), &inputs.key(), "tar");
    Ok((inputs, place))
}

/// Makes or finds the root's file tree without kernel modules: its archive, its init, and the steps that made it.
fn prepare_tree(
    site: &Site,
    lock: &VouchedLock,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(PathBuf, Init, Step), BaseError> {
    let _step = StepName::BaseTree.begin();
    let (inputs, place) = tree_place(site, lock, store)?;
    // The init of an imported base is found in its files, once.
    let init_place = store.derived(site.base.kind().word(), &inputs.key(), "init");
    let known = Init::known(&site.base);
    let step = |inputs, origin| {
        let mut step = Step::stored(StepName::BaseTree, inputs, origin, &place);
        step.places.extend(known.is_none().then(|| init_place.clone()));
        step.logged()
    };
    if let Some(init) = known.clone().or_else(|| Init::read(&init_place)).filter(|_| place.is_file()) {
        return Ok((place.clone(), init, step(inputs, StepOrigin::Cached)));
    }
    let init = make_tree(site, lock, store, (&place, &init_place), progress)?;
    Ok((place.clone(), init, step(inputs, StepOrigin::Built)))
}

fn make_tree(
    site: &Site,
    lock: &VouchedLock,
    store: &Store,
    (place, init_place): (&Path, &Path),
    progress: &dyn Fn(&str),
) -> Result<Init, BaseError> {
    match (Init::known(&site.base), &lock.imported) {
        (Some(init), _) if init.kind == InitKind::Busybox => {
            progress("merging the packages of the micro base");
            micro::make(lock, store, site.build_time, place)?;
            Ok(init)
        }
        (Some(init), _) => {
            progress("installing the debian base (a minute or two, once for each set of packages)");
            debian::make(lock, store, site.build_time, place, progress)?;
            Ok(init)
        }
        (None, Some(imported)) => {
            progress(&format!("merging the files of {}", site.base));
            let init = imported::make(site, imported, store, place)?;
            init.write(init_place)?;
            Ok(init)
        }
        (None, None) => Err(BaseError::NotLocked { package: site.base.to_string() }),
    }
}

/// Checks that the lock file of `site`, if it has one, has the packages of all these sets. This is fast.
pub fn check_lock<'a>(site: &Site, sets: impl Iterator<Item = &'a PackageSet>) -> Result<(), BaseError> {
    let Some(file) = LockFile::read(site)? else { return Ok(()) };
    for set in sets {
        file.lock().of(site, set)?;
    }
    Ok(())
}

/// Resolves the current request of `site` at the archive. Only the store is written to.
pub fn present_lock(site: &Site, store: &Store, progress: &dyn Fn(&str)) -> Result<LockFile, BaseError> {
    let _exclusive = store.lock()?;
    packages::resolve(site, store, progress)
}

/// Replaces the lock file of `site`, if all of the lock is vouched for and its packages are in the store.
pub fn take_lock(
    site: &SiteAndKeys,
    file: &LockFile,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(), BaseError> {
    let _exclusive = store.lock()?;
    let lock = file.vouched(&Trusted::of(site)?, store)?;
    fetch(site, &lock, store, progress)?;
    file.write()
}
