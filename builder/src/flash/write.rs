//! From images to sticks: one reads, and for each stick several write, so that it always has requests to work on.

use super::buffer::Buffer;
use super::error::FlashError;
use super::layout::PIECE;
use super::source::{Piece, Portion, Source};
use super::stick::{Expected, Stick};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Requests in flight, of each stick.
pub(super) const REQUESTS: usize = 4;
/// Pieces that wait for a stick.
const WAITING: usize = 4;

/// A stick, what it should hold as far as it was written, and why it was given up.
pub(super) struct Written<'s, 'm> {
    /// The stick.
    pub(super) stick: &'s Stick<'m>,
    /// The pieces.
    pub(super) expected: Vec<Expected>,
    failure: Mutex<Option<FlashError>>,
}

impl<'s, 'm> Written<'s, 'm> {
    /// A stick that holds nothing yet.
    #[must_use]
    pub(super) fn new(stick: &'s Stick<'m>) -> Self {
        Self { stick, expected: Vec::new(), failure: Mutex::default() }
    }

    /// Why it was given up.
    pub(super) fn into_result(self) -> Result<Vec<Expected>, FlashError> {
        let failure = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(self.expected), Err)
    }

    fn is_given_up(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Does something before the stick is written.
    pub(super) fn try_to(&self, work: impl FnOnce() -> Result<(), FlashError>) {
        if let Err(reason) = work() {
            self.give_up(reason);
        }
    }

    /// Only the first reason counts.
    fn give_up(&self, reason: FlashError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    /// Takes pieces until there are no more. Of a stick that was given up they are only taken out of the way.
    fn take_all(&self, pieces: &Mutex<Receiver<Arc<Piece>>>) {
        let mut found = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
        loop {
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(piece) = next else { return };
            if self.is_given_up() {
                continue;
            }
            if let Err(reason) = self.stick.take(&piece, &mut found) {
                self.give_up(reason);
            }
        }
    }
}

/// Brings all portions to their sticks.
pub(super) fn write(images: &[Source<'_>], portions: &[Portion], sticks: &mut [Written<'_, '_>]) {
    let mut expected: Vec<Vec<Expected>> = sticks.iter().map(|_| Vec::new()).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = sticks.iter().map(|_| sync_channel(WAITING)).unzip();
    let receivers: Vec<_> = receivers.into_iter().map(Mutex::new).collect();
    thread::scope(|scope| {
        for (stick, pieces) in sticks.iter().zip(&receivers) {
            for _ in 0..REQUESTS {
                scope.spawn(move || stick.take_all(pieces));
            }
        }
        for portion in portions {
            hand_out(images, portion, sticks, &senders, &mut expected);
        }
        drop(senders);
    });
    for (stick, expected) in sticks.iter_mut().zip(expected) {
        stick.expected = expected;
    }
}

fn hand_out(
    images: &[Source<'_>],
    portion: &Portion,
    sticks: &[Written<'_, '_>],
    senders: &[SyncSender<Arc<Piece>>],
    expected: &mut [Vec<Expected>],
) {
    let wanting: Vec<usize> = portion
        .sticks
        .iter()
        .copied()
        .filter(|stick| sticks.get(*stick).is_some_and(|stick| !stick.is_given_up()))
        .collect();
    let Some(&image) = images.get(portion.image).filter(|_| !wanting.is_empty()) else { return };
    let piece = Piece::read(image, portion.range.clone()).map(Arc::new);
    for number in wanting {
        match (&piece, sticks.get(number), senders.get(number), expected.get_mut(number)) {
            (Ok(piece), _, Some(sender), Some(expected)) => {
                expected.push(Expected { range: piece.range.clone(), digest: piece.digest });
                // There is always somebody who takes it.
                let _ = sender.send(Arc::clone(piece));
            }
            (Err(source), Some(stick), ..) => {
                stick.give_up(FlashError::of_image(image.path, portion.range.start, source));
            }
            _ => {}
        }
    }
}
