//! Whether sticks hold what they should, read from the medium past the cache: before they are written, to learn what need
//! not be, and afterwards.
//!
//! What is wrong afterwards is written once more; what is wrong then is the stick's fault.

use super::buffer::Buffer;
use super::deliver::{REQUESTS, Recipient, at_once, deliver};
use super::error::FlashError;
use super::event::Phase;
use super::layout::{PIECE, length};
use super::probe::LessRoom;
use super::source::{Piece, Source};
use super::stick::Stick;
use crate::error::Error;
use crate::parallel;
use handoff::hash::Sha256Digest;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// So many pieces are looked at to learn whether comparing is worth its time,
const SAMPLES: usize = 32;
/// and it is where this part of them is as it should be.
const WORTH: usize = 8;

/// Pieces of each stick.
pub(super) type Lists = Vec<Vec<Range<u64>>>;

/// What is to be written to each stick: what differs, where something of the image seems to be there, else everything.
/// Meanwhile `judge` judges the images; where one is bad, nobody looks on.
pub(super) fn look<J>(
    images: &[Source<'_>],
    recipients: &[Recipient<'_, '_>],
    full: bool,
    judge: impl FnOnce() -> Result<J, Error>,
) -> Result<(J, Lists), Error> {
    let in_vain = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| what_differs(images, recipients, full, &in_vain));
        let judged = judge();
        in_vain.store(judged.is_err(), Ordering::Relaxed);
        let todo = looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((judged?, todo))
    })
}

fn what_differs(
    images: &[Source<'_>],
    recipients: &[Recipient<'_, '_>],
    full: bool,
    in_vain: &AtomicBool,
) -> Lists {
    let worth: Vec<AtomicBool> = recipients.iter().map(|_| AtomicBool::new(false)).collect();
    if !full {
        at_once(recipients.iter().zip(&worth), |Recipient { stick, source, .. }, worth| {
            worth.store(sample(stick, *source)?, Ordering::Relaxed);
            Ok(())
        });
    }
    let all = |recipient: &Recipient<'_, '_>| recipient.stick.layout.pieces.clone();
    let compared: Lists = recipients
        .iter()
        .zip(&worth)
        .map(|(each, worth)| if worth.load(Ordering::Relaxed) { all(each) } else { Vec::new() })
        .collect();
    compare(images, recipients, &compared, Phase::Comparing, in_vain)
        .into_iter()
        .zip(&compared)
        .zip(recipients)
        .map(|((differing, compared), each)| if compared.is_empty() { all(each) } else { differing })
        .collect()
}

/// Learns from some pieces whether the stick holds something of the image already.
fn sample(stick: &Stick<'_>, image: Source<'_>) -> Result<bool, FlashError> {
    let pieces = &stick.layout.pieces;
    let mut found = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
    let (mut looked, mut equal) = (0, 0);
    for range in pieces.iter().step_by((pieces.len() / SAMPLES).max(1)) {
        let piece = Piece::of_image(image, range.clone())?;
        // Zeros are what a new stick holds.
        if !piece.is_zero() {
            looked += 1;
            let holds = stick.medium.holds(&piece.bytes, range.start, &mut found);
            equal += usize::from(holds.map_err(stick.fails())?);
        }
    }
    Ok(equal * WORTH >= looked.max(1))
}

/// Which of these pieces are not there.
fn compare(
    images: &[Source<'_>],
    recipients: &[Recipient<'_, '_>],
    lists: &Lists,
    phase: Phase,
    in_vain: &AtomicBool,
) -> Lists {
    for (Recipient { stick, .. }, list) in recipients.iter().zip(lists).filter(|(_, list)| !list.is_empty()) {
        stick.progress.enter(phase, length(list));
    }
    deliver(images, recipients, lists, &|stick: &Stick<'_>, piece: &Piece, found: &mut Buffer| {
        if in_vain.load(Ordering::Relaxed) { Ok(()) } else { stick.compare(piece, found) }
    });
    recipients.iter().map(|recipient| recipient.stick.take_differing()).collect()
}

/// Reads back what was `written` to each stick, and what lies so near to something that was that the stick may have moved
/// it. Of a stick to which nothing was written, nothing.
pub(super) fn read_back(images: &[Source<'_>], recipients: &[Recipient<'_, '_>], written: &Lists) {
    let touched = |(each, written): (&Recipient<'_, '_>, &Vec<Range<u64>>)| {
        if each.stick.has_begun() { each.stick.touched(written) } else { Vec::new() }
    };
    let lists: Lists = recipients.iter().zip(written).map(touched).collect();
    let never = AtomicBool::new(false);
    let again = |lists: &Lists| compare(images, recipients, lists, Phase::ReadingBack, &never);
    let wrong = again(&lists);
    if wrong.iter().all(Vec::is_empty) {
        return;
    }
    at_once(recipients.iter().zip(&wrong), |Recipient { stick, source, .. }, wrong| {
        let source = wrapped(stick, *source, wrong)?;
        source.map_or(Ok(()), |source| Err(FlashError::LessRoom { stick: stick.name.to_owned(), source }))
    });
    deliver(images, recipients, &wrong, &|stick: &Stick<'_>, piece: &Piece, _: &mut Buffer| stick.put(piece));
    at_once(recipients.iter().zip(&wrong), |Recipient { stick, .. }, wrong| {
        if wrong.is_empty() { Ok(()) } else { stick.medium.flush().map_err(stick.fails()) }
    });
    at_once(recipients.iter().zip(again(&wrong)), |Recipient { stick, .. }, still| {
        if still.is_empty() {
            Ok(())
        } else {
            Err(stick.wrong(still.iter().map(|piece| piece.start).collect()))
        }
    });
}

/// Whether a piece has turned up in another's place: then both places are one, and the stick has less room than it says.
fn wrapped(
    stick: &Stick<'_>,
    image: Source<'_>,
    wrong: &[Range<u64>],
) -> Result<Option<LessRoom>, FlashError> {
    if wrong.is_empty() {
        return Ok(None);
    }
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
    let mut found = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
    for piece in wrong {
        found.set_length(usize::try_from(piece.end - piece.start).unwrap_or(0));
        stick.medium.read(&mut found, piece.start).map_err(stick.fails())?;
        // What is there more than once says nothing.
        if let Some([other]) = places.get(&Sha256Digest::of(&found)).map(Vec::as_slice)
            && *other != piece.start
        {
            let first_lost = (*other).max(piece.start);
            return Ok(Some(LessRoom { says: stick.layout.size, first_lost }));
        }
    }
    Ok(None)
}
