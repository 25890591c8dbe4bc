//! An archive's signed index in the store: `InRelease` and the list of packages that it names.
//!
//! The lock names both by digest. The list is kept packed with zstd; its digest is that of its content.

use super::package_list::{self, Listed};
use super::release;
use crate::atomic::AtomicFile;
use crate::base::openpgp::{self, BadOpenPgp, ClearSigned};
use crate::input::digest_of_file;
use crate::store::{Store, StoreError};
use handoff::hash::Sha256Digest;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes that an `InRelease` may have; Debian's have 150 kB.
const MOST_RELEASE: u64 = 4 << 20;
/// How strongly lists are packed: 50 MB become 12 MB in half a second.
const PACKED: i32 = 3;

/// Which index: what a lock says of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexDigests {
    /// The digest of `InRelease`.
    pub in_release: Sha256Digest,
    /// The digest of `Packages`, unpacked.
    pub packages: Sha256Digest,
}

/// Why an index vouches for nothing.
#[derive(Debug, thiserror::Error)]
pub enum BadIndex {
    /// The store does not have it: it was made on another machine, or cleared away.
    #[error("this store does not have the archive's index that site.lock names ({0})")]
    NotStored(Sha256Digest),
    /// A file of the store cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// Its bytes are not those that its name says.
    #[error("{path} was changed in the store")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is not a signed text in the form of an archive.
    #[error("{path}: {problem}")]
    NotSigned {
        /// `InRelease`.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The signature does not do.
    #[error("{path}: {source}")]
    Signature {
        /// `InRelease`.
        path: PathBuf,
        /// Why.
        r#source: BadOpenPgp,
    },
    /// The two do not belong together.
    #[error("{path} does not name the list of packages {packages}")]
    OtherList {
        /// `InRelease`.
        path: PathBuf,
        /// The digest of `Packages`.
        packages: Sha256Digest,
    },
}

/// An index in the store, of which nothing is known yet but its digests.
#[derive(Debug)]
pub(super) struct UnverifiedIndex<'a> {
    digests: &'a IndexDigests,
    store: &'a Store,
}

/// An index whose `InRelease` a key of the archive signed. Its list of packages is verified while it is read.
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

    /// Verifies `InRelease` against the keyring, and that it names the list of packages.
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
    /// Those packages of the list that `wanted` chooses.
    pub(super) fn packages(&self, wanted: impl Fn(&Listed) -> bool) -> Result<Vec<Listed>, BadIndex> {
        let path = self.store.packed_index(&self.digests.packages);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => BadIndex::NotStored(self.digests.packages),
            // Of bytes that are not zstd's.
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                BadIndex::Damaged { path: path.clone() }
            }
            _ => BadIndex::Read { path: path.clone(), source },
        };
        let file = File::open(&path).map_err(failed)?;
        let list = zstd::stream::read::Decoder::new(file).map_err(failed)?;
        let mut found = Vec::new();
        let each = |listed: Listed| found.extend(wanted(&listed).then_some(listed));
        // A byte more than there should be is noticed by the length.
        let read = package_list::read(list, self.size.saturating_add(1), each).map_err(failed)?;
        if read == (self.size, self.digests.packages) { Ok(found) } else { Err(BadIndex::Damaged { path }) }
    }
}

/// A text of the store, if it is the one with this digest.
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

/// Puts an index into the store, as apt left it in its own folder. Nothing of it is verified here.
pub(in crate::base) fn keep(
    in_release: &Path,
    packages: &Path,
    store: &Store,
) -> Result<IndexDigests, StoreError> {
    let digest =
        |path: &Path| digest_of_file(path).map_err(|source| StoreError { path: path.to_owned(), source });
    let digests = IndexDigests { in_release: digest(in_release)?, packages: digest(packages)? };
    // Written although they may be there: one that was damaged becomes whole again.
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
