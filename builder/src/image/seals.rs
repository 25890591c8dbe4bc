//! Which of an image's two seals counts.
//!
//! A node takes the valid seal with the highest generation (`keys::seal::newest`); every command that asks whose image it is,
//! or what its seal says, asks here. A generation below the floor of a system does not count for that system, so this needs the
//! floors, too: `verify` takes those of the system that starts, and a command that reads no system knows none.

use super::reader::{ImageReader, ReadError};
use super::slot;
use crate::limits;
use handoff::least_generation::LeastGeneration;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::seal::header::{Generation, Header};
use keys::seal::newest::{self, Newest};
use keys::seal::{SealError, UnverifiedSeal, VerifiedSeal};
use keys::signature::PublicKey;

/// The seal that a node would use.
#[derive(Debug)]
pub struct NewestSeal {
    /// The seal and its slot; `None` if neither is valid.
    pub chosen: Option<(Slot, VerifiedSeal)>,
    /// Why the others do not count.
    pub failed: Vec<(Slot, SealProblem)>,
}

/// Why a seal does not count.
#[derive(Debug, thiserror::Error)]
pub enum SealProblem {
    /// The partition could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The seal is not valid.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Reads both seals, and chooses the one that a node with these keys, site id and floors would use.
#[must_use]
pub fn newest(
    image: &ImageReader,
    trusted: &[PublicKey],
    site: &Name,
    floors: &LeastGeneration,
) -> NewestSeal {
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for slot in Slot::BOTH {
        match image.read_all(Role::Seal(slot), &limits::SEAL) {
            Ok(bytes) => read.push((slot, bytes)),
            Err(error) => unread.push((slot, error.into())),
        }
    }
    let sources = read.iter().map(|(slot, bytes)| (*slot, bytes.as_slice()));
    let Newest { chosen, failed } = newest::newest(sources, trusted, site, floors);
    let failed = failed.into_iter().map(|(slot, error)| (slot, error.into())).chain(unread).collect();
    NewestSeal { chosen, failed }
}

impl NewestSeal {
    /// Why no seal counts, in one line.
    #[must_use]
    pub fn problems(&self) -> String {
        let problems = self.failed.iter().map(|(slot, problem)| format!("{}: {problem}", Role::Seal(*slot)));
        problems.collect::<Vec<_>>().join("; ")
    }
}

/// The header of the seal that says whose image it is. With `keys` of a site, it is that of the seal that a node would
/// use. Without, no signature can be verified, and the header is not proven: it is that of the higher generation.
#[must_use]
pub fn owner(image: &ImageReader, keys: Option<(&[PublicKey], &Name)>) -> Option<Header> {
    if let Some((keys, site)) = keys {
        let newest = newest(image, keys, site, &LeastGeneration::default());
        return newest.chosen.map(|(_, seal)| seal.header().clone());
    }
    let seals = Slot::BOTH.into_iter().filter_map(|slot| slot::seal(image, slot).ok()?.ok());
    highest(seals, |seal: &UnverifiedSeal| seal.unproven_header().generation)
        .map(|seal| seal.unproven_header().clone())
}

/// The item with the highest generation; of equals, the first, as for a node.
pub fn highest<T>(items: impl IntoIterator<Item = T>, generation: impl Fn(&T) -> Generation) -> Option<T> {
    items.into_iter().reduce(|best, next| if generation(&next) > generation(&best) { next } else { best })
}
