//! `role.toml`: what a role of the site does on a node, and when. The builder reads it in the site, the agent in the
//! root.

use crate::toml_problem::TomlProblem;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
use core::ops::Range;
use serde::Deserialize;
use toml::Spanned;

/// When a role is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Before init, without a network, within seconds.
    Identity,
    /// After init, as a service.
    #[default]
    Configure,
}

/// What a role does when it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleAction {
    /// Puts its `files/` and rendered `templates/` over the root.
    Overlay,
    /// Runs this program.
    Command {
        /// The program and its arguments; at least one word, and the first is not empty.
        argv: Vec<String>,
        /// Seconds for one attempt; `None`: as long as the stage may take.
        deadline: Option<NonZeroU32>,
    },
}

/// The settings of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// When it is applied.
    pub stage: Stage,
    /// What it does when it is applied.
    pub action: RoleAction,
    /// The packages that the role adds to its nodes, as typed; the builder interprets them.
    pub packages: Vec<Spanned<String>>,
}

/// Why a text is not a role's settings.
#[derive(Debug)]
pub enum BadRoleSettings {
    /// It is not TOML, or has an unknown key, a missing one or a value of the wrong type.
    Syntax(toml::de::Error),
    /// A word that is not one of the key's values.
    Word {
        /// The key with the wrong word.
        key: &'static str,
        /// The word in the file, and its position.
        word: Spanned<String>,
        /// The words that the key takes.
        known: &'static [&'static str],
    },
    /// The keys do not fit together.
    Mismatch {
        /// The key that does not fit the others.
        key: &'static str,
        /// The value in the file, and its position.
        value: Spanned<String>,
        /// What is expected instead.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRole {
    kind: Spanned<String>,
    stage: Option<Spanned<String>>,
    command: Option<Vec<String>>,
    deadline: Option<u32>,
    #[serde(default)]
    packages: Vec<Spanned<String>>,
}

impl Stage {
    const WORDS: &'static [&'static str] = &["identity", "configure"];

    /// The stage's word in files and on command lines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Configure => "configure",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl RoleAction {
    const WORDS: &'static [&'static str] = &["overlay", "command"];

    /// The action's word in files and reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Command { .. } => "command",
        }
    }
}

impl Default for RoleSettings {
    /// The settings of a role without a `role.toml`.
    fn default() -> Self {
        Self { stage: Stage::default(), action: RoleAction::Overlay, packages: Vec::new() }
    }
}

impl RoleSettings {
    /// Reads the text of `role.toml`.
    pub fn decode(text: &str) -> Result<Self, BadRoleSettings> {
        let raw: RawRole = toml::from_str(text).map_err(BadRoleSettings::Syntax)?;
        let stage = match raw.stage {
            None => Stage::default(),
            Some(word) => match word.get_ref().as_str() {
                "identity" => Stage::Identity,
                "configure" => Stage::Configure,
                _ => return Err(BadRoleSettings::Word { key: "stage", word, known: Stage::WORDS }),
            },
        };
        let mismatch = |problem| BadRoleSettings::Mismatch { key: "kind", value: raw.kind.clone(), problem };
        let action = match raw.kind.get_ref().as_str() {
            "overlay" if raw.command.is_some() || raw.deadline.is_some() => {
                return Err(mismatch("a role of this kind has neither command nor deadline"));
            }
            "overlay" => RoleAction::Overlay,
            "command" => {
                let argv = raw.command.unwrap_or_default();
                if argv.first().is_none_or(String::is_empty) {
                    return Err(mismatch("a role of this kind needs command = [\"PROGRAM\", ...]"));
                }
                let deadline = match raw.deadline {
                    None => None,
                    Some(0) => return Err(mismatch("its deadline must be at least 1 second")),
                    Some(seconds) => NonZeroU32::new(seconds),
                };
                RoleAction::Command { argv, deadline }
            }
            _ => return Err(BadRoleSettings::Word { key: "kind", word: raw.kind, known: RoleAction::WORDS }),
        };
        Ok(Self { stage, action, packages: raw.packages })
    }
}

impl BadRoleSettings {
    /// The range of bytes in the text that is wrong.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        match self {
            Self::Syntax(error) => error.span().unwrap_or_default(),
            Self::Word { word, .. } => word.span(),
            Self::Mismatch { value, .. } => value.span(),
        }
    }

    /// The error as one line with the line number in `text` but without the text itself, for a log.
    #[must_use]
    pub fn in_one_line(&self, text: &str) -> TomlProblem {
        match self {
            Self::Syntax(error) => TomlProblem::new(text, error),
            other => TomlProblem::at(text, other.span(), alloc::format!("{other}")),
        }
    }
}

impl fmt::Display for BadRoleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => f.write_str(error.message()),
            Self::Word { key, word, known } => {
                write!(f, "{key} = {:?}: it is one of: {}", word.get_ref(), known.join(", "))
            }
            Self::Mismatch { key, value, problem } => write!(f, "{key} = {:?}: {problem}", value.get_ref()),
        }
    }
}

impl core::error::Error for BadRoleSettings {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn an_overlay_needs_nothing_but_its_kind() {
        let role = RoleSettings::decode("kind = 'overlay'").unwrap();
        assert_eq!(role, RoleSettings::default());
        assert_eq!((role.stage, role.action), (Stage::Configure, RoleAction::Overlay));
    }

    #[test]
    fn a_command_has_words_and_perhaps_a_deadline() {
        let text =
            "kind = 'command'\nstage = 'identity'\ncommand = ['./run', 'x']\ndeadline = 5\npackages = ['jq']";
        let role = RoleSettings::decode(text).unwrap();
        let argv = ["./run", "x"].map(String::from).to_vec();
        assert_eq!(role.action, RoleAction::Command { argv, deadline: NonZeroU32::new(5) });
        assert_eq!((role.stage, role.packages.len()), (Stage::Identity, 1));
    }

    #[test]
    fn each_mistake_has_its_line_and_what_is_expected() {
        for (text, expected) in [
            (
                "kind = 'command'",
                "line 1: kind = \"command\": a role of this kind needs command = [\"PROGRAM\", ...]",
            ),
            (
                "kind = 'command'\ncommand = []",
                "line 1: kind = \"command\": a role of this kind needs command = [\"PROGRAM\", ...]",
            ),
            (
                "command = ['']\nkind = 'command'",
                "line 2: kind = \"command\": a role of this kind needs command = [\"PROGRAM\", ...]",
            ),
            (
                "kind = 'command'\ncommand = ['x']\ndeadline = 0",
                "line 1: kind = \"command\": its deadline must be at least 1 second",
            ),
            (
                "kind = 'overlay'\ncommand = ['x']",
                "line 1: kind = \"overlay\": a role of this kind has neither command nor deadline",
            ),
            (
                "kind = 'overlay'\ndeadline = 3",
                "line 1: kind = \"overlay\": a role of this kind has neither command nor deadline",
            ),
            ("kind = 'script'", "line 1: kind = \"script\": it is one of: overlay, command"),
            (
                "\nkind = 'overlay'\nstage = 'late'",
                "line 3: stage = \"late\": it is one of: identity, configure",
            ),
        ] {
            let error = RoleSettings::decode(text).unwrap_err();
            assert_eq!(error.in_one_line(text).to_string(), expected);
        }
        for text in [
            "",
            "stage = 'identity'",
            "kind = 'overlay'\nkinds = 1",
            "kind = 3",
            "kind = 'overlay'\ndeadline = -1",
        ] {
            assert!(matches!(RoleSettings::decode(text), Err(BadRoleSettings::Syntax(_))), "{text}");
        }
    }
}
