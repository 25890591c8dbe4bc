//! Which init a root has, as the builder found it, for the agent: `usr/share/psyops/init`, one word.

use core::fmt;
use core::str::FromStr;

/// The inits that psyopsOS can be configured for.
///
/// A type of its own beside `BaseKind`, though both are lists of words: an imported base may have either init, so neither
/// list can be derived from the other, and each word is written to another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitKind {
    /// busybox, with an inittab and scripts.
    Busybox,
    /// systemd, with networkd.
    Systemd,
}

/// A word that is not the name of an init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoInit;

impl InitKind {
    /// Every init.
    pub const ALL: [Self; 2] = [Self::Busybox, Self::Systemd];

    /// The init's name in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Systemd => "systemd",
        }
    }
}

impl fmt::Display for InitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for InitKind {
    type Err = NoInit;

    fn from_str(word: &str) -> Result<Self, NoInit> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or(NoInit)
    }
}

impl fmt::Display for NoInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither busybox nor systemd")
    }
}

impl core::error::Error for NoInit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for kind in InitKind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        assert_eq!("busybox\n".parse::<InitKind>(), Err(NoInit));
        assert_eq!("openrc".parse::<InitKind>(), Err(NoInit));
    }
}
