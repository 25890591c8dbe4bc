//! `site.lock` as a file, with the signature beside it. Its content counts only when it is vouched for
//! ([`super::vouch`]).

use super::BaseError;
use super::index_digests::IndexDigests;
use super::lock::{Lock, LockRequest};
use crate::input::read_bounded;
use crate::site::{LOCK_FILE, Site, SiteFolder};
use crate::store::Store;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the signature.
pub const LOCK_SIGNATURE_FILE: &str = "site.lock.minisig";
/// The most bytes of a lock; a lock of a thousand packages has 300 kB.
const MOST: u64 = 32 << 20;
/// The most bytes of a signature: four lines with our comments.
const MOST_OF_SIGNATURE: u64 = 4096;

/// A lock, its text, and the indexes of the archive that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    folder: SiteFolder,
    path: PathBuf,
    text: String,
    lock: Lock,
    indexes: Vec<IndexDigests>,
    /// The signature of a lock that was not written yet.
    signature: Option<String>,
}

/// The index files in the store that the lock in a site's folder names; none if the lock cannot be read.
pub fn index_places(site_dir: &Path, store: &Store) -> Vec<PathBuf> {
    let folder = SiteFolder::open(site_dir).ok();
    let file = folder.and_then(|folder| LockFile::read_in(&folder).ok().flatten());
    let places =
        |digests: &IndexDigests| [store.index(&digests.in_release), store.packed_index(&digests.packages)];
    file.iter().flat_map(LockFile::indexes).flat_map(places).collect()
}

impl LockFile {
    /// A lock for this site that was not written yet.
    pub fn new(site: &Site, lock: Lock, indexes: Vec<IndexDigests>) -> Result<Self, BaseError> {
        let path = site.dir.join(LOCK_FILE);
        let text =
            lock.encode(&indexes).map_err(|problem| BaseError::BadLock { path: path.clone(), problem })?;
        Ok(Self { folder: site.folder.clone(), path, text, lock, indexes, signature: None })
    }

    /// Reads the lock file of a site, which must fit the site's request; `None` if the site has none yet.
    pub fn read(site: &Site) -> Result<Option<Self>, BaseError> {
        let file = Self::read_any(site)?;
        if let Some(file) = &file {
            file.lock.answers(&file.path, &LockRequest::of(site))?;
        }
        Ok(file)
    }

    /// Reads the lock file whatever request it was made for.
    pub fn read_any(site: &Site) -> Result<Option<Self>, BaseError> {
        Self::read_in(&site.folder)
    }

    fn read_in(folder: &SiteFolder) -> Result<Option<Self>, BaseError> {
        let path = folder.path_of(LOCK_FILE);
        let bytes = match folder.file(LOCK_FILE).and_then(|file| read_bounded(file, MOST)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BaseError::ReadLock { path, source }),
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| BaseError::BadLock { path: path.clone(), problem: "it is not text".into() })?;
        let (lock, indexes) = Lock::decode(&path, &text)?;
        Ok(Some(Self { folder: folder.clone(), path, text, lock, indexes, signature: None }))
    }

    /// The path of the lock file, which need not exist yet.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the signature, which need not exist yet.
    #[must_use]
    pub fn signature_path(&self) -> PathBuf {
        self.path.with_file_name(LOCK_SIGNATURE_FILE)
    }

    /// The packages, for showing and comparing: a build uses [`Self::vouched_for`].
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The indexes of the archive that it names.
    #[must_use]
    pub fn indexes(&self) -> &[IndexDigests] {
        &self.indexes
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The signature: the one that was set, or that of the file.
    pub(super) fn signature(&self) -> io::Result<Vec<u8>> {
        if let Some(text) = &self.signature {
            return Ok(text.clone().into_bytes());
        }
        read_bounded(self.folder.file(LOCK_SIGNATURE_FILE)?, MOST_OF_SIGNATURE)
    }

    pub(super) fn set_signature(&mut self, signature: String) {
        self.signature = Some(signature);
    }

    /// Writes the lock, then its signature. If the lock has no signature, that of the previous lock is removed.
    ///
    /// If the write is interrupted in between, the new lock has the old signature, which is not valid for it.
    pub fn write(&self) -> Result<(), BaseError> {
        self.folder.write(LOCK_FILE, self.text.as_bytes(), 0o644)?;
        self.write_signature()
    }

    /// Writes only the signature.
    pub fn write_signature(&self) -> Result<(), BaseError> {
        let path = self.signature_path();
        match &self.signature {
            Some(text) => Ok(self.folder.write(LOCK_SIGNATURE_FILE, text.as_bytes(), 0o644)?),
            // If this is a link, the link is removed, and not the file that it leads to.
            None => match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(BaseError::RemoveSignature { path, source })
                }
                _ => Ok(()),
            },
        }
    }
}
