//! The status file: how each stage of the configuration run goes, for people and programs, at any moment.

use crate::file::{self, FileError};
use crate::root::Root;
use handoff::role_settings::Stage;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::PathBuf;

/// The version of the form.
pub const FORMAT: u64 = 1;

/// How something ended, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Not yet.
    Running,
    /// Well.
    Ok,
    /// It failed.
    Failed,
    /// The deadline came first.
    Timeout,
}

impl Ending {
    /// The word in the file.
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

/// How a role went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// Its name.
    pub name: String,
    /// `overlay`, `command`, or `built-in` for what the agent does itself.
    pub kind: String,
    /// How it ended.
    pub result: Ending,
    /// A command's exit status, where it ended by itself.
    pub exit_status: Option<i32>,
    /// How often a command was started.
    pub attempts: u32,
    /// Milliseconds.
    pub took_ms: u64,
    /// The files that changed.
    pub changed: Vec<String>,
    /// What went wrong.
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

    /// One line for people.
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

/// How a stage goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// `identity` or `configure`.
    pub stage: String,
    /// How it ended, or that it runs.
    pub result: Ending,
    /// When it began, as the system's clock had it.
    pub started_unix: u64,
    /// When it began, in milliseconds since the kernel started.
    pub start_ms: u64,
    /// Milliseconds; 0 while it runs.
    pub took_ms: u64,
    /// Its roles as far as they are done.
    pub roles: Vec<RoleStatus>,
}

impl StageStatus {
    /// A stage that begins now.
    #[must_use]
    pub fn started(stage: Stage, started_unix: u64, start_ms: u64) -> Self {
        let stage = stage.word().into();
        Self { stage, result: Ending::Running, started_unix, start_ms, took_ms: 0, roles: Vec::new() }
    }

    /// Ends it: as badly as its worst role.
    pub fn end(&mut self, now_ms: u64) {
        self.took_ms = now_ms.saturating_sub(self.start_ms);
        self.result = self.roles.iter().map(|role| role.result).fold(Ending::Ok, Ending::max);
    }

    /// The roles that did not end well.
    pub fn unwell(&self) -> impl Iterator<Item = &RoleStatus> {
        self.roles.iter().filter(|role| role.result > Ending::Ok)
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`FORMAT`].
    pub format: u64,
    /// The stages that began, in their order.
    pub stages: Vec<StageStatus>,
    /// Whether this boot was confirmed in the control partition, or why not; nothing before the end.
    pub confirmation: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self { format: FORMAT, stages: Vec::new(), confirmation: None }
    }
}

impl Status {
    /// Reads the file; none where there was no run yet, or where it cannot be understood.
    #[must_use]
    pub fn load(root: &Root) -> Option<Self> {
        serde_json::from_str(&file::read_text(&root.at(handoff::paths::STATUS)).ok()?).ok()
    }

    /// Writes the file.
    pub fn save(&self, root: &Root) -> Result<(), FileError> {
        let path = root.at(handoff::paths::STATUS);
        let text = file::failing("write", &path, serde_json::to_vec_pretty(self))?;
        file::write(&path, &text, 0o640)?;
        Ok(())
    }

    /// Puts `stage` in, in place of what was known of it.
    pub fn set(&mut self, stage: StageStatus) {
        match self.stages.iter_mut().find(|present| present.stage == stage.stage) {
            Some(present) => *present = stage,
            None => self.stages.push(stage),
        }
    }

    /// What is known of `stage`.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageStatus> {
        self.stages.iter().find(|present| present.stage == stage.word())
    }
}
