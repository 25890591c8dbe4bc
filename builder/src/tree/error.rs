//! What can go wrong while layers are put together.

use crate::error::{Class, Classified, chain};
use crate::limits::OverLimit;
use crate::site::Location;
use crate::tools::ToolError;
use std::io;
use std::path::PathBuf;

/// Why layers do not make a tree.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum TreeError {
    /// A layer cannot be read.
    #[error("cannot read {path}: {}", chain(.source))]
    Read {
        /// The tar, file or folder.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// A tar of the store is not what was put there.
    #[error("{path} was damaged in the store, and is removed from it")]
    Damaged {
        /// The tar.
        path: PathBuf,
    },
    /// A tool of this machine.
    #[error(transparent)]
    Tool(ToolError),
    /// A tar with an entry that makes no sense here.
    #[error("{path}: entry {entry:?}: {problem}")]
    BadTar {
        /// The tar.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A tar with more than a root takes.
    #[error("{path}: {over}")]
    Limit {
        /// The tar.
        path: PathBuf,
        /// The limit, and the number that was found.
        over: OverLimit,
    },
    /// A file in a folder that is neither file, folder nor link, or has a name that is not UTF-8.
    #[error("{path}: {problem}")]
    NotLayable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A path that leads outside.
    #[error("{path:?} is no path inside a tree")]
    BadPath {
        /// The path.
        path: String,
    },
    /// Links that lead back to themselves.
    #[error("{path:?}: too many links on the way")]
    LinkLoop {
        /// The path.
        path: String,
    },
    /// A file where a lower layer has a folder, or the other way round.
    #[error("/{path} is {lower} in {lower_layer} and {upper} in {upper_layer}")]
    Conflict {
        /// The path.
        path: String,
        /// What the lower layer has.
        lower: &'static str,
        /// Which layer that is.
        lower_layer: String,
        /// What the upper layer has.
        upper: &'static str,
        /// Which layer that is.
        upper_layer: String,
    },
    /// Two overlays with the same file.
    #[error("/{path} is in {lower_layer} and in {upper_layer}")]
    Twice {
        /// The path.
        path: String,
        /// The overlay below.
        lower_layer: String,
        /// The overlay above.
        upper_layer: String,
    },
    /// A whiteout of something that no lower layer has.
    #[error("{layer} removes /{path}, which no layer below it has")]
    RemovesNothing {
        /// The path.
        path: String,
        /// The layer with the whiteout.
        layer: String,
    },
    /// A whiteout that names nothing that could be removed, or that is more than a name.
    #[error("{path}: {problem}")]
    BadWhiteout {
        /// The whiteout.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A manifest beside an overlay asks for something that the overlay does not have.
    #[error("{at}: {problem}")]
    BadRule {
        /// Where.
        at: Box<Location>,
        /// What is wrong with it.
        problem: String,
    },
    /// A path of a layer that leads through a link of the same layer.
    #[error("{path:?}: the link {link:?} on the way is of the same layer")]
    ThroughLink {
        /// The path.
        path: String,
        /// The link.
        link: String,
    },
    /// A hard link to nothing.
    #[error("/{path} is a hard link to /{target}, which is not there")]
    DanglingHardLink {
        /// The link.
        path: String,
        /// What it should be another name of.
        target: String,
    },
    /// The finished tree cannot be written.
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
                "rename one of them, or let {upper_layer} have it: replace = [{path:?}] in the manifest beside it"
            )),
            Self::RemovesNothing { .. } => Some("take the whiteout away, or correct its name".into()),
            Self::BadWhiteout { .. } => {
                Some("a whiteout is an empty file named .wh.NAME, or .wh..wh..opq for all of a folder".into())
            }
            Self::ThroughLink { .. } => {
                Some("such a tar could be made to write anywhere; pack it anew from the real paths".into())
            }
            Self::Damaged { .. } => Some("build again: it is made anew".into()),
            _ => None,
        }
    }
}
