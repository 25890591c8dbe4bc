//! The steps of a build, by name.

use std::fmt;

/// A step of a build with named inputs, whose result is stored under their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepName {
    /// The content of the random devices that programs read while packages are installed.
    RandomDevices,
    /// The root's files from packages or from an imported base.
    BaseTree,
    /// The kernel with its modules.
    Kernel,
    /// The boot stub, and the programs of the rescue shell.
    BootPrograms,
    /// The root and its hash tree.
    Root,
    /// The initramfs.
    Initramfs,
    /// The UKI.
    Uki,
    /// The part that the images of one system share, in the split layout.
    SharedPart,
    /// A node's image.
    Image,
}

impl StepName {
    /// The name in records and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RandomDevices => "random devices",
            Self::BaseTree => "base tree",
            Self::Kernel => "kernel",
            Self::BootPrograms => "boot programs",
            Self::Root => "root",
            Self::Initramfs => "initramfs",
            Self::Uki => "UKI",
            Self::SharedPart => "shared part",
            Self::Image => "image",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
