//! The selector uses a try: its writes through the firmware, recorded at a cold start of a small stick.
//!
//! In every state one of both control records is valid, the old one or the new one; and from some of them a stick is
//! started cold again, which must count one more start.

use super::states::{Cut, Requests, Scratch, sample};
use super::tally::{Outcome, Tally};
use super::write_log::WriteLog;
use crate::selector_vm::SelectorVm;
use anyhow::{Context as _, Result, ensure};
use builder::run::Access;
use handoff::control::ControlRecord;
use handoff::selection::Mode;
use handoff::slot::Slot;
use std::fs;

/// Records a start and checks all states, and starts cold from `starts` of them.
pub fn run(starts: usize, seed: u64) -> Result<Tally> {
    let vm = SelectorVm::fresh()?;
    let before = fs::read(vm.disk.path())?;
    let old = vm.disk.control()?.effective();
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    vm.boot_logged(&log)?;
    let new = vm.disk.control()?.effective();
    ensure!(new.slots.a.tries_left + 1 == old.slots.a.tries_left, "no try was taken: {new:?}");
    let requests = Requests::of(WriteLog::load(&log)?);
    let cuts = requests.cuts(seed);
    let mut tally = Tally::new("selector-try");
    (tally.requests, tally.flushes) = (requests.list().len(), requests.flushes());
    tally.possible = cuts.len();
    let started = sample(cuts.clone(), starts, seed);
    let mut scratch = Scratch::new(before, &requests);
    for cut in &cuts {
        fs::write(vm.disk.path(), scratch.at(cut))?;
        let outcome = outcome_of(&vm, &old, &new, started.contains(cut)).with_context(|| cut.to_string());
        tally.count(cut, outcome.map_err(|error| format!("{error:#}")));
    }
    must_have_both(&tally, &cuts)?;
    Ok(tally)
}

fn outcome_of(vm: &SelectorVm, old: &ControlRecord, new: &ControlRecord, start: bool) -> Result<Outcome> {
    let held = vm.disk.control()?.current().context("no control record is valid")?.clone();
    let outcome = if held == *new { Outcome::New } else { Outcome::Old };
    ensure!(outcome == Outcome::New || held == *old, "neither the old nor the new record holds: {held:?}");
    if start {
        let told = vm.boot(Access::Write)?.selection()?;
        ensure!(told.slot == Slot::A && told.mode == Mode::Normal && told.counted, "{told:?}");
        let after = vm.disk.control()?.effective();
        ensure!(after.slots.a.tries_left + 1 == held.slots.a.tries_left, "from {held:?} came {after:?}");
    }
    Ok(outcome)
}

fn must_have_both(tally: &Tally, cuts: &[Cut]) -> Result<()> {
    let (old, new) = tally.old_and_new();
    ensure!(!tally.lost.is_empty() || (old > 0 && new > 0), "{} cuts, {old} old and {new} new", cuts.len());
    Ok(())
}
