//! The state of the last pause as JSON, for `psyops-agent status` and programs.

use super::quota::Drops;
use crate::clock::Deadline;
use crate::file::{self, FileError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the file's format.
const FORMAT: u64 = 1;
/// The interval at which the file is written while messages are dropped.
const EVERY: Duration = Duration::from_secs(1);

/// The stage of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Messages are kept.
    Paused,
    /// The pause is over, and messages are replayed.
    Replaying,
    /// All messages are replayed.
    Ended,
    /// There was no daemon: the next pause replays the messages.
    Kept,
}

/// The state of a pause, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseState {
    /// The version of the format, 1.
    pub format: u64,
    /// The stage of the pause.
    pub stage: Stage,
    /// How many messages were sent to the daemon after the pause.
    pub replayed: u64,
    /// How many messages were cut or could not be sent, because they were too long.
    pub cut: u64,
    /// How many messages were dropped.
    pub dropped: u64,
    /// The dropped messages by user.
    pub drops: Drops,
}

impl PauseState {
    /// The state of a pause without any messages yet.
    pub(super) fn new(stage: Stage) -> Self {
        Self { format: FORMAT, stage, replayed: 0, cut: 0, dropped: 0, drops: Drops::default() }
    }

    /// Reads the file; `None` if there was no pause yet, or the file is not valid.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        let state: Self = serde_json::from_str(&file::read_text(path).ok()?).ok()?;
        (state.format == FORMAT).then_some(state)
    }

    /// Lines about dropped or cut messages; none if there are no such messages.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.drops.lines();
        if self.cut > 0 {
            lines.push(format!("{} messages were cut off because they were too long", self.cut));
        }
        lines.iter().map(|line| format!("syslog pause: {line}")).collect()
    }
}

/// The file, which is written when the state has changed.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    written: Option<PauseState>,
    next: Deadline,
}

impl StateFile {
    /// A state file to which nothing is written yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), written: None, next: Deadline::after(Duration::ZERO) }
    }

    /// Writes `state` if it differs: a new stage at once, counts once a second.
    pub(super) fn update(&mut self, state: &PauseState) -> Result<(), FileError> {
        let stage_is_written = self.written.as_ref().is_some_and(|written| written.stage == state.stage);
        let counts_are_written = self.written.as_ref().is_some_and(|written| written.drops == state.drops);
        if stage_is_written && (counts_are_written || !self.next.passed()) {
            return Ok(());
        }
        let text = file::failing("write", &self.path, serde_json::to_vec_pretty(state))?;
        file::write(&self.path, &text, 0o640)?;
        (self.written, self.next) = (Some(state.clone()), Deadline::after(EVERY));
        Ok(())
    }
}
