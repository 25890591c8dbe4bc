//! What ends a boot attempt: the step, the kind of fault, what failed on what, and what to do.

use handoff::fault::{Fault, FaultAction, Policy};
use handoff::report::FaultReport;
use std::fmt::{self, Display};

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// A fault for which the site can choose an action.
    Site(Fault),
    /// The initramfs itself is incomplete.
    Initramfs,
    /// The change to the new root or the start of its init failed.
    Handover,
    /// Nothing failed: a person or the selector asked for the rescue shell.
    RescueRequested,
}

impl FailureKind {
    /// The action under the site's policy.
    pub(crate) fn action(self, policy: &Policy) -> FaultAction {
        match self {
            Self::Site(fault) => policy.action(fault),
            // The other slot has another initramfs and another root.
            Self::Initramfs | Self::Handover => policy.action(Fault::Root),
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
    /// The kind of failure that this error causes.
    fn kind(&self) -> FailureKind;
    /// What the user can do about it, as a sentence.
    fn remedy(&self) -> String;
}

/// A step's error together with the step's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The step that failed.
    pub(crate) step: &'static str,
    /// The kind of failure, which decides the action.
    pub(crate) kind: FailureKind,
    /// What failed, on what.
    pub(crate) problem: String,
    /// What the user can do, as a sentence.
    pub(crate) remedy: String,
}

impl Failure {
    /// The failure for an `error` of the step `step`.
    pub(crate) fn new(step: &'static str, error: &dyn StepError) -> Self {
        Self { step, kind: error.kind(), problem: error.to_string(), remedy: error.remedy() }
    }

    /// The two lines for a console: the problem and the remedy.
    pub(crate) fn lines(&self) -> [String; 2] {
        [
            format!("{} (step {}): {}", self.kind, self.step, self.problem),
            format!("what to do: {}", self.remedy),
        ]
    }

    /// The entry for the boot report.
    pub(crate) fn report(&self) -> FaultReport {
        FaultReport {
            fault: self.kind.to_string(),
            message: format!("step {}: {}; {}", self.step, self.problem, self.remedy),
        }
    }
}
