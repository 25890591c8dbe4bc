//! What can be wrong at boot, and the action that the site wants for each fault.

use core::fmt;
use core::str::FromStr;

/// A kind of fault; the site may choose an action for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No secret partition, or more than one disk that matches.
    SecretPartition,
    /// The age identity is missing, malformed, or not the seal's recipient.
    Identity,
    /// No source has a seal with a valid signature and format.
    Seal,
    /// A file on the secret partition differs from the seal.
    FileDiffers,
    /// A file could not be repaired (medium read-only, full or worn out).
    Repair,
    /// The root hash does not match, or there is no root.
    Root,
    /// A file that the boot requires cannot be written to its path in the root.
    Install,
    /// The configuration run failed or took too long.
    Configure,
}

/// The action that follows a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultAction {
    /// Write the right content to the disk and go on.
    Repair,
    /// Go on with the right content in memory only, and report the node as degraded.
    Degraded,
    /// Go on and report the fault.
    Continue,
    /// Reboot: this uses up a try, so that the other slot is started in the end.
    Reboot,
    /// Go to the rescue shell.
    Rescue,
}

impl Fault {
    /// Every kind of fault.
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

    /// The fault's name in site files, manifests and reports.
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

    /// The action if the site does not choose one.
    #[must_use]
    pub fn default_action(self) -> FaultAction {
        match self {
            Self::SecretPartition | Self::Identity | Self::Seal | Self::Install => FaultAction::Rescue,
            Self::FileDiffers => FaultAction::Repair,
            Self::Repair => FaultAction::Degraded,
            Self::Root => FaultAction::Reboot,
            Self::Configure => FaultAction::Continue,
        }
    }

    /// Why this fault cannot have `action`; `None` if it can. A boot without a root cannot be degraded, and only a fault
    /// that leaves all of the node's files in their places may pass for an ordinary boot.
    #[must_use]
    pub fn refusal(self, action: FaultAction) -> Option<&'static str> {
        let (is_valid, why) = match action {
            FaultAction::Repair => (self == Self::FileDiffers, "there is no file that could be repaired"),
            FaultAction::Continue => (
                self == Self::Configure,
                "without the node's files the boot must not pass for an ordinary one",
            ),
            FaultAction::Degraded => (self != Self::Root, "the boot cannot go on without a root"),
            FaultAction::Reboot | FaultAction::Rescue => return None,
        };
        (!is_valid).then_some(why)
    }

    /// The actions that are valid for this fault, the most forgiving first.
    pub fn actions(self) -> impl Iterator<Item = FaultAction> {
        FaultAction::ALL.into_iter().filter(move |action| self.refusal(*action).is_none())
    }

    /// The valid action that is nearest to `wanted`.
    #[must_use]
    pub fn nearest(self, wanted: FaultAction) -> FaultAction {
        if self.refusal(wanted).is_none() {
            return wanted;
        }
        // Only the actions that go on are refused.
        self.actions().next().unwrap_or(FaultAction::Rescue)
    }
}

impl FaultAction {
    /// Every action, the most forgiving first.
    pub const ALL: [Self; 5] = [Self::Repair, Self::Continue, Self::Degraded, Self::Reboot, Self::Rescue];

    /// The action's name in site files and manifests.
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

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not the name of a fault or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a fault or an action")
    }
}

impl core::error::Error for UnknownName {}

impl FromStr for Fault {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|fault| fault.name() == text).ok_or(UnknownName)
    }
}

impl FromStr for FaultAction {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|action| action.name() == text).ok_or(UnknownName)
    }
}

/// The site's action for each fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    actions: [FaultAction; 8],
}

impl Default for Policy {
    fn default() -> Self {
        Self { actions: Fault::ALL.map(Fault::default_action) }
    }
}

impl Policy {
    /// The action for `fault`.
    #[must_use]
    pub fn action(&self, fault: Fault) -> FaultAction {
        let pairs = Fault::ALL.iter().zip(&self.actions);
        pairs.into_iter().find(|(kind, _)| **kind == fault).map_or(FaultAction::Rescue, |(_, action)| *action)
    }

    /// Chooses the action for `fault`. One that is not valid for it becomes the nearest valid one: the builder has
    /// refused it already, and a loader must have an action for every fault.
    pub fn set(&mut self, fault: Fault, action: FaultAction) {
        let action = fault.nearest(action);
        for (kind, slot) in Fault::ALL.iter().zip(&mut self.actions) {
            if *kind == fault {
                *slot = action;
            }
        }
    }

    /// The actions that differ from the defaults.
    pub fn chosen(&self) -> impl Iterator<Item = (Fault, FaultAction)> + '_ {
        Fault::ALL
            .into_iter()
            .map(|f| (f, self.action(f)))
            .filter(|(f, action)| f.default_action() != *action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_actions_in_order_and_the_others_have_a_reason() {
        use FaultAction::{Continue, Degraded, Reboot, Repair, Rescue};
        for fault in Fault::ALL {
            let expected: &[FaultAction] = match fault {
                Fault::FileDiffers => &[Repair, Degraded, Reboot, Rescue],
                Fault::Root => &[Reboot, Rescue],
                Fault::Configure => &[Continue, Degraded, Reboot, Rescue],
                _ => &[Degraded, Reboot, Rescue],
            };
            assert!(fault.actions().eq(expected.iter().copied()), "{fault}");
            assert_eq!(fault.refusal(fault.default_action()), None, "{fault}");
        }
        let refusals = [
            (Fault::Seal, Repair, "there is no file that could be repaired"),
            (Fault::Seal, Continue, "without the node's files the boot must not pass for an ordinary one"),
            (Fault::Root, Degraded, "the boot cannot go on without a root"),
        ];
        for (fault, action, why) in refusals {
            assert_eq!(fault.refusal(action), Some(why), "{fault} {action}");
        }
    }

    #[test]
    fn an_invalid_action_becomes_the_nearest_valid_one() {
        let mut policy = Policy::default();
        for (fault, wanted, nearest) in [
            (Fault::Root, FaultAction::Degraded, FaultAction::Reboot),
            (Fault::Seal, FaultAction::Continue, FaultAction::Degraded),
            (Fault::FileDiffers, FaultAction::Continue, FaultAction::Repair),
            (Fault::Configure, FaultAction::Repair, FaultAction::Continue),
            (Fault::Root, FaultAction::Rescue, FaultAction::Rescue),
        ] {
            policy.set(fault, wanted);
            assert_eq!((fault.nearest(wanted), policy.action(fault)), (nearest, nearest), "{fault} {wanted}");
        }
    }
}
