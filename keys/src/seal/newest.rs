//! Choosing among several seals: the highest serial whose signature holds wins, whatever the others look like.
//!
//! That makes replacing a seal atomic: the new one is written where the older one of two lies, and counts only once
//! it is whole.

use super::{SealError, UnverifiedSeal, VerifiedSeal};
use crate::signature::PublicKey;
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
) -> Newest<S> {
    let mut outcome = Newest { chosen: None, failed: Vec::new() };
    for (source, bytes) in sources {
        match UnverifiedSeal::parse(bytes).and_then(|seal| seal.verify(trusted, site)) {
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
