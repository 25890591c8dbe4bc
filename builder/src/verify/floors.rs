//! Whether the systems in the slots accept the seals: checks both floors, as the loader does when a node starts.
//!
//! A system ignores a seal below its `least-serial`, and a system below the security epoch of its seal is not started.
//! If this happens in the slot that starts first, the stick is not whole: its node would not start.

use super::Check;
use super::current::start_order;
use super::signed::Slots;
use crate::image::reader::ImageReader;
use crate::image::slot;
use handoff::loader_config::LoaderConfig;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::seal::SealError;
use keys::seal::newest::newest;

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
fn verdict(image: &ImageReader, system: &LoaderConfig) -> Option<Verdict> {
    let keys: Vec<_> = system.signing_keys.iter().filter_map(|key| key.parse().ok()).collect();
    let seals: Vec<(Role, Vec<u8>)> = Slot::BOTH
        .into_iter()
        .filter_map(|slot| Some((Role::Seal(slot), slot::seal(image, slot).ok()?.ok()?.bytes().to_vec())))
        .collect();
    let sources = seals.iter().map(|(place, bytes)| (*place, bytes.as_slice()));
    let newest = newest(sources, &keys, &system.site, &system.least_generation);
    let below: Vec<String> = newest
        .failed
        .iter()
        .filter(|(_, error)| matches!(error, SealError::BelowLeast { .. }))
        .map(|(place, error)| format!("{place}: {error}"))
        .collect();
    let Some((place, seal)) = newest.chosen else {
        return (!below.is_empty()).then(|| Verdict::Refuses(below.join("; ")));
    };
    let header = seal.header().clone();
    if let Err(problem) = seal.runs_on(system.security_epoch) {
        return Some(Verdict::Refuses(format!("{place}: {problem}")));
    }
    let (least, own) = (system.least_generation.for_node(&header.node), system.security_epoch);
    let mut said = format!(
        "accepts generation {} from {place} (least generation {least}; security epoch {own}, at least {})",
        header.generation, header.security_epoch
    );
    for older in below {
        said.push_str(&format!(", but not {older}"));
    }
    Some(Verdict::Starts(said))
}
