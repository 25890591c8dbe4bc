//! Choosing among several seals: the highest serial whose signature holds wins, whatever the others look like. One
//! below the floor of the running system does not count.
//!
//! That makes replacing a seal atomic: the new one is written where the older one of two lies, and counts only once
//! it is whole.

use super::{SealError, UnverifiedSeal, VerifiedSeal};
use crate::signature::PublicKey;
use handoff::least_serial::LeastSerial;
use handoff::name::Name;

/// The outcome of looking at all sources.
#[derive(Debug)]
pub struct Newest<S> {
    /// The seal to use and where it came from; `None` where no source has one that holds.
    pub chosen: Option<(S, VerifiedSeal)>,
    /// The sources that have no seal that holds, and why.
    pub failed: Vec<(S, SealError)>,
}

/// Verifies the seals of all sources and keeps the one with the highest serial; of equals, the first.
pub fn newest<'b, S>(
    sources: impl IntoIterator<Item = (S, &'b [u8])>,
    trusted: &[PublicKey],
    site: &Name,
    floors: &LeastSerial,
) -> Newest<S> {
    let mut outcome = Newest { chosen: None, failed: Vec::new() };
    for (source, bytes) in sources {
        let verified = UnverifiedSeal::parse(bytes).and_then(|seal| seal.verify(trusted, site));
        match verified.and_then(|seal| seal.at_least(floors)) {
            Ok(seal) => {
                let best = outcome.chosen.as_ref().map(|(_, best)| best.header().serial);
                if best.is_none_or(|best| seal.header().serial > best) {
                    outcome.chosen = Some((source, seal));
                }
            }
            Err(error) => outcome.failed.push((source, error)),
        }
    }
    outcome
}
