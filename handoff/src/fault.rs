//! What can be wrong at boot, and what the site wants done about it.

use core::fmt;
use core::str::FromStr;

/// A kind of fault; the site may choose an answer for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No secret partition, or more than one disk that fits.
    SecretPartition,
    /// The age identity is missing, malformed, or another than the seal's recipient.
    Identity,
    /// No source has a seal whose signature and format hold.
    Seal,
    /// A file on the secret partition differs from the seal.
    FileDiffers,
    /// A file could not be repaired (medium read-only, full, worn).
    Repair,
    /// The root hash does not hold, or there is no root.
    Root,
    /// The configuration run failed or took too long.
    Configure,
}

/// What to do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Write the right content and go on.
    Repair,
    /// Go on with what is right in memory, and say so.
    Degraded,
    /// Go on as if all were well, but report it.
    Continue,
    /// Reboot: the try is spent, the other slot follows.
    Reboot,
    /// The rescue shell.
    Rescue,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::SecretPartition,
        Self::Identity,
        Self::Seal,
        Self::FileDiffers,
        Self::Repair,
        Self::Root,
        Self::Configure,
    ];

    /// The name in site files, manifests and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SecretPartition => "secret-partition",
            Self::Identity => "identity",
            Self::Seal => "seal",
            Self::FileDiffers => "file-differs",
            Self::Repair => "repair",
            Self::Root => "root",
            Self::Configure => "configure",
        }
    }

    /// The answer where the site does not choose another.
    #[must_use]
    pub fn default_answer(self) -> Answer {
        match self {
            Self::SecretPartition | Self::Identity | Self::Seal => Answer::Rescue,
            Self::FileDiffers => Answer::Repair,
            Self::Repair => Answer::Degraded,
            Self::Root => Answer::Reboot,
            Self::Configure => Answer::Continue,
        }
    }
}

impl Answer {
    /// All answers.
    pub const ALL: [Self; 5] = [Self::Repair, Self::Degraded, Self::Continue, Self::Reboot, Self::Rescue];

    /// The name in site files and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Degraded => "degraded",
            Self::Continue => "continue",
            Self::Reboot => "reboot",
            Self::Rescue => "rescue",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no fault or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a name of this list")
    }
}

impl core::error::Error for UnknownName {}

impl FromStr for Fault {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|fault| fault.name() == text).ok_or(UnknownName)
    }
}

impl FromStr for Answer {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|answer| answer.name() == text).ok_or(UnknownName)
    }
}

/// The site's answer to each fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    answers: [Answer; 7],
}

impl Default for Policy {
    fn default() -> Self {
        Self { answers: Fault::ALL.map(Fault::default_answer) }
    }
}

impl Policy {
    /// The answer to `fault`.
    #[must_use]
    pub fn answer(&self, fault: Fault) -> Answer {
        let pairs = Fault::ALL.iter().zip(&self.answers);
        pairs.into_iter().find(|(kind, _)| **kind == fault).map_or(Answer::Rescue, |(_, answer)| *answer)
    }

    /// Chooses another answer to `fault`.
    pub fn set(&mut self, fault: Fault, answer: Answer) {
        for (kind, slot) in Fault::ALL.iter().zip(&mut self.answers) {
            if *kind == fault {
                *slot = answer;
            }
        }
    }

    /// The answers that differ from the defaults.
    pub fn chosen(&self) -> impl Iterator<Item = (Fault, Answer)> + '_ {
        Fault::ALL
            .into_iter()
            .map(|f| (f, self.answer(f)))
            .filter(|(f, answer)| f.default_answer() != *answer)
    }
}
