//! The two places of a node's seal: reading the seals, and writing a new one over the seal that is not used.
//!
//! Which one is used is not stored: it is the valid one with the highest generation (`keys::seal::newest`). So a new
//! seal is used from the moment it is complete, and until then the old one is.

use crate::partition::{MediumError, Partition, Raw};
use handoff::advice::newer_seal;
use handoff::least_generation::LeastGeneration;
use handoff::name::Name;
use handoff::slot::{PerSlot, Slot};
use keys::seal::header::{Generation, Header};
use keys::seal::newest::newest;
use keys::seal::{SealError, UnverifiedSeal, VerifiedSeal};
use keys::signature::PublicKey;

/// Bytes that are read first: enough for a header, and for the signature after a payload.
const HEAD: usize = 4096;
/// The most bytes of a seal; a damaged header cannot make the reader read more.
const LONGEST: usize = 64 * 1024 * 1024;

/// The result of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The seal was written into this slot and is used from now on.
    Written {
        /// The slot that was written.
        slot: Slot,
        /// The generation that was used before, if any.
        replaced: Option<Generation>,
    },
    /// The same seal is in this slot and used already.
    AlreadyThere(Slot),
}

/// Why a seal was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A partition could not be read or written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The seal would be refused with this system's keys and floors.
    #[error(
        "this node would refuse the seal: {0}; make it with the signing key of the site that made this stick"
    )]
    Refused(SealError),
    /// The seal that is used has a higher generation.
    #[error(
        "the seal has generation {new}, and seal-{slot} has generation {current}, which is newer and valid: the older one would never be used; make a newer one on the workstation: {}", newer_seal(node.as_str(), current.number())
    )]
    Older {
        /// The generation of the new seal.
        new: Generation,
        /// The generation of the seal that is used.
        current: Generation,
        /// The slot of the seal that is used.
        slot: Slot,
        /// The name of the node.
        node: Name,
    },
    /// Two different seals have the same generation.
    #[error(
        "seal-{slot} has another seal of the same generation {generation}; make one with a number of its own on the \
         workstation: {}", newer_seal(node.as_str(), generation.number())
    )]
    SameGeneration {
        /// The generation of both.
        generation: Generation,
        /// The slot of the other seal.
        slot: Slot,
        /// The name of the node.
        node: Name,
    },
    /// The new seal is for another node.
    #[error("the seal is of node {found}, this is node {expected}; use seals/{expected}.seal of the site")]
    OtherNode {
        /// The node of the seal that is used.
        expected: Name,
        /// The node of the new seal.
        found: Name,
    },
    /// The partition is too small for the seal.
    #[error(
        "the seal has {need} bytes, seal-{slot} has room for {room}; set a larger seal under [sizes] in site.toml and flash the stick again"
    )]
    TooLarge {
        /// The size of the seal in bytes.
        need: usize,
        /// The size of the partition in bytes.
        room: u64,
        /// The slot with this partition.
        slot: Slot,
    },
    /// The seal was written and read back, but is not valid: this must not happen.
    #[error(
        "seal-{slot} was written but is not valid when it is read back: {problem}; the node keeps using the seal in the other place: make another stick"
    )]
    DoesNotHold {
        /// The slot that was written.
        slot: Slot,
        /// Why the seal is not valid.
        problem: SealError,
    },
}

/// Reads a slot's seal and a few zeros after it, not the megabytes of zeros: the header has the length.
pub fn read<R: Raw>(partition: &Partition<R>) -> Result<Vec<u8>, MediumError> {
    let room = usize::try_from(partition.size()?).unwrap_or(LONGEST).min(LONGEST);
    let head = partition.read(0, HEAD.min(room))?;
    match Header::decode(&head) {
        Ok((_, header, payload)) => {
            let length = header.saturating_add(payload).saturating_add(HEAD);
            partition.read(0, length.min(room))
        }
        Err(_) => Ok(head),
    }
}

/// Writes `new` into the slot that is not used, so that it is used from now on. `trusted` are the keys that may sign.
///
/// The caller, who has the node's key, must first check that the seal opens with it.
pub fn install<R: Raw>(
    slots: &PerSlot<Partition<R>>,
    new: &VerifiedSeal,
    trusted: &[PublicKey],
) -> Result<Installed, InstallError> {
    let header = new.header();
    let holds =
        |bytes: &[u8]| UnverifiedSeal::parse(bytes).and_then(|seal| seal.verify(trusted, &header.site));
    holds(new.bytes()).map_err(InstallError::Refused)?;
    let found = PerSlot { a: read(&slots.a)?, b: read(&slots.b)? };
    let sources = Slot::BOTH.map(|slot| (slot, found.get(slot).as_slice()));
    // A seal that a floor refuses is still a seal of this node that may be overwritten.
    let current = newest(sources, trusted, &header.site, &LeastGeneration::default()).chosen;
    if let Some((slot, current)) = &current {
        let (slot, node, old) = (*slot, header.node.clone(), current.header());
        if old.node != node {
            return Err(InstallError::OtherNode { expected: old.node.clone(), found: node });
        }
        if old.generation > header.generation {
            return Err(InstallError::Older { new: header.generation, current: old.generation, slot, node });
        }
        if current.bytes() == new.bytes() {
            return Ok(Installed::AlreadyThere(slot));
        }
        if old.generation == header.generation {
            return Err(InstallError::SameGeneration { generation: old.generation, slot, node });
        }
    }
    let slot = current.as_ref().map_or(Slot::A, |(slot, _)| slot.other());
    write(slots.get(slot), slot, new)?;
    match holds(&read(slots.get(slot))?) {
        Ok(_) => Ok(Installed::Written { slot, replaced: current.map(|(_, seal)| seal.header().generation) }),
        Err(problem) => Err(InstallError::DoesNotHold { slot, problem }),
    }
}

/// Writes the seal, and zeros over the rest of whatever longer content was there before.
fn write<R: Raw>(partition: &Partition<R>, slot: Slot, new: &VerifiedSeal) -> Result<(), InstallError> {
    let room = partition.size()?;
    let need = new.bytes().len();
    let too_large = InstallError::TooLarge { need, room, slot };
    let size = usize::try_from(room).unwrap_or(usize::MAX);
    if need > size.min(LONGEST) {
        return Err(too_large);
    }
    let mut bytes = new.bytes().to_vec();
    let before = partition.read(0, size.min(LONGEST))?;
    let used = before.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
    bytes.resize(need.max(used).next_multiple_of(HEAD).min(before.len()), 0);
    Ok(partition.write(0, &bytes)?)
}
