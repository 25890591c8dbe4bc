//! Packages in the store by their content: already there, or fetched, and always verified.

use super::BaseError;
use super::apt::Apt;
use super::locked_package::LockedPackage;
use super::vouch::{VouchedLock, VouchedPackage};
use crate::details::Details;
use crate::input::digest_of_file;
use crate::progress::{Goal, while_it_grows};
use crate::site::Site;
use crate::store::{Store, StoreError};
use crate::tools::{self, DPKG_DEB, ToolError};
use std::fs::{self, File};
use std::io::Seek as _;
use std::path::{Path, PathBuf};

/// Fetches the packages that the cache lacks. Does not use the network where nothing is missing.
pub(super) fn fetch(
    site: &Site,
    lock: &VouchedLock,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(), BaseError> {
    let mut missing: Vec<&LockedPackage> =
        lock.all().filter(|package| !store.deb(&package.sha256).is_file()).collect();
    missing.sort_by_key(|package| package.sha256);
    missing.dedup_by_key(|package| package.sha256);
    if missing.is_empty() {
        return Ok(());
    }
    let bytes: u64 = missing.iter().map(|package| package.size).sum();
    progress(&format!("fetching {} packages, {} MiB", missing.len(), bytes.div_ceil(1 << 20)));
    let apt = Apt::new(store, &site.packages)?;
    let scratch = store.scratch()?;
    let place = |package: &LockedPackage| scratch.path().join(package.sha256.to_string());
    let wanted: Vec<(&LockedPackage, PathBuf)> =
        missing.iter().map(|package| (*package, place(package))).collect();
    let length = |place: &Path| fs::metadata(place).map_or(0, |facts| facts.len());
    let arrived = || wanted.iter().map(|(_, place)| length(place)).sum();
    let outcome = while_it_grows(Goal::Bytes(bytes), arrived, progress, || apt.download(&wanted));
    // Packages that arrived stay in the store even if others did not arrive.
    let mut absent = Vec::new();
    for package in missing {
        let arrived = place(package);
        if !arrived.is_file() {
            absent.push(format!("{} {}", package.name, package.version));
            continue;
        }
        verify(&arrived, package)?;
        Store::publish(&arrived, &store.deb(&package.sha256))?;
    }
    match outcome {
        Ok(()) if absent.is_empty() => Ok(()),
        Err(error @ ToolError::Missing { .. }) => Err(error.into()),
        outcome => Err(not_fetched(absent.join(", "), outcome.err())),
    }
}

/// Classifies the failure by everything that apt printed: its last line only says that something failed.
fn not_fetched(packages: String, error: Option<ToolError>) -> BaseError {
    let complaint = Details::new(match error {
        Some(ToolError::Failed { complaint, .. }) => (*complaint).to_owned(),
        Some(error) => error.to_string(),
        None => "apt gave no reason".to_owned(),
    });
    let gone = complaint.contains("404") || complaint.contains("File not found");
    BaseError::Fetch { packages, complaint, gone }
}

fn verify(file: &Path, package: &LockedPackage) -> Result<(), BaseError> {
    let found = digest_of_file(file).map_err(|source| StoreError { path: file.to_owned(), source })?;
    if found == package.sha256 {
        return Ok(());
    }
    Err(BaseError::WrongDigest { package: package.name.clone(), expected: package.sha256, found })
}

/// Refuses a package that was damaged in the store, and removes it. Called before anything is made of the package.
fn check(store: &Store, package: &LockedPackage) -> Result<(), BaseError> {
    let path = store.deb(&package.sha256);
    let found = digest_of_file(&path).map_err(|source| StoreError { path: path.clone(), source })?;
    if found == package.sha256 {
        return Ok(());
    }
    fs::remove_file(&path).map_err(|source| StoreError { path, source })?;
    Err(BaseError::DamagedPackage { package: package.name.clone() })
}

/// The file tree of a package as an open tar without a name, which is gone when it is closed.
pub(super) fn file_tree(store: &Store, package: VouchedPackage<'_>) -> Result<File, BaseError> {
    tar_of(store, package, "--fsys-tarfile")
}

/// The package's control files, with the maintainer scripts, as such a tar.
pub(super) fn control_tree(store: &Store, package: VouchedPackage<'_>) -> Result<File, BaseError> {
    tar_of(store, package, "--ctrl-tarfile")
}

fn tar_of(store: &Store, package: VouchedPackage<'_>, which: &str) -> Result<File, BaseError> {
    check(store, &package)?;
    let folder = store.dir().join("tmp");
    let file_error = |source| StoreError { path: folder.clone(), source };
    let mut tar = tempfile::tempfile_in(&folder).map_err(file_error)?;
    let mut command = DPKG_DEB.command()?;
    command.arg(which).arg(store.deb(&package.sha256));
    command.stdout(tar.try_clone().map_err(file_error)?);
    tools::run_heard(&mut command, |_| ())?;
    tar.rewind().map_err(file_error)?;
    Ok(tar)
}

/// Unpacks a package's file tree into `folder`, owned by the user who runs this.
pub(super) fn unpack(store: &Store, package: VouchedPackage<'_>, folder: &Path) -> Result<(), BaseError> {
    check(store, &package)?;
    fs::create_dir_all(folder).map_err(|source| StoreError { path: folder.to_owned(), source })?;
    let mut command = DPKG_DEB.command()?;
    command.arg("--extract").arg(store.deb(&package.sha256)).arg(folder);
    tools::run(&mut command)?;
    Ok(())
}

/// The package's control file (deb-control(5)), unchanged.
pub(super) fn control(store: &Store, package: VouchedPackage<'_>) -> Result<String, BaseError> {
    check(store, &package)?;
    let mut command = DPKG_DEB.command()?;
    let output = tools::run(command.arg("--field").arg(store.deb(&package.sha256)))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_left_the_archive_is_distinguished_from_a_broken_network() {
        use std::os::unix::process::ExitStatusExt as _;
        for (said, is_gone) in [
            ("E: Failed to fetch http://x/a.deb  404  Not Found\nE: Download Failed", true),
            ("E: Failed to fetch http://x/a.deb  Could not connect\nE: Download Failed", false),
        ] {
            let (program, status) = ("apt-helper".into(), std::process::ExitStatus::from_raw(100 << 8));
            let error = ToolError::Failed { program, status, complaint: Details::new(said) };
            let BaseError::Fetch { gone, complaint, .. } = not_fetched("a 1".into(), Some(error)) else {
                panic!("another error");
            };
            assert_eq!((gone, &*complaint), (is_gone, said));
        }
    }
}
