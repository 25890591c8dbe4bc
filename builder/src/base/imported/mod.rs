//! Imported bases: a tar or an OCI image. Their files are used unchanged, except those that belong to one machine or to
//! a running system. Kernel, boot stub and the programs of rescue come from Debian's archive, as for all bases.
//!
//! The lock has the digests. An image's layers are in the store under their digests, so a build from lock and store
//! needs neither the registry nor the folder.

mod blob;
pub mod error;
#[cfg(test)]
pub(crate) mod hostile_server;
mod http;
mod layout;
mod locked;
pub(super) mod manifest;
mod registry;
#[cfg(test)]
mod registry_tests;
#[cfg(test)]
mod tests;

pub use error::ImportError;
pub use locked::{ImportedBase, LockedLayer};
pub(super) use locked::{RawImage, RawTar};

use super::BaseError;
use super::init::{self, Init};
use crate::atomic::AtomicFile;
use crate::progress::{Goal, while_it_grows};
use crate::site::{Base, ImageSource, Site, SiteFolder, open_anywhere};
use crate::store::Store;
use crate::tree::LayeredTree;
use layout::Layout;
use registry::Registry;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

/// Folders that every running system needs; a base may lack them.
const FOLDERS: [(&str, u32); 10] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];
/// The kernel or each start fills these folders; a container's files in them are not part of the system.
const VOLATILE: [&str; 5] = ["dev/", "proc/", "run/", "sys/", "tmp/"];
/// Files that belong to one machine, or to the container that the tree was in.
const OF_ONE_MACHINE: [&str; 5] = [
    ".dockerenv",
    "etc/hostname",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
];

/// Resolves the site's base to digests, for a new lock. `None` for a base of packages.
pub(super) fn resolve(site: &Site, progress: &dyn Fn(&str)) -> Result<Option<ImportedBase>, ImportError> {
    match &site.base {
        Base::Micro | Base::Debian => Ok(None),
        Base::Tar(path) => {
            progress("reading the tar of the base");
            blob::digest(tar_of(site, path)?, &site.dir.join(path))
                .map(|(sha256, size)| Some(ImportedBase::Tar { sha256, size }))
        }
        Base::Oci(ImageSource::Registry(reference)) => {
            progress(&format!("asking the registry for {reference}"));
            manifest::resolve(&Registry::new(reference)?, site.architecture).map(Some)
        }
        Base::Oci(ImageSource::Layout { folder, tag }) => {
            manifest::resolve(&Layout::open(layout_of(site, folder)?, tag.as_deref())?, site.architecture)
                .map(Some)
        }
    }
}

/// Resolves an image in a registry, for the tests with hostile registries.
#[cfg(test)]
pub(crate) fn resolve_reference(reference: &str) -> Result<ImportedBase, BaseError> {
    let ImageSource::Registry(reference) = reference.parse().expect("a reference") else {
        panic!("{reference} is a folder")
    };
    Ok(manifest::resolve(&Registry::new(&reference)?, &handoff::architecture::X86_64)?)
}

/// Fetches the layers that the store lacks, and refuses a tar that is not the locked one.
pub(super) fn fetch(
    site: &Site,
    imported: &ImportedBase,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(), ImportError> {
    let layers = match (&site.base, imported) {
        (Base::Tar(path), ImportedBase::Tar { sha256, .. }) => {
            return check_tar(tar_of(site, path)?, &site.dir.join(path), sha256);
        }
        (_, ImportedBase::Image { layers, .. }) => layers,
        _ => return Ok(()),
    };
    let mut missing: Vec<&LockedLayer> =
        layers.iter().filter(|layer| !store.blob(&layer.sha256).is_file()).collect();
    missing.sort_by_key(|layer| layer.sha256);
    missing.dedup_by_key(|layer| layer.sha256);
    match &site.base {
        _ if missing.is_empty() => Ok(()),
        Base::Oci(ImageSource::Layout { folder, .. }) => {
            let folder = layout_of(site, folder)?;
            missing
                .iter()
                .try_for_each(|layer| blob::keep(layer, store, &|place| layout::copy(&folder, layer, place)))
        }
        Base::Oci(ImageSource::Registry(reference)) => {
            let bytes: u64 = missing.iter().map(|layer| layer.size).sum();
            progress(&format!("fetching {} layers, {} MiB", missing.len(), bytes.div_ceil(1 << 20)));
            let scratch = store.scratch()?;
            let place = |layer: &LockedLayer| scratch.path().join(layer.sha256.to_string());
            let length = |layer: &&LockedLayer| fs::metadata(place(layer)).map_or(0, |facts| facts.len());
            let arrived = || missing.iter().map(length).sum();
            while_it_grows(Goal::Bytes(bytes), arrived, progress, || {
                let registry = Registry::new(reference)?;
                missing.iter().try_for_each(|layer| {
                    registry.download(layer, &place(layer))?;
                    blob::publish(layer, &place(layer), store)
                })
            })
        }
        _ => Ok(()),
    }
}

fn check_tar(file: File, path: &Path, locked: &handoff::hash::Sha256Digest) -> Result<(), ImportError> {
    let (found, _) = blob::digest(file, path)?;
    if found == *locked {
        return Ok(());
    }
    Err(ImportError::OtherTar { path: path.to_owned(), locked: *locked, found })
}

/// Makes the tree of the base, as a tar at `place`.
pub(super) fn make(
    site: &Site,
    imported: &ImportedBase,
    store: &Store,
    place: &Path,
) -> Result<Init, BaseError> {
    let mut tree = LayeredTree::new();
    match (&site.base, imported) {
        (Base::Tar(path), ImportedBase::Tar { sha256, .. }) => {
            let file = tar_of(site, path)?;
            let path = site.dir.join(path);
            tree.add_image_layer(blob::open(file, &path, sha256, store)?, &path, &wanted)?;
        }
        (_, ImportedBase::Image { layers, .. }) => {
            for layer in layers {
                let name = PathBuf::from(format!("layer {}", layer.sha256));
                tree.add_image_layer(blob::open_kept(layer, store)?, &name, &wanted)?;
            }
        }
        // A lock that was made for another kind of base is refused earlier.
        (_, ImportedBase::Tar { .. }) => {}
    }
    let init = init::detect(&tree, site.architecture)?
        .ok_or_else(|| ImportError::NoInit { base: site.base.to_string() })?;
    complete(&mut tree)?;
    let mut file = AtomicFile::create(place)?;
    tree.write_tar(&mut file, site.build_time)?;
    file.commit()?;
    Store::remember(place)?;
    Ok(init)
}

/// Whether a path of `site.toml` points outside the site, as any reader of the file can see. The lock has the digest of
/// what it points to.
fn leads_outside(path: &Path) -> bool {
    path.is_absolute() || path.components().any(|part| part == Component::ParentDir)
}

/// Opens the site's tar. A tar within the site is opened beneath its folder.
fn tar_of(site: &Site, path: &Path) -> Result<File, ImportError> {
    let opened =
        if leads_outside(path) { open_anywhere(&site.dir.join(path)) } else { site.folder.file(path) };
    opened.map_err(|source| ImportError::Read { path: site.dir.join(path), source })
}

/// Opens the site's layout folder; all its files are opened beneath it.
fn layout_of(site: &Site, path: &Path) -> Result<SiteFolder, ImportError> {
    if !leads_outside(path) {
        return Ok(site.folder.folder(path));
    }
    let path = site.dir.join(path);
    SiteFolder::open(&path).map_err(|source| ImportError::Read { path, source })
}

/// Whether this path of the base goes into the root.
fn wanted(path: &str) -> bool {
    let volatile = VOLATILE.iter().any(|folder| path.starts_with(folder));
    !volatile && !OF_ONE_MACHINE.contains(&path) && !path.starts_with("etc/ssh/ssh_host_")
}

/// Adds the files that every system needs and a container lacks.
fn complete(tree: &mut LayeredTree) -> Result<(), BaseError> {
    for (folder, mode) in FOLDERS {
        if !tree.contains(folder) {
            tree.insert_directory(folder, mode)?;
        }
    }
    // The place where kernel modules are looked for.
    if !tree.contains("lib") {
        tree.insert_symlink("lib", "usr/lib")?;
    }
    // Empty: the node's own id is written there before init starts.
    tree.insert_file("etc/machine-id", 0o444, *b"")?;
    if tree.is_file("usr/lib/systemd/systemd-resolved") && !tree.contains("etc/resolv.conf") {
        tree.insert_symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
    }
    Ok(())
}
