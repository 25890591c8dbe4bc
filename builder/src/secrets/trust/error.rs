//! Why keys of a site do not count here.

use super::differences::{Change, Difference};
use crate::atomic::AtomicError;
use crate::details::Details;
use crate::error::{Class, Classified};
use crate::folders::NoFolder;
use crate::next_command::{psyops, with_site};
use crate::secrets::node_notes::NotesError;
use crate::secrets::private_file::PrivateFileError;
use crate::site::Site;
use handoff::name::Name;
use keys::identity::BadRecipient;
use keys::issue::signing::SigningFailed;
use keys::signature::BadPublicKey;
use std::io;
use std::path::{Path, PathBuf};

/// Why keys of a site do not count here.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum TrustError {
    /// The site does not say what was accepted.
    #[error("the keys of the site {site} are not those that were accepted on this workstation")]
    Differs {
        /// The site.
        site: Name,
        /// Its folder.
        dir: PathBuf,
        /// In what it differs.
        differences: Vec<Difference>,
        /// The same, to be shown.
        #[source]
        listed: Details,
    },
    /// No key was accepted so far, and the site names keys that are not this workstation's own.
    #[error("the site {site} names keys that are not this workstation's own and were not accepted on it")]
    NotOwn {
        /// The site.
        site: Name,
        /// Its folder.
        dir: PathBuf,
        /// The keys.
        differences: Vec<Difference>,
        /// The same, to be shown.
        #[source]
        listed: Details,
    },
    /// Nothing was accepted of this site, but keys of others were: it may be one of these under another id.
    #[error(
        "nothing of a site {site} was accepted on this workstation, where keys of {} were", known.join(", ")
    )]
    OtherSite {
        /// The id in `site.toml`.
        site: Name,
        /// Its folder.
        dir: PathBuf,
        /// The sites of which keys were accepted.
        known: Vec<String>,
    },
    /// Nothing can be encrypted where nothing was accepted.
    #[error("no keys of the site {site} were accepted on this workstation")]
    NothingAccepted {
        /// The site.
        site: Name,
    },
    /// The user accepts a key that is in neither set.
    #[error("{key} is nothing in which the site differs from what was accepted")]
    UnknownKey {
        /// What was typed.
        key: String,
    },
    /// What was typed could mean several things.
    #[error("{text} could mean several things")]
    Ambiguous {
        /// What was typed.
        text: String,
        /// What to type for each of them.
        #[source]
        choices: Details,
    },
    /// A file of keys makes no sense.
    #[error("{path}: {problem}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A key that is accepted is not one of its kind.
    #[error("cannot accept {key}: {problem}")]
    BadKey {
        /// What the site says.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The accepted keys cannot be written as TOML.
    #[error("cannot write the accepted keys as TOML: {0}")]
    Encode(toml::ser::Error),
    /// A file of the site cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// The folder for the accepted keys cannot be made.
    #[error("cannot create the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// The accepted keys are not private.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// The user has no folder for keys.
    #[error(transparent)]
    NoFolder(#[from] NoFolder),
    /// They cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// The notes about nodes cannot be read or written.
    #[error(transparent)]
    Notes(#[from] NotesError),
    /// They cannot be signed.
    #[error(transparent)]
    Sign(#[from] SigningFailed),
    /// A recipient in `site.toml` is not one.
    #[error("site.toml, admin recipients: {0}")]
    SiteRecipient(BadRecipient),
    /// A signing key in `site.toml` is not one.
    #[error("site.toml, signing keys: {0}")]
    SiteSigningKey(BadPublicKey),
}

impl From<BadPublicKey> for TrustError {
    fn from(error: BadPublicKey) -> Self {
        Self::SiteSigningKey(error)
    }
}

impl From<BadRecipient> for TrustError {
    fn from(error: BadRecipient) -> Self {
        Self::SiteRecipient(error)
    }
}

impl TrustError {
    /// The site differs from what was accepted.
    pub(super) fn differs(site: &Site, differences: Vec<Difference>) -> Self {
        let listed = Details::listed(&differences);
        Self::Differs { site: site.id.clone(), dir: site.dir.clone(), differences, listed }
    }

    /// Keys of other sites were accepted, and none of this one.
    pub(super) fn other_site(site: &Site, known: Vec<String>) -> Self {
        Self::OtherSite { site: site.id.clone(), dir: site.dir.clone(), known }
    }

    /// The site names keys of others.
    pub(super) fn not_own(site: &Site, differences: Vec<Difference>) -> Self {
        let listed = Details::listed(&differences);
        Self::NotOwn { site: site.id.clone(), dir: site.dir.clone(), differences, listed }
    }
}

impl Classified for TrustError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Differs { .. }
            | Self::NotOwn { .. }
            | Self::OtherSite { .. }
            | Self::Ambiguous { .. }
            | Self::NothingAccepted { .. } => Class::Refused,
            Self::UnknownKey { .. } => Class::MissingInput,
            Self::BadFile { .. } | Self::BadKey { .. } | Self::SiteRecipient(_) | Self::SiteSigningKey(_) => {
                Class::BadContent
            }
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Folder { source, .. } => Class::of_writing(source),
            Self::Sign(_) | Self::Encode(_) => Class::Failure,
            Self::Private(_) | Self::NoFolder(_) | Self::Write(_) | Self::Notes(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Differs { dir, differences, .. } | Self::NotOwn { dir, differences, .. } => {
                Some(advice(dir, differences))
            }
            Self::OtherSite { dir, .. } => Some(format!(
                "if its id was changed, find out who did it (git log -p). If it is a site of its own, see its keys with: \
                 {}; accept its id and its keys with: {}",
                with_site("trust show", Some(dir)),
                with_site("trust accept", Some(dir))
            )),
            Self::NothingAccepted { .. } => Some(format!(
                "see them with: {}; accept them with: {}",
                psyops("trust show"),
                psyops("trust accept")
            )),
            Self::UnknownKey { .. } => Some(format!("see the keys with: {}", psyops("trust show"))),
            Self::Ambiguous { .. } => {
                Some("nothing was done. Type one of them as it is written there".into())
            }
            _ => None,
        }
    }
}

/// The command that accepts what the site says. Of keys that were added it shows a place for the user to type them: a
/// line that is ready to be pasted would be accepted without a look.
fn advice(dir: &Path, differences: &[Difference]) -> String {
    let accept = with_site("trust accept", Some(dir));
    let can_accept: Vec<&Difference> = differences.iter().filter(|one| one.to_type().is_some()).collect();
    let has_halves = differences.iter().any(|one| matches!(one, Difference::HostKeyHalves { .. }));
    if can_accept.is_empty() && has_halves {
        return "nothing was done. Take both files of the key from the site's history (git log -p secrets/nodes)".into();
    }
    if can_accept.is_empty() {
        return format!("nothing was done. If site.toml is right, sign the accepted keys again: {accept}");
    }
    let look = "nothing was done. Find out who changed the file (git log -p)";
    if can_accept.iter().all(|one| matches!(one, Difference::Floor { .. })) {
        return format!(
            "{look} and put the number back. To let nodes take older seals or releases again: {accept}"
        );
    }
    let removed = |one: &&Difference| matches!(one, Difference::Key { change: Change::Removed, .. });
    let whose = if can_accept.iter().all(removed) { "" } else { "ask whose key it is; " };
    format!("{look} and {whose}only then accept each key by its text, as an argument or when asked: {accept}")
}
