//! What can go wrong between a site's list of packages and its base system.

use super::applets::BadBusybox;
use super::imported::ImportError;
use super::leftovers::Leftover;
use super::sandbox::SandboxError;
use super::vouch::NotVouched;
use crate::atomic::AtomicError;
use crate::details::Details;
use crate::error::{Class, Classified};
use crate::next_command::psyops;
use crate::secrets::credentials::CredentialError;
use crate::store::StoreError;
use crate::tools::ToolError;
use crate::tree::TreeError;
use handoff::hash::Sha256Digest;
use keys::issue::signing::SigningFailed;
use std::io;
use std::path::PathBuf;

/// Why there is no base system.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum BaseError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package in the store is not what it was any more.
    #[error("the package {package} was damaged in the store, and is removed from it")]
    DamagedPackage {
        /// The package.
        package: String,
    },
    /// The lock file cannot be read.
    #[error("cannot read {path}: {source}")]
    ReadLock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// Neither the site's key nor the archive vouches for something that the build would take.
    #[error(transparent)]
    NotVouched(#[from] Box<NotVouched>),
    /// The first lock of a site, of which a person must say that it is right.
    #[error(
        "the site has no site.lock yet, and {} is not vouched for by the archive's index ({})",
        .0.subject, .0.index
    )]
    FirstNotVouched(Box<NotVouched>),
    /// The keys of the site, or the private key that would sign a lock.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A lock could not be signed.
    #[error("site.lock: {0}")]
    Signing(SigningFailed),
    /// The signature of the lock before is in the way.
    #[error("cannot remove {path}: {source}")]
    RemoveSignature {
        /// The signature.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// The lock file cannot be understood.
    #[error("{path}: {problem}")]
    BadLock {
        /// The lock file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The lock file was made for another request.
    #[error("{path} was made for {key} = {locked}, but the site says {wanted}")]
    OutdatedLock {
        /// The lock file.
        path: PathBuf,
        /// The setting that differs.
        key: &'static str,
        /// Its value then.
        locked: String,
        /// Its value now.
        wanted: String,
    },
    /// A node, or a role that it has, wants other packages than when the lock file was made.
    #[error("{path} was made before node {node} wanted just {wanted} besides what the site has")]
    OutdatedForNode {
        /// The lock file.
        path: PathBuf,
        /// The node.
        node: String,
        /// What it wants besides, each with its place.
        wanted: String,
    },
    /// There are no packages for what some nodes want.
    #[error("for node {nodes}: {source}")]
    ForNodes {
        /// The nodes.
        nodes: String,
        /// Why.
        r#source: Box<BaseError>,
    },
    /// Something is asked for that is no package, and on the micro base nothing else could be meant.
    #[error("no package is named {name}, only others that provide it")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// apt chose another version than the site pins.
    #[error("{package} is pinned to version {pinned}, but apt chose {chosen}")]
    NotThePin {
        /// The package.
        package: String,
        /// The version in the site.
        pinned: String,
        /// The version that apt chose.
        chosen: String,
    },
    /// apt does not find what the site asks for, or does not reach the archive.
    #[error("apt cannot {doing}: {source}")]
    Apt {
        /// What it was to do.
        doing: &'static str,
        /// What it said.
        r#source: ToolError,
    },
    /// apt answered something that this program does not understand.
    #[error("apt answered with a line that makes no sense here: {line:?}")]
    AptAnswer {
        /// The line.
        line: String,
    },
    /// The archive's keyring is not installed, so nothing could be trusted.
    #[error("{path} is missing: without it no package of Debian can be verified")]
    NoKeyring {
        /// Where it should be.
        path: PathBuf,
    },
    /// Packages of the lock file that are neither in the cache nor in the archive.
    #[error("cannot fetch {packages}: {complaint}")]
    Fetch {
        /// Name and version of each.
        packages: String,
        /// What apt said.
        #[source]
        complaint: Details,
        /// Whether the archive answered that it does not have them.
        gone: bool,
    },
    /// A package that is not what the lock file says.
    #[error("{package}: SHA-256 is {found}, the lock file says {expected}")]
    WrongDigest {
        /// The package.
        package: String,
        /// The digest that it should have.
        expected: Sha256Digest,
        /// The digest that it has.
        found: Sha256Digest,
    },
    /// A lock that was written before this builder took the package.
    #[error("site.lock names no package {package}, which this builder takes")]
    NotLocked {
        /// The package.
        package: String,
    },
    /// A package without the file for which it was taken.
    #[error("the package {package} has no {file}")]
    MissingFile {
        /// The package.
        package: String,
        /// The file.
        file: String,
    },
    /// A busybox whose applets cannot be read from its file.
    #[error("the {file} of the package {package} is not a busybox that this builder knows: {problem}")]
    BadBusybox {
        /// The package.
        package: String,
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: BadBusybox,
    },
    /// Maintainer scripts left what must not be in a root.
    #[error("maintainer scripts left in the root what must not be the same on all nodes: {}", listed(found))]
    Leftovers {
        /// Each file.
        found: Vec<Leftover>,
    },
    /// There is no sandbox for maintainer scripts.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The imported base.
    #[error(transparent)]
    ImportedBase(#[from] ImportError),
    /// A tool of this machine failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The file trees do not fit together.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An output could not be written.
    #[error(transparent)]
    Atomic(#[from] AtomicError),
}

impl From<SigningFailed> for BaseError {
    fn from(error: SigningFailed) -> Self {
        Self::Signing(error)
    }
}

/// How many leftovers a message names.
const MOST_NAMED: usize = 20;

fn listed(found: &[Leftover]) -> String {
    let mut lines: Vec<String> = found
        .iter()
        .take(MOST_NAMED)
        .map(|leftover| {
            let package = match leftover.makers.as_slice() {
                [] => String::new(),
                [maker] => format!("; of the package {maker}"),
                makers => format!("; of one of the packages {}", makers.join(", ")),
            };
            format!("{} ({}{package})", leftover.path.escape_debug(), leftover.find)
        })
        .collect();
    if found.len() > MOST_NAMED {
        lines.push(format!("and {} more", found.len() - MOST_NAMED));
    }
    lines.join(", ")
}

impl Classified for BaseError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::DamagedPackage { .. } => Class::Io,
            Self::ReadLock { source, .. } => Class::of_reading(source),
            Self::NotVouched(_)
            | Self::FirstNotVouched(_)
            | Self::BadLock { .. }
            | Self::OutdatedLock { .. }
            | Self::OutdatedForNode { .. }
            | Self::NoSuchName { .. }
            | Self::NotThePin { .. }
            | Self::AptAnswer { .. }
            | Self::WrongDigest { .. }
            | Self::NotLocked { .. }
            | Self::MissingFile { .. }
            | Self::BadBusybox { .. }
            | Self::Leftovers { .. } => Class::BadContent,
            Self::Signing(_) => Class::Failure,
            Self::RemoveSignature { source, .. } => Class::of_writing(source),
            Self::Apt { .. } | Self::NoKeyring { .. } | Self::Fetch { .. } => Class::Unavailable,
            Self::Store(_)
            | Self::ForNodes { .. }
            | Self::Credentials(_)
            | Self::Sandbox(_)
            | Self::ImportedBase(_)
            | Self::Tool(_)
            | Self::Tree(_)
            | Self::Atomic(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::DamagedPackage { .. } => Some("build again: it is fetched anew".into()),
            Self::NotVouched(_) => Some(format!(
                "take the archive's present packages with: {}; or, if this lock is what it should be, sign it with: {}",
                psyops("lock update"),
                psyops("lock sign")
            )),
            Self::FirstNotVouched(_) => {
                Some(format!("look at it, and confirm it with: {}", psyops("lock update")))
            }
            Self::BadLock { .. }
            | Self::OutdatedLock { .. }
            | Self::OutdatedForNode { .. }
            | Self::NotLocked { .. } => {
                Some(format!("take the archive's present packages with: {}", psyops("lock update")))
            }
            Self::NoSuchName { .. } => Some("name the package that is meant".into()),
            Self::NotThePin { .. } => {
                Some("another package needs that one: pin it too, or pin neither".into())
            }
            Self::Apt { .. } => Some(
                "check the network, and what is asked for: suite, mirror, kernel and extra under [packages] of site.toml, \
                 packages of roles and nodes; an archive has few versions of a package, and snapshot.debian.org, as \
                 mirror, those of one day"
                    .into(),
            ),
            Self::NoKeyring { .. } => Some("install it: apt-get install debian-archive-keyring".into()),
            Self::Fetch { gone: true, .. } => Some(format!(
                "the archive keeps only its newest versions: take those with: {}",
                psyops("lock update")
            )),
            Self::Fetch { .. } => Some("check the network; what was fetched already stays in the store".into()),
            Self::WrongDigest { .. } => Some("something between here and the archive changed it; try again".into()),
            Self::BadBusybox { .. } => Some(format!(
                "take another version of the package: pin one that works with busybox-static=VERSION under extra, or \
                 take the present one with: {}",
                psyops("lock update")
            )),
            Self::Leftovers { .. } => Some(format!(
                "leave out the package that makes it, or install it on the node by a role; if the file is harmless, \
                 report it: the builder then gets a rule; all packages are listed by: {}",
                psyops("lock show")
            )),
            _ => None,
        }
    }
}
