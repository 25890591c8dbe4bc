//! Whether a node's SSH host key in the site is one that the user knows.
//!
//! A committer can put a key of his own into the store, encrypted to the admins: he would then be the one whom people reach
//! when they connect to the node. A key counts that this workstation noted (it made the key, or sealed it, or the user
//! accepted it), or, where nothing is noted, that of the kept seal.

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
use keys::seal::{OpenedSeal, UnverifiedSeal};

/// The first of these nodes whose host key in the store the user does not know is an error.
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
        let noted = known.host_key(node).map(str::to_owned);
        let Some(noted) = noted.or_else(|| of_kept_seal(site, accepted, admin, node)) else { continue };
        let found = node_keys::host_key(&store, node, admin)?;
        let found = found.public_words();
        let key = found.map_err(|problem| NodeKeyError::HostKey { node: node.clone(), problem })?;
        if key != noted {
            differences.push(Difference::HostKey { node: node.clone(), key, accepted: noted });
        }
    }
    Ok(refuse(site, differences)?)
}

/// The nodes whose public host key in the site is not the one that is noted. Nothing is decrypted for that.
#[must_use]
pub fn changed_host_keys(site: &Site, known: &NodeNotes) -> Vec<Difference> {
    let store = Store::without_admins(site);
    let changed = site.nodes().filter_map(|node| {
        let accepted = known.host_key(&node.name)?.to_owned();
        let key = public_words(&store.read_host_key_public(&node.name).ok()??)?;
        (key != accepted).then(|| Difference::HostKey { node: node.name.clone(), key, accepted })
    });
    changed.collect()
}

/// The host key that a seal carries: kind and key.
#[must_use]
pub fn host_key_of(seal: &OpenedSeal) -> Option<String> {
    let file = seal.content(&RelativePath::new(HOST_KEY_PUBLIC)?)?;
    public_words(std::str::from_utf8(file).ok()?)
}

fn of_kept_seal(site: &Site, accepted: &Accepted, admin: &NodeIdentity, node: &Name) -> Option<String> {
    let bytes = site.folder.read(Site::seal_name(node)).ok()?;
    let seal = UnverifiedSeal::parse(&bytes).ok()?.verify(&accepted.keys.signers, &site.id).ok()?;
    let seal = Some(seal).filter(|seal| seal.header().node == *node)?;
    host_key_of(&seal.open_as_admin(admin).ok()?)
}
