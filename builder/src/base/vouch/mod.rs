//! Who vouches for the packages of a lock. A build uses a package only when one of these vouches for it:
//!
//! - the site's signing key, with a signature over the whole of `site.lock` ([`signature`]);
//! - the archive itself, with the index that the lock names and the store has ([`index`]): `InRelease` is signed by a
//!   key
//!   of Debian's keyring, names the list of packages by digest, and that lists name, version, architecture, size and
//!   digest of the package.
//!
//! Only a [`VouchedLock`] gives packages to what opens them, and only this module makes one.

mod error;
mod index;
mod package_list;
mod release;
mod signature;

pub use error::{NoIndex, NoSignature, NotVouched, Subject};
pub use index::BadIndex;
pub(super) use index::keep as keep_index;

use super::BaseError;
use super::index_digests::IndexDigests;
use super::lock::Lock;
use super::lock_file::LockFile;
use super::locked_package::{LockedPackage, Part};
use crate::secrets::credentials::trusted_keys;
use crate::secrets::trust::SiteAndKeys;
use crate::site::{PackageSet, Site};
use crate::store::Store;
use handoff::name::Name;
use index::UnverifiedIndex;
use keys::issue::signing::{SigningFailed, SigningKey};
use keys::signature::{KeyId, PublicKey};
use package_list::Listed;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::PathBuf;

/// The keyring with the keys of Debian's archives.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The keys that may vouch for the locks of a site.
#[derive(Debug, Clone)]
pub struct Trusted {
    site: Name,
    keys: Vec<PublicKey>,
    keyring: PathBuf,
}

impl Trusted {
    /// The site's signing keys, and Debian's archive.
    pub fn of(site: &SiteAndKeys) -> Result<Self, BaseError> {
        Ok(Self { site: site.id.clone(), keys: trusted_keys(site)?, keyring: KEYRING.into() })
    }
}

/// A lock of which every part is vouched for.
#[derive(Debug, Clone)]
pub struct VouchedLock(Lock);

/// A package of a lock that is vouched for.
#[derive(Debug, Clone, Copy)]
pub(super) struct VouchedPackage<'a>(&'a LockedPackage);

impl Deref for VouchedLock {
    type Target = Lock;

    fn deref(&self) -> &Lock {
        &self.0
    }
}

impl VouchedLock {
    /// The packages of `part`, which may be opened.
    pub(super) fn vouched_packages(&self, part: Part) -> impl Iterator<Item = VouchedPackage<'_>> {
        self.0.part(part).map(VouchedPackage)
    }

    /// The lock as plain data, for code that only describes it.
    #[must_use]
    pub fn into_lock(self) -> Lock {
        self.0
    }
}

impl Deref for VouchedPackage<'_> {
    type Target = LockedPackage;

    fn deref(&self) -> &LockedPackage {
        self.0
    }
}

/// What vouches for a lock file, and the parts for which nothing does.
#[derive(Debug)]
pub struct Vouching {
    /// The key that signed the lock, or why its signature does not count.
    pub signature: Result<KeyId, NoSignature>,
    /// The parts that no index vouches for, and why; empty if the signature counts, as the indexes are then not read.
    pub unlisted: Vec<(Subject, NoIndex)>,
}

impl Vouching {
    /// Whether a build would use all of the lock.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.signature.is_ok() || self.unlisted.is_empty()
    }

    /// The first part that nothing vouches for, as an error.
    pub fn into_result(self) -> Result<(), Box<NotVouched>> {
        let Self { signature, unlisted } = self;
        let others = unlisted.len().saturating_sub(1);
        match (signature, unlisted.into_iter().next()) {
            (Ok(_), _) | (_, None) => Ok(()),
            (Err(signature), Some((subject, index))) => {
                Err(Box::new(NotVouched { subject, others, signature, index }))
            }
        }
    }
}

impl LockFile {
    /// The lock of the system with this set of packages, if every part of it is vouched for.
    pub fn vouched_for(
        &self,
        site: &Site,
        set: &PackageSet,
        trusted: &Trusted,
        store: &Store,
    ) -> Result<VouchedLock, BaseError> {
        self.vouched_part(self.lock().of(site, set)?, trusted, store)
    }

    /// The whole lock, if every part of it is vouched for.
    pub fn vouched(&self, trusted: &Trusted, store: &Store) -> Result<VouchedLock, BaseError> {
        self.vouched_part(self.lock().clone(), trusted, store)
    }

    /// The key of the site that signed the lock, or why no signature counts.
    pub fn signer(&self, trusted: &Trusted) -> Result<KeyId, NoSignature> {
        let content = self.text().as_bytes();
        signature::verify(content, self.signature(), &self.signature_path(), &trusted.site, &trusted.keys)
    }

    /// What vouches for the parts of the lock.
    #[must_use]
    pub fn vouching(&self, trusted: &Trusted, store: &Store) -> Vouching {
        self.vouching_of(self.lock(), trusted, store)
    }

    /// Signs the lock in memory. Nothing is written.
    pub fn sign(&mut self, site: &Site, key: &SigningKey) -> Result<(), SigningFailed> {
        let signature = signature::sign(self.text().as_bytes(), &site.id, key)?;
        self.set_signature(signature);
        Ok(())
    }

    fn vouched_part(&self, lock: Lock, trusted: &Trusted, store: &Store) -> Result<VouchedLock, BaseError> {
        self.vouching_of(&lock, trusted, store).into_result()?;
        Ok(VouchedLock(lock))
    }

    fn vouching_of(&self, lock: &Lock, trusted: &Trusted, store: &Store) -> Vouching {
        let signature = self.signer(trusted);
        let unlisted = match &signature {
            Ok(_) => Vec::new(),
            Err(_) => unlisted(lock, self.indexes(), trusted, store),
        };
        Vouching { signature, unlisted }
    }
}

/// The parts of a lock that none of these indexes vouches for.
fn unlisted(
    lock: &Lock,
    indexes: &[IndexDigests],
    trusted: &Trusted,
    store: &Store,
) -> Vec<(Subject, NoIndex)> {
    let mut listed: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    let mut bad = Vec::new();
    let names: BTreeSet<&str> = lock.all().map(|package| package.name.as_str()).collect();
    for digests in indexes {
        let is_locked = |listed: &Listed| names.contains(listed.name.as_str());
        let verified = UnverifiedIndex::new(digests, store).verify(&trusted.keyring);
        match verified.and_then(|index| index.packages(is_locked)) {
            Ok(packages) => {
                for one in packages {
                    listed.entry(one.name.clone()).or_default().push(one);
                }
            }
            Err(problem) => bad.push(problem),
        }
    }
    let (mut bad, mut seen) = (bad.into_iter(), BTreeSet::new());
    let mut all: Vec<(Subject, NoIndex)> = Vec::new();
    all.extend(lock.imported.as_ref().map(|imported| (Subject::of_base(imported), NoIndex::IsBase)));
    for package in lock.all() {
        let known = listed.get(&package.name).map(Vec::as_slice).unwrap_or_default();
        let Err(problem) = check_listed(package, known, indexes.is_empty()) else { continue };
        let subject = Subject::of(package);
        // A package may be taken for several parts and sets.
        if seen.insert(subject.clone()) {
            // An index that cannot be used may be the one with the package; each such index is reported once.
            all.push((subject, bad.next().map_or(problem, NoIndex::Bad)));
        }
    }
    all
}

/// Whether an index that has `known` under the package's name vouches for the package.
fn check_listed(package: &LockedPackage, known: &[Listed], none_named: bool) -> Result<(), NoIndex> {
    let name = || package.name.clone();
    if none_named {
        return Err(NoIndex::NotNamed);
    }
    if known.is_empty() {
        return Err(NoIndex::NotListed { name: name() });
    }
    let is_it =
        |listed: &&Listed| listed.version == package.version && listed.architecture == package.architecture;
    let same: Vec<&Listed> = known.iter().filter(is_it).collect();
    if same.is_empty() {
        let show = |listed: &Listed| format!("{} {}", listed.version, listed.architecture);
        return Err(NoIndex::OtherVersion {
            name: name(),
            listed: known.iter().map(show).collect::<Vec<_>>().join(", "),
            locked: format!("{} {}", package.version, package.architecture),
        });
    }
    let has_file =
        |listed: &&&Listed| listed.size == Some(package.size) && listed.sha256 == Some(package.sha256);
    if same.iter().any(|listed| has_file(&listed)) {
        return Ok(());
    }
    let show = |listed: &&Listed| {
        let digest = listed.sha256.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        let size = listed.size.map_or_else(|| "no size".to_owned(), |size| format!("{size} bytes"));
        format!("{size}, sha256 {digest}")
    };
    Err(NoIndex::OtherFile {
        name: name(),
        version: package.version.clone(),
        listed: same.iter().map(show).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests;
