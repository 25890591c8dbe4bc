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
    /// A file without which the node must not boot cannot be put in its place.
    Install,
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
    /// Go on and report it.
    Continue,
    /// Reboot: the try is spent, the other slot follows.
    Reboot,
    /// The rescue shell.
    Rescue,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::SecretPartition,
        Self::Identity,
        Self::Seal,
        Self::FileDiffers,
        Self::Repair,
        Self::Root,
        Self::Install,
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
            Self::Install => "install",
            Self::Configure => "configure",
        }
    }

    /// The answer where the site does not choose another.
    #[must_use]
    pub fn default_answer(self) -> Answer {
        match self {
            Self::SecretPartition | Self::Identity | Self::Seal | Self::Install => Answer::Rescue,
            Self::FileDiffers => Answer::Repair,
            Self::Repair => Answer::Degraded,
            Self::Root => Answer::Reboot,
            Self::Configure => Answer::Continue,
        }
    }

    /// The answers that make sense, the most forgiving first. Nothing is degraded about a boot without a root, and only
    /// a fault behind which all of the node's files are in their places may pass for an ordinary boot.
    #[must_use]
    pub fn answers(self) -> &'static [Answer] {
        match self {
            Self::SecretPartition | Self::Identity | Self::Seal | Self::Repair | Self::Install => {
                &[Answer::Degraded, Answer::Reboot, Answer::Rescue]
            }
            Self::FileDiffers => &[Answer::Repair, Answer::Degraded, Answer::Reboot, Answer::Rescue],
            Self::Root => &[Answer::Reboot, Answer::Rescue],
            Self::Configure => &[Answer::Continue, Answer::Degraded, Answer::Reboot, Answer::Rescue],
        }
    }

    /// The answer that makes sense and comes nearest to `wanted`.
    #[must_use]
    pub fn nearest(self, wanted: Answer) -> Answer {
        let sensible = self.answers();
        if sensible.contains(&wanted) {
            return wanted;
        }
        // What is left is a wish to go on.
        sensible.first().copied().unwrap_or(Answer::Rescue)
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
    answers: [Answer; 8],
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

    /// Chooses another answer to `fault`. One that makes no sense becomes the nearest that does: the builder refuses it
    /// before, and a loader must have an answer to everything.
    pub fn set(&mut self, fault: Fault, answer: Answer) {
        let answer = fault.nearest(answer);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_can_restart_and_be_rescued_and_its_default_makes_sense() {
        for fault in Fault::ALL {
            let answers = fault.answers();
            assert!(answers.contains(&Answer::Reboot) && answers.contains(&Answer::Rescue), "{fault}");
            assert!(answers.contains(&fault.default_answer()), "{fault}");
        }
    }

    #[test]
    fn a_senseless_answer_becomes_the_nearest_one() {
        let mut policy = Policy::default();
        for (fault, wanted, nearest) in [
            (Fault::Root, Answer::Degraded, Answer::Reboot),
            (Fault::Seal, Answer::Continue, Answer::Degraded),
            (Fault::FileDiffers, Answer::Continue, Answer::Repair),
            (Fault::Configure, Answer::Repair, Answer::Continue),
            (Fault::Root, Answer::Rescue, Answer::Rescue),
        ] {
            policy.set(fault, wanted);
            assert_eq!((fault.nearest(wanted), policy.answer(fault)), (nearest, nearest), "{fault} {wanted}");
        }
    }
}
