//! Checks that a node's public key in the site is one that the user knows.
//!
//! A seal is encrypted to the node's key, so a committer who changes it, or adds a node, would get secrets. A key
//! counts if this workstation noted it (it made the key, or sealed for it, or the user accepted it), or, if nothing is
//! noted, if it is in the stored seal and an accepted key signed that for this node. The encrypted store does not prove
//! anything: a person with the admins' public keys can put another key into it.

use super::differences::Difference;
use super::error::TrustError;
use super::{Accepted, refuse};
use crate::secrets::node_keys::NodeKeys;
use crate::secrets::node_notes::NodeNotes;
use crate::secrets::stored_seal::{self, UntrustedSeal};
use crate::site::{Node, Site};
use handoff::name::Name;

/// Returns an error if a key of these nodes is not known to the user. `nodes` have their keys open.
pub fn check_node_keys<'n>(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    untrusted: UntrustedSeal,
    nodes: impl IntoIterator<Item = (&'n Name, &'n NodeKeys)>,
) -> Result<(), TrustError> {
    let mut differences = Vec::new();
    for (name, keys) in nodes {
        let Ok(node) = site.node(name.as_str()) else { continue };
        let known = match known_key(site, accepted, known, name) {
            Ok(known) => known,
            Err(_) if untrusted == UntrustedSeal::Replace => None,
            Err(difference) => {
                differences.push(difference);
                continue;
            }
        };
        differences.extend(difference(node, known).map(|found| match found {
            // The user can accept only what the node's file says.
            Difference::NodeKey { node, key, .. } if keys.new_recipient.is_some() => {
                Difference::UnnamedKey { node, key }
            }
            other => other,
        }));
    }
    refuse(site, differences)
}

/// The keys of nodes that the user does not know, and the stored seals that cannot say which key is right.
#[must_use]
pub fn unknown_node_keys(site: &Site, accepted: &Accepted, known: &NodeNotes) -> Vec<Difference> {
    let mut unknown = Vec::new();
    for node in site.nodes() {
        let known = known_key(site, accepted, known, &node.name).unwrap_or_else(|difference| {
            unknown.push(difference);
            None
        });
        unknown.extend(difference(node, known));
    }
    unknown
}

/// The key of a node that is noted; or, if none is, the one in the stored seal.
fn known_key(
    site: &Site,
    accepted: &Accepted,
    known: &NodeNotes,
    node: &Name,
) -> Result<Option<String>, Difference> {
    if let Some(known) = known.key(node) {
        return Ok(Some(known.to_string()));
    }
    let seal = stored_seal::verified(site, node, &accepted.keys.signers, &accepted.former_signers)?;
    let seal = seal.filter(|seal| seal.header().node == *node);
    Ok(seal.map(|seal| seal.header().recipient.to_string()))
}

fn difference(node: &Node, known: Option<String>) -> Option<Difference> {
    let key = node.recipient.clone().filter(|key| known.as_ref() != Some(key))?;
    Some(Difference::NodeKey { node: node.name.clone(), key, accepted: known })
}
