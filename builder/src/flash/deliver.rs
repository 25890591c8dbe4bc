//! From images to sticks: one thread reads, and several threads for each stick take pieces, so that the stick always
//! has requests to work on. The reader is never more than a few pieces ahead of the slowest stick, which limits the
//! memory.

use super::buffer::Buffer;
use super::error::FlashError;
use super::layout::PIECE;
use super::portion::{Portion, portions};
use super::recipient::Todo;
use super::source::Piece;
use super::stick::Stick;
use crate::parallel;
use crate::width::to_usize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// The requests in flight for each stick.
pub(super) const REQUESTS: usize = 4;
/// The pieces that may wait for a stick.
const WAITING: usize = 4;

/// What to do with each piece that comes to a stick. The buffer is memory for one piece.
pub(super) trait Take: Fn(&Stick<'_>, &Piece, &mut Buffer) -> Result<(), FlashError> + Sync {}

impl<T: Fn(&Stick<'_>, &Piece, &mut Buffer) -> Result<(), FlashError> + Sync> Take for T {}

/// The channel for pieces to a stick.
#[derive(Debug)]
struct Lane<'r> {
    todo: &'r Todo<'r>,
    pieces: SyncSender<Arc<Piece>>,
}

/// Brings each stick its pieces, and calls `take` for each. Pieces that images share are read once.
pub(super) fn deliver<'t>(todo: &'t [Todo<'t>], take: &impl Take) {
    let open = |todo: &'t Todo<'t>| {
        let (sender, receiver) = sync_channel::<Arc<Piece>>(WAITING);
        (Lane { todo, pieces: sender }, (todo, receiver))
    };
    let (lanes, ends): (Vec<Lane<'_>>, Vec<_>) = todo.iter().map(open).unzip();
    let read = move || {
        let wanted = lanes.iter().map(|lane| (lane, lane.todo.recipient.source, lane.todo.pieces.as_slice()));
        for portion in portions(wanted) {
            hand_out(&portion);
        }
        // With the lanes, their channels are closed, which ends the threads of the sticks.
    };
    parallel::both(read, || parallel::at_once(ends, |(todo, pieces)| take_all(todo, pieces, take)));
}

/// Takes pieces until there are no more, in several threads. The pieces of a stick that was given up are discarded.
fn take_all(todo: &Todo<'_>, pieces: Receiver<Arc<Piece>>, take: &impl Take) {
    let Todo { recipient, pieces: wanted } = todo;
    let buffer = || Buffer::zeros(to_usize(PIECE));
    parallel::drain(REQUESTS.min(wanted.len()), pieces.into_iter(), buffer, |buffer, piece| {
        recipient.try_to(|| take(&recipient.stick, &piece, buffer));
    });
}

fn hand_out(Portion { range, source, sticks }: &Portion<'_, &Lane<'_>>) {
    let waiting: Vec<_> = sticks.iter().filter(|lane| !lane.todo.recipient.is_given_up()).collect();
    if waiting.is_empty() {
        return;
    }
    let piece = Piece::read(*source, range.clone()).map(Arc::new);
    for lane in waiting {
        match &piece {
            Ok(piece) => {
                // A stick that gets pieces has threads that take them until the channel is closed.
                let _ = lane.pieces.send(Arc::clone(piece));
            }
            Err(error) => {
                lane.todo.recipient.give_up(FlashError::of_image(source.path, range.start, error));
            }
        }
    }
}
