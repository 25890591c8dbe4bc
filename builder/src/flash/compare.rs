//! Compares sticks with what they should hold, read from the medium past the cache: before writing, to learn which
//! pieces need no write, and afterwards.
//!
//! A piece that is wrong afterwards is written once more; if it is wrong again, the stick is faulty.

use super::buffer::Buffer;
use super::deliver::{REQUESTS, deliver};
use super::error::FlashError;
use super::event::Phase;
use super::layout::{PIECE, length};
use super::probe::LessRoom;
use super::recipient::{Recipient, Todo, at_once};
use super::source::{Piece, Source};
use super::stick::Stick;
use crate::error::Error;
use crate::parallel;
use crate::width::to_usize;
use handoff::hash::Sha256Digest;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many pieces are sampled to decide whether comparing is worth the time.
const SAMPLES: usize = 32;
/// Comparing is worth it if this part of the samples is equal: one in eight.
const WORTH: usize = 8;

/// The pieces to write to each stick: those that differ, if the stick seems to have something of the image, or else
/// all. Meanwhile `verify` verifies the images; after an error the comparison stops.
pub(super) fn look<'r, J>(
    recipients: &'r [Recipient<'r>],
    full: bool,
    verify: impl FnOnce() -> Result<J, Error>,
) -> Result<(J, Vec<Todo<'r>>), Error> {
    let in_vain = AtomicBool::new(false);
    let verify_images = || {
        let verified = verify();
        in_vain.store(verified.is_err(), Ordering::Relaxed);
        verified
    };
    let (todo, verified) = parallel::both(|| what_differs(recipients, full, &in_vain), verify_images);
    Ok((verified?, todo))
}

fn what_differs<'r>(recipients: &'r [Recipient<'r>], full: bool, in_vain: &AtomicBool) -> Vec<Todo<'r>> {
    let all = |recipient: &Recipient<'_>| recipient.stick.layout.pieces.clone();
    let worth: Vec<_> = recipients.iter().map(|recipient| (recipient, AtomicBool::new(false))).collect();
    if !full {
        at_once(worth.iter().map(|(recipient, worth)| (*recipient, worth)), |recipient, worth| {
            worth.store(sample(&recipient.stick, recipient.source)?, Ordering::Relaxed);
            Ok(())
        });
    }
    let compared = |(recipient, worth): (_, AtomicBool)| {
        let pieces = if worth.into_inner() { all(recipient) } else { Vec::new() };
        Todo { recipient, pieces }
    };
    let compared: Vec<Todo<'_>> = worth.into_iter().map(compared).collect();
    compare(&compared, Phase::Comparing, in_vain);
    let differing = |Todo { recipient, pieces }: Todo<'r>| {
        let differing = recipient.stick.take_differing();
        Todo { recipient, pieces: if pieces.is_empty() { all(recipient) } else { differing } }
    };
    compared.into_iter().map(differing).collect()
}

/// Learns from some pieces whether the stick already holds something of the image.
fn sample(stick: &Stick<'_>, image: Source<'_>) -> Result<bool, FlashError> {
    let pieces = &stick.layout.pieces;
    let mut found = Buffer::zeros(to_usize(PIECE));
    let (mut looked, mut equal) = (0, 0);
    for range in pieces.iter().step_by((pieces.len() / SAMPLES).max(1)) {
        let piece = Piece::of_image(image, range.clone())?;
        // Zeros are not evidence: a new stick holds them.
        if !piece.is_zero() {
            looked += 1;
            let holds = stick.medium.holds(&piece.bytes, range.start, &mut found);
            equal += usize::from(holds.map_err(stick.fails())?);
        }
    }
    Ok(equal * WORTH >= looked.max(1))
}

/// Compares these pieces; each stick then knows which of them differ.
fn compare(todo: &[Todo<'_>], phase: Phase, in_vain: &AtomicBool) {
    for Todo { recipient, pieces } in todo.iter().filter(|todo| !todo.pieces.is_empty()) {
        recipient.stick.progress.enter(phase, length(pieces));
    }
    deliver(todo, &|stick: &Stick<'_>, piece: &Piece, found: &mut Buffer| {
        if in_vain.load(Ordering::Relaxed) { Ok(()) } else { stick.compare(piece, found) }
    });
}

/// Reads back the pieces `written` to each stick, and those so near to them that the stick may have moved them. Nothing
/// is read from a stick to which nothing was written.
pub(super) fn read_back<'r>(written: &[Todo<'r>]) {
    let touched = |Todo { recipient, pieces }: &Todo<'r>| {
        let stick = &recipient.stick;
        let pieces = if stick.has_begun() { stick.touched(pieces) } else { Vec::new() };
        Todo { recipient, pieces }
    };
    let wrong = what_is_wrong(&written.iter().map(touched).collect::<Vec<_>>());
    if wrong.is_empty() {
        return;
    }
    at_once(each(&wrong), |Recipient { stick, source, .. }, wrong| {
        let source = wrapped(stick, *source, wrong)?;
        source.map_or(Ok(()), |source| Err(FlashError::LessRoom { stick: stick.name.to_owned(), source }))
    });
    deliver(&wrong, &|stick: &Stick<'_>, piece: &Piece, _: &mut Buffer| stick.put(piece));
    at_once(each(&wrong), |Recipient { stick, .. }, _| stick.medium.flush().map_err(stick.fails()));
    at_once(each(&what_is_wrong(&wrong)), |Recipient { stick, .. }, still| {
        Err(stick.wrong(still.iter().map(|piece| piece.start).collect()))
    });
}

fn each<'t, 'r>(todo: &'t [Todo<'r>]) -> impl Iterator<Item = (&'r Recipient<'r>, &'t [Range<u64>])> {
    todo.iter().map(|todo| (todo.recipient, todo.pieces.as_slice()))
}

/// The pieces that are wrong, for those sticks that have any.
fn what_is_wrong<'r>(todo: &[Todo<'r>]) -> Vec<Todo<'r>> {
    compare(todo, Phase::ReadingBack, &AtomicBool::new(false));
    let wrong = todo
        .iter()
        .map(|Todo { recipient, .. }| Todo { recipient, pieces: recipient.stick.take_differing() });
    wrong.filter(|todo| !todo.pieces.is_empty()).collect()
}

/// Whether a piece was found in the place of another: then both places are the same memory, and the stick is smaller
/// than it claims.
fn wrapped(
    stick: &Stick<'_>,
    image: Source<'_>,
    wrong: &[Range<u64>],
) -> Result<Option<LessRoom>, FlashError> {
    let digests = parallel::each_with(
        REQUESTS,
        &stick.layout.pieces,
        || (),
        |(), range| {
            Piece::of_image(image, range.clone()).map(|piece| (Sha256Digest::of(&piece.bytes), range.start))
        },
    )?;
    let mut places: BTreeMap<Sha256Digest, Vec<u64>> = BTreeMap::new();
    for (digest, place) in digests {
        places.entry(digest).or_default().push(place);
    }
    let mut found = Buffer::zeros(to_usize(PIECE));
    for piece in wrong {
        found.set_length(to_usize(piece.end - piece.start));
        stick.medium.read(&mut found, piece.start).map_err(stick.fails())?;
        // A piece that occurs more than once is not evidence.
        if let Some([other]) = places.get(&Sha256Digest::of(&found)).map(Vec::as_slice)
            && *other != piece.start
        {
            let first_lost = (*other).max(piece.start);
            return Ok(Some(LessRoom { says: stick.layout.size, first_lost }));
        }
    }
    Ok(None)
}
