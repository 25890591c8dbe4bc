//! The differences between a site and the accepted set: pure, one value for each thing that the user may accept.

use crate::secrets::stored_seal::BadStoredSeal;
use handoff::name::Name;
use serde_json::{Value, json};
use std::fmt;

/// The role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A recipient of every secret of the site.
    Admin,
    /// A key that signs seals and systems.
    Signer,
}

/// The file of a site that names the keys to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustFile {
    /// `site.toml`
    Site,
    /// `trust.toml`, signed by an accepted key.
    Signed,
}

/// How a key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The file has it, and it was not accepted.
    Added,
    /// It was accepted, and the file does not have it any more.
    Removed,
}

/// A difference between the site and the accepted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A key that was added or removed.
    Key {
        /// The file with the difference.
        file: TrustFile,
        /// The role of the key.
        role: Role,
        /// The public key.
        key: String,
        /// Whether it was added or removed.
        change: Change,
    },
    /// The public key of a node is not known here, or differs from the one that is known.
    NodeKey {
        /// The name of the node.
        node: Name,
        /// The public key in the node's file.
        key: String,
        /// The public key that is known, if there is one.
        accepted: Option<String>,
    },
    /// The site has a private key for a node whose file names none, and the key is not known here.
    UnnamedKey {
        /// The name of the node.
        node: Name,
        /// The public half of the key.
        key: String,
    },
    /// The SSH host key of a node is not known here, or differs from the one that is known.
    HostKey {
        /// The name of the node.
        node: Name,
        /// The public key in the site: kind and key.
        key: String,
        /// The public key that is known, if there is one.
        accepted: Option<String>,
    },
    /// The private and the public half of a node's SSH host key are not of the same key.
    HostKeyHalves {
        /// The name of the node.
        node: Name,
    },
    /// The stored seal of a node cannot be read or verified, so it cannot say which of the node's keys are right.
    BadStoredSeal {
        /// The name of the node.
        node: Name,
        /// What is wrong with the seal.
        problem: String,
    },
    /// Nothing of this site was accepted, but keys of others were: it may be one of those under another id.
    NewSite {
        /// The id in `site.toml`.
        site: Name,
        /// The ids of the sites of which keys were accepted.
        known: Vec<String>,
    },
    /// A floor is lower than it was, or higher than raising can have made it.
    Floor {
        /// The node in whose file it is; `None` for `site.toml`.
        node: Option<Name>,
        /// The name of the setting.
        key: &'static str,
        /// The number that was in use here.
        noted: u64,
        /// The number in the site.
        found: u64,
    },
    /// The file has the id of another site.
    SiteId {
        /// The file with the difference.
        file: TrustFile,
        /// The accepted id.
        accepted: Name,
        /// The id in the file.
        found: Name,
    },
    /// `trust.toml` has no signature by an accepted key, or could not be read.
    NotSigned {
        /// What is wrong with it.
        problem: String,
    },
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Self::Admin => "admin recipient",
            Self::Signer => "signing key",
        }
    }
}

impl From<BadStoredSeal> for Difference {
    fn from(BadStoredSeal { node, problem }: BadStoredSeal) -> Self {
        Self::BadStoredSeal { node, problem }
    }
}

impl TrustFile {
    fn name(self) -> &'static str {
        match self {
            Self::Site => "site.toml",
            Self::Signed => "trust.toml",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { file, role, key, change: Change::Added } => {
                write!(
                    f,
                    "{} has the {} {key}, which was not accepted on this workstation",
                    file.name(),
                    role.words()
                )
            }
            Self::Key { file, role, key, change: Change::Removed } => {
                write!(f, "{} does not have the accepted {} {key}", file.name(), role.words())
            }
            Self::NodeKey { node, key, accepted: None } => {
                write!(
                    f,
                    "nodes/{node}.toml has the node key {key}, which was not accepted on this workstation"
                )
            }
            Self::NodeKey { node, key, accepted: Some(accepted) } => {
                write!(
                    f,
                    "nodes/{node}.toml has the node key {key}, but {accepted} was accepted on this workstation"
                )
            }
            Self::UnnamedKey { node, key } => write!(
                f,
                "the site has the private half of {key} for node {node}, which was not accepted here, and nodes/{node}.toml \
                 does not name it"
            ),
            Self::HostKey { node, key, accepted } => {
                write!(f, "the SSH host key of node {node} is {key}, ")?;
                match accepted {
                    None => f.write_str("which was not accepted on this workstation"),
                    Some(accepted) => write!(f, "but {accepted} was accepted on this workstation"),
                }
            }
            Self::HostKeyHalves { node } => write!(
                f,
                "secrets/nodes/{node}/ssh_host_ed25519_key.pub is not the public half of the key beside it"
            ),
            Self::BadStoredSeal { node, problem } => {
                write!(
                    f,
                    "seals/{node}.seal cannot be used, and nothing else here says what is right: {problem}"
                )
            }
            Self::NewSite { site, known } => {
                write!(
                    f,
                    "no keys of a site {site} were accepted on this workstation, only keys of {}",
                    known.join(", ")
                )
            }
            Self::Floor { node, key, noted, found } => {
                let file = file_of(node.as_ref());
                match found {
                    0 => write!(f, "{file} no longer has {key} {noted}, which this workstation used"),
                    found if found > noted => {
                        write!(f, "{file} has {key} {found}, far above {noted}, which this workstation used")
                    }
                    found => write!(f, "{file} has {key} {found}, but this workstation used {noted}"),
                }
            }
            Self::SiteId { file, accepted, found } => {
                write!(f, "{} has the site id {found}, but {accepted} was accepted", file.name())
            }
            Self::NotSigned { problem } => write!(f, "trust.toml: {problem}"),
        }
    }
}

fn file_of(node: Option<&Name>) -> String {
    node.map_or_else(|| "site.toml".to_owned(), |node| format!("nodes/{node}.toml"))
}

impl Difference {
    /// The text that the user types to accept the site's value; `None` if that can only be corrected, not accepted.
    #[must_use]
    pub fn to_type(&self) -> Option<String> {
        match self {
            Self::Key { file: TrustFile::Site, key, .. } | Self::NodeKey { key, .. } => Some(key.clone()),
            // Without the kind, which is the same for all host keys here: a key is typed as one word.
            Self::HostKey { key, .. } => key.split_whitespace().last().map(str::to_owned),
            Self::Floor { node: None, key, found, .. } => Some(format!("{key}={found}")),
            Self::Floor { node: Some(node), key, found, .. } => Some(format!("{node}:{key}={found}")),
            Self::NewSite { site, .. } => Some(site.to_string()),
            Self::Key { .. }
            | Self::SiteId { .. }
            | Self::NotSigned { .. }
            | Self::HostKeyHalves { .. }
            | Self::UnnamedKey { .. }
            | Self::BadStoredSeal { .. } => None,
        }
    }

    /// The kind and that text, for when the same text could mean several differences.
    #[must_use]
    pub fn to_type_in_full(&self) -> Option<String> {
        let text = self.to_type()?;
        Some(match self {
            Self::Key { role: Role::Admin, .. } => format!("admin:{text}"),
            Self::Key { role: Role::Signer, .. } => format!("signing-key:{text}"),
            Self::NodeKey { node, .. } | Self::HostKey { node, .. } => format!("{node}:{text}"),
            Self::NewSite { .. } => format!("site:{text}"),
            _ => text,
        })
    }

    /// The difference as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Key { file, role, key, change } => json!({
                "kind": match role { Role::Admin => "admin", Role::Signer => "signing-key" },
                "file": file.name(),
                "key": key,
                "change": match change { Change::Added => "added", Change::Removed => "removed" },
            }),
            Self::NodeKey { node, key, accepted } => json!({
                "kind": "node", "file": format!("nodes/{node}.toml"), "key": key, "accepted": accepted,
            }),
            Self::HostKey { node, key, accepted } => json!({
                "kind": "host-key", "node": node.as_str(), "key": key, "accepted": accepted,
            }),
            Self::UnnamedKey { node, key } => {
                json!({ "kind": "unnamed-key", "node": node.as_str(), "key": key })
            }
            Self::HostKeyHalves { node } => json!({ "kind": "host-key-halves", "node": node.as_str() }),
            Self::BadStoredSeal { node, problem } => json!({
                "kind": "kept-seal", "node": node.as_str(), "file": format!("seals/{node}.seal"), "problem": problem,
            }),
            Self::NewSite { site, known } => {
                json!({ "kind": "new-site", "site": site.as_str(), "known": known })
            }
            Self::Floor { node, key, noted, found } => json!({
                "kind": "floor", "file": file_of(node.as_ref()), "key": key, "accepted": noted, "found": found,
            }),
            Self::SiteId { file, accepted, found } => json!({
                "kind": "site", "file": file.name(), "accepted": accepted.as_str(), "found": found.as_str(),
            }),
            Self::NotSigned { problem } => {
                json!({ "kind": "not-signed", "file": TrustFile::Signed.name(), "problem": problem })
            }
        }
    }
}

/// Each difference once: a stored seal that cannot be read is found by everything that it could have vouched for.
pub(super) fn distinct(differences: Vec<Difference>) -> Vec<Difference> {
    let mut distinct: Vec<Difference> = Vec::new();
    for difference in differences {
        if !distinct.contains(&difference) {
            distinct.push(difference);
        }
    }
    distinct
}
