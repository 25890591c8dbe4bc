//! The kinds of base system: what a site's `base` begins with, and what `node.toml` and templates call it.

use core::fmt;
use core::str::FromStr;

/// A kind of base system: what the first word of a site's `base` selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseKind {
    /// Debian's kernel with busybox as init and no package manager.
    Micro,
    /// A minimal Debian with systemd.
    Debian,
    /// The files of a tar, with either init.
    Tar,
    /// The files of an OCI image, with either init.
    Oci,
}

/// A word that is not a [`BaseKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownBaseKind;

impl BaseKind {
    /// Every kind, in the order of messages.
    pub const ALL: [Self; 4] = [Self::Micro, Self::Debian, Self::Tar, Self::Oci];

    /// The kind's name in `site.toml`, `node.toml` and templates.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Debian => "debian",
            Self::Tar => "tar",
            Self::Oci => "oci",
        }
    }
}

impl fmt::Display for BaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for BaseKind {
    type Err = UnknownBaseKind;

    fn from_str(word: &str) -> Result<Self, UnknownBaseKind> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or(UnknownBaseKind)
    }
}

impl fmt::Display for UnknownBaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the base is micro, debian, tar or oci")
    }
}

impl core::error::Error for UnknownBaseKind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for kind in BaseKind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        assert_eq!("tar:x".parse::<BaseKind>(), Err(UnknownBaseKind));
    }
}
