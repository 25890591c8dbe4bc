//! Something on a node that is older than what it has or had: an entry of the boot report.

use crate::json::Object;
use alloc::string::String;
use core::fmt;

/// The name under which the boot report's faults list something older that runs. A site cannot choose an action for it.
pub const FAULT: &str = "older";

/// The kinds of things that can be older than what a node has or has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum OlderKind {
    /// One of the two places for seals has a lower generation than the other: this is normal after each new seal.
    SealPlace,
    /// The seal that runs has a lower generation than one that the node has run with before.
    #[cfg_attr(feature = "serde", serde(rename = "serial"))]
    Generation,
    /// The release that runs has a lower security epoch than one in the other slot, or one that the node has run
    /// before.
    Release,
}

impl OlderKind {
    /// The kind's word in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SealPlace => "seal-place",
            Self::Generation => "serial",
            Self::Release => "release",
        }
    }

    /// Whether the older thing is the one that runs; the node is degraded then.
    #[must_use]
    pub fn runs(self) -> bool {
        match self {
            Self::SealPlace => false,
            Self::Generation | Self::Release => true,
        }
    }
}

impl fmt::Display for OlderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A thing that runs or is kept, though the node has or has seen a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
pub struct Older {
    /// The kind of thing that is older.
    pub what: OlderKind,
    /// The generation or security epoch of the older thing.
    pub lower: u64,
    /// The higher one that it is compared with.
    pub higher: u64,
    /// A sentence with both numbers, and what to do if anything.
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
