//! The last serial of each node's seals, as this workstation knows it: beside the private keys, out of the site's reach.
//!
//! Nodes refuse a seal whose serial is lower than that of the one they have. So a new seal goes above both what the kept
//! one says (where its signature holds) and what is noted here; and a kept seal far above what is noted here is refused,
//! because the highest serial of all would be the last one that the node can ever be given.

use crate::atomic::{self, AtomicError};
use crate::error::{Class, Classified};
use crate::secrets::private_file::{PrivateFileError, read_private};
use crate::secrets::trust::Accepted;
use handoff::name::Name;
use keys::seal::header::Serial;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// What the file's name ends with, after the site's id.
const ENDING: &str = ".serials.toml";
/// The format that this program writes and reads.
const FORMAT: u32 = 1;
/// How far a kept seal may be above the last serial known here: more seals than any workstation makes.
pub const LARGEST_STEP: u64 = 1 << 32;

/// Why the last serials are not known.
#[derive(Debug, thiserror::Error)]
pub enum SerialsError {
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

impl Classified for SerialsError {
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
                "take it from a backup, or move {} away; the serials of the seals in the site are then what is known",
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
    nodes: BTreeMap<String, String>,
}

/// The last serials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serials(BTreeMap<Name, Serial>);

impl Serials {
    /// Those that are noted beside the accepted keys of a site.
    pub fn of(accepted: &Accepted) -> Result<Self, SerialsError> {
        let path = file(accepted);
        let bytes = match read_private("file of serials", &path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let bad = |problem: String| SerialsError::BadFile { path: path.clone(), problem };
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not text".into()))?;
        let raw: Raw = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
        if raw.format != FORMAT {
            return Err(bad(format!("it has format {}; this program reads format {FORMAT}", raw.format)));
        }
        let mut all = BTreeMap::new();
        for (node, serial) in raw.nodes {
            let name = node.parse().map_err(|problem| bad(format!("{node:?}: {problem}")))?;
            all.insert(name, serial.parse().map_err(|problem| bad(format!("{node}: {problem}")))?);
        }
        Ok(Self(all))
    }

    /// The last serial of a node's seals that is known here.
    #[must_use]
    pub fn last(&self, node: &Name) -> Option<Serial> {
        self.0.get(node).copied()
    }

    /// Notes these serials, where they are higher than those that are known.
    pub fn note<'n>(
        accepted: &Accepted,
        seals: impl IntoIterator<Item = (&'n Name, Serial)>,
    ) -> Result<(), SerialsError> {
        let folder = &accepted.folder;
        // Two copies of a site may be sealed at once.
        let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let _locked = locked.map_err(|source| SerialsError::Lock { path: folder.clone(), source })?;
        let before = Self::of(accepted)?;
        let mut all = before.clone();
        for (node, serial) in seals {
            let known = all.0.entry(node.clone()).or_insert(serial);
            *known = serial.max(*known);
        }
        if all == before {
            return Ok(());
        }
        let nodes = all.0.iter().map(|(node, serial)| (node.to_string(), serial.to_string())).collect();
        let body = toml::to_string(&Raw { format: FORMAT, nodes }).unwrap_or_default();
        let text = format!("# The last serial of each node's seals. Written by psyops.\n{body}");
        Ok(atomic::write_file_with_mode(&file(accepted), text.as_bytes(), 0o600)?)
    }
}

fn file(accepted: &Accepted) -> PathBuf {
    accepted.folder.join(format!("{}{ENDING}", accepted.keys.site))
}
