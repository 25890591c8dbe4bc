//! An archive's signed index in the store: `InRelease` and the list of packages that it names.
//!
//! The lock names both by digest. The list is stored packed with zstd; its digest is that of the unpacked content.

use super::package_list::{self, Listed};
use super::release;
use crate::atomic::AtomicFile;
use crate::base::index_digests::IndexDigests;
use crate::base::openpgp::{self, BadOpenPgp, ClearSigned};
use crate::input::digest_of_file;
use crate::store::{Store, StoreError};
use handoff::hash::Sha256Digest;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes that an `InRelease` may have; that of Debian has 150 kB.
const MOST_RELEASE: u64 = 4 << 20;
/// The zstd level for lists: 50 MB become 12 MB in half a second.
const PACKED: i32 = 3;

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadIndex {
    /// The index is not in the store: it was fetched on another machine, or removed.
    #[error("the archive's index in site.lock ({0}) is not in this store")]
    NotStored(Sha256Digest),
    /// A file of the store could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The digest of a file is not the one in its name.
    #[error("{path} in the store was changed")]
    Damaged {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is not a signed text in the form that archives write.
    #[error("{path}: {problem}")]
    NotSigned {
        /// The path of `InRelease`.
        path: PathBuf,
        /// What is not valid in it.
        problem: &'static str,
    },
    /// The signature of `InRelease` is not accepted.
    #[error("{path}: {source}")]
    Signature {
        /// The path of `InRelease`.
        path: PathBuf,
        /// The error from the verifier.
        r#source: BadOpenPgp,
    },
    /// `InRelease` does not list this `Packages`.
    #[error("{path} does not list the file {packages}")]
    OtherList {
        /// The path of `InRelease`.
        path: PathBuf,
        /// The digest of `Packages` in the lock.
        packages: Sha256Digest,
    },
}

/// An index in the store, of which only the digests are known.
#[derive(Debug)]
pub(super) struct UnverifiedIndex<'a> {
    digests: &'a IndexDigests,
    store: &'a Store,
}

/// An index whose `InRelease` was signed by a key of the archive. Its list of packages is verified while it is read.
#[derive(Debug)]
pub(super) struct SignedIndex<'a> {
    digests: &'a IndexDigests,
    store: &'a Store,
    size: u64,
}

impl<'a> UnverifiedIndex<'a> {
    pub(super) fn new(digests: &'a IndexDigests, store: &'a Store) -> Self {
        Self { digests, store }
    }

    /// Verifies `InRelease` with the keyring, and that it names the list of packages.
    pub(super) fn verify(self, keyring: &Path) -> Result<SignedIndex<'a>, BadIndex> {
        let Self { digests, store } = self;
        let path = store.index(&digests.in_release);
        let text = read_bounded(&path, digests.in_release)?;
        let signed = ClearSigned::split(&text)
            .map_err(|problem| BadIndex::NotSigned { path: path.clone(), problem })?;
        openpgp::verify(&signed, keyring, store)
            .map_err(|source| BadIndex::Signature { path: path.clone(), source })?;
        let size = release::size_of_packages(&signed.text, &digests.packages)
            .ok_or(BadIndex::OtherList { path, packages: digests.packages })?;
        Ok(SignedIndex { digests, store, size })
    }
}

impl SignedIndex<'_> {
    /// The packages of the list for which `wanted` returns true.
    pub(super) fn packages(&self, wanted: impl Fn(&Listed) -> bool) -> Result<Vec<Listed>, BadIndex> {
        let path = self.store.packed_index(&self.digests.packages);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => BadIndex::NotStored(self.digests.packages),
            // Errors about bytes that are not from zstd.
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                BadIndex::Damaged { path: path.clone() }
            }
            _ => BadIndex::Read { path: path.clone(), source },
        };
        let file = File::open(&path).map_err(failed)?;
        let list = zstd::stream::read::Decoder::new(file).map_err(failed)?;
        let mut found = Vec::new();
        let each = |listed: Listed| found.extend(wanted(&listed).then_some(listed));
        // An additional byte is noticed by the length.
        let read = package_list::read(list, self.size.saturating_add(1), each).map_err(failed)?;
        if read == (self.size, self.digests.packages) { Ok(found) } else { Err(BadIndex::Damaged { path }) }
    }
}

/// Reads a text of the store, and compares it with this digest.
fn read_bounded(path: &Path, digest: Sha256Digest) -> Result<String, BadIndex> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => BadIndex::NotStored(digest),
        _ => BadIndex::Read { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_RELEASE).read_to_end(&mut bytes)).map_err(failed)?;
    if Sha256Digest::of(&bytes) != digest {
        return Err(BadIndex::Damaged { path: path.to_owned() });
    }
    String::from_utf8(bytes)
        .map_err(|_| BadIndex::NotSigned { path: path.to_owned(), problem: "it is not text" })
}

/// Copies an index from apt's own folder into the store. It is not verified here.
pub(in crate::base) fn keep(
    in_release: &Path,
    packages: &Path,
    store: &Store,
) -> Result<IndexDigests, StoreError> {
    let digest =
        |path: &Path| digest_of_file(path).map_err(|source| StoreError { path: path.to_owned(), source });
    let digests = IndexDigests { in_release: digest(in_release)?, packages: digest(packages)? };
    // Written even if the files exist: this repairs a damaged one.
    copy(in_release, &store.index(&digests.in_release), |from, to| io::copy(from, to).map(drop))?;
    copy(packages, &store.packed_index(&digests.packages), |from, to| {
        zstd::stream::copy_encode(from, to, PACKED)
    })?;
    Ok(digests)
}

fn copy(
    from: &Path,
    to: &Path,
    how: impl FnOnce(&mut File, &mut AtomicFile) -> io::Result<()>,
) -> Result<(), StoreError> {
    let failed = |source| StoreError { path: to.to_owned(), source };
    let mut file = AtomicFile::create(to).map_err(|error| failed(error.into()))?;
    File::open(from).and_then(|mut from| how(&mut from, &mut file)).map_err(failed)?;
    file.commit().map_err(|error| failed(error.into()))
}
