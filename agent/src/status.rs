//! The status file: the state of each stage of the configuration run, for people and programs, at any moment.

use crate::file::{self, FileError};
use crate::root::Root;
use handoff::role_settings::Stage;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::PathBuf;

/// The version of the file's format.
pub const FORMAT: u64 = 1;

/// How something ended, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It is still running.
    Running,
    /// It succeeded.
    Ok,
    /// It ended with an error.
    Failed,
    /// The deadline passed first.
    Timeout,
}

impl Ending {
    /// The word for it in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }
}

/// The result of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// The name of the role.
    pub name: String,
    /// `overlay`, `command`, or `built-in` for the agent's own work.
    pub kind: String,
    /// How the role ended.
    pub result: Ending,
    /// A command's exit status, if it ended by itself.
    pub exit_status: Option<i32>,
    /// How often the command was started; 0 for an overlay.
    pub attempts: u32,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The absolute paths of the files that changed.
    pub changed: Vec<String>,
    /// What went wrong, if anything.
    pub problem: Option<String>,
}

impl RoleStatus {
    /// A role that was applied.
    #[must_use]
    pub fn done(name: &str, kind: &str, changed: &[PathBuf], took_ms: u64) -> Self {
        let changed = changed.iter().map(|path| path.display().to_string()).collect();
        Self { took_ms, changed, ..Self::new(name, kind, Ending::Ok) }
    }

    /// A role that could not be applied.
    #[must_use]
    pub fn failed(name: &str, kind: &str, error: &dyn Error) -> Self {
        Self { problem: Some(error.to_string()), ..Self::new(name, kind, Ending::Failed) }
    }

    /// A command that was run.
    #[must_use]
    pub fn command(
        name: &str,
        result: Ending,
        exit_status: Option<i32>,
        attempts: u32,
        problem: Option<String>,
    ) -> Self {
        Self { exit_status, attempts, problem, ..Self::new(name, "command", result) }
    }

    fn new(name: &str, kind: &str, result: Ending) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            result,
            exit_status: None,
            attempts: 0,
            took_ms: 0,
            changed: Vec::new(),
            problem: None,
        }
    }

    /// A line for the log.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("role {}: {}", self.name, self.result.word());
        if self.attempts > 1 {
            line.push_str(&format!(" after {} attempts", self.attempts));
        }
        if let Some(problem) = &self.problem {
            line.push_str(&format!(": {problem}"));
        }
        line
    }
}

/// The state of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// `identity` or `configure`.
    pub stage: String,
    /// How the stage ended, or that it is running.
    pub result: Ending,
    /// When it began, in seconds since 1970 by the system's clock.
    pub started_unix: u64,
    /// When it began, in milliseconds since the kernel started.
    pub start_ms: u64,
    /// How long it took, in milliseconds; 0 while it runs.
    pub took_ms: u64,
    /// The roles that are done.
    pub roles: Vec<RoleStatus>,
}

impl StageStatus {
    /// A stage that begins now.
    #[must_use]
    pub fn started(stage: Stage, started_unix: u64, start_ms: u64) -> Self {
        let stage = stage.word().into();
        Self { stage, result: Ending::Running, started_unix, start_ms, took_ms: 0, roles: Vec::new() }
    }

    /// Ends the stage, with the worst result of its roles.
    pub fn end(&mut self, now_ms: u64) {
        self.took_ms = now_ms.saturating_sub(self.start_ms);
        self.result = self.roles.iter().map(|role| role.result).fold(Ending::Ok, Ending::max);
    }

    /// The roles that did not succeed.
    pub fn unwell(&self) -> impl Iterator<Item = &RoleStatus> {
        self.roles.iter().filter(|role| role.result > Ending::Ok)
    }
}

/// The content of the status file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the file's format, [`FORMAT`].
    pub format: u64,
    /// The stages that began, in their order.
    pub stages: Vec<StageStatus>,
    /// Whether this boot was marked good in the control partition, or why not; `None` before the end.
    #[serde(rename = "confirmation")]
    pub mark_good: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self { format: FORMAT, stages: Vec::new(), mark_good: None }
    }
}

impl Status {
    /// Reads the file; `None` if there was no run yet, or the file is not valid.
    #[must_use]
    pub fn load(root: &Root) -> Option<Self> {
        serde_json::from_str(&file::read_text(&root.at(handoff::paths::STATUS)).ok()?).ok()
    }

    /// Writes the status file.
    pub fn save(&self, root: &Root) -> Result<(), FileError> {
        let path = root.at(handoff::paths::STATUS);
        let text = file::failing("write", &path, serde_json::to_vec_pretty(self))?;
        file::write(&path, &text, 0o640)?;
        Ok(())
    }

    /// Adds `stage`, or replaces its former state.
    pub fn set(&mut self, stage: StageStatus) {
        match self.stages.iter_mut().find(|present| present.stage == stage.stage) {
            Some(present) => *present = stage,
            None => self.stages.push(stage),
        }
    }

    /// The state of `stage`, if it has begun.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageStatus> {
        self.stages.iter().find(|present| present.stage == stage.word())
    }
}
