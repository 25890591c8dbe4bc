//! Raw partitions: the writers of the crate `medium` on a device of the machine; the states are checked here.

use super::case::Case;
use super::states::{Cut, Requests, Scratch};
use super::store::mark;
use super::tally::{Outcome, Tally};
use anyhow::{Context as _, Result, ensure};
use handoff::control::{ControlRecord, PARTITION_SIZE, RECORD_OFFSETS};
use handoff::last_failure::LastFailure;
use handoff::least_generation::LeastGeneration;
use handoff::slot::{PerSlot, Slot};
use keys::seal::newest::newest;
use medium::{Partition, Raw, control, failure_area, seal_slots};
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Bytes of a seal slot in these scenarios.
const SEAL_SLOT: u64 = 64 * 1024;

/// The function that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawWriter {
    /// `psyops-agent seal install`.
    SealInstall,
    /// The agent marks a slot good.
    ControlMarkGood,
    /// The loader records the reason of a failed boot over an earlier one.
    FailureLeave,
    /// The agent marks the reason as shown.
    FailureAcknowledge,
}

/// A part of a device, or of memory.
struct Window<R> {
    raw: R,
    start: u64,
    length: u64,
}

impl<R: Raw> Raw for Window<R> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.raw.read_at(bytes, self.start + offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.raw.write_at(bytes, self.start + offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.raw.flush()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}

/// A disk in memory.
struct Memory<'m>(&'m RefCell<Vec<u8>>);

impl Raw for Memory<'_> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let memory = self.0.borrow();
        bytes.copy_from_slice(memory.get(start..start + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut memory = self.0.borrow_mut();
        let place = memory.get_mut(start..start + bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.borrow().len() as u64)
    }
}

fn window<R: Raw>(raw: R, start: u64, length: u64) -> Partition<Window<R>> {
    Partition::over(Window { raw, start, length }, Path::new("the scenario's disk"))
}

fn failure(step: &str, lines: usize) -> LastFailure {
    let log = (0..lines).map(|line| format!("[{line:>9}] step {step} said something\n")).collect();
    LastFailure {
        step: step.to_owned(),
        fault: "root".into(),
        problem: step.to_owned(),
        log,
        ..LastFailure::default()
    }
}

impl RawWriter {
    /// Every writer.
    pub const ALL: [Self; 4] =
        [Self::SealInstall, Self::ControlMarkGood, Self::FailureLeave, Self::FailureAcknowledge];

    /// The writer's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SealInstall => "seal-install",
            Self::ControlMarkGood => "control-mark-good",
            Self::FailureLeave => "failure-leave",
            Self::FailureAcknowledge => "failure-acknowledge",
        }
    }

    /// The writer with this name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|writer| writer.word() == word)
    }

    /// Bytes of the area that it writes to.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::SealInstall => 2 * SEAL_SLOT,
            _ => PARTITION_SIZE,
        }
    }

    /// The disk before the writes.
    pub fn base(self, case: &Case) -> Result<Vec<u8>> {
        let disk = RefCell::new(vec![0; usize::try_from(self.size())?]);
        match self {
            Self::SealInstall => {
                let slots = slots(&disk);
                let old = case.old.as_ref().context("a seal to be replaced")?;
                seal_slots::install(&slots, old, &case.trusted)?;
                // The rest of a longer, earlier seal in the other slot.
                Memory(&disk).write_at(&vec![b'x'; 20_000], SEAL_SLOT)?;
            }
            Self::ControlMarkGood => {
                let tried = |sequence, tries_left| {
                    let mut record = ControlRecord { sequence, ..ControlRecord::fresh(3) };
                    record.slots.a.tries_left = tries_left;
                    record.encode()
                };
                let [first, second] = RECORD_OFFSETS;
                Memory(&disk).write_at(&tried(1, 3), first)?;
                Memory(&disk).write_at(&tried(2, 2), second)?;
            }
            Self::FailureLeave | Self::FailureAcknowledge => {
                let area = window(Memory(&disk), 0, self.size());
                failure_area::leave(&area, failure("seal", 900))?;
                failure_area::leave(&area, failure("disk", 400))?;
            }
        }
        Ok(disk.into_inner())
    }

    /// Runs the writer on the device, and writes a mark when it is done.
    pub fn write_device(self, case: &Case, device: &Path) -> Result<()> {
        let open = || OpenOptions::new().read(true).write(true).open(device);
        let file = open().with_context(|| format!("opening {}", device.display()))?;
        let again: File = open()?;
        self.write(case, file, again)?;
        mark(device, self.size())
    }

    fn write<R: Raw>(self, case: &Case, raw: R, again: R) -> Result<()> {
        match self {
            Self::SealInstall => {
                let slots = PerSlot { a: window(raw, 0, SEAL_SLOT), b: window(again, SEAL_SLOT, SEAL_SLOT) };
                seal_slots::install(&slots, &case.new, &case.trusted)?;
            }
            Self::ControlMarkGood => {
                control::change(&window(raw, 0, self.size()), |record| record.marked_good(Slot::A))?;
            }
            Self::FailureLeave => failure_area::leave(&window(raw, 0, self.size()), failure("root", 700))?,
            Self::FailureAcknowledge => {
                failure_area::acknowledge(&window(raw, 0, self.size()))?;
            }
        }
        Ok(())
    }

    /// Checks all states: each must be the old or the new one, and become the new one in the next run.
    pub fn look_at(self, case: &Case, base: Vec<u8>, requests: &Requests, cuts: &[Cut]) -> Result<Tally> {
        let mut tally = Tally::new(self.word());
        let old = self.state(case, &RefCell::new(base.clone()))?;
        let done = requests.issued_with(self.size()).context("the writer left no mark")?;
        let written = RefCell::new(base.clone());
        self.write(case, Memory(&written), Memory(&written))?;
        let new = self.state(case, &written)?;
        ensure!(old != new, "{}: nothing was written", self.word());
        let mut scratch = Scratch::new(base, requests);
        for cut in cuts {
            let disk = RefCell::new(scratch.at(cut).to_vec());
            let outcome = self.outcome_of(case, &disk, &old, &new, cut.issued >= done);
            tally.count(cut, outcome.map_err(|error| format!("{error:#}")));
        }
        Ok(tally)
    }

    fn outcome_of(
        self,
        case: &Case,
        disk: &RefCell<Vec<u8>>,
        old: &str,
        new: &str,
        done: bool,
    ) -> Result<Outcome> {
        let state = self.state(case, disk)?;
        let outcome = if state == new { Outcome::New } else { Outcome::Old };
        ensure!(outcome == Outcome::New || state == old, "neither the old nor the new one holds: {state}");
        ensure!(!done || outcome == Outcome::New, "the writer said that it was done, and the old one holds");
        self.write(case, Memory(disk), Memory(disk)).context("the next run does not end well")?;
        let healed = self.state(case, disk)?;
        ensure!(healed == new, "after the next run {healed} holds");
        Ok(outcome)
    }

    /// A description of what is current.
    fn state(self, case: &Case, disk: &RefCell<Vec<u8>>) -> Result<String> {
        let whole = || window(Memory(disk), 0, self.size());
        Ok(match self {
            Self::SealInstall => {
                let slots = slots(disk);
                let found = [(Slot::A, seal_slots::read(&slots.a)?), (Slot::B, seal_slots::read(&slots.b)?)];
                let sources = found.iter().map(|(slot, bytes)| (*slot, bytes.as_slice()));
                let newest =
                    newest(sources, &case.trusted, &case.new.header().site, &LeastGeneration::default());
                let (slot, seal) = newest.chosen.context("no seal holds")?;
                format!("generation {} in seal-{slot}", seal.header().generation)
            }
            Self::ControlMarkGood => {
                let area = control::read(&whole())?;
                let record = area.current().context("no control record is valid")?;
                // The sequence counts the writes, and a run after a cut may write once more.
                format!("{:?}", ControlRecord { sequence: 0, ..record.clone() })
            }
            Self::FailureLeave | Self::FailureAcknowledge => {
                let area = failure_area::read(&whole())?;
                let record = area.current().context("no failure record holds")?;
                let lines = record.failure.log.lines().count();
                format!("step {}, {lines} lines, acknowledged {}", record.failure.step, record.acknowledged)
            }
        })
    }
}

fn slots(disk: &RefCell<Vec<u8>>) -> PerSlot<Partition<Window<Memory<'_>>>> {
    PerSlot { a: window(Memory(disk), 0, SEAL_SLOT), b: window(Memory(disk), SEAL_SLOT, SEAL_SLOT) }
}
