//! What can be wrong with a site, each with its place and what to do.

use super::package::WantedPackage;
use crate::error::{Class, Classified};
use crate::next_command::argument;
use handoff::fault::{Fault, FaultAction};
use handoff::name::Name;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A place in a site file, counted from 1 as editors do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// The known names near a mistyped one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// All names that would have been right.
    pub names: Box<[String]>,
    /// The one that was probably meant.
    pub nearest: Option<Box<str>>,
}

impl Known {
    /// Looks for `word` among `names`.
    pub fn near<S: Into<String>>(word: &str, names: impl IntoIterator<Item = S>) -> Self {
        let names: Box<[String]> = names.into_iter().map(Into::into).collect();
        let nearest = names
            .iter()
            .map(|name| (strsim::normalized_damerau_levenshtein(word, name), name))
            .filter(|(likeness, _)| *likeness >= 0.5)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, name)| name.as_str().into());
        Self { names, nearest }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.nearest, self.names.as_ref()) {
            (Some(nearest), _) => write!(f, "did you mean {nearest:?}?"),
            (None, []) => f.write_str("there is none"),
            (None, names) => write!(f, "known: {}", names.join(", ")),
        }
    }
}

/// Why a site, or something in it, cannot be used.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum SiteError {
    /// A folder without `site.toml`.
    #[error("{dir} is no site: it has no site.toml")]
    NotASite {
        /// The folder.
        dir: PathBuf,
    },
    /// Something of the site cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// A file that is not TOML.
    #[error("{at}: not valid TOML: {problem}")]
    Syntax {
        /// Where.
        at: Location,
        /// What the parser said.
        problem: String,
    },
    /// A key that no version of this program has heard of.
    #[error("{at}: unknown key {key:?}; {known}")]
    UnknownKey {
        /// Where.
        at: Location,
        /// The key.
        key: String,
        /// The keys of this table.
        known: Known,
    },
    /// A key that must be there.
    #[error("{at}: the key {key:?} is missing")]
    MissingKey {
        /// The table that lacks it.
        at: Location,
        /// The key.
        key: String,
    },
    /// A value of another TOML type than its key takes.
    #[error("{at}: {problem}")]
    WrongType {
        /// Where.
        at: Location,
        /// What was found and what was expected.
        problem: String,
    },
    /// A word where only some words are known.
    #[error("{at}: {key} cannot be {word:?}; {known}")]
    UnknownWord {
        /// Where.
        at: Location,
        /// The key.
        key: &'static str,
        /// The word.
        word: String,
        /// The words it could be.
        known: Known,
    },
    /// A value of the right type that makes no sense.
    #[error("{at}: {key} = {value:?}: {problem}")]
    WrongValue {
        /// Where.
        at: Location,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// One system cannot have two versions of a package.
    #[error("{}: {whose} would get {package}, but also {other}, which {} asks for", package.at, other.at)]
    TwoVersions {
        /// Whose system it is.
        whose: String,
        /// The package with its version.
        package: Box<WantedPackage>,
        /// The same with another.
        other: Box<WantedPackage>,
    },
    /// An answer to a fault that it cannot have.
    #[error(
        "{at}: the fault {fault} cannot be answered with {answer}: {}; nearest to it is {:?} (known: {})",
        why_senseless(*answer),
        fault.nearest(*answer).name(),
        fault.actions().iter().map(|answer| answer.name()).collect::<Vec<_>>().join(", ")
    )]
    ActionWithoutEffect {
        /// Where.
        at: Location,
        /// The fault.
        fault: Fault,
        /// The answer.
        answer: FaultAction,
    },
    /// A node that the site does not have.
    #[error("the site {site} has no node {name:?}; {known}")]
    UnknownNode {
        /// The site.
        site: String,
        /// Its folder.
        dir: PathBuf,
        /// The name that was asked for.
        name: String,
        /// Its nodes.
        known: Known,
    },
    /// A role that the site does not have.
    #[error("{at}: the site has no role {name:?} (a folder under roles/); {known}")]
    UnknownRole {
        /// Where it is asked for.
        at: Location,
        /// The name.
        name: String,
        /// The site's roles.
        known: Known,
    },
    /// An overlay that the site does not have.
    #[error("{at}: the site has no overlay {name:?} (a folder under overlays/); {known}")]
    UnknownOverlay {
        /// Where it is asked for.
        at: Location,
        /// The name.
        name: String,
        /// The site's overlays.
        known: Known,
    },
    /// A manifest of an overlay that the site does not have.
    #[error("{path}: there is no overlay of that name beside it; {known}")]
    ManifestWithoutOverlay {
        /// The manifest.
        path: PathBuf,
        /// The site's overlays.
        known: Known,
    },
    /// A file or folder whose name cannot be the name of a node, role or overlay.
    #[error("{path}: the name is not usable: {problem}")]
    BadFileName {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with the name.
        problem: String,
    },
    /// A file of the site that a node is to have, and that is not opened.
    #[error("{at}: {path} cannot be used: {problem}")]
    UnusableSource {
        /// Where it is asked for.
        at: Location,
        /// The file.
        path: PathBuf,
        /// Why.
        problem: io::Error,
    },
    /// A file of the site that a node is to have, and that is not there.
    #[error("{at}: {path} is not there")]
    MissingSource {
        /// Where it is asked for.
        at: Location,
        /// The file.
        path: PathBuf,
    },
}

/// Why no fault that lacks this answer can have it.
fn why_senseless(answer: FaultAction) -> &'static str {
    match answer {
        FaultAction::Repair => "there is nothing that a repair could write",
        FaultAction::Continue => "a boot that lacks something of the node is no ordinary one",
        FaultAction::Degraded => "there is nothing that the boot could go on with",
        FaultAction::Reboot | FaultAction::Rescue => "it makes no sense",
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
                // Of a name that no node can have, the message says enough.
                let name: Name = name.parse().ok()?;
                Some(format!("add it with: psyops init {} --node {name}", argument(dir)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = Known::near("realease", ["id", "release", "base"]);
        assert_eq!(known.nearest.as_deref(), Some("release"));
        assert_eq!(known.to_string(), "did you mean \"release\"?");
    }

    #[test]
    fn far_names_are_all_listed() {
        assert_eq!(Known::near("colour", ["id", "base"]).to_string(), "known: id, base");
        assert_eq!(Known::near("x", [] as [&str; 0]).to_string(), "there is none");
    }
}
