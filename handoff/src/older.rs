//! Something on a node that is older than what it has or had: an entry of the boot report.

use crate::json::Object;
use alloc::string::String;
use core::fmt;

/// The name in the boot report's faults of something older that runs. No site chooses an answer to it.
pub const FAULT: &str = "older";

/// The kinds of things that can be older than what a node has or has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum OlderKind {
    /// One of the two places for seals has a lower serial than the other: so it is after each new seal.
    SealPlace,
    /// The seal that runs has a lower serial than one that the node has run with before.
    Serial,
    /// The release that runs has a lower security epoch than one in the other slot, or one that the node has run before.
    Release,
}

impl OlderKind {
    /// The word in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SealPlace => "seal-place",
            Self::Serial => "serial",
            Self::Release => "release",
        }
    }

    /// Whether it is what runs that is older; a node where that is so is degraded.
    #[must_use]
    pub fn runs(self) -> bool {
        match self {
            Self::SealPlace => false,
            Self::Serial | Self::Release => true,
        }
    }
}

impl fmt::Display for OlderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One thing that runs or is kept, though the node has or has seen a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
pub struct Older {
    /// What it is.
    pub what: OlderKind,
    /// Its serial or security epoch.
    pub lower: u64,
    /// The higher one that it is compared with.
    pub higher: u64,
    /// Both numbers in words, and what to do where something is to be done.
    pub message: String,
}

impl Older {
    pub(crate) fn to_json(&self) -> String {
        Object::new()
            .string("what", self.what.word())
            .number("lower", self.lower)
            .number("higher", self.higher)
            .string("message", &self.message)
            .finish()
    }
}
