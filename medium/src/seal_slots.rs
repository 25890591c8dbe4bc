//! The two places of a node's seal: reading what is there, and putting a new seal into the place that does not count.
//!
//! Which one counts is not written anywhere: the highest serial whose signature holds (`keys::seal::newest`). So a new
//! seal counts from the moment it is whole, and until then the old one does.

use crate::partition::{MediumError, Partition, Raw};
use handoff::advice::newer_seal;
use handoff::least_serial::LeastSerial;
use handoff::name::Name;
use handoff::slot::{PerSlot, Slot};
use keys::seal::header::{Header, Serial};
use keys::seal::newest::newest;
use keys::seal::{SealError, UnverifiedSeal, VerifiedSeal};
use keys::signature::PublicKey;

/// A header fits, and whatever signature follows a payload.
const HEAD: usize = 4096;
/// No seal is longer; what a damaged header asks for is not read.
const LONGEST: usize = 64 * 1024 * 1024;

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The seal was written into this slot and counts from now on.
    Written {
        /// The slot.
        slot: Slot,
        /// The serial that counted before, where one did.
        replaced: Option<Serial>,
    },
    /// This very seal is the one that counts already.
    AlreadyThere(Slot),
}

/// Why a seal was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A partition could not be read or written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// Its signature does not hold with the keys that count here.
    #[error("the seal would not count: {0}; make it with the signing key of the site that made this stick")]
    Refused(SealError),
    /// The one that counts is newer.
    #[error(
        "the seal has serial {new}, and seal-{slot} has serial {current}, which is newer and holds: the older one would \
         never be used; make a newer one on the workstation: {}", newer_seal(node.as_str(), current.number())
    )]
    Older {
        /// The serial of the seal at hand.
        new: Serial,
        /// The serial that counts.
        current: Serial,
        /// Where that is.
        slot: Slot,
        /// The node.
        node: Name,
    },
    /// Two different seals with one number.
    #[error(
        "seal-{slot} has another seal of the same serial {serial}; make one with a number of its own on the workstation: \
         {}", newer_seal(node.as_str(), serial.number())
    )]
    SameSerial {
        /// The serial of both.
        serial: Serial,
        /// Where the other one is.
        slot: Slot,
        /// The node.
        node: Name,
    },
    /// It describes another node.
    #[error("the seal is of node {found}, this is node {expected}; use seals/{expected}.seal of the site")]
    OtherNode {
        /// The node of the seal that counts.
        expected: Name,
        /// The node of the seal at hand.
        found: Name,
    },
    /// The partition is too small.
    #[error(
        "the seal has {need} bytes, seal-{slot} has room for {room}; set a larger seal under [sizes] in site.toml and \
         write the stick anew"
    )]
    TooLarge {
        /// Its bytes.
        need: usize,
        /// The partition's bytes.
        room: u64,
        /// The slot.
        slot: Slot,
    },
    /// It was written and read back, and yet does not hold: that must not happen.
    #[error(
        "seal-{slot} was written and does not hold: {problem}; what counted before still does: make another stick"
    )]
    DoesNotHold {
        /// The slot.
        slot: Slot,
        /// Why not.
        problem: SealError,
    },
}

/// The bytes of a slot's seal and a few zeros, not the megabytes of zeros after it: its header says how long it is.
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

/// Writes `new` into the slot that does not count, so that it counts from now on. `trusted` are the keys that may sign.
///
/// That the seal opens with the node's key is for the caller to find out first: it has the key.
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
    // What a floor refuses is still a seal of this node whose place may be written over.
    let current = newest(sources, trusted, &header.site, &LeastSerial::default()).chosen;
    if let Some((slot, current)) = &current {
        let (slot, node, old) = (*slot, header.node.clone(), current.header());
        if old.node != node {
            return Err(InstallError::OtherNode { expected: old.node.clone(), found: node });
        }
        if old.serial > header.serial {
            return Err(InstallError::Older { new: header.serial, current: old.serial, slot, node });
        }
        if current.bytes() == new.bytes() {
            return Ok(Installed::AlreadyThere(slot));
        }
        if old.serial == header.serial {
            return Err(InstallError::SameSerial { serial: old.serial, slot, node });
        }
    }
    let slot = current.as_ref().map_or(Slot::A, |(slot, _)| slot.other());
    write(slots.get(slot), slot, new)?;
    match holds(&read(slots.get(slot))?) {
        Ok(_) => Ok(Installed::Written { slot, replaced: current.map(|(_, seal)| seal.header().serial) }),
        Err(problem) => Err(InstallError::DoesNotHold { slot, problem }),
    }
}

/// The seal, and zeros behind it as far as something else lay there.
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
