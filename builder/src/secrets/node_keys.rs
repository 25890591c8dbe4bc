//! The keys of a node: made on the workstation before an image needs them, and stored encrypted for the admins.
//!
//! So a lost stick can be replaced by one with the same identity, and clients continue to trust the same SSH host key.

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
    /// The store does not have the key, or it could not be decrypted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys of the site are not the accepted ones.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The key file that an option names could not be read, or other users can read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The node's age identity is not valid.
    #[error("the key of node {node} in {path}: {problem}")]
    Identity {
        /// The name of the node.
        node: Name,
        /// The path of the identity.
        path: PathBuf,
        /// What is not valid in it.
        problem: BadIdentity,
    },
    /// The SSH host key is not valid, or could not be made.
    #[error("the SSH host key of node {node}: {problem}")]
    HostKey {
        /// The name of the node.
        node: Name,
        /// Why the key is not valid or could not be made.
        problem: BadHostKey,
    },
    /// The node's file has no public key.
    #[error("nodes/{node}.toml has no recipient, so nothing can be encrypted to the node")]
    NoRecipient {
        /// The name of the node.
        node: Name,
    },
    /// The public key in the node's file is not valid.
    #[error("nodes/{node}.toml: {problem}")]
    BadRecipient {
        /// The name of the node.
        node: Name,
        /// What is not valid in it.
        problem: keys::identity::BadRecipient,
    },
    /// The identity belongs to another node, or to none.
    #[error(transparent)]
    OtherNode(Box<OtherNode>),
    /// The node's file could not be changed.
    #[error(transparent)]
    Recipient(#[from] InitError),
    /// The file with the public host key could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

/// A key that is not the one in the site for the node.
#[derive(Debug, thiserror::Error)]
#[error(
    "the key in {path} is not that of node {node}: its public key is {found}{}, the site has {expected}",
    owner.as_ref().map(|owner| format!(" of node {owner}")).unwrap_or_default()
)]
pub struct OtherNode {
    /// The name of the node that needs the key.
    pub node: Name,
    /// The path of the key.
    pub path: PathBuf,
    /// The public key that the site has for the node.
    pub expected: Recipient,
    /// The public key of the identity.
    pub found: Recipient,
    /// The node that the key belongs to, if it is one of the site.
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
                    format!("make the partition of that node instead (--node {owner}), or use the right key")
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

/// The keys that [`ensure`] made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Whether any key was made.
    pub anything: bool,
    /// The public half of the node's age identity, if it was made: then no other person has the private half.
    pub identity: Option<Recipient>,
    /// The public half of its SSH host key, if that was made: kind and key.
    pub host_key: Option<String>,
}

/// Makes the keys that a node lacks; returns the site with its new public keys, and what was made.
///
/// A node with a `recipient` in its file keeps that key, wherever its private half is.
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

/// Makes the age identity of a node, unless the store has one, and returns its public half.
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

/// The files that [`make_host_key`] wrote.
#[derive(Default)]
struct MadeHostKey {
    /// Whether either half was written.
    anything: bool,
    /// Kind and key, if the key was not there before.
    new: Option<String>,
}

/// Makes the SSH host key of a node, unless the store has one; its public half is stored beside it in plain text.
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

/// The public age key that the site has for a node.
pub fn recipient(site: &Site, node: &Name) -> Result<Recipient, NodeKeyError> {
    let text = site.nodes().find(|known| known.name == *node).and_then(|known| known.recipient.as_deref());
    let text = text.ok_or_else(|| NodeKeyError::NoRecipient { node: node.clone() })?;
    text.parse().map_err(|problem| NodeKeyError::BadRecipient { node: node.clone(), problem })
}

/// The age identity of a node, from the store or from a file, checked to fit the public key in the site.
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
