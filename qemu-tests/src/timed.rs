//! The time and memory that programs take, by time(1): medians of several runs, and the peak of the largest process.

use crate::command::succeed;
use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The name of what was measured.
    pub name: String,
    /// The median time in seconds.
    pub seconds: f64,
    /// The peak memory of all runs, in MiB.
    pub mebibytes: u64,
}

/// Measures commands with time(1).
#[derive(Debug)]
pub struct Stopwatch {
    folder: TempDir,
}

impl Stopwatch {
    /// A stopwatch with its own temporary folder.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    /// The median of several runs; `before` prepares each.
    pub fn row(
        &self,
        name: &str,
        runs: usize,
        command: impl Fn() -> Command,
        mut before: impl FnMut() -> Result<()>,
    ) -> Result<Row> {
        let mut seconds = Vec::new();
        let mut peak = 0;
        for _ in 0..runs {
            before()?;
            nix::unistd::sync();
            let (time, kibibytes) = self.timed(&command())?;
            seconds.push(time);
            peak = peak.max(kibibytes);
        }
        seconds.sort_unstable_by(f64::total_cmp);
        let seconds = seconds.get(runs / 2).copied().context("no run")?;
        Ok(Row { name: name.to_owned(), seconds, mebibytes: peak / 1024 })
    }

    fn timed(&self, command: &Command) -> Result<(f64, u64)> {
        let place: PathBuf = self.folder.path().join("time");
        let mut time = Command::new("time");
        time.args(["-f", "%e %M", "-o"]).arg(&place).arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            time.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            time.env(name, value.unwrap_or(OsStr::new("")));
        }
        succeed(&mut time)?;
        let text = fs::read_to_string(&place)?;
        let (seconds, kibibytes) =
            text.trim().split_once(' ').with_context(|| format!("time said {text:?}"))?;
        Ok((seconds.parse()?, kibibytes.parse()?))
    }
}
