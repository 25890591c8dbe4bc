//! What this workstation knows of a site's nodes, stored beside the private keys, where commits to the site cannot
//! change it: the last generation of each node's seals, its public keys, and the floors that were in use.
//!
//! Nodes refuse a seal with a lower generation than that of the one they have. So a new seal gets a generation above
//! both that of the stored seal (if its signature is valid) and the one noted here. A stored seal with a generation far
//! above the noted one is refused: with the highest generation of all, the node could never be given another seal.

use crate::atomic;
use crate::secrets::private_file::read_private;
use crate::secrets::trust::accepted::Accepted;
use crate::site::Site;
use handoff::least_generation::LeastGeneration;
use handoff::name::Name;
use keys::identity::{BadRecipient, Recipient};
use keys::seal::header::Generation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

pub use super::notes_error::NotesError;

/// The ending of the file's name, after the site's id.
const ENDING: &str = ".nodes.toml";
/// The version of the format that this program writes and reads.
const FORMAT: u32 = 1;
/// How far the generation of a stored seal may be above the last one known here: more seals than any workstation makes.
pub const LARGEST_STEP: u64 = 1 << 32;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    format: u32,
    // Missing if no floors were noted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    security_epoch: Option<u32>,
    #[serde(rename = "least-serial", default, skip_serializing_if = "is_zero")]
    least_generation: u64,
    nodes: BTreeMap<String, RawNode>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNode {
    // A text, because numbers of TOML end at 2^63. Floors are numbers, as in the site.
    #[serde(rename = "serial", skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_key: Option<String>,
    #[serde(rename = "least-serial", default, skip_serializing_if = "is_zero")]
    least_generation: u64,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// What is noted of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNote {
    /// The last generation of its seals.
    pub generation: Option<Generation>,
    /// Its public age key: made here, sealed for here, or accepted by the user.
    pub key: Option<Recipient>,
    /// The public half of its SSH host key, kind and key: made here, sealed here, or accepted by the user.
    pub host_key: Option<String>,
}

/// The floors of a site: nodes refuse seals and releases below them, see `psyops seal --raise`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    /// The lowest security epoch of releases.
    pub security_epoch: u32,
    /// The lowest generations of seals.
    pub least_generation: LeastGeneration,
}

impl Floors {
    /// The floors in the files of the site.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        Self { security_epoch: site.security_epoch, least_generation: site.floors() }
    }
}

/// The notes about all nodes of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNotes {
    nodes: BTreeMap<Name, NodeNote>,
    floors: Option<Floors>,
}

impl NodeNotes {
    /// Reads the notes beside the accepted keys of a site.
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
        Self::from_raw(raw).map_err(bad)
    }

    fn from_raw(raw: Raw) -> Result<Self, String> {
        let (mut notes, mut least_generation) = (Self::default(), LeastGeneration::default());
        least_generation.raise_all(raw.least_generation);
        for (node, note) in raw.nodes {
            let name: Name = node.parse().map_err(|problem| format!("{node:?}: {problem}"))?;
            let generation = note.generation.map(|generation| generation.parse()).transpose();
            let key = note.key.map(|key| key.parse()).transpose();
            let generation = generation.map_err(|problem| format!("{node}: {problem}"))?;
            let key = key.map_err(|problem: BadRecipient| format!("{node}: {problem}"))?;
            if note.least_generation > 0 {
                least_generation.raise(name.clone(), note.least_generation);
            }
            notes.nodes.insert(name, NodeNote { generation, key, host_key: note.host_key });
        }
        notes.floors = raw.security_epoch.map(|security_epoch| Floors { security_epoch, least_generation });
        Ok(notes)
    }

    fn to_text(&self) -> Result<String, toml::ser::Error> {
        let none = LeastGeneration::default();
        let floors = self.floors.as_ref().map_or(&none, |floors| &floors.least_generation);
        let raw = |(node, note): (&Name, &NodeNote)| {
            let raw = RawNode {
                generation: note.generation.map(|generation| generation.to_string()),
                key: note.key.as_ref().map(ToString::to_string),
                host_key: note.host_key.clone(),
                least_generation: floors.own_of(node),
            };
            (node.to_string(), raw)
        };
        let raw = Raw {
            format: FORMAT,
            security_epoch: self.floors.as_ref().map(|floors| floors.security_epoch),
            least_generation: floors.for_all(),
            nodes: self.nodes.iter().map(raw).collect(),
        };
        let heading = "# What is known here of the site's nodes: last generations, public keys, floors. Written by psyops.";
        Ok(format!("{heading}\n{}", toml::to_string(&raw)?))
    }

    /// The last generation of a node's seals that is known here.
    #[must_use]
    pub fn generation(&self, node: &Name) -> Option<Generation> {
        self.nodes.get(node)?.generation
    }

    /// The public age key of a node that is known here.
    #[must_use]
    pub fn key(&self, node: &Name) -> Option<&Recipient> {
        self.nodes.get(node)?.key.as_ref()
    }

    /// The SSH host key of a node that is known here: kind and key.
    #[must_use]
    pub fn host_key(&self, node: &Name) -> Option<&str> {
        self.nodes.get(node)?.host_key.as_deref()
    }

    /// The highest floors that were in use here; `None` if none were noted yet.
    #[must_use]
    pub fn floors(&self) -> Option<&Floors> {
        self.floors.as_ref()
    }

    /// Adds new notes: keys replace older ones, generations and floors are noted if they are higher.
    pub fn note<'n>(
        accepted: &Accepted,
        floors: Option<&Floors>,
        news: impl IntoIterator<Item = (&'n Name, NodeNote)>,
    ) -> Result<Self, NotesError> {
        Self::change(accepted, |notes| {
            news.into_iter().for_each(|(node, new)| notes.add(node, new));
            if let Some(floors) = floors {
                notes.raise(floors);
            }
        })
    }

    /// Adds what is known of a node, in memory: keys replace older ones, a generation counts if it is higher.
    pub(super) fn add(&mut self, node: &Name, new: NodeNote) {
        let known = self.nodes.entry(node.clone()).or_default();
        known.generation = known.generation.max(new.generation);
        known.key = new.key.or(known.key.take());
        known.host_key = new.host_key.or(known.host_key.take());
    }

    /// Notes these floors even if they are lower, because the user accepted them.
    pub fn replace_floors(accepted: &Accepted, floors: Floors) -> Result<Self, NotesError> {
        Self::change(accepted, |notes| {
            // The floor of a node is in the table of that node.
            for (node, _) in floors.least_generation.nodes() {
                notes.nodes.entry(node.clone()).or_default();
            }
            notes.floors = Some(floors);
        })
    }

    fn raise(&mut self, floors: &Floors) {
        let known = self.floors.get_or_insert_default();
        known.security_epoch = known.security_epoch.max(floors.security_epoch);
        known.least_generation.raise_all(floors.least_generation.for_all());
        for (node, generation) in floors.least_generation.nodes() {
            self.nodes.entry(node.clone()).or_default();
            known.least_generation.raise(node.clone(), generation);
        }
    }

    fn change(accepted: &Accepted, how: impl FnOnce(&mut Self)) -> Result<Self, NotesError> {
        let folder = &accepted.folder;
        // Two copies of a site may be sealed at the same time.
        let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let _locked = locked.map_err(|source| NotesError::Lock { path: folder.clone(), source })?;
        let before = Self::of(accepted)?;
        let mut notes = before.clone();
        how(&mut notes);
        if notes != before {
            let path = file(accepted);
            let text = notes.to_text();
            let text =
                text.map_err(|error| NotesError::BadFile { path: path.clone(), problem: error.to_string() })?;
            atomic::write_file_with_mode(&path, text.as_bytes(), 0o600)?;
        }
        Ok(notes)
    }
}

fn file(accepted: &Accepted) -> PathBuf {
    accepted.folder.join(format!("{}{ENDING}", accepted.keys.site))
}
