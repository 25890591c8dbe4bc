//! What runs inside the machines of the run: this very program, as `powercut guest ...`.

use super::case::Case;
use super::raw::RawWriter;
use super::states::{Requests, Scratch, sample};
use super::store::{FILE_SYSTEM, StoreCase};
use super::write_log::WriteLog;
use anyhow::{Context as _, Result};
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What begins a line for the run.
pub const SAYS: &str = "powercut: ";

/// Writes what the case says, on the device whose writes are recorded.
pub fn write(out: &mut dyn std::io::Write, name: &str, folder: &Path, device: &Path) -> Result<()> {
    let case = Case::load(folder)?;
    match RawWriter::of_word(name) {
        Some(writer) => writer.write_device(&case, device)?,
        None => StoreCase::new(case, device)?.write()?,
    }
    writeln!(out, "{SAYS}{name} | written")?;
    Ok(())
}

/// Where the states of a scenario come from, and which of them are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The scenario.
    pub name: &'a str,
    /// Its case.
    pub folder: &'a Path,
    /// The disk before the writer wrote.
    pub base: &'a Path,
    /// What it wrote.
    pub log: &'a Path,
    /// The disk that takes the states.
    pub scratch: &'a Path,
    /// How many of them.
    pub sample: usize,
    /// By which seed.
    pub seed: u64,
    /// Of several machines that share the states, which one this is, and how many they are.
    pub share: (usize, usize),
}

/// Puts one state after the other on the scratch disk, and looks.
pub fn look(out: &mut dyn std::io::Write, look: &Look<'_>) -> Result<()> {
    let requests = Requests::of(WriteLog::load(look.log)?);
    let mut base = Vec::new();
    fs::File::open(look.base)?.take(FILE_SYSTEM).read_to_end(&mut base)?;
    let done = requests.issued_with(FILE_SYSTEM).context("the writer left no mark")?;
    let case = StoreCase::new(Case::load(look.folder)?, look.scratch)?;
    let cuts = sample(requests.cuts(look.seed), look.sample, look.seed);
    let mut scratch = Scratch::new(base, &requests);
    let (own, of) = look.share;
    for (number, cut) in cuts.iter().enumerate().filter(|(number, _)| number % of == own) {
        put(look.scratch, scratch.at(cut)).with_context(|| format!("putting {cut} on the scratch disk"))?;
        let seen = match case.look(cut.issued >= done) {
            Ok(outcome) => outcome.word().to_owned(),
            Err(error) => format!("LOST {}", format!("{error:#}").replace('\n', "; ")),
        };
        writeln!(out, "{SAYS}{} | {number} | {cut} | {seen}", look.name)?;
    }
    writeln!(out, "{SAYS}{} | end", look.name)?;
    out.flush()?;
    Ok(())
}

/// Writes a state to the disk itself: a file system reads its files past the cache of the device, and the last one who
/// closes the device empties that.
fn put(disk: &Path, state: &[u8]) -> std::io::Result<()> {
    let disk = OpenOptions::new().write(true).open(disk)?;
    disk.write_all_at(state, 0)?;
    disk.sync_all()
}
