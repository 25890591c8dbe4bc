//! Whether the guest's processor is the host's.

/// How the guest's processor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// On the host's processor.
    Kvm,
    /// Translated.
    Tcg,
    /// Translated, and the guest's clock counts instructions: what it measures does not depend on what else the host
    /// does, but says nothing in seconds.
    Counted,
}

impl Acceleration {
    pub(super) fn arguments(self) -> &'static str {
        match self {
            Self::Kvm => "-accel kvm -cpu host",
            Self::Tcg => "-accel tcg,thread=multi -cpu max",
            Self::Counted => "-accel tcg -icount shift=1,sleep=on -cpu max",
        }
    }

    /// How many processors a machine has best. Translated ones share a lock and the host's cores: with two of them, a boot
    /// takes half as long again.
    #[must_use]
    pub fn processors(self) -> u32 {
        match self {
            Self::Kvm => 2,
            Self::Tcg | Self::Counted => 1,
        }
    }

    /// Its name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Counted => "tcg, counted",
        }
    }
}
