//! What ends a boot attempt: which step, which kind of fault, what is wrong on what, and what to do.

use handoff::fault::{Fault, FaultAction, Policy};
use handoff::report::FaultReport;
use std::fmt::{self, Display};

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// One for which the site can choose an answer.
    Site(Fault),
    /// The initramfs itself is incomplete.
    Initramfs,
    /// The root could not be given over to.
    Handover,
    /// Nothing failed: a person or the selector asked for the rescue shell.
    RescueRequested,
}

impl FailureKind {
    /// What is to be done where the site's policy is `policy`.
    pub(crate) fn answer(self, policy: &Policy) -> FaultAction {
        match self {
            Self::Site(fault) => policy.answer(fault),
            // The other slot has another initramfs and another root.
            Self::Initramfs | Self::Handover => policy.answer(Fault::Root),
            Self::RescueRequested => FaultAction::Rescue,
        }
    }
}

impl Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(fault) => fault.fmt(f),
            Self::Initramfs => f.write_str("initramfs"),
            Self::Handover => f.write_str("handover"),
            Self::RescueRequested => f.write_str("rescue-requested"),
        }
    }
}

/// The error of a step.
pub(crate) trait StepError: Display {
    /// Its kind.
    fn kind(&self) -> FailureKind;
    /// What a person can do about it.
    fn remedy(&self) -> String;
}

/// A step's error with the step's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The step that failed.
    pub(crate) step: &'static str,
    /// The kind of fault.
    pub(crate) kind: FailureKind,
    /// What is wrong, on what.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Failure {
    /// `error` as it came up in `step`.
    pub(crate) fn new(step: &'static str, error: &dyn StepError) -> Self {
        Self { step, kind: error.kind(), problem: error.to_string(), remedy: error.remedy() }
    }

    /// Its lines on a console.
    pub(crate) fn lines(&self) -> [String; 2] {
        [
            format!("{} (step {}): {}", self.kind, self.step, self.problem),
            format!("what to do: {}", self.remedy),
        ]
    }

    /// Its entry in the boot report.
    pub(crate) fn report(&self) -> FaultReport {
        FaultReport {
            fault: self.kind.to_string(),
            message: format!("step {}: {}; {}", self.step, self.problem, self.remedy),
        }
    }
}
