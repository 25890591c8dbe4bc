//! What can go wrong while layers are merged.

use crate::error::{Class, Classified, chain};
use crate::limits::OverLimit;
use crate::site::Location;
use crate::tools::ToolError;
use std::io;
use std::path::PathBuf;

/// Why layers could not be merged into a tree.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum TreeError {
    /// A layer could not be read.
    #[error("cannot read {path}: {}", chain(.source))]
    Read {
        /// The path of the tar, file or folder.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// The digest of a tar in the store is not right any more.
    #[error("{path} was damaged in the store and has been removed from it")]
    Damaged {
        /// The path of the tar.
        path: PathBuf,
    },
    /// A tool of this machine could not be run, or failed.
    #[error(transparent)]
    Tool(ToolError),
    /// An entry of a tar is not valid for a layer.
    #[error("{path}: entry {entry:?}: {problem}")]
    BadTar {
        /// The path of the tar.
        path: PathBuf,
        /// The path of the entry.
        entry: String,
        /// Why the entry is not valid.
        problem: &'static str,
    },
    /// A tar is over a limit.
    #[error("{path}: {over}")]
    Limit {
        /// The path of the tar.
        path: PathBuf,
        /// The limit, and the number that was found.
        over: OverLimit,
    },
    /// An entry of a folder is neither file, folder nor link, or its name is not UTF-8.
    #[error("{path}: {problem}")]
    NotLayable {
        /// The path of the entry.
        path: PathBuf,
        /// Why it cannot be in a layer.
        problem: &'static str,
    },
    /// A path leads out of the tree.
    #[error("{path:?} is not a path inside a tree")]
    BadPath {
        /// The path as it was given.
        path: String,
    },
    /// A path has too many links, or a loop of links.
    #[error("{path:?}: the path goes through too many links")]
    LinkLoop {
        /// The path as it was given.
        path: String,
    },
    /// A layer has a file where a lower layer has a folder, or the other way round.
    #[error("/{path} is {lower} in {lower_layer} and {upper} in {upper_layer}")]
    Conflict {
        /// The path of both.
        path: String,
        /// The kind in the lower layer, with an article.
        lower: &'static str,
        /// The name of the lower layer.
        lower_layer: String,
        /// The kind in the upper layer, with an article.
        upper: &'static str,
        /// The name of the upper layer.
        upper_layer: String,
    },
    /// Two overlays have the same file.
    #[error("/{path} is in {lower_layer} and in {upper_layer}")]
    Twice {
        /// The path of the file.
        path: String,
        /// The name of the lower overlay.
        lower_layer: String,
        /// The name of the upper overlay.
        upper_layer: String,
    },
    /// A whiteout names a path that no lower layer has.
    #[error("{layer} removes /{path}, which no lower layer has")]
    RemovesNothing {
        /// The path to be removed.
        path: String,
        /// The name of the layer with the whiteout.
        layer: String,
    },
    /// A whiteout has an invalid name, or is not an empty file.
    #[error("{path}: {problem}")]
    BadWhiteout {
        /// The path of the whiteout.
        path: String,
        /// What is not valid in it.
        problem: &'static str,
    },
    /// A rule in the manifest of an overlay matches nothing in the overlay.
    #[error("{at}: {problem}")]
    BadRule {
        /// The position of the rule.
        at: Box<Location>,
        /// What the rule does not match, or why it is not valid.
        problem: String,
    },
    /// A path in a layer goes through a link of the same layer.
    #[error("{path:?}: the path goes through the link {link:?} of the same layer")]
    ThroughLink {
        /// The path as it was given.
        path: String,
        /// The path of the link.
        link: String,
    },
    /// The target of a hard link does not exist.
    #[error("/{path} is a hard link to /{target}, which is not there")]
    DanglingHardLink {
        /// The path of the hard link.
        path: String,
        /// The path of its target.
        target: String,
    },
    /// The finished tree could not be written as a tar.
    #[error("cannot write the tree: {0}")]
    Write(io::Error),
}

impl Classified for TreeError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Write(source) => Class::of_writing(source),
            Self::Damaged { .. } => Class::Io,
            Self::Tool(_) => return None,
            _ => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Conflict { path, .. } => {
                let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
                Some(format!(
                    "rename one of them, or remove the lower one with an empty file {folder}/.wh.{name}"
                ))
            }
            Self::Twice { path, upper_layer, .. } => Some(format!(
                "rename one of them, or use that of {upper_layer}: write replace = [{path:?}] in its manifest"
            )),
            Self::RemovesNothing { .. } => Some("remove the whiteout, or correct its name".into()),
            Self::BadWhiteout { .. } => {
                Some("a whiteout is an empty file named .wh.NAME, or .wh..wh..opq for all of a folder".into())
            }
            Self::ThroughLink { .. } => {
                Some("such a tar could write outside of its folder; pack it again from the real paths".into())
            }
            Self::Damaged { .. } => Some("build again: the builder then makes it again".into()),
            _ => None,
        }
    }
}
