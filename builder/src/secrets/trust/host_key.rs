//! Checks that a node's SSH host key in the site is one that the user knows.
//!
//! A committer can put their own key into the store, encrypted to the admins: users who connect to the node would then
//! reach the committer's machine. A key counts if this workstation noted it (it made the key, or sealed it, or the user
//! accepted it), or, if nothing is noted, if it is in the stored seal.

use super::differences::Difference;
use super::error::TrustError;
use super::{Accepted, NodeNotes, refuse};
use crate::error::Error;
use crate::secrets::node_keys::{self, HOST_KEY_PUBLIC, NodeKeyError, NodeKeys};
use crate::secrets::store::Store;
use crate::secrets::stored_seal::{self, UntrustedSeal};
use crate::site::Site;
use handoff::manifest::RelativePath;
use handoff::name::Name;
use keys::identity::NodeIdentity;
use keys::issue::host_key::{HostKey, public_words};
use keys::seal::{OpenedSeal, VerifiedSeal};

/// How a host key that is not noted can be confirmed.
#[derive(Debug, Clone, Copy)]
pub enum Witness<'i> {
    /// With an admin's identity, which decrypts the stored seals and the private halves.
    Admin(&'i NodeIdentity),
    /// Without decrypting: a key is accepted if there is a stored seal.
    StoredSeal,
    /// Not at all: a key that is not noted is not accepted.
    None,
}

/// Returns an error if a host key of these nodes is not known to the user. `nodes` have their keys open.
pub fn check_host_keys<'n>(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    admin: &NodeIdentity,
    untrusted: UntrustedSeal,
    nodes: impl IntoIterator<Item = (&'n Name, &'n NodeKeys)>,
) -> Result<(), Error> {
    let store = Store::without_admins(site);
    let mut differences = Vec::new();
    for (node, keys) in nodes {
        let private = words_of(node, &keys.host_key)?;
        let noted = match noted_or_sealed(site, accepted, known, admin, node) {
            Err(_) if untrusted == UntrustedSeal::Replace => None,
            Err(difference) => {
                differences.push(difference);
                continue;
            }
            Ok(noted) => noted,
        };
        // The public half that this command will write replaces the one in the site.
        let public = if keys.has_new_host_key_files() { None } else { public_half(&store, node)? };
        differences.extend(difference(node, noted, Some(private), public.as_deref()));
    }
    Ok(refuse(site, differences)?)
}

/// The host keys in the site that the user does not know.
pub fn unknown_host_keys(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    witness: Witness<'_>,
) -> Result<Vec<Difference>, TrustError> {
    let store = Store::without_admins(site);
    let mut unknown = Vec::new();
    for node in site.nodes().map(|node| &node.name) {
        let noted = known.host_key(node).map(str::to_owned);
        let public = public_half(&store, node)?;
        let mut unless_damaged = |found: Result<_, Difference>| {
            found.unwrap_or_else(|difference| {
                unknown.push(difference);
                None
            })
        };
        let (noted, private) = match witness {
            Witness::Admin(admin) => (
                unless_damaged(noted_or_sealed(site, accepted, known, admin, node)),
                private_words(&store, admin, node).ok(),
            ),
            Witness::StoredSeal if noted.is_none() => match stored_seal(site, accepted, node) {
                Ok(Some(_)) => continue,
                Ok(None) => (None, None),
                Err(difference) => (unless_damaged(Err(difference)), None),
            },
            Witness::StoredSeal | Witness::None => (noted, None),
        };
        unknown.extend(difference(node, noted, private, public.as_deref()));
    }
    Ok(unknown)
}

/// The host key that is noted; or, if none is, the one in the stored seal.
fn noted_or_sealed(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    admin: &NodeIdentity,
    node: &Name,
) -> Result<Option<String>, Difference> {
    if let Some(noted) = known.host_key(node) {
        return Ok(Some(noted.to_owned()));
    }
    // A seal for other admins is whole, and of no help here.
    let opened = stored_seal(site, accepted, node)?.and_then(|seal| seal.open_as_admin(admin).ok());
    Ok(opened.and_then(|seal| host_key_of(&seal)))
}

/// Kind and key from the private half in the store.
fn private_words(store: &Store, admin: &NodeIdentity, node: &Name) -> Result<String, NodeKeyError> {
    words_of(node, &node_keys::host_key(store, node, admin)?)
}

fn words_of(node: &Name, key: &HostKey) -> Result<String, NodeKeyError> {
    key.public_words().map_err(|problem| NodeKeyError::HostKey { node: node.clone(), problem })
}

fn public_half(store: &Store, node: &Name) -> Result<Option<String>, TrustError> {
    let path = store.host_key_public(node);
    store.read_host_key_public(node).map_err(|source| TrustError::Read { path, source })
}

/// Compares both halves of a key with each other, and with the known key. `private` is the public key in the private
/// half, if that could be decrypted; `public` is the file with the public half.
fn difference(
    node: &Name,
    accepted: Option<String>,
    private: Option<String>,
    public: Option<&str>,
) -> Option<Difference> {
    let words = public.and_then(public_words);
    if private.is_some() && public.is_some() && private != words {
        return Some(Difference::HostKeyHalves { node: node.clone() });
    }
    let key = private.or(words)?;
    (accepted.as_ref() != Some(&key)).then(|| Difference::HostKey { node: node.clone(), key, accepted })
}

/// The host key in a seal: kind and key.
#[must_use]
pub fn host_key_of(seal: &OpenedSeal) -> Option<String> {
    let file = seal.content(&RelativePath::new(HOST_KEY_PUBLIC)?)?;
    public_words(std::str::from_utf8(file).ok()?)
}

fn stored_seal(site: &Site, accepted: &Accepted, node: &Name) -> Result<Option<VerifiedSeal>, Difference> {
    let seal = stored_seal::verified(site, node, &accepted.keys.signers, &accepted.former_signers)?;
    Ok(seal.filter(|seal| seal.header().node == *node))
}
