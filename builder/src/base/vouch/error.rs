//! Why a build does not use a package: each way in which it could be vouched for, and why that failed.

use super::index::BadIndex;
use crate::base::imported::ImportedBase;
use crate::base::locked_package::LockedPackage;
use keys::signature::BadSignature;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A part of a lock that needs to be vouched for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A package of an archive.
    Package {
        /// The name of the package.
        name: String,
        /// The version of the package.
        version: String,
    },
    /// A base that is a tar or an image.
    Base {
        /// The digest, in hexadecimal digits.
        sha256: String,
    },
}

impl Subject {
    pub(super) fn of(package: &LockedPackage) -> Self {
        Self::Package { name: package.name.clone(), version: package.version.clone() }
    }

    pub(super) fn of_base(imported: &ImportedBase) -> Self {
        Self::Base { sha256: imported.digest().to_string() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { name, version } => write!(f, "{name} {version}"),
            Self::Base { sha256 } => write!(f, "the base (sha256 {sha256})"),
        }
    }
}

/// Neither the site's signing key nor the archive's index vouches for something that a build would take.
#[derive(Debug, thiserror::Error)]
#[error(
    "neither the site's signing key ({signature}) nor the archive's index ({index}) vouches for {subject}{} in site.lock",
    and_more(*others)
)]
pub struct NotVouched {
    /// The first such part of the lock.
    pub subject: Subject,
    /// How many other parts there are.
    pub others: usize,
    /// Why no signature vouches for it.
    pub signature: NoSignature,
    /// Why no index vouches for it.
    pub index: NoIndex,
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " and 1 more".to_owned(),
        more => format!(" and {more} more"),
    }
}

/// Why the site's signing key does not vouch for a lock.
#[derive(Debug, thiserror::Error)]
pub enum NoSignature {
    /// The lock has no signature.
    #[error("{path} is missing")]
    Missing {
        /// Where the signature should be.
        path: PathBuf,
    },
    /// The signature file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the signature.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The signature is not by a key of the site, or the lock was changed.
    #[error("{path}: {source}")]
    Bad {
        /// The path of the signature.
        path: PathBuf,
        /// Why the signature is not valid.
        r#source: BadSignature,
    },
    /// The signature is valid, but for something else that the key signed.
    #[error("{path} is the signature of {says:?} instead of {expected:?}")]
    OtherSubject {
        /// The path of the signature.
        path: PathBuf,
        /// The trusted comment of the signature.
        says: String,
        /// The trusted comment of a signature of this lock.
        expected: String,
    },
}

/// Why the archive's index does not vouch for something.
#[derive(Debug, thiserror::Error)]
pub enum NoIndex {
    /// The lock was made before locks named indexes, or by a person.
    #[error("site.lock has none")]
    NotNamed,
    /// The index cannot be used.
    #[error(transparent)]
    Bad(#[from] BadIndex),
    /// The index has no package of that name.
    #[error("it does not list {name}")]
    NotListed {
        /// The name of the package.
        name: String,
    },
    /// The index has the package only in other versions, or for another architecture.
    #[error("it lists {name} as {listed}, not as {locked}")]
    OtherVersion {
        /// The name of the package.
        name: String,
        /// The versions and architectures in the index.
        listed: String,
        /// The version and architecture in the lock.
        locked: String,
    },
    /// The index has another file for that version.
    #[error("it lists another file for {name} {version}: {listed}")]
    OtherFile {
        /// The name of the package.
        name: String,
        /// The version in the lock.
        version: String,
        /// The file's size and digest in the index.
        listed: String,
    },
    /// The base is a tar or an image, which no archive lists.
    #[error("no archive lists a tar or an image")]
    IsBase,
}
