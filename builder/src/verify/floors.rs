//! Whether the systems in the slots accept the seals: checks both floors, as the loader does when a node starts.
//!
//! A system ignores a seal below its `least-serial`, and a system below the security epoch of its seal is not started.
//! If this happens in the slot that starts first, the stick is not whole: its node would not start.

use super::Check;
use super::signed::{Slots, Trusted};
use crate::image::reader::ImageReader;
use crate::image::seals::{self, SealProblem};
use crate::image::slot::start_order;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::seal::SealError;

const PART: &str = "floors";

/// Whether a system accepts one of the seals.
enum Verdict {
    /// The system starts with one of them: a description.
    Starts(String),
    /// The system does not start, because of a floor: the reason.
    Refuses(String),
}

/// Checks the seals against the systems.
pub(super) fn check(image: &ImageReader, slots: &Slots) -> Check {
    let verdicts: Vec<(Slot, Verdict)> = start_order(image)
        .into_iter()
        .filter_map(|slot| Some((slot, verdict(image, slots.trust(slot)?)?)))
        .collect();
    let said = verdicts.iter().map(|(slot, verdict)| match verdict {
        Verdict::Starts(said) => format!("slot {slot} {said}"),
        Verdict::Refuses(why) => format!("slot {slot} refuses: {why}"),
    });
    let said = said.collect::<Vec<_>>().join("; ");
    match verdicts.first() {
        None => Check::skipped(PART, "no slot has a valid system, or there is no valid seal".into()),
        Some((_, Verdict::Refuses(_))) => Check::of(PART, Err(said)),
        Some((_, Verdict::Starts(_))) => Check::of(PART, Ok(said)),
    }
}

/// `None` if floors are not the reason: other checks report an invalid seal.
fn verdict(image: &ImageReader, system: &Trusted) -> Option<Verdict> {
    let Trusted { config, keys } = system;
    let newest = seals::newest(image, keys, &config.site, &config.least_generation);
    let below = newest.failed.iter().filter_map(|(slot, problem)| match problem {
        SealProblem::Seal(error @ SealError::BelowLeast { .. }) => {
            Some(format!("{}: {error}", Role::Seal(*slot)))
        }
        _ => None,
    });
    let below: Vec<String> = below.collect();
    let Some((slot, seal)) = newest.chosen else {
        return (!below.is_empty()).then(|| Verdict::Refuses(below.join("; ")));
    };
    let place = Role::Seal(slot);
    let header = seal.header().clone();
    if let Err(problem) = seal.runs_on(config.security_epoch) {
        return Some(Verdict::Refuses(format!("{place}: {problem}")));
    }
    let (least, own) = (config.least_generation.for_node(&header.node), config.security_epoch);
    let mut said = format!(
        "accepts generation {} from {place} (least generation {least}; security epoch {own}, at least {})",
        header.generation, header.security_epoch
    );
    for older in below {
        said.push_str(&format!(", but not {older}"));
    }
    Some(Verdict::Starts(said))
}
