//! The part of a run inside the machines: this same program, as `powercut guest ...`.

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

/// The beginning of a line for the run.
pub const SAYS: &str = "powercut: ";

/// Writes the changes of the case to the device whose writes are recorded.
pub fn write(out: &mut dyn std::io::Write, name: &str, folder: &Path, device: &Path) -> Result<()> {
    let case = Case::load(folder)?;
    match RawWriter::of_word(name) {
        Some(writer) => writer.write_device(&case, device)?,
        None => StoreCase::new(case, device)?.write()?,
    }
    writeln!(out, "{SAYS}{name} | written")?;
    Ok(())
}

/// Where the states of a scenario are, and which of them to check.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The name of the scenario.
    pub name: &'a str,
    /// The folder of its case.
    pub folder: &'a Path,
    /// The disk before the writes.
    pub base: &'a Path,
    /// The log of the writes.
    pub log: &'a Path,
    /// The disk on which the states are made.
    pub scratch: &'a Path,
    /// How many states to check.
    pub sample: usize,
    /// The seed that selects them.
    pub seed: u64,
    /// The number of this machine, and of all machines that share the states.
    pub share: (usize, usize),
}

/// Makes one state after the other on the scratch disk, and checks each.
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

/// Writes a state to the disk: a file system reads its files without the cache of the device, and the last process that
/// closes the device empties that cache.
fn put(disk: &Path, state: &[u8]) -> std::io::Result<()> {
    let disk = OpenOptions::new().write(true).open(disk)?;
    disk.write_all_at(state, 0)?;
    disk.sync_all()
}
