//! What the selector tells the loader: a volatile EFI variable with a few lines of `key=value`.
//!
//! A variable and not the command line, because a UKI ignores a command line from outside where Secure Boot is on.

use crate::slot::Slot;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The variable's name.
pub const VARIABLE: &str = "PsyopsSelection";
/// The variable's vendor GUID, a random one.
pub const VENDOR_GUID: &str = "5d2bd1ea-5c4e-4f0f-9a37-70f0a5e6c9b4";

/// What the started system should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An ordinary boot.
    Normal,
    /// A boot into the rescue shell.
    Rescue,
}

/// The selector's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The slot that was started.
    pub slot: Slot,
    /// Whether the system boots normally or goes to the rescue shell.
    pub mode: Mode,
    /// Tries left after this start.
    pub tries_left: u8,
    /// Whether the try could be recorded (not possible on a read-only medium).
    pub counted: bool,
    /// Why this slot and mode, in words.
    pub reason: String,
}

impl Selection {
    /// The variable's content.
    #[must_use]
    pub fn encode(&self) -> String {
        let mode = match self.mode {
            Mode::Normal => "normal",
            Mode::Rescue => "rescue",
        };
        let reason = without_controls(&self.reason);
        format!(
            "slot={}\nmode={mode}\ntries-left={}\ncounted={}\nreason={reason}\n",
            self.slot, self.tries_left, self.counted
        )
    }

    /// Reads the variable's content; `None` if a field is missing or not valid.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let field = |key: &str| {
            text.split_terminator('\n')
                .find_map(|line| line.split_once('=').filter(|(k, _)| *k == key).map(|(_, value)| value))
        };
        Some(Self {
            slot: field("slot")?.parse().ok()?,
            mode: match field("mode")? {
                "normal" => Mode::Normal,
                "rescue" => Mode::Rescue,
                _ => return None,
            },
            tries_left: field("tries-left")?.parse().ok()?,
            counted: field("counted")?.parse().ok()?,
            reason: without_controls(field("reason")?),
        })
    }
}

/// The words with each control character replaced by a space: they are printed on consoles and must stay one line.
fn without_controls(words: &str) -> String {
    words.replace(char::is_control, " ")
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Rescue => "rescue",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_read_by_the_loader() {
        let said = Selection {
            slot: Slot::B,
            mode: Mode::Rescue,
            tries_left: 0,
            counted: true,
            reason: "slot a: UKI damaged\nsecond line=x".into(),
        };
        let read = Selection::decode(&said.encode()).unwrap();
        assert_eq!(read, Selection { reason: "slot a: UKI damaged second line=x".into(), ..said });
        let carried =
            Selection::decode("slot=a\nmode=normal\ntries-left=2\ncounted=true\nreason=in\r\u{1b}[2Jorder\n");
        assert_eq!(carried.unwrap().reason, "in  [2Jorder", "nothing that moves a cursor reaches a console");
        assert_eq!(Selection::decode("slot=c\nmode=normal\ntries-left=1\ncounted=true\nreason=\n"), None);
    }
}
