//! The files that a UKI needs besides the kernel: systemd's boot stub, and the programs of the rescue shell.

use super::locked_package::Part;
use super::packages::{BUSYBOX_PACKAGE, E2FSCK_PACKAGE, SSH_SERVER_PACKAGE, STUB_PACKAGE};
use super::vouch::VouchedLock;
use super::{BaseError, debs};
use crate::atomic;
use crate::store::{Step, StepName, StepOrigin, Store};
use crate::tree::LayeredTree;
use handoff::architecture::Architecture;
use std::path::PathBuf;

/// Where programs are in their packages, before and after Debian moved them to /usr.
const BUSYBOX: [&str; 2] = ["bin/busybox", "usr/bin/busybox"];
const E2FSCK: [&str; 2] = ["sbin/e2fsck.static", "usr/sbin/e2fsck.static"];

/// The programs of the SSH server in the rescue shell.
const SSH_SERVER: [&str; 2] = ["usr/sbin/dropbear", "usr/bin/dropbearkey"];
/// The libraries that the SSH server is linked with: package, folder in it above that of the architecture, file.
const SSH_SERVER_LIBRARIES: [(&str, &str, &str); 6] = [
    ("libc6", "lib", "libc.so.6"),
    ("libcrypt1", "lib", "libcrypt.so.1"),
    ("libgmp10", "usr/lib", "libgmp.so.10"),
    ("libtomcrypt1", "usr/lib", "libtomcrypt.so.1"),
    ("libtommath1", "usr/lib", "libtommath.so.1"),
    ("zlib1g", "lib", "libz.so.1"),
];

/// The SSH server: package, file in it, and its place in the initramfs, which has no merged /usr.
fn ssh_server(architecture: &Architecture) -> Vec<(&'static str, String, String)> {
    let multiarch = architecture.multiarch;
    let mut files: Vec<_> =
        SSH_SERVER.map(|file| (SSH_SERVER_PACKAGE, file.to_owned(), format!("/{file}"))).into();
    let linker = architecture.dynamic_linker;
    files.push(("libc6", format!("lib/{multiarch}/{linker}"), architecture.dynamic_linker_path.to_owned()));
    files.extend(SSH_SERVER_LIBRARIES.map(|(package, folder, file)| {
        (package, format!("{folder}/{multiarch}/{file}"), format!("/lib/{file}"))
    }));
    files
}

/// All these files, by their paths in the store.
#[derive(Debug, Clone)]
pub(super) struct BootFiles {
    pub(super) stub: PathBuf,
    pub(super) busybox: PathBuf,
    pub(super) e2fsck: PathBuf,
    pub(super) ssh_server: Vec<(String, PathBuf)>,
    pub(super) step: Step,
}

/// Extracts the files from the packages of a lock.
pub(super) fn prepare(lock: &VouchedLock, store: &Store) -> Result<BootFiles, BaseError> {
    let _step = StepName::BootPrograms.begin();
    let inputs = lock.inputs(StepName::BootPrograms, Part::Boot);
    let mut step =
        Step { name: StepName::BootPrograms, inputs, origin: StepOrigin::Cached, places: Vec::new() };
    let mut take = |name: &str, files: &[&str], kind: &str, mode| {
        let (place, origin) = take(lock, store, name, files, kind, mode)?;
        if origin == StepOrigin::Built {
            step.origin = StepOrigin::Built;
        }
        step.places.push(place.clone());
        Ok::<PathBuf, BaseError>(place)
    };
    let architecture = lock.request.architecture;
    let mut ssh_server = Vec::new();
    if lock.request.rescue_ssh {
        for (package, file, place) in self::ssh_server(architecture) {
            let kind = place.rsplit('/').next().unwrap_or(&place);
            let stored = take(package, &[&file], kind, 0o755)?;
            ssh_server.push((place, stored));
        }
    }
    let stub = format!("usr/lib/systemd/boot/efi/{}", architecture.stub);
    let stub = take(STUB_PACKAGE, &[&stub], "stub", 0o644)?;
    let busybox = take(BUSYBOX_PACKAGE, &BUSYBOX, "busybox", 0o755)?;
    let e2fsck = take(E2FSCK_PACKAGE, &E2FSCK, "e2fsck", 0o755)?;
    Ok(BootFiles { stub, busybox, e2fsck, ssh_server, step: step.logged() })
}

fn take(
    lock: &VouchedLock,
    store: &Store,
    name: &str,
    files: &[&str],
    kind: &str,
    mode: u32,
) -> Result<(PathBuf, StepOrigin), BaseError> {
    let missing = || BaseError::MissingFile { package: name.to_owned(), file: files.join(" or ") };
    let package = lock
        .vouched_packages(Part::Boot)
        .find(|package| package.name == name)
        .ok_or_else(|| BaseError::NotLocked { package: name.to_owned() })?;
    let place = store.derived(kind, &package.sha256, "");
    if Store::holds(&place) {
        return Ok((place, StepOrigin::Cached));
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
    Ok((place, StepOrigin::Built))
}
