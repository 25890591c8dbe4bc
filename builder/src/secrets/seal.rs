//! The current seal of a node: stored in the site, and made again only when its content changed.
//!
//! The generation of a new seal is one above the highest known one: that of the stored seal, if its signature is valid,
//! or the last one that this workstation noted.
//!
//! Encryption is random, so sealing the same content twice gives different bytes. The stored seal makes images equal
//! from build to build, and a new generation means that the content really changed.

use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use crate::next_command::psyops;
use crate::secrets::compose::{ComposeError, compose};
use crate::secrets::credentials::{CredentialError, Credentials, admin_recipients, trusted_keys};
use crate::secrets::key_guard::KeyGuard;
use crate::secrets::node_keys::{self, NodeKeyError};
use crate::secrets::node_notes::{LARGEST_STEP, NotesError};
use crate::secrets::stored_seal;
use crate::secrets::trust::SiteAndKeys;
use crate::site::{Node, Site};
use handoff::manifest::Manifest;
use handoff::name::Name;
use keys::identity::Recipient;
use keys::issue::host_key::HostKey;
use keys::issue::seal_builder::{BuildError, SealBuilder, comment};
use keys::seal::header::{Generation, Header};
use keys::seal::payload::BadPayload;
use keys::seal::{OpenedSeal, SealError, UnverifiedSeal};
use keys::timestamp::Timestamp;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::secrets::stored_seal::UntrustedSeal;

/// Why a node has no current seal.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum CurrentSealError {
    /// The entries of the seal could not be collected.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The keys of the site are not valid or not accepted.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The node's public key is missing or not valid.
    #[error(transparent)]
    Keys(#[from] NodeKeyError),
    /// The stored seal could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the seal.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The stored seal is damaged, or not signed by an accepted key. Nothing in it is used, not even its generation.
    #[error("{path} is not a valid seal of node {node}: {problem}")]
    NotVerified {
        /// The path of the seal.
        path: PathBuf,
        /// The name of the node.
        node: Name,
        /// Why the seal is not valid.
        problem: Box<SealError>,
    },
    /// The stored seal is signed, but its generation cannot come from making seals one after another.
    #[error("{path} has the generation {found}, far from the last one of node {node} that this workstation knows: {}", known(*last))]
    GenerationJump {
        /// The path of the seal.
        path: PathBuf,
        /// The name of the node.
        node: Name,
        /// The generation of the seal.
        found: Generation,
        /// The last generation that is known here.
        last: Option<Generation>,
    },
    /// The generation after `--above` cannot come from making seals one after another.
    #[error("--above {above} is far above the last generation of node {node} that this workstation knows: {}", known(*last))]
    AboveJump {
        /// The name of the node.
        node: Name,
        /// The generation that the user gave.
        above: Generation,
        /// The last generation that is known here.
        last: Option<Generation>,
    },
    /// A seal would be replaced, but no generation of the node is known.
    #[error(
        "this workstation knows no generation of node {node}, so the node could refuse a new seal as too old"
    )]
    NoGenerationKnown {
        /// The name of the node.
        node: Name,
    },
    /// The notes of this workstation could not be read or written.
    #[error(transparent)]
    Notes(#[from] NotesError),
    /// The last generation is the highest possible one.
    #[error("the generation {last} of node {node} is the highest possible one")]
    LastGeneration {
        /// The name of the node.
        node: Name,
        /// The last generation, which is the highest possible one.
        last: Generation,
    },
    /// A new seal could not be made.
    #[error("the seal of node {node}: {problem}")]
    Build {
        /// The name of the node.
        node: String,
        /// Why the seal could not be made.
        problem: BuildError,
    },
}

impl Classified for CurrentSealError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::GenerationJump { .. } | Self::AboveJump { .. } => Class::Refused,
            Self::NoGenerationKnown { .. } => Class::MissingInput,
            Self::NotVerified { .. } | Self::LastGeneration { .. } | Self::Build { .. } => Class::BadContent,
            Self::Compose(_) | Self::Credentials(_) | Self::Keys(_) | Self::Notes(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NotVerified { node, .. } | Self::GenerationJump { node, .. } => Some(format!(
                "restore the seal from the site's history (git log seals/{node}.seal), or make one above the last known generation: {}",
                psyops(&format!("seal --node {node} --replace"))
            )),
            Self::AboveJump { .. } => Some(
                "no seal of the site had that generation: find out who wrote to the stick, then remove /data/psyops/highest-seen on the node"
                    .into(),
            ),
            Self::NoGenerationKnown { node } => Some(format!(
                "psyops inspect shows the generation on the node's stick; with that number in place of GENERATION: {}",
                psyops(&format!("seal --node {node} --replace --above GENERATION"))
            )),
            _ => None,
        }
    }
}

fn known(generation: Option<Generation>) -> String {
    generation.map_or_else(|| "none".to_owned(), |generation| generation.to_string())
}

/// The user's options for a seal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SealRequest {
    /// What to do with a stored seal that is not valid.
    pub untrusted: UntrustedSeal,
    /// A generation that the node has seen, according to the user: a seal with this generation or a lower one is
    /// replaced.
    pub above: Option<Generation>,
}

/// The seal for a node's image.
#[derive(Debug)]
pub struct NodeSeal {
    /// Where the seal is stored in the site.
    pub path: PathBuf,
    /// The bytes of the seal, without padding.
    pub bytes: Vec<u8>,
    /// The decrypted content of the seal.
    pub opened: OpenedSeal,
    /// Why it was made by this command; empty if the stored one was current.
    pub reasons: Vec<String>,
}

/// Returns the node's seal; makes a new one, which is not stored yet, if its content changed. `last` is the last generation of
/// the node that this workstation noted.
pub fn current_seal(
    site: &SiteAndKeys,
    node: &Node,
    credentials: &Credentials,
    host_key: &HostKey,
    guard: &KeyGuard,
    last: Option<Generation>,
    request: SealRequest,
) -> Result<NodeSeal, CurrentSealError> {
    let SealRequest { untrusted, above } = request;
    if let Some(above) = above.filter(|above| is_jump(*above, last)) {
        return Err(CurrentSealError::AboveJump { node: node.name.clone(), above, last });
    }
    let wanted = Wanted {
        builder: compose(site, node, credentials, host_key, guard)?,
        recipient: node_keys::recipient(site, &node.name)?,
        admins: admin_recipients(site)?,
        site,
        node,
        credentials,
    };
    let path = site.seal_file(&node.name);
    let (generation, reasons) = match wanted.stored(&path, last, untrusted)? {
        Stored::Valid(bytes, SealState::Current(opened)) => {
            let generation = opened.header().generation;
            let Some(above) = above.filter(|above| generation <= *above) else {
                return Ok(NodeSeal { path, bytes, opened: *opened, reasons: Vec::new() });
            };
            (Some(generation), vec![format!("its generation {generation} is not above {above}")])
        }
        Stored::Valid(_, SealState::Stale { generation, reasons }) => (Some(generation), reasons),
        Stored::Missing => (None, vec!["there was none".to_owned()]),
        Stored::Untrusted if last.is_none() && above.is_none() => {
            return Err(CurrentSealError::NoGenerationKnown { node: node.name.clone() });
        }
        Stored::Untrusted => (None, vec!["the stored one was not valid".to_owned()]),
    };
    let generation = wanted.generation_after(last.max(generation).max(above))?;
    let (bytes, opened) = wanted.build(generation).map_err(|problem| wanted.failed(problem))?;
    Ok(NodeSeal { path, bytes, opened, reasons })
}

impl NodeSeal {
    /// Stores the seal in the site, if it is a new one.
    pub(super) fn write(&self, site: &Site, node: &Name) -> Result<(), AtomicError> {
        if self.reasons.is_empty() {
            return Ok(());
        }
        site.folder.write(Site::seal_name(node), &self.bytes, 0o644)
    }
}

/// Refuses a generation that cannot come from making seals one after another, even if the seal is signed.
pub(super) fn refuse_jump(
    path: &Path,
    node: &Name,
    found: Generation,
    last: Option<Generation>,
) -> Result<(), CurrentSealError> {
    if is_jump(found, last) {
        let (path, node) = (path.to_owned(), node.clone());
        return Err(CurrentSealError::GenerationJump { path, node, found, last });
    }
    Ok(())
}

fn is_jump(found: Generation, last: Option<Generation>) -> bool {
    found.number() > last.map_or(0, Generation::number).saturating_add(LARGEST_STEP)
}

/// The content that the seal should have.
struct Wanted<'s> {
    builder: SealBuilder,
    recipient: Recipient,
    admins: Vec<Recipient>,
    site: &'s SiteAndKeys,
    node: &'s Node,
    credentials: &'s Credentials,
}

/// The stored seal, compared with the wanted one.
enum Stored {
    /// The seal is valid.
    Valid(Vec<u8>, SealState),
    /// No seal is stored.
    Missing,
    /// The seal is not valid, and the user wants it replaced.
    Untrusted,
}

/// The state of a valid seal.
enum SealState {
    /// The seal has the wanted content.
    Current(Box<OpenedSeal>),
    /// The content of the seal changed.
    Stale { generation: Generation, reasons: Vec<String> },
}

enum CheckError {
    NotVerified(SealError),
    Credentials(CredentialError),
    Build(BuildError),
}

impl Wanted<'_> {
    fn header(&self, generation: Generation) -> Header {
        Header {
            site: self.site.id.clone(),
            node: self.node.name.clone(),
            recipient: self.recipient.clone(),
            generation,
            // The site's build time and not the clock: the seal has this time, whoever makes it from this site.
            created: Timestamp::from_unix(self.site.build_time),
            security_epoch: self.site.security_epoch,
        }
    }

    /// The lowest generation that this release accepts from the node; 0 if it accepts any.
    fn least(&self) -> u64 {
        self.site.floors().for_node(&self.node.name)
    }

    fn failed(&self, problem: BuildError) -> CurrentSealError {
        CurrentSealError::Build { node: self.node.name.to_string(), problem }
    }

    fn build(&self, generation: Generation) -> Result<(Vec<u8>, OpenedSeal), BuildError> {
        let bytes = self.builder.build(&self.header(generation), &self.admins, &self.credentials.signing)?;
        let trusted = [self.credentials.signing.public().clone()];
        let opened = UnverifiedSeal::parse(&bytes)?
            .verify(&trusted, &self.site.id)?
            .open_as_admin(&self.credentials.identity)?;
        Ok((bytes, opened))
    }

    fn stored(
        &self,
        path: &Path,
        last: Option<Generation>,
        untrusted: UntrustedSeal,
    ) -> Result<Stored, CurrentSealError> {
        let bytes = stored_seal::read(self.site, &self.node.name);
        let bytes = bytes.map_err(|source| CurrentSealError::Read { path: path.to_owned(), source })?;
        let Some(bytes) = bytes else { return Ok(Stored::Missing) };
        match self.check_stored(path, &bytes, last) {
            Ok(state) => Ok(Stored::Valid(bytes, state)),
            Err(CurrentSealError::NotVerified { .. } | CurrentSealError::GenerationJump { .. })
                if untrusted == UntrustedSeal::Replace =>
            {
                Ok(Stored::Untrusted)
            }
            Err(error) => Err(error),
        }
    }

    /// The generation of a new seal: above the `highest` known one, and not below the site's floor.
    fn generation_after(&self, highest: Option<Generation>) -> Result<Generation, CurrentSealError> {
        let node = || self.node.name.clone();
        let next = match highest {
            None => Generation::FIRST,
            Some(last) => {
                last.next().ok_or_else(|| CurrentSealError::LastGeneration { node: node(), last })?
            }
        };
        // `trust::floors` checked that the floor itself is not too high.
        Ok(Generation::new(self.least()).map_or(next, |least| next.max(least)))
    }

    /// The state of the stored seal, if it is valid.
    fn check_stored(
        &self,
        path: &Path,
        bytes: &[u8],
        last: Option<Generation>,
    ) -> Result<SealState, CurrentSealError> {
        let node = self.node.name.clone();
        let state = match self.check(bytes) {
            Ok(state) => state,
            Err(CheckError::Credentials(error)) => return Err(error.into()),
            Err(CheckError::Build(problem)) => return Err(self.failed(problem)),
            Err(CheckError::NotVerified(problem)) => {
                let (path, problem) = (path.to_owned(), Box::new(problem));
                return Err(CurrentSealError::NotVerified { path, node, problem });
            }
        };
        let found = match &state {
            SealState::Current(opened) => opened.header().generation,
            SealState::Stale { generation, .. } => *generation,
        };
        refuse_jump(path, &node, found, last)?;
        Ok(state)
    }

    fn check(&self, bytes: &[u8]) -> Result<SealState, CheckError> {
        let unverified = UnverifiedSeal::parse(bytes).map_err(CheckError::NotVerified)?;
        let trusted = trusted_keys(self.site).map_err(CheckError::Credentials)?;
        let seal = match unverified.clone().verify(&trusted, &self.site.id) {
            Ok(seal) => seal,
            Err(SealError::OtherSite { found, expected }) => {
                // A seal of the site under its former id: verified for that id.
                let seal = unverified.verify(&trusted, &found).map_err(CheckError::NotVerified)?;
                let reason = format!("the site's id is {expected}, it was {found}");
                return Ok(SealState::Stale { generation: seal.header().generation, reasons: vec![reason] });
            }
            Err(problem) => {
                // A seal by a former key of the site: only its generation is used, so that generations go on from
                // there.
                let former = self.site.accepted().map_or(&[][..], |accepted| &accepted.former_signers);
                let seal =
                    unverified.verify(former, &self.site.id).map_err(|_| CheckError::NotVerified(problem))?;
                let reason = "the site no longer has the key that signed it".to_owned();
                return Ok(SealState::Stale { generation: seal.header().generation, reasons: vec![reason] });
            }
        };
        let mut reasons = Vec::new();
        let header = seal.header().clone();
        let mut note = |changed: bool, reason: &str| {
            if changed {
                reasons.push(reason.to_owned());
            }
        };
        note(seal.signer() != self.credentials.signing.public().id(), "the signing key changed");
        let wanted = self.header(header.generation);
        note(header.node != wanted.node, "it was made for a node with another name");
        note(header.recipient != wanted.recipient, "the node's key changed");
        note(header.security_epoch != wanted.security_epoch, "the security epoch changed");
        note(
            header.generation.number() < self.least(),
            &format!("its generation {} is below least-serial {}", header.generation, self.least()),
        );
        note(
            header.recipient == wanted.recipient && seal.trusted_comment() != comment(&wanted, &self.admins),
            "the admins changed",
        );
        let manifest = self.builder.manifest().map_err(CheckError::Build)?;
        match seal.open_as_admin(&self.credentials.identity) {
            Ok(opened) => {
                reasons.extend(changes(opened.manifest(), &manifest));
                if reasons.is_empty() {
                    return Ok(SealState::Current(Box::new(opened)));
                }
            }
            Err(SealError::Payload { problem: BadPayload::NotForThisKey, .. }) => {
                if reasons.is_empty() {
                    reasons.push("it is not encrypted to this admin".to_owned());
                }
            }
            Err(problem) => return Err(CheckError::NotVerified(problem)),
        }
        Ok(SealState::Stale { generation: header.generation, reasons })
    }
}

/// How a manifest differs from an older one, a line for each difference.
fn changes(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in &new.entries {
        match old.entries.iter().find(|known| known.path == entry.path) {
            None => lines.push(format!("{} is new", entry.path)),
            Some(known) if known.digest != entry.digest => lines.push(format!("{} changed", entry.path)),
            Some(known) if known != entry => {
                lines.push(format!("{} has other settings (mode, owner, store or install)", entry.path));
            }
            Some(_) => {}
        }
    }
    let gone = old.entries.iter().filter(|known| new.entries.iter().all(|entry| entry.path != known.path));
    lines.extend(gone.map(|known| format!("{} is gone", known.path)));
    if old.policy != new.policy || old.remove_unknown != new.remove_unknown {
        lines.push("the actions for faults changed".to_owned());
    }
    lines
}
