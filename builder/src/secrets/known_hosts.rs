//! Lines for `known_hosts` (sshd(8)): with them, a user need not trust the key that a node shows at the first
//! connection.

use crate::error::{Class, Classified};
use crate::next_command::psyops;
use crate::secrets::node_notes::NodeNotes;
use crate::secrets::store::Store;
use crate::secrets::trust::{self, SiteAndKeys, TrustError, Witness};
use crate::site::Node;
use handoff::name::Name;
use handoff::network::InterfaceAddress;
use keys::issue::host_key::public_words;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why the lines could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum KnownHostsError {
    /// The keys of the site are not the accepted ones.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The public host key of a node could not be read.
    #[error("cannot read the public host key of node {node}, {path}: {source}")]
    Read {
        /// The name of the node.
        node: Name,
        /// The path of the public key.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The file is not an OpenSSH public key.
    #[error("{path} is not an OpenSSH public key")]
    NotAKey {
        /// The path of the file.
        path: PathBuf,
    },
}

impl Classified for KnownHostsError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::NotAKey { .. } => Class::BadContent,
            Self::Trust(_) => return None,
        })
    }
}

/// A node's names and host key, for SSH clients.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KnownHost {
    /// The name of the node.
    pub node: String,
    /// The name and the fixed addresses that no other node has.
    pub hosts: Vec<String>,
    /// The kind and the key, in the form of `known_hosts`; `None` if the node never got keys, or if they are not known
    /// here.
    pub key: Option<String>,
    /// Whether the site has a host key for the node that is not known on this workstation.
    #[serde(skip)]
    pub is_unknown: bool,
}

/// The entries of all nodes. If keys of the site were accepted on this workstation, only host keys that are known here
/// are returned, and another one in the site is an error: anyone who can commit to the site could have put it there.
pub fn known_hosts(site: &SiteAndKeys) -> Result<Vec<KnownHost>, KnownHostsError> {
    let notes = match site.accepted() {
        Some(accepted) => {
            let notes = NodeNotes::of(accepted).map_err(TrustError::from)?;
            let unknown = trust::unknown_host_keys(site, accepted, &notes, Witness::StoredSeal)?;
            trust::refuse(site, unknown)?;
            Some(notes)
        }
        None => None,
    };
    let store = Store::without_admins(site);
    let mut known = Vec::new();
    for node in site.nodes() {
        let path = store.host_key_public(&node.name);
        let found = match store.read_host_key_public(&node.name) {
            Ok(Some(line)) => match public_words(&line) {
                // The noted key counts, whatever the site has.
                None if notes.is_none() => return Err(KnownHostsError::NotAKey { path }),
                words => words,
            },
            Ok(None) => None,
            Err(source) => return Err(KnownHostsError::Read { node: node.name.clone(), path, source }),
        };
        let (key, is_unknown) = match &notes {
            Some(notes) => {
                let own = notes.host_key(&node.name).map(str::to_owned);
                let is_unknown = own.is_none() && found.is_some();
                (own, is_unknown)
            }
            None => (found, false),
        };
        let addresses = addresses_of(node).filter(|&address| is_usable(address));
        let hosts = std::iter::once(node.name.to_string())
            .chain(addresses.map(|address| address.to_string()))
            .collect();
        known.push(KnownHost { node: node.name.to_string(), hosts, key, is_unknown });
    }
    Ok(known)
}

/// The fixed addresses of a node.
fn addresses_of(node: &Node) -> impl Iterator<Item = IpAddr> {
    node.network.iter().flat_map(|card| &card.addresses).map(InterfaceAddress::ip)
}

/// Whether other machines can reach a node by this address.
fn is_usable(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// A line for `known_hosts`. For a node without a key it is a comment, so that the other lines can still be used.
impl fmt::Display for KnownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} {key}", self.hosts.join(",")),
            None if self.is_unknown => write!(
                f,
                "# {}: the host key in the site is not accepted on this workstation; this command accepts the one in the seal: {}",
                self.node,
                psyops(&format!("seal --node {}", self.node))
            ),
            None => write!(f, "# {0}: no host key yet; build-image --node {0} makes it", self.node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::AtomicError;
    use crate::secrets::credentials::CredentialError;
    use crate::secrets::issue::issue_keys;
    use crate::secrets::passphrase::Passphrases;
    use crate::site::{InitOptions, Site, init_site};
    use keys::timestamp::Timestamp;
    use std::fs;

    #[test]
    fn the_advice_of_an_error_in_the_accepted_keys_is_kept() {
        let missing =
            || AtomicError::Create { path: "/none/trust".into(), source: io::ErrorKind::NotFound.into() };
        let advice = missing().advice().unwrap();
        let error = KnownHostsError::from(TrustError::Write(missing()));
        assert_eq!((error.advice().unwrap(), error.class()), (advice.clone(), Class::CannotCreate));
        let credentials = CredentialError::from(TrustError::Write(missing()));
        assert_eq!((credentials.advice().unwrap(), credentials.class()), (advice, Class::CannotCreate));
    }

    #[test]
    fn an_address_by_which_no_node_is_reached_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let id = "home".parse().unwrap();
        let config = folder.path().join("config");
        let keys = issue_keys(&config, &id, Timestamp::from_unix(0), &Passphrases::default()).unwrap();
        let options =
            InitOptions { build_time: 1_700_000_000, open_consoles: false, ..InitOptions::default() };
        let dir = folder.path().join("site");
        init_site(&dir, &id, &"a".parse().unwrap(), &keys, &options).unwrap();
        let node = |addresses: &str| format!("[[network]]\nname = \"eth0\"\naddresses = [{addresses}]\n");
        fs::write(dir.join("nodes/a.toml"), node("\"10.0.0.8/24\"")).unwrap();
        let all = "\"0.0.0.0/0\", \"127.0.0.1/8\", \"224.0.0.1/24\", \"2001:db8::1/64\"";
        fs::write(dir.join("nodes/b.toml"), node(all)).unwrap();
        let known = known_hosts(&Site::load(&dir).unwrap().into()).unwrap();
        let hosts: Vec<_> = known.iter().map(|node| node.hosts.join(" ")).collect();
        assert_eq!(hosts, ["a 10.0.0.8", "b 2001:db8::1"]);
    }
}
