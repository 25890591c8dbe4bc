//! Why the keys of a site are not accepted on this workstation.

use super::differences::{Change, Difference};
use crate::atomic::AtomicError;
use crate::details::Details;
use crate::error::{Class, Classified};
use crate::folders::NoFolder;
use crate::next_command::{psyops, with_site};
use crate::secrets::notes_error::NotesError;
use crate::secrets::private_file::PrivateFileError;
use crate::site::Site;
use handoff::name::Name;
use keys::identity::BadRecipient;
use keys::issue::signing::SigningFailed;
use std::io;
use std::path::{Path, PathBuf};

/// Why the keys of a site are not accepted on this workstation.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum TrustError {
    /// The site differs from what was accepted.
    #[error("the keys of the site {site} are not those that were accepted on this workstation")]
    Differs {
        /// The id of the site.
        site: Name,
        /// The folder of the site.
        dir: PathBuf,
        /// The differences.
        differences: Vec<Difference>,
        /// The same as text, for the message.
        #[source]
        listed: Details,
    },
    /// Nothing was accepted so far, and the site has keys that are not this workstation's own.
    #[error("the site {site} has keys that are not this workstation's own and were not accepted on it")]
    NotOwn {
        /// The id of the site.
        site: Name,
        /// The folder of the site.
        dir: PathBuf,
        /// The keys that are not its own.
        differences: Vec<Difference>,
        /// The same as text, for the message.
        #[source]
        listed: Details,
    },
    /// Nothing of this site was accepted, but keys of others were: it may be one of those under another id.
    #[error(
        "no keys of a site {site} were accepted on this workstation, only keys of {}", known.join(", ")
    )]
    OtherSite {
        /// The id in `site.toml`.
        site: Name,
        /// The folder of the site.
        dir: PathBuf,
        /// The ids of the sites of which keys were accepted.
        known: Vec<String>,
    },
    /// Nothing was accepted, so nothing can be encrypted.
    #[error("no keys of the site {site} were accepted on this workstation")]
    NothingAccepted {
        /// The id of the site.
        site: Name,
    },
    /// The user wants to accept something that is not a difference.
    #[error("the site does not differ from what was accepted in {key}")]
    UnknownKey {
        /// The text that the user typed.
        key: String,
    },
    /// The text that the user typed could mean several differences.
    #[error("{text} is ambiguous: it fits several differences")]
    Ambiguous {
        /// The text that the user typed.
        text: String,
        /// What to type for each of them.
        #[source]
        choices: Details,
    },
    /// A file with keys is not valid.
    #[error("{path}: {problem}")]
    BadFile {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid in it.
        problem: String,
    },
    /// The text to be accepted is not a valid key.
    #[error("cannot accept {key}: {problem}")]
    BadKey {
        /// The text in the site.
        key: String,
        /// What is not valid in it.
        problem: String,
    },
    /// The accepted keys could not be encoded as TOML.
    #[error("cannot write the accepted keys as TOML: {0}")]
    Encode(toml::ser::Error),
    /// A file of the site could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The folder for the accepted keys could not be made.
    #[error("cannot create the folder {path}: {source}")]
    Folder {
        /// The path of the folder.
        path: PathBuf,
        /// The error from making it.
        r#source: io::Error,
    },
    /// Other users can read or replace the file with the accepted keys.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// The user has no folder for private keys.
    #[error(transparent)]
    NoFolder(#[from] NoFolder),
    /// A file with the accepted keys could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// The notes about nodes could not be read or written.
    #[error(transparent)]
    Notes(#[from] NotesError),
    /// The accepted keys could not be signed.
    #[error(transparent)]
    Sign(#[from] SigningFailed),
    /// A recipient in `site.toml` is not valid.
    #[error("site.toml, admin recipients: {0}")]
    SiteRecipient(BadRecipient),
}

impl From<BadRecipient> for TrustError {
    fn from(error: BadRecipient) -> Self {
        Self::SiteRecipient(error)
    }
}

impl TrustError {
    /// The error for a site that differs from what was accepted.
    pub(super) fn differs(site: &Site, differences: Vec<Difference>) -> Self {
        let listed = Details::listed(&differences);
        Self::Differs { site: site.id.clone(), dir: site.dir.clone(), differences, listed }
    }

    /// The error for a site of which nothing was accepted, where other sites were.
    pub(super) fn other_site(site: &Site, known: Vec<String>) -> Self {
        Self::OtherSite { site: site.id.clone(), dir: site.dir.clone(), known }
    }

    /// The error for a site with keys that are not this workstation's own.
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
            Self::BadFile { .. } | Self::BadKey { .. } | Self::SiteRecipient(_) => Class::BadContent,
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
                "if the id in site.toml was changed, find out who did it (git log -p). If this is another site, look at its keys: {}; accept its id and its keys: {}",
                with_site("trust show", Some(dir)),
                with_site("trust accept", Some(dir))
            )),
            Self::NothingAccepted { .. } => Some(format!(
                "look at the keys: {}; accept them: {}",
                psyops("trust show"),
                psyops("trust accept")
            )),
            Self::UnknownKey { .. } => Some(format!("look at the differences: {}", psyops("trust show"))),
            Self::Ambiguous { .. } => Some("nothing was changed. Type one of the texts above".into()),
            _ => None,
        }
    }
}

/// The advice to accept what the site has. For keys that were added it has a placeholder in which the user must type
/// them: a line that is ready to be pasted would be accepted without a look.
fn advice(dir: &Path, differences: &[Difference]) -> String {
    let accept = with_site("trust accept", Some(dir));
    let can_accept: Vec<&Difference> = differences.iter().filter(|one| one.to_type().is_some()).collect();
    let has_halves = differences.iter().any(|one| matches!(one, Difference::HostKeyHalves { .. }));
    let unnamed = differences.iter().find_map(|one| match one {
        Difference::UnnamedKey { node, key } => Some((node, key)),
        _ => None,
    });
    if let (true, Some((node, key))) = (can_accept.is_empty(), unnamed) {
        return format!(
            "nothing was done. If it is the node's key, write this line at the top of nodes/{node}.toml: recipient = \
             \"{key}\"; then accept it: {accept}. If not, remove secrets/nodes/{node}/age.key.age"
        );
    }
    let kept = differences.iter().find_map(|one| match one {
        Difference::BadStoredSeal { node, .. } => Some(node),
        _ => None,
    });
    if let (true, Some(node)) = (can_accept.is_empty(), kept) {
        return format!(
            "nothing was done. Take the seal from the site's history (git log seals/{node}.seal), or have it made again: {}",
            psyops(&format!("seal --node {node} --replace"))
        );
    }
    if can_accept.is_empty() && has_halves {
        return "nothing was changed. Restore both files of the key from the site's history (git log -p secrets/nodes)".into();
    }
    if can_accept.is_empty() {
        return format!("nothing was changed. If site.toml is right, sign the accepted keys again: {accept}");
    }
    let look = "nothing was changed. Find out who changed the file (git log -p)";
    if can_accept.iter().all(|one| matches!(one, Difference::Floor { .. })) {
        return format!(
            "{look} and restore the number. To let nodes take older seals or releases again: {accept}"
        );
    }
    let removed = |one: &&Difference| matches!(one, Difference::Key { change: Change::Removed, .. });
    let whose = if can_accept.iter().all(removed) { "" } else { "ask whose key it is; " };
    format!("{look} and {whose}only then accept each key by its text, as an argument or when asked: {accept}")
}
