//! From images to sticks: one reads, and for each stick several take, so that it always has requests to work on. Nobody reads
//! ahead of the slowest stick by more than some pieces, so that memory stays what it is.

use super::buffer::Buffer;
use super::error::FlashError;
use super::layout::PIECE;
use super::source::{Piece, Portion, Source, portions};
use super::stick::Stick;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Requests in flight, of each stick.
pub(super) const REQUESTS: usize = 4;
/// Pieces that wait for a stick.
const WAITING: usize = 4;

/// A stick, the image that it gets, and why it was given up.
#[derive(Debug)]
pub(super) struct Recipient<'s, 'm> {
    /// The stick.
    pub(super) stick: &'s Stick<'m>,
    /// The number of the image.
    pub(super) image: usize,
    /// Where its bytes are.
    pub(super) source: Source<'s>,
    failure: Mutex<Option<FlashError>>,
}

impl<'s, 'm> Recipient<'s, 'm> {
    /// A stick of which nothing is known yet.
    #[must_use]
    pub(super) fn new(stick: &'s Stick<'m>, image: usize, source: Source<'s>) -> Self {
        Self { stick, image, source, failure: Mutex::default() }
    }

    /// Why it was given up.
    pub(super) fn into_result(self) -> Result<(), FlashError> {
        self.failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Does something with the stick, unless it was given up; where that fails, it is.
    pub(super) fn try_to(&self, work: impl FnOnce() -> Result<(), FlashError>) {
        if !self.is_given_up()
            && let Err(reason) = work()
        {
            self.give_up(reason);
        }
    }

    fn is_given_up(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Only the first reason counts.
    fn give_up(&self, reason: FlashError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }
}

/// What is done with each piece that comes to a stick. The buffer is memory for a piece.
pub(super) trait Take: Fn(&Stick<'_>, &Piece, &mut Buffer) -> Result<(), FlashError> + Sync {}

impl<T: Fn(&Stick<'_>, &Piece, &mut Buffer) -> Result<(), FlashError> + Sync> Take for T {}

/// Does something with each stick that was not given up, all at once; where it fails, the stick is given up.
pub(super) fn at_once<'r, 's: 'r, 'm: 's, T: Send>(
    recipients: impl IntoIterator<Item = (&'r Recipient<'s, 'm>, T)>,
    work: impl Fn(&Recipient<'s, 'm>, T) -> Result<(), FlashError> + Sync,
) {
    let work = &work;
    thread::scope(|scope| {
        for (recipient, with) in recipients {
            scope.spawn(move || recipient.try_to(|| work(recipient, with)));
        }
    });
}

/// Brings each stick the pieces of its image that `lists` names, to be taken. What images share is read once.
pub(super) fn deliver(
    images: &[Source<'_>],
    recipients: &[Recipient<'_, '_>],
    lists: &[Vec<Range<u64>>],
    take: &impl Take,
) {
    let wanted: Vec<(usize, &[Range<u64>])> =
        recipients.iter().zip(lists).map(|(recipient, list)| (recipient.image, list.as_slice())).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        recipients.iter().map(|_| sync_channel::<Arc<Piece>>(WAITING)).unzip();
    let receivers: Vec<_> = receivers.into_iter().map(Mutex::new).collect();
    thread::scope(|scope| {
        for ((recipient, pieces), list) in recipients.iter().zip(&receivers).zip(lists) {
            for _ in 0..REQUESTS.min(list.len()) {
                scope.spawn(move || take_all(recipient, pieces, take));
            }
        }
        for portion in portions(images, &wanted) {
            hand_out(images, &portion, recipients, &senders);
        }
        drop(senders);
    });
}

/// Takes pieces until there are no more. Of a stick that was given up they are only taken out of the way.
fn take_all(recipient: &Recipient<'_, '_>, pieces: &Mutex<Receiver<Arc<Piece>>>, take: &impl Take) {
    let mut buffer = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
    loop {
        let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = next else { return };
        recipient.try_to(|| take(recipient.stick, &piece, &mut buffer));
    }
}

fn hand_out(
    images: &[Source<'_>],
    portion: &Portion,
    recipients: &[Recipient<'_, '_>],
    senders: &[SyncSender<Arc<Piece>>],
) {
    let of_portion =
        portion.sticks.iter().filter_map(|stick| recipients.get(*stick).zip(senders.get(*stick)));
    let waiting: Vec<_> = of_portion.filter(|(recipient, _)| !recipient.is_given_up()).collect();
    let Some(image) = images.get(portion.image).filter(|_| !waiting.is_empty()) else { return };
    let piece = Piece::read(*image, portion.range.clone()).map(Arc::new);
    for (recipient, sender) in waiting {
        match &piece {
            Ok(piece) => {
                // There is always somebody who takes it.
                let _ = sender.send(Arc::clone(piece));
            }
            Err(source) => {
                recipient.give_up(FlashError::of_image(image.path, portion.range.start, source));
            }
        }
    }
}
