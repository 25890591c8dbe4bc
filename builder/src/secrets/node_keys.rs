//! The keys of a node: made on the workstation before an image needs them, and stored encrypted for the admins.
//!
//! So a lost stick can be replaced by one with the same identity, and clients continue to trust the same SSH host key.

use crate::error::{Class, Classified};
use crate::secrets::private_file::{PrivateFileError, read_private};
use crate::secrets::store::{EncryptedSecret, Secret, Store, StoreError};
use crate::site::Site;
use handoff::name::Name;
use keys::identity::{BadIdentity, NodeIdentity, Recipient};
use keys::issue::host_key::{BadHostKey, HostKey};
use keys::issue::identity_file;
use keys::timestamp::Timestamp;
use std::path::{Path, PathBuf};

/// The file of a seal with the public half of the node's SSH host key.
pub(super) const HOST_KEY_PUBLIC: &str = "ssh/ssh_host_ed25519_key.pub";

/// Why a node has no usable keys.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum NodeKeyError {
    /// The store does not have the key, or it could not be decrypted.
    #[error(transparent)]
    Store(#[from] StoreError),
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
            Self::Store(_) | Self::File(_) => return None,
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

/// Which keys were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Whether any key was made.
    pub anything: bool,
    /// The public half of the node's age identity, if it was made: then no other person has the private half.
    pub identity: Option<Recipient>,
    /// The public half of its SSH host key, if that was made: kind and key.
    pub host_key: Option<String>,
}

/// The keys of a node: those of the site, and new ones for those that it lacks, which are not written yet.
#[derive(Debug)]
pub struct NodeKeys {
    /// Which keys are new.
    pub made: Made,
    /// The SSH host key.
    pub host_key: HostKey,
    /// The public key that the node's file does not have yet.
    pub new_recipient: Option<Recipient>,
    /// New encrypted files for the store.
    secrets: Vec<EncryptedSecret>,
    /// The new file with the public half of the host key.
    public: Option<String>,
}

impl NodeKeys {
    /// Opens the keys of a node, and makes those that it lacks, in memory.
    ///
    /// A node with a `recipient` in its file keeps that key, wherever its private half is.
    pub fn of(store: &Store, site: &Site, node: &Name, admin: &NodeIdentity) -> Result<Self, NodeKeyError> {
        let created = Timestamp::from_unix(site.build_time);
        let has_recipient = site.nodes().any(|known| known.name == *node && known.recipient.is_some());
        Self::from_store(store, node, admin, (!has_recipient).then_some(created))
    }

    /// The same; with a time, also for a node whose file has no public key.
    fn from_store(
        store: &Store,
        node: &Name,
        admin: &NodeIdentity,
        without_recipient: Option<Timestamp>,
    ) -> Result<Self, NodeKeyError> {
        let mut secrets = Vec::new();
        let (mut made, mut new_recipient) = (Made::default(), None);
        if let Some(created) = without_recipient {
            let secret = Secret::NodeKey(node.clone());
            let recipient = if store.has(&secret)? {
                parse(store, node, admin)?.recipient()
            } else {
                let identity = identity_file::generate();
                let text = identity_file::text(&identity, created);
                secrets.push(store.encrypt(&secret, text.as_bytes(), admin)?);
                made.identity = Some(identity.recipient());
                identity.recipient()
            };
            new_recipient = Some(recipient);
        }
        let failed = |problem| NodeKeyError::HostKey { node: node.clone(), problem };
        let secret = Secret::HostKey(node.clone());
        let host_key = if store.has(&secret)? {
            host_key(store, node, admin)?
        } else {
            let key = HostKey::generate(&format!("root@{node}")).map_err(failed)?;
            secrets.push(store.encrypt(&secret, key.private_text().map_err(failed)?.as_bytes(), admin)?);
            made.host_key = Some(key.public_words().map_err(failed)?);
            key
        };
        let path = store.host_key_public(node);
        let public = store.read_host_key_public(node);
        let public = public.map_err(|source| StoreError::Read { path, source })?;
        let public = if public.is_none() || made.host_key.is_some() {
            Some(host_key.public_line().map_err(failed)?)
        } else {
            None
        };
        made.anything = new_recipient.is_some() || public.is_some();
        Ok(Self { made, host_key, new_recipient, secrets, public })
    }

    /// Whether a half of the host key is to be written.
    pub(super) fn has_new_host_key_files(&self) -> bool {
        self.public.is_some()
    }

    /// Writes new keys into the store.
    pub(super) fn write(&self, site: &Site, node: &Name) -> Result<(), StoreError> {
        self.write_to(&Store::without_admins(site), node)
    }

    fn write_to(&self, store: &Store, node: &Name) -> Result<(), StoreError> {
        self.secrets.iter().try_for_each(|secret| store.put(secret))?;
        match &self.public {
            Some(line) => Ok(store.write_host_key_public(node, line)?),
            None => Ok(()),
        }
    }
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
    store: &Store,
    site: &Site,
    node: &Name,
    admin: &NodeIdentity,
    file: Option<&Path>,
) -> Result<NodeIdentity, NodeKeyError> {
    let expected = recipient(site, node)?;
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
        None => (parse(store, node, admin)?, store.file(&Secret::NodeKey(node.clone()))),
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
    fn keys_are_made_once_and_not_written_before_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let admin = identity_file::generate();
        let (site, node): (Name, Name) = ("home".parse().unwrap(), "demo".parse().unwrap());
        let store = Store::new(SiteFolder::open(folder.path()).unwrap(), site, vec![admin.recipient()]);
        let keys = || NodeKeys::from_store(&store, &node, &admin, Some(Timestamp::from_unix(0))).unwrap();
        let first = keys();
        assert!(first.made.anything && first.made.host_key.is_some());
        assert_eq!(first.made.identity, first.new_recipient);
        assert!(!store.has(&Secret::NodeKey(node.clone())).unwrap(), "nothing is written yet");
        first.write_to(&store, &node).unwrap();
        let second = keys();
        assert_eq!(second.new_recipient, first.new_recipient, "the key in the store is kept");
        assert!(
            second.made.identity.is_none() && second.made.host_key.is_none() && second.secrets.is_empty()
        );
        let with_recipient = NodeKeys::from_store(&store, &node, &admin, None).unwrap();
        assert_eq!(with_recipient.made, Made::default());
        let public = std::fs::read_to_string(store.host_key_public(&node)).unwrap();
        assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" root@demo\n"));
        std::fs::remove_file(store.host_key_public(&node)).unwrap();
        let again = NodeKeys::from_store(&store, &node, &admin, None).unwrap();
        assert!(again.made.anything && again.made.host_key.is_none(), "the private half was there");
        again.write_to(&store, &node).unwrap();
        assert_eq!(std::fs::read_to_string(store.host_key_public(&node)).unwrap(), public);
    }
}
