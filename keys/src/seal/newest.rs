//! Choosing among several seals: the one with the highest generation and a valid signature is used, whatever the others
//! are. A seal below the floor of the running system is not used.
//!
//! This makes replacing a seal atomic: the new one is written over the older one of two, and is used only once it is
//! complete.

use super::{SealError, UnverifiedSeal, VerifiedSeal};
use crate::signature::PublicKey;
use handoff::least_generation::LeastGeneration;
use handoff::name::Name;

/// The result of reading all sources.
#[derive(Debug)]
pub struct Newest<S> {
    /// The seal to use and its source; `None` if no source has a valid one.
    pub chosen: Option<(S, VerifiedSeal)>,
    /// The sources without a valid seal, and why.
    pub failed: Vec<(S, SealError)>,
}

/// Verifies the seals of all sources and keeps the one with the highest generation; of equals, the first.
pub fn newest<'b, S>(
    sources: impl IntoIterator<Item = (S, &'b [u8])>,
    trusted: &[PublicKey],
    site: &Name,
    floors: &LeastGeneration,
) -> Newest<S> {
    let mut outcome = Newest { chosen: None, failed: Vec::new() };
    for (source, bytes) in sources {
        let verified = UnverifiedSeal::parse(bytes).and_then(|seal| seal.verify(trusted, site));
        match verified.and_then(|seal| seal.at_least(floors)) {
            Ok(seal) => {
                let best = outcome.chosen.as_ref().map(|(_, best)| best.header().generation);
                if best.is_none_or(|best| seal.header().generation > best) {
                    outcome.chosen = Some((source, seal));
                }
            }
            Err(error) => outcome.failed.push((source, error)),
        }
    }
    outcome
}
