//! What this workstation knows of each node, beside the private keys and out of the site's reach: the last serial of its
//! seals, and its public key.
//!
//! Nodes refuse a seal whose serial is lower than that of the one they have. So a new seal goes above both what the kept
//! one says (where its signature holds) and what is noted here; and a kept seal far above what is noted here is refused,
//! because the highest serial of all would be the last one that the node can ever be given.

use crate::atomic::{self, AtomicError};
use crate::error::{Class, Classified};
use crate::secrets::private_file::{PrivateFileError, read_private};
use crate::secrets::trust::Accepted;
use handoff::name::Name;
use keys::identity::{BadRecipient, Recipient};
use keys::seal::header::Serial;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// What the file's name ends with, after the site's id.
const ENDING: &str = ".nodes.toml";
/// The format that this program writes and reads.
const FORMAT: u32 = 1;
/// How far a kept seal may be above the last serial known here: more seals than any workstation makes.
pub const LARGEST_STEP: u64 = 1 << 32;

/// Why it is not known what was noted.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// The file cannot be read, or is not private.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The file makes no sense.
    #[error("{path}: {problem}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The folder cannot be locked.
    #[error("cannot lock the folder {path}: {source}")]
    Lock {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for NotesError {
    fn class(&self) -> Class {
        match self {
            Self::File(error) => error.class(),
            Self::BadFile { .. } => Class::BadContent,
            Self::Lock { source, .. } => Class::of_writing(source),
            Self::Write(error) => error.class(),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::File(error) => error.advice(),
            Self::BadFile { path, .. } => Some(format!(
                "take it from a backup, or move {} away; the seals in the site are then what is known of nodes",
                path.display()
            )),
            Self::Lock { .. } => None,
            Self::Write(error) => error.advice(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    format: u32,
    // Text, because numbers of TOML end at 2^63.
    nodes: BTreeMap<String, RawNode>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNote {
    /// The last serial of its seals.
    pub serial: Option<Serial>,
    /// Its public key: made here, sealed for here, or accepted by the user.
    pub key: Option<Recipient>,
}

/// What is known of all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNotes(BTreeMap<Name, NodeNote>);

impl NodeNotes {
    /// Those that are noted beside the accepted keys of a site.
    pub fn of(accepted: &Accepted) -> Result<Self, NotesError> {
        let path = file(accepted);
        let bytes = match read_private("file of notes about nodes", &path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let bad = |problem: String| NotesError::BadFile { path: path.clone(), problem };
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not text".into()))?;
        let raw: Raw = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
        if raw.format != FORMAT {
            return Err(bad(format!("it has format {}; this program reads format {FORMAT}", raw.format)));
        }
        let mut all = BTreeMap::new();
        for (node, note) in raw.nodes {
            let name = node.parse().map_err(|problem| bad(format!("{node:?}: {problem}")))?;
            let serial = note.serial.map(|serial| serial.parse()).transpose();
            let key = note.key.map(|key| key.parse()).transpose();
            let note = NodeNote {
                serial: serial.map_err(|problem| bad(format!("{node}: {problem}")))?,
                key: key.map_err(|problem: BadRecipient| bad(format!("{node}: {problem}")))?,
            };
            all.insert(name, note);
        }
        Ok(Self(all))
    }

    /// The last serial of a node's seals that is known here.
    #[must_use]
    pub fn serial(&self, node: &Name) -> Option<Serial> {
        self.0.get(node)?.serial
    }

    /// The public key of a node that is known here.
    #[must_use]
    pub fn key(&self, node: &Name) -> Option<&Recipient> {
        self.0.get(node)?.key.as_ref()
    }

    /// Notes what is new: keys in place of older ones, serials where they are higher.
    pub fn note<'n>(
        accepted: &Accepted,
        news: impl IntoIterator<Item = (&'n Name, NodeNote)>,
    ) -> Result<Self, NotesError> {
        let folder = &accepted.folder;
        // Two copies of a site may be sealed at once.
        let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let _locked = locked.map_err(|source| NotesError::Lock { path: folder.clone(), source })?;
        let before = Self::of(accepted)?;
        let mut all = before.clone();
        for (node, new) in news {
            let known = all.0.entry(node.clone()).or_default();
            known.serial = known.serial.max(new.serial);
            known.key = new.key.or(known.key.take());
        }
        if all == before {
            return Ok(all);
        }
        let raw = |note: &NodeNote| RawNode {
            serial: note.serial.map(|serial| serial.to_string()),
            key: note.key.as_ref().map(ToString::to_string),
        };
        let nodes = all.0.iter().map(|(node, note)| (node.to_string(), raw(note))).collect();
        let body = toml::to_string(&Raw { format: FORMAT, nodes }).unwrap_or_default();
        let text = format!("# The last serial and the public key of each node. Written by psyops.\n{body}");
        atomic::write_file_with_mode(&file(accepted), text.as_bytes(), 0o600)?;
        Ok(all)
    }
}

fn file(accepted: &Accepted) -> PathBuf {
    accepted.folder.join(format!("{}{ENDING}", accepted.keys.site))
}
