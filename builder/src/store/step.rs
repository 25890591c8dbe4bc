//! A finished step of a build: its name, its inputs, and whether it had to run.

use super::{Inputs, StepName};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Whether a step ran, or its result was in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The step ran and made the result.
    #[serde(rename = "made")]
    Built,
    /// The result was in the store.
    #[serde(rename = "kept")]
    Cached,
}

/// A finished step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The name of the step.
    pub name: StepName,
    /// The inputs of the step.
    pub inputs: Inputs,
    /// Whether it ran, or its result was in the store.
    pub origin: Origin,
    /// The paths of its result in the store.
    pub places: Vec<PathBuf>,
}

impl Step {
    /// A step with its result at `place` in the store.
    #[must_use]
    pub fn stored(name: StepName, inputs: Inputs, origin: Origin, place: &Path) -> Self {
        Self { name, inputs, origin, places: vec![place.to_owned()] }
    }
}
