//! Lines for `known_hosts` (sshd(8)): who connects to a node the first time need not trust what he is shown.

use crate::error::{Class, Classified};
use crate::secrets::credentials::CredentialError;
use crate::secrets::store::Store;
use crate::site::Site;
use handoff::name::Name;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the lines cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// The site's recipients make no sense.
    #[error(transparent)]
    Site(#[from] CredentialError),
    /// The public key of a node cannot be read.
    #[error("cannot read the public host key of node {node}, {path}: {source}")]
    Read {
        /// The node.
        node: Name,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no public key.
    #[error("{path} is no OpenSSH public key")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl Classified for KnownHostsError {
    fn class(&self) -> Class {
        match self {
            Self::Site(error) => error.class(),
            Self::Read { source, .. } => Class::of_reading(source),
            Self::NotAKey { .. } => Class::BadContent,
        }
    }
}

/// How the others know a node.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KnownHost {
    /// The node's name.
    pub node: String,
    /// Its name and its fixed addresses.
    pub hosts: Vec<String>,
    /// Kind and key, as `known_hosts` has them; none where the node never got keys.
    pub key: Option<String>,
}

/// Each node of the site.
pub fn known_hosts(site: &Site) -> Result<Vec<KnownHost>, KnownHostsError> {
    let store = Store::without_admins(site);
    let mut known = Vec::new();
    for node in site.nodes() {
        let path = store.host_key_public(&node.name);
        let key = match store.read_host_key_public(&node.name) {
            Ok(Some(public)) => {
                let mut words = public.split_whitespace();
                let (Some(kind @ "ssh-ed25519"), Some(key)) = (words.next(), words.next()) else {
                    return Err(KnownHostsError::NotAKey { path });
                };
                Some(format!("{kind} {key}"))
            }
            Ok(None) => None,
            Err(source) => return Err(KnownHostsError::Read { node: node.name.clone(), path, source }),
        };
        let addresses = node.network.iter().flat_map(|card| &card.addresses);
        let addresses = addresses.map(|address| address.split('/').next().unwrap_or(address).to_owned());
        let hosts = std::iter::once(node.name.to_string()).chain(addresses).collect();
        known.push(KnownHost { node: node.name.to_string(), hosts, key });
    }
    Ok(known)
}

/// A line for `known_hosts`. A node without a key has a comment, so that the other lines can be used.
impl fmt::Display for KnownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} {key}", self.hosts.join(",")),
            None => write!(f, "# {0}: no host key yet; build-image --node {0} makes it", self.node),
        }
    }
}
