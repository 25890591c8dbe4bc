//! The micro base: the file trees of a few packages, merged. No maintainer script runs and nothing is configured.
//!
//! The files that make it a system (accounts, inittab, SSH settings) come from an overlay.

use super::applets::{self, Applet};
use super::locked_package::Part;
use super::packages::BUSYBOX_PACKAGE;
use super::vouch::VouchedLock;
use super::{BaseError, debs};
use crate::atomic::AtomicFile;
use crate::store::Store;
use crate::tree::LayeredTree;
use std::path::Path;

const BUSYBOX: &str = "usr/bin/busybox";
/// Folders that every system has and that are not in any package, with their permission bits.
const FOLDERS: [(&str, u32); 26] = [
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("usr/lib", 0o755),
    ("usr/lib64", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/sbin", 0o755),
    ("usr/share", 0o755),
    ("var/cache", 0o755),
    ("var/empty", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("usr/lib/psyops", 0o755),
];
/// The links of a merged-/usr system, and two that old programs look for.
const LINKS: [(&str, &str); 7] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("var/run", "/run"),
    ("var/lock", "/run/lock"),
    ("etc/mtab", "/proc/self/mounts"),
];
/// Files of packages for desktops or for another init. Character sets are left out, too: nothing here uses them.
const LEFT_OUT: [&str; 16] = [
    "etc/default/",
    "etc/init.d/",
    "etc/network/",
    "etc/pam.d/",
    "etc/ufw/",
    "lib/systemd/",
    "usr/lib/systemd/",
    "usr/lib/sysusers.d/",
    "usr/lib/tmpfiles.d/",
    "usr/share/apport/",
    "usr/share/bug/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/openssh/",
];

/// Makes the micro base, as a tar at `place`.
pub(super) fn make(
    lock: &VouchedLock,
    store: &Store,
    build_time: u64,
    place: &Path,
) -> Result<(), BaseError> {
    let mut tree = skeleton()?;
    for package in lock.vouched_packages(Part::Base) {
        let tar = debs::file_tree(store, package)?;
        let multiarch = lock.request.architecture.multiarch;
        tree.add_tar_file(tar, &store.deb(&package.sha256), &|path| wanted(path, multiarch))?;
    }
    add_applets(&mut tree)?;
    let mut file = AtomicFile::create(place)?;
    tree.write_tar(&mut file, build_time)?;
    file.commit()?;
    Ok(Store::remember(place)?)
}

fn skeleton() -> Result<LayeredTree, BaseError> {
    let mut tree = LayeredTree::new();
    for (folder, mode) in FOLDERS {
        tree.insert_directory(folder, mode)?;
    }
    for (link, target) in LINKS {
        tree.insert_symlink(link, target)?;
    }
    Ok(tree)
}

/// Whether this path of a package goes into the base. Of documentation only the licences do: they must go with the
/// files.
fn wanted(path: &str, multiarch: &str) -> bool {
    if path.starts_with("usr/share/doc/") {
        return path.ends_with("/copyright");
    }
    let character_sets = ["lib", "usr/lib"].map(|folder| format!("{folder}/{multiarch}/gconv/"));
    let mut left_out = LEFT_OUT.into_iter().chain(character_sets.iter().map(String::as_str));
    !left_out.any(|folder| path.starts_with(folder) || Some(path) == folder.strip_suffix('/'))
}

/// Adds a link for every applet of busybox, unless another package has a program of that name in any folder.
fn add_applets(tree: &mut LayeredTree) -> Result<(), BaseError> {
    let missing = || BaseError::MissingFile { package: BUSYBOX_PACKAGE.into(), file: BUSYBOX.into() };
    let program = tree.read(BUSYBOX)?.ok_or_else(missing)?;
    let bad =
        |problem| BaseError::BadBusybox { package: BUSYBOX_PACKAGE.into(), file: BUSYBOX.into(), problem };
    for Applet { name, location } in applets::read(&program).map_err(bad)? {
        let taken = ["usr/bin", "usr/sbin"].iter().any(|folder| tree.contains(&format!("{folder}/{name}")));
        if taken || name == "busybox" {
            continue;
        }
        let folder = location.merged();
        let target = if folder == "usr/bin" { "busybox" } else { "../bin/busybox" };
        tree.insert_symlink(&format!("{folder}/{name}"), target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_stay_and_manuals_go() {
        assert!(
            wanted("usr/share/doc/libc6/copyright", "a-linux-gnu")
                && !wanted("usr/share/doc/libc6/NEWS.gz", "a-linux-gnu")
        );
        assert!(
            !wanted("usr/share/man/man1/x.1.gz", "a-linux-gnu") && !wanted("usr/share/man", "a-linux-gnu")
        );
        assert!(wanted("usr/share/mandarin", "a-linux-gnu") && wanted("bin/busybox", "a-linux-gnu"));
    }

    #[test]
    fn the_skeleton_is_merged() {
        let tree = skeleton().unwrap();
        assert_eq!(tree.link_target("lib64"), Some("usr/lib64"));
        assert_eq!(tree.metadata("tmp").unwrap().mode, 0o1777);
    }
}
