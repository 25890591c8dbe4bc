//! Whether the site's floors can come from raising those that were in use on this workstation.
//!
//! A lowered floor would let nodes accept seals and releases again that were replaced; one far above all known numbers
//! would leave none for the next seal. Both count only if the user accepts them: `psyops trust accept least-serial=3`.

use super::{Accepted, Difference};
use crate::secrets::node_notes::{Floors, NodeNotes};
use crate::secrets::stored_seal;
use crate::site::Site;
use handoff::name::Name;
use keys::seal::header::Generation;
use keys::signature::PublicKey;
use std::collections::BTreeSet;

/// The setting with the floor of releases.
const SECURITY_EPOCH: &str = "security-epoch";
/// The setting with the floor of generations.
const LEAST_GENERATION: &str = "least-serial";
/// How far a floor may be above what is known here: each raise is a step of one above the highest generation, and other
/// people may have made seals and raised floors meanwhile.
const LARGEST_RAISE: u64 = 1 << 16;

/// The floors that were in use here, and the stored seals that cannot be read. If no floors were noted yet, the stored seals
/// have that of releases.
pub(super) fn noted(
    site: &Site,
    accepted: &Accepted,
    former: &[PublicKey],
    notes: &NodeNotes,
) -> (Floors, Vec<Difference>) {
    if let Some(floors) = notes.floors() {
        return (floors.clone(), Vec::new());
    }
    let (mut floors, mut unreadable) = (Floors::default(), Vec::new());
    for node in site.nodes() {
        match stored_seal::verified(site, &node.name, &accepted.keys.signers, former) {
            Ok(None) => {}
            Ok(Some(seal)) => {
                floors.security_epoch = floors.security_epoch.max(seal.header().security_epoch);
            }
            Err(bad) => unreadable.push(bad.into()),
        }
    }
    (floors, unreadable)
}

/// The differences of the site's floors from those that were in use, except for raised ones.
pub(super) fn differences(site: &Site, noted: &Floors, known: &NodeNotes) -> Vec<Difference> {
    let found = Floors::of(site);
    let of = |node: Option<&Name>, key, noted: u64, given: u64, found: u64| {
        let is_raise = (noted..=given.max(noted).saturating_add(LARGEST_RAISE)).contains(&found);
        (!is_raise).then(|| Difference::Floor { node: node.cloned(), key, noted, found })
    };
    let generation = |node: &Name| known.generation(node).map_or(0, Generation::number);
    let highest = site.nodes().map(|node| generation(&node.name)).max().unwrap_or_default();
    let (before, now) = (&noted.least_generation, &found.least_generation);
    let all = [
        of(None, SECURITY_EPOCH, noted.security_epoch.into(), 0, found.security_epoch.into()),
        of(None, LEAST_GENERATION, before.for_all(), highest, now.for_all()),
    ];
    // The floor of a node that is gone does not matter.
    let nodes = site.nodes().map(|node| &node.name);
    let nodes = nodes.filter_map(|node| match (before.own_of(node), now.own_of(node)) {
        // The floor for all nodes counts for this one.
        (0, 0) => None,
        (0, own) => of(Some(node), LEAST_GENERATION, before.for_all(), generation(node), own),
        (own, _) => of(Some(node), LEAST_GENERATION, own, generation(node), now.for_node(node)),
    });
    all.into_iter().flatten().chain(nodes).collect()
}

/// The floors with those that the user `chose` as in the site, and the others unchanged.
pub(super) fn with_chosen(site: &Site, noted: &Floors, chosen: &[Difference]) -> Floors {
    let found = Floors::of(site);
    let of = |wanted: Option<&Name>, wanted_key: &str| {
        let is_chosen = chosen.iter().any(|difference| match difference {
            Difference::Floor { node, key, .. } => node.as_ref() == wanted && *key == wanted_key,
            _ => false,
        });
        if is_chosen { &found } else { noted }
    };
    let mut floors = Floors { security_epoch: of(None, SECURITY_EPOCH).security_epoch, ..Floors::default() };
    floors.least_generation.raise_all(of(None, LEAST_GENERATION).least_generation.for_all());
    let nodes: BTreeSet<&Name> =
        noted.least_generation.nodes().chain(found.least_generation.nodes()).map(|(node, _)| node).collect();
    for node in nodes {
        let generation = of(Some(node), LEAST_GENERATION).least_generation.own_of(node);
        if generation > 0 {
            floors.least_generation.raise(node.clone(), generation);
        }
    }
    floors
}
