//! Whether the guest runs on the host's processor.

/// How the guest's processor is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// On the host's processor, with KVM.
    Kvm,
    /// Emulated by QEMU.
    Tcg,
    /// Emulated, and the guest's clock counts instructions: its measurements do not depend on the host's load, but are
    /// not in real seconds.
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

    /// The best number of processors for a machine. Emulated ones share a lock and the host's cores: with two of them,
    /// a boot takes half as long again.
    #[must_use]
    pub fn processors(self) -> u32 {
        match self {
            Self::Kvm => 2,
            Self::Tcg | Self::Counted => 1,
        }
    }

    /// The word for it in messages and in the cache.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Counted => "tcg, counted",
        }
    }
}
