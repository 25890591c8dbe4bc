//! Whether the site's floors are as high as those that were in use on this workstation.
//!
//! A floor that sinks would let nodes take seals and releases again that were replaced, so it sinks only where the user
//! says so: `psyops trust accept least-serial=3`.

use super::Difference;
use crate::secrets::node_notes::Floors;
use handoff::name::Name;

/// The key of the floor of releases.
const SECURITY_EPOCH: &str = "security-epoch";
/// The key of the floor of serials.
const LEAST_SERIAL: &str = "least-serial";

/// The floors of the site, `found`, that are below those that were `noted`.
pub(super) fn lowered(noted: &Floors, found: &Floors) -> Vec<Difference> {
    let of = |node: Option<&Name>, key, noted, found| {
        (found < noted).then(|| Difference::Floor { node: node.cloned(), key, noted, found })
    };
    let site = [
        of(None, SECURITY_EPOCH, noted.security_epoch.into(), found.security_epoch.into()),
        of(None, LEAST_SERIAL, noted.least_serial.for_all(), found.least_serial.for_all()),
    ];
    let nodes = noted.least_serial.nodes();
    let nodes =
        nodes.map(|(node, serial)| of(Some(node), LEAST_SERIAL, serial, found.least_serial.for_node(node)));
    site.into_iter().chain(nodes).flatten().collect()
}

/// The floors of which those that the user typed are as the site has them, and the others stay.
pub(super) fn accepted(noted: &Floors, found: &Floors, typed: &[String]) -> Floors {
    let lowered = lowered(noted, found);
    let is_accepted = |node: Option<&Name>, key: &str| {
        lowered.iter().any(|difference| match difference {
            Difference::Floor { node: of, key: its, .. } => {
                of.as_ref() == node && *its == key && typed.iter().any(|text| difference.is_accepted_by(text))
            }
            _ => false,
        })
    };
    let mut floors = Floors::default();
    let epoch = if is_accepted(None, SECURITY_EPOCH) { found } else { noted };
    floors.security_epoch = epoch.security_epoch;
    let all = if is_accepted(None, LEAST_SERIAL) { found } else { noted };
    floors.least_serial.raise_all(all.least_serial.for_all());
    for (node, serial) in noted.least_serial.nodes() {
        let accepted = is_accepted(Some(node), LEAST_SERIAL);
        let serial = if accepted { found.least_serial.own_of(node) } else { serial };
        if serial > 0 {
            floors.least_serial.raise(node.clone(), serial);
        }
    }
    floors
}
