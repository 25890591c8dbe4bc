//! A role of the site as it lies in the root: `role.toml` beside `files/`, `templates/` and scripts.

use crate::file::{self, FileError};
use crate::root::Root;
use crate::toml_problem::TomlProblem;
use handoff::name::Name;
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// When a role is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before init, offline, within seconds.
    Identity,
    /// After init, as a service.
    #[default]
    Configure,
}

impl Stage {
    /// The word in files and on command lines.
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

/// What a role does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Lays files and rendered templates over the root.
    Overlay,
    /// Runs a program.
    Command {
        /// The program and its arguments; at least one word.
        argv: Vec<String>,
        /// How long one attempt may take, where the role says so.
        deadline: Option<Duration>,
    },
}

impl Action {
    /// The word in `role.toml`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Command { .. } => "command",
        }
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: Name,
    /// Where it lies.
    pub folder: PathBuf,
    /// When it is applied.
    pub stage: Stage,
    /// What it does.
    pub action: Action,
}

/// Why a role cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The root has no such role.
    #[error("the role {name} is not in this root ({folder}): take it out of the node's roles, or build the image anew", folder = folder.display())]
    Missing {
        /// Which one.
        name: Name,
        /// Where it should be.
        folder: PathBuf,
    },
    /// Its description cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its description is no TOML, or has unknown keys or wrong values.
    #[error("{path}: {source}", path = path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: TomlProblem,
    },
    /// A role of kind `command` without a command, or of kind `overlay` with one.
    #[error("{path}: kind = \"{kind}\" {problem}", path = path.display())]
    Kind {
        /// Which file.
        path: PathBuf,
        /// The kind.
        kind: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    #[default]
    Overlay,
    Command,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRole {
    #[serde(default)]
    kind: RawKind,
    #[serde(default)]
    stage: Stage,
    #[serde(default)]
    command: Vec<String>,
    deadline: Option<u64>,
    /// In the root since it was built.
    #[serde(default, rename = "packages")]
    _packages: Vec<String>,
}

impl Role {
    /// Reads the role `name` of the root.
    pub fn load(root: &Root, name: &Name) -> Result<Self, RoleError> {
        let folder = root.at(handoff::paths::SITE).join("roles").join(name.as_str());
        if !folder.is_dir() {
            return Err(RoleError::Missing { name: name.clone(), folder });
        }
        let path = folder.join("role.toml");
        let raw: RawRole = match file::read_text(&path) {
            Err(error) if error.is_missing() => RawRole::default(),
            text => {
                let text = text?;
                toml::from_str(&text).map_err(|error| {
                    let source = TomlProblem::new(&text, &error);
                    RoleError::Syntax { path: path.clone(), source }
                })?
            }
        };
        let unfit = |kind, problem| RoleError::Kind { path, kind, problem };
        let deadline = raw.deadline.map(Duration::from_secs);
        let action = match raw.kind {
            RawKind::Overlay if !raw.command.is_empty() => return Err(unfit("overlay", "has a command")),
            RawKind::Overlay => Action::Overlay,
            RawKind::Command if raw.command.is_empty() => return Err(unfit("command", "has no command")),
            RawKind::Command => Action::Command { argv: raw.command, deadline },
        };
        Ok(Self { name: name.clone(), folder, stage: raw.stage, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: Option<&str>) -> Result<Role, RoleError> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let role = root.at(handoff::paths::SITE).join("roles/r");
        file::create_folder(&role).unwrap();
        if let Some(text) = text {
            file::write(&role.join("role.toml"), text.as_bytes(), 0o644).unwrap();
        }
        Role::load(&root, &"r".parse().unwrap())
    }

    #[test]
    fn a_role_without_a_description_is_an_overlay() {
        let role = load(None).unwrap();
        assert_eq!((role.stage, role.action), (Stage::Configure, Action::Overlay));
    }

    #[test]
    fn a_command_has_words_and_perhaps_a_deadline() {
        let text =
            "kind = 'command'\nstage = 'identity'\ncommand = ['./run', 'x']\ndeadline = 5\npackages = ['jq']";
        let role = load(Some(text)).unwrap();
        let deadline = Some(Duration::from_secs(5));
        assert_eq!(role.action, Action::Command { argv: vec!["./run".into(), "x".into()], deadline });
        assert_eq!(role.stage, Stage::Identity);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(matches!(load(Some("kind = 'command'")), Err(RoleError::Kind { kind: "command", .. })));
        assert!(matches!(load(Some("command = ['x']")), Err(RoleError::Kind { kind: "overlay", .. })));
        assert!(matches!(load(Some("kinds = 'x'")), Err(RoleError::Syntax { .. })));
        let missing = Role::load(&Root::new("/nowhere"), &"r".parse().unwrap());
        assert!(matches!(missing, Err(RoleError::Missing { .. })));
    }
}
