//! Checks that a node's public key in the site is one that the user knows.
//!
//! A seal is encrypted to the node's key, so a committer who changes it, or adds a node, would get secrets. A key
//! counts if this workstation noted it (it made the key, or sealed for it, or the user accepted it), or, if nothing is
//! noted, if it is in the stored seal and an accepted key signed that for this node. The encrypted store does not prove
//! anything: a person with the admins' public keys can put another key into it.

use super::differences::Difference;
use super::error::TrustError;
use super::{Accepted, refuse};
use crate::secrets::node_notes::NodeNotes;
use crate::site::{Node, Site};
use handoff::name::Name;
use keys::identity::Recipient;
use keys::seal::UnverifiedSeal;

/// Returns an error for the first of these nodes with a key that the user does not know.
pub fn check_node_keys<'n>(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    nodes: impl IntoIterator<Item = &'n Name>,
) -> Result<(), TrustError> {
    let nodes = nodes.into_iter().filter_map(|name| site.node(name.as_str()).ok());
    let differences: Vec<Difference> =
        nodes.filter_map(|node| difference(site, accepted, known, node)).collect();
    refuse(site, differences)
}

/// The keys of nodes that the user does not know.
#[must_use]
pub fn unknown_node_keys(site: &Site, accepted: &Accepted, known: &NodeNotes) -> Vec<Difference> {
    site.nodes().filter_map(|node| difference(site, accepted, known, node)).collect()
}

fn difference(site: &Site, accepted: &Accepted, known: &NodeNotes, node: &Node) -> Option<Difference> {
    let key = node.recipient.clone()?;
    let known = known.key(&node.name).cloned().or_else(|| of_kept_seal(site, accepted, &node.name));
    let known = known.map(|known| known.to_string());
    if known.as_ref() == Some(&key) {
        return None;
    }
    Some(Difference::NodeKey { node: node.name.clone(), key, accepted: known })
}

fn of_kept_seal(site: &Site, accepted: &Accepted, node: &Name) -> Option<Recipient> {
    let bytes = site.folder.read(Site::seal_name(node)).ok()?;
    let seal = UnverifiedSeal::parse(&bytes).ok()?.verify(&accepted.keys.signers, &site.id).ok()?;
    Some(seal.header()).filter(|header| header.node == *node).map(|header| header.recipient.clone())
}
