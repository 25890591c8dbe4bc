//! Where the accepted keys of a site are stored: beside the private keys, where commits to the site cannot change them.

use super::error::TrustError;
use super::key_set::KeySet;
use crate::atomic;
use crate::folders::Folder;
use crate::secrets::locations::Locations;
use crate::secrets::private_file::{folder_of, read_private};
use crate::site::{DEFAULT_NAME, has_default_site_in};
use handoff::name::Name;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, DirEntry};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The ending of the file's name, after the site's id.
pub const ACCEPTED_ENDING: &str = ".trust.toml";

/// The folders that may have the file; the signing key's folder is first.
fn folders(site: &Name, at: &Locations) -> Result<Vec<PathBuf>, TrustError> {
    let mut folders: Vec<PathBuf> = [&at.signing_key, &at.identity]
        .into_iter()
        .flatten()
        .map(|path| folder_of(path).to_owned())
        .collect();
    if at.signing_key.is_none() || at.identity.is_none() {
        folders.push(Folder::Config.of_psyops()?.join(site.as_str()));
    }
    Ok(folders)
}

/// The accepted keys, and the folder that has them.
pub(super) fn find(site: &Name, at: &Locations) -> Result<Option<(PathBuf, KeySet)>, TrustError> {
    for folder in folders(site, at)? {
        let path = file(&folder, site);
        match read_private("file of accepted keys", &path) {
            Ok(bytes) => return Ok(Some((folder, KeySet::parse(&path, &bytes)?))),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The folder for a site of which nothing was accepted so far: the first one that exists.
pub(super) fn new_folder(site: &Name, at: &Locations) -> Result<PathBuf, TrustError> {
    let folders = folders(site, at)?;
    let existing = folders.iter().find(|folder| folder.is_dir()).or(folders.last());
    Ok(existing.cloned().unwrap_or_default())
}

pub(super) fn file(folder: &Path, site: &Name) -> PathBuf {
    folder.join(format!("{site}{ACCEPTED_ENDING}"))
}

/// Stores the accepted keys.
pub(super) fn write(folder: &Path, keys: &KeySet) -> Result<(), TrustError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| TrustError::Folder { path: folder.to_owned(), source })?;
    Ok(atomic::write_file_with_mode(&file(folder, &keys.site), keys.to_text()?.as_bytes(), 0o600)?)
}

/// The ids of other sites of which keys were accepted, in the folders for this site's keys and beside them. The default
/// site does not count, because every user has it.
pub(super) fn others(site: &Name, at: &Locations) -> Result<Vec<String>, TrustError> {
    let mut folders = folders(site, at)?;
    if let Ok(all) = Folder::Config.of_psyops() {
        folders.extend(entries(&all).map(|entry| entry.path()));
    }
    Ok(ids_in(site, &folders))
}

/// Those of them whose private keys are in the same folders as this site's.
pub(super) fn others_beside_keys(site: &Name, at: &Locations) -> Result<Vec<String>, TrustError> {
    Ok(ids_in(site, &folders(site, at)?))
}

fn ids_in(site: &Name, folders: &[PathBuf]) -> Vec<String> {
    let has_default_site = Folder::Data.of_psyops().is_ok_and(|data| has_default_site_in(&data));
    let files = folders.iter().flat_map(|folder| entries(folder));
    let ids = files.filter_map(|file| {
        let id: Name = file.file_name().to_str()?.strip_suffix(ACCEPTED_ENDING)?.parse().ok()?;
        let is_default = has_default_site && id.as_str() == DEFAULT_NAME;
        (id != *site && !is_default).then(|| id.to_string())
    });
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The entries of a folder; none if it does not exist.
#[expect(clippy::disallowed_methods, reason = "the ids that are found are sorted")]
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}
