//! A role of the site in the root: `role.toml` beside `files/`, `templates/` and scripts.

use crate::file::{self, FileError};
use crate::root::Root;
use handoff::name::Name;
use handoff::role_settings::{RoleAction, RoleSettings, Stage};
use handoff::toml_problem::TomlProblem;
use std::path::PathBuf;

/// A role as it is in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The name of the role.
    pub name: Name,
    /// The folder of the role in the root.
    pub folder: PathBuf,
    /// When it is applied.
    pub stage: Stage,
    /// What it does when it is applied.
    pub action: RoleAction,
}

/// Why a role cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The root has no such role.
    #[error("the role {name} is not in this root ({folder}): take it out of the node's roles, or build the image again", folder = folder.display())]
    Missing {
        /// The name of the role.
        name: Name,
        /// The folder where the role should be.
        folder: PathBuf,
    },
    /// Its `role.toml` cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its `role.toml` is not valid.
    #[error("{path}: {problem}", path = path.display())]
    Content {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid, and in which line.
        problem: TomlProblem,
    },
}

impl Role {
    /// Reads the role `name` of the root.
    pub fn load(root: &Root, name: &Name) -> Result<Self, RoleError> {
        let folder = root.at(handoff::paths::SITE).join("roles").join(name.as_str());
        if !folder.is_dir() {
            return Err(RoleError::Missing { name: name.clone(), folder });
        }
        let path = folder.join("role.toml");
        let settings = match file::read_text(&path) {
            Err(error) if error.is_missing() => RoleSettings::default(),
            text => {
                let text = text?;
                RoleSettings::decode(&text)
                    .map_err(|problem| RoleError::Content { path, problem: problem.in_one_line(&text) })?
            }
        };
        Ok(Self { name: name.clone(), folder, stage: settings.stage, action: settings.action })
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
        assert_eq!((role.stage, role.action), (Stage::Configure, RoleAction::Overlay));
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_file_and_line() {
        let error = load(Some("\nkind = 'command'")).unwrap_err().to_string();
        assert!(error.contains("roles/r/role.toml: line 2: kind = \"command\": "), "{error}");
        let missing = Role::load(&Root::new("/nowhere"), &"r".parse().unwrap());
        assert!(matches!(missing, Err(RoleError::Missing { .. })));
    }
}
