//! In what a site differs from the accepted set: pure, one value for each thing that the user may accept.

use super::key_set::KeySet;
use handoff::name::Name;
use serde_json::{Value, json};
use std::fmt;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens every secret of the site.
    Admin,
    /// Signs seals and systems.
    Signer,
}

/// Which file of the site differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `site.toml`
    Site,
    /// `trust.toml`, signed by an accepted key.
    Signed,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The file names it, and it was not accepted.
    Added,
    /// It was accepted, and the file does not name it any more.
    Removed,
}

/// One difference from the accepted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A key.
    Key {
        /// The file.
        origin: Origin,
        /// What the key is for.
        role: Role,
        /// The public key.
        key: String,
        /// What happened to it.
        change: Change,
    },
    /// A node has a key that is not known here, or another one than is known.
    NodeKey {
        /// The node.
        node: Name,
        /// The public key in its file.
        key: String,
        /// The one that is known.
        accepted: Option<String>,
    },
    /// A node has an SSH host key that is not known here, or another one than is known.
    HostKey {
        /// The node.
        node: Name,
        /// The public key in the site: kind and key.
        key: String,
        /// The one that is known.
        accepted: Option<String>,
    },
    /// The two halves of a node's SSH host key do not belong together.
    HostKeyHalves {
        /// The node.
        node: Name,
    },
    /// Nothing was accepted of the site, but of others: it may be one of these under another id.
    NewSite {
        /// The id in `site.toml`.
        site: Name,
        /// The sites of which keys were accepted.
        known: Vec<String>,
    },
    /// A floor is lower than it was, or higher than raising it can have made it.
    Floor {
        /// The node in whose file it is; none for `site.toml`.
        node: Option<Name>,
        /// Its key there.
        key: &'static str,
        /// What was in use here.
        noted: u64,
        /// What the site says.
        found: u64,
    },
    /// The file is another site's.
    SiteId {
        /// The file.
        origin: Origin,
        /// The accepted id.
        accepted: Name,
        /// The id in the file.
        found: Name,
    },
    /// `trust.toml` does not have a signature of an accepted key, or cannot be read.
    NotSigned {
        /// What is wrong.
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

impl Origin {
    fn file(self) -> &'static str {
        match self {
            Self::Site => "site.toml",
            Self::Signed => "trust.toml",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { origin, role, key, change: Change::Added } => {
                write!(f, "{} has the {} {key}, which was not accepted here", origin.file(), role.words())
            }
            Self::Key { origin, role, key, change: Change::Removed } => {
                write!(f, "{} does not have the accepted {} {key}", origin.file(), role.words())
            }
            Self::NodeKey { node, key, accepted: None } => {
                write!(f, "nodes/{node}.toml has the node key {key}, which was not accepted here")
            }
            Self::NodeKey { node, key, accepted: Some(accepted) } => {
                write!(
                    f,
                    "nodes/{node}.toml has the node key {key}, and the one that is known here is {accepted}"
                )
            }
            Self::HostKey { node, key, accepted } => {
                write!(f, "the SSH host key of node {node} is {key}, ")?;
                match accepted {
                    None => f.write_str("which was not accepted here"),
                    Some(accepted) => write!(f, "and the one that is known here is {accepted}"),
                }
            }
            Self::HostKeyHalves { node } => write!(
                f,
                "secrets/nodes/{node}/ssh_host_ed25519_key.pub is not the public half of the key beside it"
            ),
            Self::NewSite { site, known } => {
                write!(
                    f,
                    "nothing of a site {site} was accepted here, where keys of {} were",
                    known.join(", ")
                )
            }
            Self::Floor { node, key, noted, found } => {
                let file = file_of(node.as_ref());
                match found {
                    0 => write!(f, "{file} no longer has {key} {noted}, which was in use here"),
                    found if found > noted => {
                        write!(f, "{file} has {key} {found}, far above {noted}, which was in use here")
                    }
                    found => write!(f, "{file} has {key} {found}, and {noted} was in use here"),
                }
            }
            Self::SiteId { origin, accepted, found } => {
                write!(f, "{} is of the site {found}, accepted was {accepted}", origin.file())
            }
            Self::NotSigned { problem } => write!(f, "trust.toml: {problem}"),
        }
    }
}

fn file_of(node: Option<&Name>) -> String {
    node.map_or_else(|| "site.toml".to_owned(), |node| format!("nodes/{node}.toml"))
}

impl Difference {
    /// What the user types to accept what the site says; nothing where that cannot be accepted, but only corrected.
    #[must_use]
    pub fn to_type(&self) -> Option<String> {
        match self {
            Self::Key { origin: Origin::Site, key, .. } | Self::NodeKey { key, .. } => Some(key.clone()),
            // Without its kind, which every host key here has: a key that is typed is one word.
            Self::HostKey { key, .. } => key.split_whitespace().last().map(str::to_owned),
            Self::Floor { node: None, key, found, .. } => Some(format!("{key}={found}")),
            Self::Floor { node: Some(node), key, found, .. } => Some(format!("{node}:{key}={found}")),
            Self::NewSite { site, .. } => Some(site.to_string()),
            Self::Key { .. } | Self::SiteId { .. } | Self::NotSigned { .. } | Self::HostKeyHalves { .. } => {
                None
            }
        }
    }

    /// The same with what it is for, where the same text could mean several differences.
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

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Key { origin, role, key, change } => json!({
                "kind": match role { Role::Admin => "admin", Role::Signer => "signing-key" },
                "file": origin.file(),
                "key": key,
                "change": match change { Change::Added => "added", Change::Removed => "removed" },
            }),
            Self::NodeKey { node, key, accepted } => json!({
                "kind": "node", "file": format!("nodes/{node}.toml"), "key": key, "accepted": accepted,
            }),
            Self::HostKey { node, key, accepted } => json!({
                "kind": "host-key", "node": node.as_str(), "key": key, "accepted": accepted,
            }),
            Self::HostKeyHalves { node } => json!({ "kind": "host-key-halves", "node": node.as_str() }),
            Self::NewSite { site, known } => {
                json!({ "kind": "new-site", "site": site.as_str(), "known": known })
            }
            Self::Floor { node, key, noted, found } => json!({
                "kind": "floor", "file": file_of(node.as_ref()), "key": key, "accepted": noted, "found": found,
            }),
            Self::SiteId { origin, accepted, found } => json!({
                "kind": "site", "file": origin.file(), "accepted": accepted.as_str(), "found": found.as_str(),
            }),
            Self::NotSigned { problem } => {
                json!({ "kind": "not-signed", "file": Origin::Signed.file(), "problem": problem })
            }
        }
    }
}

/// In what `found` differs from `accepted`.
pub(super) fn between(accepted: &KeySet, found: &KeySet, origin: Origin) -> Vec<Difference> {
    let mut all = Vec::new();
    if accepted.site != found.site {
        all.push(Difference::SiteId { origin, accepted: accepted.site.clone(), found: found.site.clone() });
    }
    let texts = |set: &KeySet| {
        [
            (Role::Admin, set.admins.iter().map(ToString::to_string).collect::<Vec<_>>()),
            (Role::Signer, set.signers.iter().map(|key| key.as_str().to_owned()).collect()),
        ]
    };
    for ((role, old), (_, new)) in texts(accepted).into_iter().zip(texts(found)) {
        let difference = |key: &String, change| Difference::Key { origin, role, key: key.clone(), change };
        let mut seen = Vec::new();
        for key in new.iter().filter(|key| !old.contains(key)) {
            if !seen.contains(&key) {
                seen.push(key);
                all.push(difference(key, Change::Added));
            }
        }
        all.extend(old.iter().filter(|key| !new.contains(key)).map(|key| difference(key, Change::Removed)));
    }
    all
}
