//! How a lock names an index of the archive: by digests. [`super::vouch`] verifies the index itself.

use handoff::hash::Sha256Digest;

/// The digests of an index in a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexDigests {
    /// The digest of `InRelease`.
    pub in_release: Sha256Digest,
    /// The digest of `Packages`, unpacked.
    pub packages: Sha256Digest,
}
