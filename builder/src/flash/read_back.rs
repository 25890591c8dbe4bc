//! Reading back what a stick should hold. What is wrong is written once more; what is wrong then is the stick's fault.

use super::buffer::Buffer;
use super::error::FlashError;
use super::event::Phase;
use super::layout::PIECE;
use super::probe::LessRoom;
use super::source::{Piece, Source};
use super::stick::{Expected, Stick};
use super::write::REQUESTS;
use crate::parallel;
use handoff::hash::Sha256Digest;
use std::collections::BTreeMap;

/// A piece that is wrong, and the digest of what is in its place.
type Wrong<'e> = (&'e Expected, Sha256Digest);

/// Reads everything back.
pub(super) fn read_back(
    stick: &Stick<'_>,
    image: Source<'_>,
    expected: &[Expected],
) -> Result<(), FlashError> {
    stick.progress.enter(Phase::ReadingBack, stick.layout.length());
    let all: Vec<&Expected> = expected.iter().collect();
    let wrong = wrong_ones(stick, &all)?;
    if wrong.is_empty() {
        return Ok(());
    }
    if let Some(source) = wrapped(stick, expected, &wrong) {
        return Err(FlashError::LessRoom { stick: stick.name.to_owned(), source });
    }
    for (expected, _) in &wrong {
        let piece = Piece::of_image(image, expected.range.clone())?;
        if piece.digest != expected.digest {
            let path = image.path.to_owned();
            return Err(FlashError::ImageChanged { path, offset: expected.range.start });
        }
        stick.put(&piece)?;
    }
    stick.medium.flush().map_err(stick.fails())?;
    let again: Vec<&Expected> = wrong.iter().map(|(expected, _)| *expected).collect();
    let still = wrong_ones(stick, &again)?;
    if still.is_empty() {
        return Ok(());
    }
    Err(stick.wrong(still.iter().map(|(expected, _)| expected.range.start).collect()))
}

fn wrong_ones<'e>(stick: &Stick<'_>, expected: &[&'e Expected]) -> Result<Vec<Wrong<'e>>, FlashError> {
    let buffer = || Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
    let found = parallel::each_with(REQUESTS, expected, buffer, |buffer, expected| {
        let length = expected.range.end - expected.range.start;
        buffer.set_length(usize::try_from(length).unwrap_or(0));
        stick.medium.read(buffer, expected.range.start).map_err(stick.fails())?;
        stick.progress.done.add(length);
        let digest = Sha256Digest::of(buffer);
        Ok((digest != expected.digest).then_some((*expected, digest)))
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether a piece has turned up in another's place: then both places are one, and the stick has less room than it says.
fn wrapped(stick: &Stick<'_>, expected: &[Expected], wrong: &[Wrong<'_>]) -> Option<LessRoom> {
    let mut places: BTreeMap<Sha256Digest, Vec<u64>> = BTreeMap::new();
    for piece in expected {
        places.entry(piece.digest).or_default().push(piece.range.start);
    }
    let first_lost = wrong.iter().find_map(|(piece, found)| match places.get(found)?.as_slice() {
        // What is there more than once says nothing.
        [other] => Some((*other).max(piece.range.start)),
        _ => None,
    })?;
    Some(LessRoom { says: stick.layout.size, first_lost })
}
