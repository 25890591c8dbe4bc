//! The keys of a node: made on the workstation before any image needs them, and kept for the admins.
//!
//! So a lost stick can be made again with the same identity, and clients keep trusting the same SSH host key.

use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use crate::secrets::credentials::CredentialError;
use crate::secrets::private_file::{PrivateFileError, read_private};
use crate::secrets::store::{Secret, Store, StoreError};
use crate::site::{InitError, Site, set_recipient};
use handoff::name::Name;
use keys::identity::{BadIdentity, NodeIdentity, Recipient};
use keys::issue::host_key::{BadHostKey, HostKey};
use keys::issue::identity_file;
use keys::timestamp::Timestamp;
use std::path::{Path, PathBuf};

/// Why a node has no usable keys.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum NodeKeyError {
    /// The store does not have it, or it does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The site's keys are not those that were accepted.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A file that an option points to cannot be read or is not private.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The age identity is none.
    #[error("the key of node {node} in {path}: {problem}")]
    Identity {
        /// The node.
        node: Name,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: BadIdentity,
    },
    /// The SSH host key is none, or could not be made.
    #[error("the SSH host key of node {node}: {problem}")]
    HostKey {
        /// The node.
        node: Name,
        /// What is wrong.
        problem: BadHostKey,
    },
    /// The site does not say what the node's public key is.
    #[error("nodes/{node}.toml has no recipient, so nothing can be encrypted to the node")]
    NoRecipient {
        /// The node.
        node: Name,
    },
    /// The site's recipient of the node is none.
    #[error("nodes/{node}.toml: {problem}")]
    BadRecipient {
        /// The node.
        node: Name,
        /// What is wrong.
        problem: keys::identity::BadRecipient,
    },
    /// A key that belongs to another node, or to none.
    #[error(transparent)]
    OtherNode(Box<OtherNode>),
    /// The node's file could not be changed.
    #[error(transparent)]
    Recipient(#[from] InitError),
    /// The public line could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

/// A key that is not the one that the site gives the node.
#[derive(Debug, thiserror::Error)]
#[error(
    "the key in {path} is not that of node {node}: it has the public key {found}{}, the site says {expected}",
    owner.as_ref().map(|owner| format!(" of node {owner}")).unwrap_or_default()
)]
pub struct OtherNode {
    /// The node that was asked for.
    pub node: Name,
    /// The file.
    pub path: PathBuf,
    /// The public key that the site gives the node.
    pub expected: Recipient,
    /// The public key of the identity.
    pub found: Recipient,
    /// The node that the key belongs to, if the site has one.
    pub owner: Option<Name>,
}

impl Classified for NodeKeyError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoRecipient { .. } => Class::MissingInput,
            Self::Identity { .. } | Self::HostKey { .. } | Self::BadRecipient { .. } | Self::OtherNode(_) => {
                Class::BadContent
            }
            Self::Store(_) | Self::Credentials(_) | Self::File(_) | Self::Recipient(_) | Self::Write(_) => {
                return None;
            }
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::OtherNode(mismatch) => Some(match &mismatch.owner {
                Some(owner) => {
                    format!("make the partition of that node (--node {owner}), or take the right key")
                }
                None => "no node of this site has this key".into(),
            }),
            Self::NoRecipient { .. } => Some(
                "write its public key there: recipient = \"age1...\" (age-keygen -y KEY prints it)".into(),
            ),
            _ => None,
        }
    }
}

/// What [`ensure`] made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Whether anything was made.
    pub anything: bool,
    /// The public half of the node's age identity, if that was made: a key of which nobody else has the private half.
    pub identity: Option<Recipient>,
    /// The same of its SSH host key: kind and key.
    pub host_key: Option<String>,
}

/// Gives a node the keys that it lacks: the site as it is then, and what was made.
///
/// A node whose `recipient` stands in its file keeps that key, wherever its private half is.
pub fn ensure(site: Site, node: &Name, admin: &NodeIdentity) -> Result<(Site, Made), NodeKeyError> {
    let store = Store::of(&site)?;
    let created = Timestamp::from_unix(site.build_time);
    let known = site.nodes().any(|known| known.name == *node && known.recipient.is_some());
    if !known {
        let is_new = !store.has(&Secret::NodeKey(node.clone()))?;
        let recipient = make_identity(&store, node, admin, created)?;
        let host_key = make_host_key(&store, node, admin)?.new;
        let site = set_recipient(site, node, &recipient.to_string())?;
        return Ok((site, Made { anything: true, identity: Some(recipient).filter(|_| is_new), host_key }));
    }
    let made = make_host_key(&store, node, admin)?;
    Ok((site, Made { anything: made.anything, identity: None, host_key: made.new }))
}

/// Makes the age identity of a node, unless the store has one, and gives its public half.
fn make_identity(
    store: &Store,
    node: &Name,
    admin: &NodeIdentity,
    created: Timestamp,
) -> Result<Recipient, NodeKeyError> {
    let secret = Secret::NodeKey(node.clone());
    if !store.has(&secret)? {
        let text = identity_file::text(&identity_file::generate(), created);
        store.write(&secret, text.as_bytes(), admin)?;
    }
    Ok(parse(store, node, admin)?.recipient())
}

/// What [`make_host_key`] wrote.
#[derive(Default)]
struct MadeHostKey {
    /// Whether it wrote either half.
    anything: bool,
    /// Kind and key of one that was not there before.
    new: Option<String>,
}

/// Makes the SSH host key of a node, unless the store has one; its public half lies beside it for everybody.
fn make_host_key(store: &Store, node: &Name, admin: &NodeIdentity) -> Result<MadeHostKey, NodeKeyError> {
    let failed = |problem| NodeKeyError::HostKey { node: node.clone(), problem };
    let secret = Secret::HostKey(node.clone());
    let path = store.host_key_public(node);
    let public = store.read_host_key_public(node);
    let public = public.map_err(|source| StoreError::Read { path, source })?;
    let is_there = store.has(&secret)?;
    if is_there && public.is_some() {
        return Ok(MadeHostKey::default());
    }
    let mut new = None;
    if !is_there {
        let key = HostKey::generate(&format!("root@{node}")).map_err(failed)?;
        store.write(&secret, key.private_text().map_err(failed)?.as_bytes(), admin)?;
        new = Some(key.public_words().map_err(failed)?);
    }
    let public = host_key(store, node, admin)?.public_line().map_err(failed)?;
    store.write_host_key_public(node, &public)?;
    Ok(MadeHostKey { anything: true, new })
}

fn parse(store: &Store, node: &Name, admin: &NodeIdentity) -> Result<NodeIdentity, NodeKeyError> {
    let secret = Secret::NodeKey(node.clone());
    NodeIdentity::parse(&store.read(&secret, admin)?).map_err(|problem| NodeKeyError::Identity {
        node: node.clone(),
        path: store.file(&secret),
        problem,
    })
}

/// The SSH host key of a node.
pub fn host_key(store: &Store, node: &Name, admin: &NodeIdentity) -> Result<HostKey, NodeKeyError> {
    let file = store.read(&Secret::HostKey(node.clone()), admin)?;
    HostKey::parse(&file).map_err(|problem| NodeKeyError::HostKey { node: node.clone(), problem })
}

/// The public age key that the site gives a node.
pub fn recipient(site: &Site, node: &Name) -> Result<Recipient, NodeKeyError> {
    let text = site.nodes().find(|known| known.name == *node).and_then(|known| known.recipient.as_deref());
    let text = text.ok_or_else(|| NodeKeyError::NoRecipient { node: node.clone() })?;
    text.parse().map_err(|problem| NodeKeyError::BadRecipient { node: node.clone(), problem })
}

/// The age identity of a node, from the store or from a file, checked to be the one that the site gives the node.
pub fn identity(
    site: &Site,
    node: &Name,
    admin: &NodeIdentity,
    file: Option<&Path>,
) -> Result<NodeIdentity, NodeKeyError> {
    let expected = recipient(site, node)?;
    let store = Store::of(site)?;
    let (identity, path) = match file {
        Some(path) => {
            let text = read_private("key of the node", path)?;
            let identity = NodeIdentity::parse(&text).map_err(|problem| NodeKeyError::Identity {
                node: node.clone(),
                path: path.to_owned(),
                problem,
            })?;
            (identity, path.to_owned())
        }
        None => (parse(&store, node, admin)?, store.file(&Secret::NodeKey(node.clone()))),
    };
    let found = identity.recipient();
    if found == expected {
        return Ok(identity);
    }
    let text = found.to_string();
    let owner = site.nodes().find(|known| known.recipient.as_deref() == Some(&*text));
    let owner = owner.map(|known| known.name.clone());
    let node = node.clone();
    Err(NodeKeyError::OtherNode(Box::new(OtherNode { node, path, expected, found, owner })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::SiteFolder;

    #[test]
    fn the_advice_of_an_error_in_the_nodes_file_is_kept() {
        let exists = InitError::NodeExists { name: "demo".parse().unwrap(), path: "nodes/demo.toml".into() };
        let advice = exists.advice().unwrap();
        let error = NodeKeyError::Recipient(exists);
        assert_eq!((error.advice().unwrap(), error.class()), (advice, Class::CannotCreate));
    }

    #[test]
    fn keys_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let admin = identity_file::generate();
        let (site, node): (Name, Name) = ("home".parse().unwrap(), "demo".parse().unwrap());
        let store = Store::new(SiteFolder::open(folder.path()).unwrap(), site, vec![admin.recipient()]);
        let made = make_identity(&store, &node, &admin, Timestamp::from_unix(0)).unwrap();
        assert_eq!(make_identity(&store, &node, &admin, Timestamp::from_unix(9)).unwrap(), made);
        let first = make_host_key(&store, &node, &admin).unwrap();
        assert!(first.anything && first.new.is_some());
        assert!(!make_host_key(&store, &node, &admin).unwrap().anything);
        let public = std::fs::read_to_string(store.host_key_public(&node)).unwrap();
        assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" root@demo\n"));
        std::fs::remove_file(store.host_key_public(&node)).unwrap();
        let again = make_host_key(&store, &node, &admin).unwrap();
        assert!(again.anything && again.new.is_none(), "the private half was there");
        assert_eq!(std::fs::read_to_string(store.host_key_public(&node)).unwrap(), public);
    }
}
