//! Lines for `known_hosts` (sshd(8)): who connects to a node the first time need not trust what he is shown.

use crate::error::{Class, Classified};
use crate::secrets::credentials::CredentialError;
use crate::secrets::store::Store;
use crate::site::Site;
use handoff::name::Name;
use std::fs;
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

/// A line for each node of the site: its name and its fixed addresses, then its key. A node that never got keys has a
/// comment instead, so that the other lines can be used.
pub fn known_hosts(site: &Site) -> Result<String, KnownHostsError> {
    let store = Store::of(site)?;
    let mut text = String::new();
    for node in site.nodes() {
        let path = store.host_key_public(&node.name);
        let public = match fs::read_to_string(&path) {
            Ok(public) => public,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                text.push_str(&format!(
                    "# {0}: no host key yet; build-image --node {0} makes it\n",
                    node.name
                ));
                continue;
            }
            Err(source) => return Err(KnownHostsError::Read { node: node.name.clone(), path, source }),
        };
        let mut words = public.split_whitespace();
        let (Some(kind @ "ssh-ed25519"), Some(key)) = (words.next(), words.next()) else {
            return Err(KnownHostsError::NotAKey { path });
        };
        let addresses = node.network.iter().flat_map(|card| &card.addresses);
        let addresses = addresses.map(|address| address.split('/').next().unwrap_or(address));
        let hosts: Vec<&str> = std::iter::once(node.name.as_str()).chain(addresses).collect();
        text.push_str(&format!("{} {kind} {key}\n", hosts.join(",")));
    }
    Ok(text)
}
