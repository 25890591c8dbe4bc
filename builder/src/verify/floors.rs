//! Whether the systems in the slots accept the seals: checks both floors, as the loader does when a node starts.
//!
//! A system ignores a seal below its `least-serial`, and a system below the release floor of its seal is not started.
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
enum Answer {
    /// The system starts with one of them: a description.
    Starts(String),
    /// The system does not start, because of a floor: the reason.
    Refuses(String),
}

/// Checks the seals against the systems.
pub(super) fn check(image: &ImageReader, slots: &Slots) -> Check {
    let answers: Vec<(Slot, Answer)> = start_order(image)
        .into_iter()
        .filter_map(|slot| Some((slot, answer(image, slots.trust(slot)?)?)))
        .collect();
    let said = answers.iter().map(|(slot, answer)| match answer {
        Answer::Starts(said) => format!("slot {slot} {said}"),
        Answer::Refuses(why) => format!("slot {slot} refuses: {why}"),
    });
    let said = said.collect::<Vec<_>>().join("; ");
    match answers.first() {
        None => Check::skipped(PART, "no slot holds a system, or there is no seal, that holds".into()),
        Some((_, Answer::Refuses(_))) => Check::of(PART, Err(said)),
        Some((_, Answer::Starts(_))) => Check::of(PART, Ok(said)),
    }
}

/// `None` if floors are not the reason: other checks report an invalid seal.
fn answer(image: &ImageReader, system: &Trusted) -> Option<Answer> {
    let Trusted { config, keys } = system;
    let newest = seals::newest(image, keys, &config.site, &config.least_serial);
    let below = newest.failed.iter().filter_map(|(slot, problem)| match problem {
        SealProblem::Seal(error @ SealError::BelowLeast { .. }) => {
            Some(format!("{}: {error}", Role::Seal(*slot)))
        }
        _ => None,
    });
    let below: Vec<String> = below.collect();
    let Some((slot, seal)) = newest.chosen else {
        return (!below.is_empty()).then(|| Answer::Refuses(below.join("; ")));
    };
    let place = Role::Seal(slot);
    let header = seal.header().clone();
    if let Err(problem) = seal.runs_on(config.security_epoch) {
        return Some(Answer::Refuses(format!("{place}: {problem}")));
    }
    let (least, own) = (config.least_serial.for_node(&header.node), config.security_epoch);
    let mut said = format!(
        "takes serial {} from {place} (least serial {least}; security epoch {own}, at least {})",
        header.serial, header.release_floor
    );
    for older in below {
        said.push_str(&format!(", and not {older}"));
    }
    Some(Answer::Starts(said))
}
