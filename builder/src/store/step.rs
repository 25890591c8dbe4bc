//! A finished step of a build: its name, its inputs, and whether it had to run.

use super::{Inputs, StepName};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tracing::field::Empty;
use tracing::span::EnteredSpan;
use tracing::{Span, info_span};

/// Whether a step ran, or its result was in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepOrigin {
    /// The step ran and made the result.
    #[serde(rename = "made")]
    Built,
    /// The result was in the store.
    #[serde(rename = "kept")]
    Cached,
}

impl StepOrigin {
    /// The word in the log.
    fn word(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Cached => "cached",
        }
    }
}

impl StepName {
    /// Begins this step in the log. It ends when the result is dropped, and [`Step::logged`] says how.
    pub(crate) fn begin(self) -> EnteredSpan {
        info_span!("step", step = self.word(), origin = Empty, key = Empty).entered()
    }
}

/// A finished step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The name of the step.
    pub name: StepName,
    /// The inputs of the step.
    pub inputs: Inputs,
    /// Whether it ran, or its result was in the store.
    pub origin: StepOrigin,
    /// The paths of its result in the store.
    pub places: Vec<PathBuf>,
}

impl Step {
    /// A step with its result at `place` in the store.
    #[must_use]
    pub fn stored(name: StepName, inputs: Inputs, origin: StepOrigin, place: &Path) -> Self {
        Self { name, inputs, origin, places: vec![place.to_owned()] }
    }

    /// Adds the origin and the key of the step to its span in the log, which the current thread is in.
    #[must_use]
    pub(crate) fn logged(self) -> Self {
        let span = Span::current();
        if !span.is_disabled() {
            span.record("origin", self.origin.word());
            span.record("key", self.inputs.key().to_string());
        }
        self
    }
}
