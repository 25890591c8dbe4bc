//! What an UKI needs besides the kernel: systemd's boot stub, and the programs of the rescue shell.

use super::locked_package::Part;
use super::packages::{BUSYBOX_PACKAGE, E2FSCK_PACKAGE, SSH_SERVER_PACKAGE, STUB_PACKAGE};
use super::vouch::VouchedLock;
use super::{BaseError, debs};
use crate::atomic;
use crate::store::{Origin, Step, Store};
use crate::tree::LayeredTree;
use std::path::PathBuf;

const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Where programs lie in their packages, before and after Debian moved it to /usr.
const BUSYBOX: [&str; 2] = ["bin/busybox", "usr/bin/busybox"];
const E2FSCK: [&str; 2] = ["sbin/e2fsck.static", "usr/sbin/e2fsck.static"];

/// The SSH server of rescue: package, file in it, and where it goes in the initramfs, which has no merged /usr.
const SSH_SERVER: [(&str, &str, &str); 9] = [
    (SSH_SERVER_PACKAGE, "usr/sbin/dropbear", "/usr/sbin/dropbear"),
    (SSH_SERVER_PACKAGE, "usr/bin/dropbearkey", "/usr/bin/dropbearkey"),
    ("libc6", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
    ("libc6", "lib/x86_64-linux-gnu/libc.so.6", "/lib/libc.so.6"),
    ("libcrypt1", "lib/x86_64-linux-gnu/libcrypt.so.1", "/lib/libcrypt.so.1"),
    ("libgmp10", "usr/lib/x86_64-linux-gnu/libgmp.so.10", "/lib/libgmp.so.10"),
    ("libtomcrypt1", "usr/lib/x86_64-linux-gnu/libtomcrypt.so.1", "/lib/libtomcrypt.so.1"),
    ("libtommath1", "usr/lib/x86_64-linux-gnu/libtommath.so.1", "/lib/libtommath.so.1"),
    ("zlib1g", "lib/x86_64-linux-gnu/libz.so.1", "/lib/libz.so.1"),
];

/// All, as files in the store.
#[derive(Debug, Clone)]
pub(super) struct BootFiles {
    pub(super) stub: PathBuf,
    pub(super) busybox: PathBuf,
    pub(super) e2fsck: PathBuf,
    pub(super) ssh_server: Vec<(&'static str, PathBuf)>,
    pub(super) step: Step,
}

/// Takes them out of the packages of a lock.
pub(super) fn prepare(lock: &VouchedLock, store: &Store) -> Result<BootFiles, BaseError> {
    let inputs = lock.inputs("boot programs", Part::Boot);
    let mut step = Step { name: "boot programs", inputs, origin: Origin::Kept, places: Vec::new() };
    let mut take = |name: &str, files: &[&str], kind: &str, mode| {
        let (place, origin) = take(lock, store, name, files, kind, mode)?;
        if origin == Origin::Made {
            step.origin = Origin::Made;
        }
        step.places.push(place.clone());
        Ok::<PathBuf, BaseError>(place)
    };
    let mut ssh_server = Vec::new();
    for (package, file, place) in SSH_SERVER.into_iter().filter(|_| lock.wish.rescue_ssh) {
        let kind = place.rsplit('/').next().unwrap_or(place);
        ssh_server.push((place, take(package, &[file], kind, 0o755)?));
    }
    let stub = take(STUB_PACKAGE, &[STUB], "stub", 0o644)?;
    let busybox = take(BUSYBOX_PACKAGE, &BUSYBOX, "busybox", 0o755)?;
    let e2fsck = take(E2FSCK_PACKAGE, &E2FSCK, "e2fsck", 0o755)?;
    Ok(BootFiles { stub, busybox, e2fsck, ssh_server, step })
}

fn take(
    lock: &VouchedLock,
    store: &Store,
    name: &str,
    files: &[&str],
    kind: &str,
    mode: u32,
) -> Result<(PathBuf, Origin), BaseError> {
    let missing = || BaseError::MissingFile { package: name.to_owned(), file: files.join(" or ") };
    let package = lock
        .vouched_packages(Part::Boot)
        .find(|package| package.name == name)
        .ok_or_else(|| BaseError::NotLocked { package: name.to_owned() })?;
    let place = store.derived(kind, &package.sha256, "");
    if Store::holds(&place) {
        return Ok((place, Origin::Kept));
    }
    let mut tree = LayeredTree::new();
    let tar = debs::file_tree(store, package)?;
    tree.add_tar_file(tar, &store.deb(&package.sha256), &|_| true)?;
    let mut content = None;
    for file in files {
        content = content.or(tree.read(file)?);
    }
    atomic::write_file_with_mode(&place, &content.ok_or_else(missing)?, mode)?;
    Store::remember(&place)?;
    Ok((place, Origin::Made))
}
