//! Checks that a node's SSH host key in the site is one that the user knows.
//!
//! A committer can put their own key into the store, encrypted to the admins: users who connect to the node would then
//! reach the committer's machine. A key counts if this workstation noted it (it made the key, or sealed it, or the user
//! accepted it), or, if nothing is noted, if it is in the stored seal.

use super::differences::Difference;
use super::{Accepted, NodeNotes, refuse};
use crate::error::Error;
use crate::secrets::compose::HOST_KEY_PUBLIC;
use crate::secrets::node_keys::{self, NodeKeyError};
use crate::secrets::store::Store;
use crate::site::Site;
use handoff::manifest::RelativePath;
use handoff::name::Name;
use keys::identity::NodeIdentity;
use keys::issue::host_key::public_words;
use keys::seal::{OpenedSeal, UnverifiedSeal, VerifiedSeal};

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

/// Returns an error if a host key of these nodes is not known to the user.
pub fn check_host_keys<'n>(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    admin: &NodeIdentity,
    nodes: impl IntoIterator<Item = &'n Name>,
) -> Result<(), Error> {
    let store = Store::of(site)?;
    let mut differences = Vec::new();
    for node in nodes {
        let private = private_words(&store, admin, node)?;
        let noted = noted(known, node).or_else(|| of_kept_seal(site, accepted, admin, node));
        differences.extend(difference(&store, node, noted, Some(private)));
    }
    Ok(refuse(site, differences)?)
}

/// The host keys in the site that the user does not know.
#[must_use]
pub fn unknown_host_keys(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    witness: Witness<'_>,
) -> Vec<Difference> {
    let store = Store::without_admins(site);
    let unknown = site.nodes().filter_map(|node| {
        let node = &node.name;
        let noted = noted(known, node);
        match witness {
            Witness::Admin(admin) => {
                let noted = noted.or_else(|| of_kept_seal(site, accepted, admin, node));
                difference(&store, node, noted, private_words(&store, admin, node).ok())
            }
            Witness::StoredSeal if noted.is_none() && kept_seal(site, accepted, node).is_some() => None,
            Witness::StoredSeal | Witness::None => difference(&store, node, noted, None),
        }
    });
    unknown.collect()
}

fn noted(known: &NodeNotes, node: &Name) -> Option<String> {
    known.host_key(node).map(str::to_owned)
}

/// Kind and key from the private half in the store.
fn private_words(store: &Store, admin: &NodeIdentity, node: &Name) -> Result<String, NodeKeyError> {
    let key = node_keys::host_key(store, node, admin)?;
    key.public_words().map_err(|problem| NodeKeyError::HostKey { node: node.clone(), problem })
}

/// Compares both halves in the store with each other, and with the known key. `private` is the public key in the
/// private half, if that could be decrypted.
fn difference(
    store: &Store,
    node: &Name,
    accepted: Option<String>,
    private: Option<String>,
) -> Option<Difference> {
    let public = store.read_host_key_public(node).ok().flatten();
    let words = public.as_deref().and_then(public_words);
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

fn kept_seal(site: &Site, accepted: &Accepted, node: &Name) -> Option<VerifiedSeal> {
    let bytes = site.folder.read(Site::seal_name(node)).ok()?;
    let seal = UnverifiedSeal::parse(&bytes).ok()?.verify(&accepted.keys.signers, &site.id).ok()?;
    Some(seal).filter(|seal| seal.header().node == *node)
}

fn of_kept_seal(site: &Site, accepted: &Accepted, admin: &NodeIdentity, node: &Name) -> Option<String> {
    host_key_of(&kept_seal(site, accepted, node)?.open_as_admin(admin).ok()?)
}
