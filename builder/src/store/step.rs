//! A step of a build that was done: what it makes, of what, and whether it had to be made.

use super::{Inputs, StepName};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the result of a step came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The step ran.
    #[serde(rename = "made")]
    Built,
    /// The store had it.
    #[serde(rename = "kept")]
    Cached,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it makes.
    pub name: StepName,
    /// Out of what.
    pub inputs: Inputs,
    /// Where the result came from.
    pub origin: Origin,
    /// Where in the store it lies.
    pub places: Vec<PathBuf>,
}

impl Step {
    /// A step whose result lies at `place` in the store.
    #[must_use]
    pub fn stored(name: StepName, inputs: Inputs, origin: Origin, place: &Path) -> Self {
        Self { name, inputs, origin, places: vec![place.to_owned()] }
    }
}
