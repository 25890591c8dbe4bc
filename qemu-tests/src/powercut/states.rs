//! The states in which a power cut can leave a disk, and making them.
//!
//! A disk may execute requests in any order, and any part of them, until it is asked to flush. So a cut is somewhere in
//! the requests since the last flush (an epoch); all requests before are on the medium. These states are tried:
//!
//! - every prefix of the requests,
//! - every torn request: its first sectors, for each number of them, and some of its sectors in no order,
//! - reordered requests: any selection of an epoch's, all selections if there are few, else some chosen by a seed.

use super::write_log::{Event, WriteLog};
use crate::dice::Dice;
use std::fmt;

/// The bytes that a medium writes completely or not at all.
pub const SECTOR: usize = 512;
/// For epochs of up to this many requests, all selections are tried.
const FEW: usize = 4;
/// For other epochs, this many selections, besides the last request alone and all but the first.
const SELECTIONS: usize = 12;

/// A write request, and its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Offset on the disk, in bytes.
    pub offset: u64,
    /// The bytes to write.
    pub data: Vec<u8>,
    forced: bool,
    epoch: usize,
}

impl Request {
    fn sectors(&self) -> usize {
        self.data.len().div_ceil(SECTOR)
    }
}

/// Which of the last requests reached the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CutKind {
    /// All of them.
    Prefix,
    /// Of the last request only the first sectors.
    Torn {
        /// The number of sectors.
        sectors: usize,
    },
    /// Of the last request some sectors, chosen by this seed.
    Scattered {
        /// The seed for the choice.
        seed: u64,
    },
    /// Of the requests since the last flush only some.
    Reordered {
        /// For each request of the epoch up to the cut, whether it is on the medium.
        kept: Vec<bool>,
    },
}

/// A moment, and what is on the medium then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The number of requests that were issued.
    pub issued: usize,
    /// Which of them are on the medium.
    pub kind: CutKind,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CutKind::Prefix => write!(f, "prefix {}", self.issued),
            CutKind::Torn { sectors } => write!(f, "torn {} after {sectors} sectors", self.issued),
            CutKind::Scattered { seed } => write!(f, "scattered {} by {seed:#x}", self.issued),
            CutKind::Reordered { kept } => {
                let marks: String = kept.iter().map(|&kept| if kept { '+' } else { '-' }).collect();
                write!(f, "reordered {} {marks}", self.issued)
            }
        }
    }
}

/// The requests of a log.
#[derive(Debug, Clone)]
pub struct Requests {
    list: Vec<Request>,
    flushes: usize,
}

impl Requests {
    /// The requests in a log.
    #[must_use]
    pub fn of(log: WriteLog) -> Self {
        let (mut list, mut flushes) = (Vec::new(), 0);
        for event in log.events {
            match event {
                Event::Flush => flushes += 1,
                Event::Write { offset, data, forced } => {
                    list.push(Request { offset, data, forced, epoch: flushes });
                }
            }
        }
        Self { list, flushes }
    }

    /// All requests, in their order.
    #[must_use]
    pub fn list(&self) -> &[Request] {
        &self.list
    }

    /// The number of flush requests.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.flushes
    }

    /// The number of requests that were issued when the first one to `offset` was answered; `None` if there is none.
    #[must_use]
    pub fn issued_with(&self, offset: u64) -> Option<usize> {
        self.list.iter().position(|request| request.offset == offset).map(|index| index + 1)
    }

    /// The index of the first request in the epoch of a cut.
    fn epoch_start(&self, issued: usize) -> usize {
        let Some(last) = issued.checked_sub(1).and_then(|last| self.list.get(last)) else { return 0 };
        self.list.partition_point(|request| request.epoch < last.epoch)
    }

    /// All the states that are tried, in the order of the requests.
    #[must_use]
    pub fn cuts(&self, seed: u64) -> Vec<Cut> {
        let mut dice = Dice::new(seed);
        let mut cuts = vec![Cut { issued: 0, kind: CutKind::Prefix }];
        for (issued, request) in (1..).zip(&self.list) {
            let sectors = request.sectors();
            cuts.extend((1..sectors).map(|sectors| Cut { issued, kind: CutKind::Torn { sectors } }));
            if sectors > 2 {
                cuts.push(Cut { issued, kind: CutKind::Scattered { seed: dice.next() } });
            }
            cuts.push(Cut { issued, kind: CutKind::Prefix });
            let ends_epoch = self.list.get(issued).is_none_or(|next| next.epoch != request.epoch);
            if ends_epoch {
                self.reorder(self.epoch_start(issued), issued, &mut dice, &mut cuts);
            }
        }
        cuts
    }

    /// Selections of the requests from `start` to `end` that are not a prefix.
    fn reorder(&self, start: usize, end: usize, dice: &mut Dice, cuts: &mut Vec<Cut>) {
        let epoch = self.list.get(start..end).unwrap_or_default();
        let count = epoch.len();
        let selections: Vec<Vec<bool>> = if count <= FEW {
            (0..1_usize << count).map(|bits| (0..count).map(|bit| bits >> bit & 1 == 1).collect()).collect()
        } else {
            let draw = |dice: &mut Dice| (0..=1 + dice.below(count - 1)).map(|_| dice.coin()).collect();
            let only_last = (1..=count).map(|request| request == count).collect();
            let not_first = (1..=count).map(|request| request > 1).collect();
            [only_last, not_first].into_iter().chain((0..SELECTIONS).map(|_| draw(dice))).collect()
        };
        for mut kept in selections {
            for (kept, request) in kept.iter_mut().zip(epoch) {
                *kept |= request.forced;
            }
            let is_prefix = kept.is_sorted_by(|a, b| a >= b);
            if !is_prefix {
                cuts.push(Cut { issued: start + kept.len(), kind: CutKind::Reordered { kept } });
            }
        }
    }

    /// The writes that are on the medium at `cut`, in the order of the requests from `from` on.
    fn written(&self, cut: &Cut, from: usize, write: &mut dyn FnMut(u64, &[u8])) {
        let epoch = self.epoch_start(cut.issued);
        for (index, request) in self.list.iter().enumerate().take(cut.issued).skip(from) {
            let is_last = index + 1 == cut.issued;
            match &cut.kind {
                CutKind::Torn { sectors } if is_last => {
                    write(request.offset, request.data.get(..sectors * SECTOR).unwrap_or(&request.data));
                }
                CutKind::Scattered { seed } if is_last => {
                    let mut dice = Dice::new(*seed);
                    for (offset, sector) in
                        (request.offset..).step_by(SECTOR).zip(request.data.chunks(SECTOR))
                    {
                        if dice.coin() {
                            write(offset, sector);
                        }
                    }
                }
                CutKind::Reordered { kept } if index >= epoch && kept.get(index - epoch) == Some(&false) => {}
                _ => write(request.offset, &request.data),
            }
        }
    }

    /// Passes all writes that are on the medium at a cut to `write`, to be applied to the disk before.
    pub fn replay(&self, cut: &Cut, mut write: impl FnMut(u64, &[u8])) {
        self.written(cut, 0, &mut write);
    }
}

/// A selection of `count` of the cuts, including the first and the last, in their order; all if there are not more.
#[must_use]
pub fn sample(cuts: Vec<Cut>, count: usize, seed: u64) -> Vec<Cut> {
    let mut dice = Dice::new(seed);
    let total = cuts.len();
    let mut left = count.min(total);
    let mut chosen = Vec::new();
    for (index, cut) in cuts.into_iter().enumerate() {
        let at_an_end = index == 0 || index + 1 == total;
        // A place is kept for the last one from the beginning.
        let free = left.saturating_sub(usize::from(index + 1 < total));
        if left > 0 && (at_an_end || dice.below(total - index - 1) < free) {
            chosen.push(cut);
            left -= 1;
        }
    }
    chosen
}

/// A disk in memory that takes one state after the other.
#[derive(Debug)]
pub struct Scratch<'r> {
    requests: &'r Requests,
    /// The base with all requests before `from` applied.
    settled: Vec<u8>,
    from: usize,
    state: Vec<u8>,
}

impl<'r> Scratch<'r> {
    /// A disk that was as `base` before the first request.
    #[must_use]
    pub fn new(base: Vec<u8>, requests: &'r Requests) -> Self {
        Self { requests, state: base.clone(), settled: base, from: 0 }
    }

    /// The disk as the cut leaves it; cuts must come in the order of [`Requests::cuts`].
    ///
    /// # Panics
    ///
    /// If a cut is of an earlier epoch than the one before: applied requests are not undone.
    pub fn at(&mut self, cut: &Cut) -> &[u8] {
        let epoch = self.requests.epoch_start(cut.issued);
        assert!(epoch >= self.from, "the cut {cut} is of an earlier epoch than the one before");
        let settle = Cut { issued: epoch, kind: CutKind::Prefix };
        let settled = &mut self.settled;
        self.requests.written(&settle, self.from, &mut |offset, data| put(settled, offset, data));
        self.from = epoch;
        self.state.copy_from_slice(&self.settled);
        let state = &mut self.state;
        self.requests.written(cut, epoch, &mut |offset, data| put(state, offset, data));
        &self.state
    }
}

/// Writes into the image; what is beyond its end is ignored.
fn put(image: &mut [u8], offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if let Some(place) = start.checked_add(data.len()).and_then(|end| image.get_mut(start..end)) {
        place.copy_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sectors of one letter each.
    fn write(sector: u64, letters: &str) -> Event {
        let data = letters.bytes().flat_map(|letter| [letter; SECTOR]).collect();
        Event::Write { offset: sector * 512, data, forced: false }
    }

    fn requests(events: Vec<Event>) -> Requests {
        Requests::of(WriteLog { events })
    }

    /// All states as the letters of their sectors.
    fn states(requests: &Requests, sectors: usize) -> Vec<(String, String)> {
        let mut scratch = Scratch::new(vec![b'.'; sectors * SECTOR], requests);
        let letters = |image: &[u8]| {
            let whole = image.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0]));
            assert!(whole, "a sector was torn");
            image.chunks(SECTOR).map(|sector| char::from(sector[0])).collect()
        };
        requests.cuts(1).iter().map(|cut| (cut.to_string(), letters(scratch.at(cut)))).collect()
    }

    #[test]
    fn prefixes_torn_requests_and_selections_are_all_there() {
        let requests =
            requests(vec![write(0, "ab"), write(2, "c"), Event::Flush, write(0, "d"), write(1, "e")]);
        let states = states(&requests, 3);
        let expected = [
            ("prefix 0", "..."),
            ("torn 1 after 1 sectors", "a.."),
            ("prefix 1", "ab."),
            ("prefix 2", "abc"),
            ("reordered 2 -+", "..c"),
            ("prefix 3", "dbc"),
            ("prefix 4", "dec"),
            ("reordered 4 -+", "aec"),
        ];
        assert_eq!(states, expected.map(|(cut, state)| (cut.to_owned(), state.to_owned())));
    }

    #[test]
    fn flushed_and_forced_writes_are_never_missing() {
        let mut events: Vec<Event> = (0..6).map(|sector| write(sector, "x")).collect();
        events.push(Event::Flush);
        events.extend((6..14).map(|sector| write(sector, "y")));
        if let Some(Event::Write { forced, .. }) = events.get_mut(8) {
            *forced = true;
        }
        let requests = requests(events);
        let states = states(&requests, 14);
        let reordered = states.iter().filter(|(cut, _)| cut.starts_with("reordered")).count();
        assert!((SELECTIONS..=2 * SELECTIONS + 4).contains(&reordered), "{reordered}");
        for (cut, state) in &states {
            let issued: usize = cut.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(issued <= 6 || state.starts_with("xxxxxx"), "{cut}: {state}");
            assert!(issued < 8 || state.as_bytes()[7] == b'y', "{cut}: {state}");
            assert!(!state[issued..].contains(['x', 'y']), "{cut}: {state}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_states() {
        let requests = requests((0..20).map(|sector| write(sector, "abcd")).collect());
        assert_eq!(requests.cuts(7), requests.cuts(7));
        assert_ne!(requests.cuts(7), requests.cuts(8));
        let cuts = requests.cuts(7);
        let chosen = sample(cuts.clone(), 10, 3);
        assert_eq!(chosen.len(), 10);
        assert_eq!((chosen.first(), chosen.last()), (cuts.first(), cuts.last()));
        assert_eq!(sample(cuts.clone(), 10, 3), chosen);
        assert_eq!(sample(cuts.clone(), 10_000, 3), cuts);
    }

    #[test]
    fn a_replay_of_all_writes_gives_the_content_of_the_disk() {
        let requests = requests(vec![write(0, "ab"), Event::Flush, write(1, "cd")]);
        let mut image = vec![b'.'; 3 * SECTOR];
        requests
            .replay(&Cut { issued: 2, kind: CutKind::Prefix }, |offset, data| put(&mut image, offset, data));
        assert_eq!([image[0], image[SECTOR], image[2 * SECTOR]], *b"acd");
        assert_eq!(requests.issued_with(512), Some(2));
    }
}
