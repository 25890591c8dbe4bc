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

/// Why the base system could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum BaseError {
    /// Reading or writing a file of the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The digest of a package in the store is not that in the lock any more.
    #[error("the package {package} was damaged in the store and has been removed from it")]
    DamagedPackage {
        /// The package's name and version.
        package: String,
    },
    /// The lock file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    ReadLock {
        /// The path of the lock file.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// Neither the site's key nor the archive vouches for something that the build would use.
    #[error(transparent)]
    NotVouched(#[from] Box<NotVouched>),
    /// The first lock of a site has a package that the archive does not vouch for: a person must decide whether it is
    /// right.
    #[error(
        "the site has no site.lock yet, and the archive's index does not vouch for {} ({})",
        .0.subject, .0.index
    )]
    FirstNotVouched(Box<NotVouched>),
    /// The site's public keys, or the private key that would sign a lock, could not be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A lock could not be signed: the error from the signing.
    #[error("site.lock: {0}")]
    Signing(SigningFailed),
    /// The signature of the previous lock could not be removed.
    #[error("cannot remove {path}: {source}")]
    RemoveSignature {
        /// The path of the signature.
        path: PathBuf,
        /// The error from removing it.
        r#source: io::Error,
    },
    /// The lock file is not valid.
    #[error("{path}: {problem}")]
    BadLock {
        /// The path of the lock file.
        path: PathBuf,
        /// What is not valid in it, in one line.
        problem: String,
    },
    /// The lock file was made for another request than the site now has.
    #[error("{path} is out of date: it was made for {key} = {locked}, but the site has {wanted}")]
    OutdatedLock {
        /// The path of the lock file.
        path: PathBuf,
        /// The setting that differs, by its name in `site.toml`.
        key: &'static str,
        /// Its value in the lock file.
        locked: String,
        /// Its value in the site now.
        wanted: String,
    },
    /// A node, or one of its roles, wants other packages than when the lock file was made.
    #[error("{path} is out of date: node {node} now wants {wanted} besides the site's packages")]
    OutdatedForNode {
        /// The path of the lock file.
        path: PathBuf,
        /// The name of the node.
        node: String,
        /// The packages that it wants in addition, each with the file that lists it.
        wanted: String,
    },
    /// The packages that some nodes want could not be resolved.
    #[error("for node {nodes}: {source}")]
    ForNodes {
        /// The names of the nodes.
        nodes: String,
        /// The error from resolving their packages.
        r#source: Box<BaseError>,
    },
    /// No package has the requested name, though others provide it. The micro base needs the package itself.
    #[error("no package has the name {name}; other packages only provide it")]
    NoSuchName {
        /// The requested name.
        name: String,
    },
    /// apt chose another version than the site pins.
    #[error("{package} is pinned to version {pinned}, but apt chose {chosen}")]
    NotThePin {
        /// The name of the package.
        package: String,
        /// The version in the site.
        pinned: String,
        /// The version that apt chose.
        chosen: String,
    },
    /// apt did not find a package that the site asks for, or did not reach the archive.
    #[error("apt cannot {doing}: {source}")]
    Apt {
        /// What apt was run for, as a verb.
        doing: &'static str,
        /// The error from apt, with what it printed.
        r#source: ToolError,
    },
    /// apt printed a line that this program cannot parse.
    #[error("cannot parse this line of apt's output: {line:?}")]
    AptAnswer {
        /// The line as apt printed it.
        line: String,
    },
    /// The archive's keyring is not installed, so no package could be verified.
    #[error("{path} is missing: without this keyring no package of Debian can be verified")]
    NoKeyring {
        /// Where the keyring should be.
        path: PathBuf,
    },
    /// Packages of the lock file that are neither in the store nor in the archive.
    #[error("cannot fetch {packages}: {complaint}")]
    Fetch {
        /// Name and version of each.
        packages: String,
        /// What apt printed.
        #[source]
        complaint: Details,
        /// Whether the archive answered that it does not have the packages.
        gone: bool,
    },
    /// A package's digest is not the one in the lock file.
    #[error("{package}: its SHA-256 is {found}, but site.lock has {expected}")]
    WrongDigest {
        /// The name of the package.
        package: String,
        /// The digest in the lock file.
        expected: Sha256Digest,
        /// The digest of the package's file.
        found: Sha256Digest,
    },
    /// The lock file was written by a builder that did not use this package.
    #[error("site.lock has no package {package}, which every image needs")]
    NotLocked {
        /// The name of the package.
        package: String,
    },
    /// A package lacks the file that the builder needs from it.
    #[error("the package {package} has no {file}")]
    MissingFile {
        /// The name of the package.
        package: String,
        /// The file's path in the package.
        file: String,
    },
    /// The applets of a busybox cannot be read from its program file.
    #[error("the {file} of the package {package} is not a busybox that this builder supports: {problem}")]
    BadBusybox {
        /// The name of the package.
        package: String,
        /// The program's path in the package.
        file: String,
        /// Why the applets cannot be read.
        problem: BadBusybox,
    },
    /// Maintainer scripts left files that must not be in a root.
    #[error("maintainer scripts wrote files that must not be the same on all nodes: {}", listed(found))]
    Leftovers {
        /// Each file, what is in it, and the packages that may have left it.
        found: Vec<Leftover>,
    },
    /// The sandbox for maintainer scripts could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The imported base could not be resolved, fetched or unpacked.
    #[error(transparent)]
    ImportedBase(#[from] ImportError),
    /// A tool of this machine could not be run, or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The file trees of the packages contradict each other.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An output file could not be written.
    #[error(transparent)]
    Atomic(#[from] AtomicError),
}

impl From<SigningFailed> for BaseError {
    fn from(error: SigningFailed) -> Self {
        Self::Signing(error)
    }
}

/// How many leftovers a message lists.
const MOST_NAMED: usize = 20;

fn listed(found: &[Leftover]) -> String {
    let mut lines: Vec<String> = found
        .iter()
        .take(MOST_NAMED)
        .map(|leftover| {
            let package = match leftover.makers.as_slice() {
                [] => String::new(),
                [maker] => format!("; made by the package {maker}"),
                makers => format!("; made by one of the packages {}", makers.join(", ")),
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
            Self::DamagedPackage { .. } => Some("build again: the builder then fetches it again".into()),
            Self::NotVouched(_) => Some(format!(
                "to take the packages that the archive has now: {}; or, if the packages in this lock are right, sign it: {}",
                psyops("lock update"),
                psyops("lock sign")
            )),
            Self::FirstNotVouched(_) => {
                Some(format!("look at the packages and confirm them with: {}", psyops("lock update")))
            }
            Self::BadLock { .. }
            | Self::OutdatedLock { .. }
            | Self::OutdatedForNode { .. }
            | Self::NotLocked { .. } => {
                Some(format!("to take the packages that the archive has now: {}", psyops("lock update")))
            }
            Self::NoSuchName { .. } => Some("write the name of the package that you want".into()),
            Self::NotThePin { .. } => {
                Some("another package needs the version that apt chose: pin that package too, or pin neither".into())
            }
            Self::Apt { .. } => Some(
                "check the network; then check suite, mirror, kernel and extra under [packages] of site.toml, and the packages of roles and nodes. An archive keeps few versions of a package; a mirror of snapshot.debian.org has those of one day"
                    .into(),
            ),
            Self::NoKeyring { .. } => Some("install it: apt-get install debian-archive-keyring".into()),
            Self::Fetch { gone: true, .. } => Some(format!(
                "the archive keeps only its newest versions; to take them: {}",
                psyops("lock update")
            )),
            Self::Fetch { .. } => Some("check the network and build again; packages that were fetched already stay in the store".into()),
            Self::WrongDigest { .. } => Some("it was changed on the way from the archive; build again".into()),
            Self::BadBusybox { .. } => Some(format!(
                "take another version of the package: pin one that works with busybox-static=VERSION under extra, or take the archive's current version: {}",
                psyops("lock update")
            )),
            Self::Leftovers { .. } => Some(format!(
                "leave out the package that makes it, install that package on the node by a role, or remove the file by a whiteout in an overlay; if the file is harmless, report it to psyopsOS. To list all packages: {}",
                psyops("lock show")
            )),
            _ => None,
        }
    }
}
