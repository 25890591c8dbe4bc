//! What an UKI needs besides the kernel: systemd's boot stub, and the programs of the rescue shell.

use super::lock::{Lock, LockedPackage, Part};
use super::packages::{BUSYBOX_PACKAGE, E2FSCK_PACKAGE, STUB_PACKAGE};
use super::tree::LayeredTree;
use super::{BaseError, Cache, debs};
use crate::atomic;
use std::path::PathBuf;

const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Where programs lie in their packages, before and after Debian moved it to /usr.
const BUSYBOX: [&str; 2] = ["bin/busybox", "usr/bin/busybox"];
const E2FSCK: [&str; 2] = ["sbin/e2fsck.static", "usr/sbin/e2fsck.static"];

/// All, as files in the cache.
#[derive(Debug, Clone)]
pub(super) struct BootFiles {
    pub(super) stub: PathBuf,
    pub(super) busybox: PathBuf,
    pub(super) e2fsck: PathBuf,
}

/// Takes them out of the packages of a lock.
pub(super) fn prepare(lock: &Lock, cache: &Cache) -> Result<BootFiles, BaseError> {
    Ok(BootFiles {
        stub: take(lock, cache, STUB_PACKAGE, &[STUB], "stub", 0o644)?,
        busybox: take(lock, cache, BUSYBOX_PACKAGE, &BUSYBOX, "busybox", 0o755)?,
        e2fsck: take(lock, cache, E2FSCK_PACKAGE, &E2FSCK, "e2fsck", 0o755)?,
    })
}

fn take(
    lock: &Lock,
    cache: &Cache,
    name: &str,
    files: &[&str],
    kind: &str,
    mode: u32,
) -> Result<PathBuf, BaseError> {
    let missing = || BaseError::MissingFile { package: name.to_owned(), file: files.join(" or ") };
    let package: &LockedPackage =
        lock.part(Part::Boot).find(|package| package.name == name).ok_or_else(missing)?;
    let place = cache.derived(kind, &package.sha256, "");
    if !place.is_file() {
        let mut tree = LayeredTree::new();
        let tar = debs::file_tree(cache, package)?;
        tree.add_tar_file(tar, &cache.deb(&package.sha256), &|_| true)?;
        let mut content = None;
        for file in files {
            content = content.or(tree.read(file)?);
        }
        atomic::write_file_with_mode(&place, &content.ok_or_else(missing)?, mode)?;
    }
    Ok(place)
}
