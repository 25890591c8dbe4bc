//! What can be wrong with a site, each with its location and the advice.

use super::known::Known;
use super::location::Location;
use super::role_program::RoleProgramProblem;
use super::wanted_package::WantedPackage;
use crate::error::{Class, Classified};
use crate::next_command::argument;
use handoff::fault::{Fault, FaultAction};
use handoff::name::Name;
use std::io;
use std::path::PathBuf;

/// Why a site, or a part of it, cannot be used.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum SiteError {
    /// The folder has no `site.toml`.
    #[error("{dir} is not a site: it has no site.toml")]
    NotASite {
        /// The path of the folder.
        dir: PathBuf,
    },
    /// A file or folder of the site could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file or folder.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// A file is not valid TOML.
    #[error("{at}: not valid TOML: {problem}")]
    Syntax {
        /// The position of the error.
        at: Location,
        /// The message of the parser.
        problem: String,
    },
    /// A key is not one of this format.
    #[error("{at}: unknown key {key:?}; {known}")]
    UnknownKey {
        /// The position of the key.
        at: Location,
        /// The key as the user typed it.
        key: String,
        /// The valid keys of this table.
        known: Known,
    },
    /// A required key is missing.
    #[error("{at}: the key {key:?} is missing")]
    MissingKey {
        /// The position of the table.
        at: Location,
        /// The missing key.
        key: String,
    },
    /// A value has another TOML type than the key requires.
    #[error("{at}: {problem}")]
    WrongType {
        /// The position of the value.
        at: Location,
        /// The type that was found and the one that is required.
        problem: String,
    },
    /// A value is not one of the words that the key allows.
    #[error("{at}: {key} cannot be {word:?}; {known}")]
    UnknownWord {
        /// The position of the value.
        at: Location,
        /// The key with the value.
        key: &'static str,
        /// The word as the user typed it.
        word: String,
        /// The allowed words.
        known: Known,
    },
    /// A value has the right type, but is not valid.
    #[error("{at}: {key} = {value:?}: {problem}")]
    WrongValue {
        /// The position of the value.
        at: Location,
        /// The key with the value.
        key: &'static str,
        /// The value as the user typed it.
        value: String,
        /// Why the value is not valid.
        problem: String,
    },
    /// One system would have two versions of a package.
    #[error("{}: {whose} would get both {package} and {other}, which {} lists; list one version only", package.at, other.at)]
    TwoVersions {
        /// The node, or all nodes, with that system.
        whose: String,
        /// The package with one version, and where it is requested.
        package: Box<WantedPackage>,
        /// The package with the other version, and where it is requested.
        other: Box<WantedPackage>,
    },
    /// A fault cannot have this action.
    #[error(
        "{at}: the action {action} is not valid for the fault {fault}: {why}; the nearest valid one is {:?} (valid: {})",
        fault.nearest(*action).name(),
        fault.actions().map(FaultAction::name).collect::<Vec<_>>().join(", ")
    )]
    ActionWithoutEffect {
        /// The position of the action.
        at: Location,
        /// The name of the fault.
        fault: Fault,
        /// The action that the user typed.
        action: FaultAction,
        /// Why the fault cannot have it.
        why: &'static str,
    },
    /// The site does not have the node.
    #[error("the site {site} has no node {name:?}; {known}")]
    UnknownNode {
        /// The id of the site.
        site: String,
        /// The folder of the site.
        dir: PathBuf,
        /// The name that the user gave.
        name: String,
        /// The nodes of the site.
        known: Known,
    },
    /// The site does not have the role.
    #[error("{at}: the site has no role {name:?} (a folder under roles/); {known}")]
    UnknownRole {
        /// The position in the node's file.
        at: Location,
        /// The name of the role.
        name: String,
        /// The roles of the site.
        known: Known,
    },
    /// The site does not have the overlay.
    #[error("{at}: the site has no overlay {name:?} (a folder under overlays/); {known}")]
    UnknownOverlay {
        /// The position in `site.toml`.
        at: Location,
        /// The name of the overlay.
        name: String,
        /// The overlays of the site.
        known: Known,
    },
    /// The manifest of an overlay has no overlay beside it.
    #[error("{path}: there is no overlay with this name in the same folder; {known}")]
    ManifestWithoutOverlay {
        /// The path of the manifest.
        path: PathBuf,
        /// The overlays of the site.
        known: Known,
    },
    /// The name of a file or folder is not a valid name of a node, role or overlay.
    #[error("{path}: the name is not valid: {problem}")]
    BadFileName {
        /// The path of the file or folder.
        path: PathBuf,
        /// Why the name is not valid.
        problem: String,
    },
    /// A key of a text file could not be set by this program.
    #[error("cannot set a key in {path}: write this line at its top: {line}")]
    NotEditable {
        /// The path of the file.
        path: PathBuf,
        /// The line for the top of the file.
        line: String,
    },
    /// A file of the site for a node cannot be opened.
    #[error("{at}: {path} cannot be used: {problem}")]
    UnusableSource {
        /// The position at which the file is named.
        at: Location,
        /// The path of the file.
        path: PathBuf,
        /// The error from opening it.
        problem: io::Error,
    },
    /// The program of a role cannot be started on a node.
    #[error("the role {role} cannot run its program {path}: {problem}")]
    RoleProgram {
        /// The name of the role.
        role: String,
        /// The path of the program.
        path: PathBuf,
        /// Why it cannot be started.
        problem: RoleProgramProblem,
    },
    /// A folder of a role from which no node would get a file.
    #[error("{path}: the role {role} copies nothing from this folder; {known}")]
    RoleFolder {
        /// The name of the role.
        role: String,
        /// The path of the folder.
        path: PathBuf,
        /// The folders from which it copies.
        known: Known,
    },
    /// A file of the site for a node does not exist.
    #[error("{at}: {path} does not exist")]
    MissingSource {
        /// The position at which the file is named.
        at: Location,
        /// The path of the file.
        path: PathBuf,
    },
}

impl SiteError {
    /// The position in a file, for mistakes that have one.
    #[must_use]
    pub fn place(&self) -> Option<&Location> {
        match self {
            Self::Syntax { at, .. }
            | Self::UnknownKey { at, .. }
            | Self::MissingKey { at, .. }
            | Self::WrongType { at, .. }
            | Self::UnknownWord { at, .. }
            | Self::WrongValue { at, .. }
            | Self::ActionWithoutEffect { at, .. }
            | Self::UnknownRole { at, .. }
            | Self::UnknownOverlay { at, .. }
            | Self::UnusableSource { at, .. }
            | Self::MissingSource { at, .. } => Some(at),
            Self::TwoVersions { package, .. } => Some(&package.at),
            _ => None,
        }
    }
}

impl Classified for SiteError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NotASite { .. } | Self::UnknownNode { .. } => Class::MissingInput,
            Self::Read { source, .. } => Class::of_reading(source),
            _ => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NotASite { dir } => Some(format!("make one with: psyops init {}", argument(dir))),
            Self::UnknownNode { dir, name, .. } => {
                // For a name that no node can have, the message is enough.
                let name: Name = name.parse().ok()?;
                Some(format!("to add the node: psyops init {} --node {name}", argument(dir)))
            }
            Self::RoleProgram { path, problem, .. } => Some(match problem {
                RoleProgramProblem::Missing => "write the program, or correct command in role.toml".into(),
                RoleProgramProblem::NotExecutable => format!("chmod +x {}", argument(path)),
                RoleProgramProblem::CarriageReturn => format!("sed -i 's/\\r$//' {}", argument(path)),
                RoleProgramProblem::NoInterpreter => "begin it with a line such as #!/bin/sh".into(),
            }),
            _ => None,
        }
    }
}
