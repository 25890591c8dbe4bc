//! The base system of a site, out of Debian's packages: resolved once, locked, cached, the same ever after.
//!
//! apt resolves and downloads with folders of its own, dpkg-deb opens packages, mmdebstrap installs where something is to
//! be installed. None of it needs root, and nothing of the host gets in.

mod apt;
mod boot;
mod cache;
mod debian;
mod debs;
mod error;
mod kernel;
pub mod lock;
mod micro;
mod packages;
pub mod tree;

pub use cache::{Cache, CacheLock};
pub use error::BaseError;
pub use lock::Lock;

use crate::site::{Base, Site};
use std::path::PathBuf;

/// Everything that an image takes from Debian. The files lie in the cache and are not to be changed.
#[derive(Debug, Clone)]
pub struct BaseSystem {
    /// The packages.
    pub lock: Lock,
    /// The root's file tree, without kernel modules.
    pub tree_tar: PathBuf,
    /// The kernel's release, as `uname -r` says it.
    pub kernel_release: String,
    /// The kernel.
    pub vmlinuz: PathBuf,
    /// Its modules: `lib/modules/RELEASE` with what depmod made.
    pub modules_dir: PathBuf,
    /// systemd's stub for UKIs.
    pub stub: PathBuf,
    /// A static busybox, for the rescue shell.
    pub busybox: PathBuf,
    /// A static e2fsck, for the same.
    pub e2fsck: PathBuf,
    /// The SSH server of rescue, where the site wants one: places in the initramfs, and the files that go there.
    pub ssh_server: Vec<(&'static str, PathBuf)>,
}

/// Makes the base system of `site`, or takes it from the cache. Where the site has no lock file, one is written.
pub fn prepare(site: &Site, cache: &Cache, progress: &dyn Fn(&str)) -> Result<BaseSystem, BaseError> {
    let _alone = cache.lock()?;
    let locked = Lock::read(site)?;
    let (lock, is_new) = match locked {
        Some(lock) => (lock, false),
        None => (packages::resolve(site, cache, progress)?, true),
    };
    debs::fetch(site, &lock, cache, progress)?;
    let kernel = kernel::prepare(&lock, cache, progress)?;
    let boot = boot::prepare(&lock, cache)?;
    let tree_tar = match site.base {
        Base::Micro => micro::prepare(&lock, cache, site.build_time, progress)?,
        Base::Debian => debian::prepare(&lock, cache, site.build_time, progress)?,
    };
    // Only what could be built is recorded.
    if is_new {
        lock.write(site)?;
    }
    Ok(BaseSystem {
        lock,
        tree_tar,
        kernel_release: kernel.release,
        vmlinuz: kernel.vmlinuz,
        modules_dir: kernel.modules_dir,
        stub: boot.stub,
        busybox: boot.busybox,
        e2fsck: boot.e2fsck,
        ssh_server: boot.ssh_server,
    })
}

/// Asks the archive anew and replaces the lock file of `site`.
pub fn renew_lock(site: &Site, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Lock, BaseError> {
    let _alone = cache.lock()?;
    let lock = packages::resolve(site, cache, progress)?;
    debs::fetch(site, &lock, cache, progress)?;
    lock.write(site)?;
    Ok(lock)
}
