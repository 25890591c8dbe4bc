//! The two slots of a stick, each with a complete system.

use core::fmt;
use core::str::FromStr;

/// One of the two sets of partitions for a system: kernel, root and hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// `boot-a`, `root-a`, `verity-a`.
    A,
    /// `boot-b`, `root-b`, `verity-b`.
    B,
}

impl Slot {
    /// Both slots, in their order on the disk.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other slot.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The slot's letter, as in partition names.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// A text that is neither `a` nor `b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotASlot;

impl fmt::Display for NotASlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a slot is a or b")
    }
}

impl core::error::Error for NotASlot {}

impl FromStr for Slot {
    type Err = NotASlot;

    fn from_str(text: &str) -> Result<Self, NotASlot> {
        match text {
            "a" => Ok(Self::A),
            "b" => Ok(Self::B),
            _ => Err(NotASlot),
        }
    }
}

/// A value for each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerSlot<T> {
    /// The value for slot a.
    pub a: T,
    /// The value for slot b.
    pub b: T,
}

impl<T> PerSlot<T> {
    /// The value of `slot`.
    pub fn get(&self, slot: Slot) -> &T {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// The value of `slot`, as a mutable reference.
    pub fn get_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }
}
