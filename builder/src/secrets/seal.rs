//! The current seal of a node: kept in the site, made anew only when something in it changed.
//!
//! Encryption is random, so sealing the same content twice gives different bytes. The kept seal is what makes images
//! equal from build to build, and a new serial means that there really is something new.

use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use crate::secrets::compose::{ComposeError, compose};
use crate::secrets::credentials::{CredentialError, Credentials, admin_recipients, trusted_keys};
use crate::secrets::node_keys::{self, NodeKeyError};
use crate::site::{Node, Site};
use handoff::manifest::Manifest;
use keys::identity::Recipient;
use keys::issue::seal_builder::{BuildError, SealBuilder, comment};
use keys::seal::header::{Header, Serial};
use keys::seal::payload::BadPayload;
use keys::seal::{OpenedSeal, SealError, UnverifiedSeal};
use keys::signature::{BadSignature, PublicKey};
use keys::timestamp::Timestamp;
use std::io;
use std::path::PathBuf;

/// Why a node has no current seal.
#[derive(Debug, thiserror::Error)]
pub enum CurrentSealError {
    /// What the node must have is not known.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The site's keys make no sense.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The node's public key is unknown.
    #[error(transparent)]
    Keys(#[from] NodeKeyError),
    /// The kept seal cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kept seal is damaged.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: SealError,
    },
    /// There is no higher serial.
    #[error("{path} has the highest serial there is")]
    LastSerial {
        /// The file.
        path: PathBuf,
    },
    /// A new seal could not be made.
    #[error("the seal of node {node}: {problem}")]
    Build {
        /// The node.
        node: String,
        /// Why.
        problem: BuildError,
    },
    /// A new seal could not be kept.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for CurrentSealError {
    fn class(&self) -> Class {
        match self {
            Self::Compose(error) => error.class(),
            Self::Credentials(error) => error.class(),
            Self::Keys(error) => error.class(),
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Damaged { .. } | Self::LastSerial { .. } | Self::Build { .. } => Class::BadContent,
            Self::Write(error) => error.class(),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Compose(error) => error.advice(),
            Self::Credentials(error) => error.advice(),
            Self::Keys(error) => error.advice(),
            Self::Write(error) => error.advice(),
            // A new one would begin at serial 1 again, which nodes that saw a higher one do not take.
            Self::Damaged { .. } => {
                Some("take it from the site's history; its serial must not be lost".into())
            }
            _ => None,
        }
    }
}

/// The seal that a node's image gets.
#[derive(Debug)]
pub struct NodeSeal {
    /// Where it is kept.
    pub path: PathBuf,
    /// The seal, without padding.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub opened: OpenedSeal,
    /// Why it was made anew just now; empty where the kept one is current.
    pub reasons: Vec<String>,
}

/// Gives the node's seal; makes and keeps a new one if something in it changed.
pub fn current_seal(
    site: &Site,
    node: &Node,
    credentials: &Credentials,
) -> Result<NodeSeal, CurrentSealError> {
    let wanted = Wanted {
        builder: compose(site, node, credentials)?,
        recipient: node_keys::recipient(site, &node.name)?,
        admins: admin_recipients(site)?,
        site,
        node,
        credentials,
    };
    let path = site.seal_file(&node.name);
    let (serial, reasons) = match site.folder.read(Site::seal_name(&node.name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (Some(Serial::FIRST), vec!["there was none".to_owned()])
        }
        Err(source) => return Err(CurrentSealError::Read { path, source }),
        Ok(bytes) => match wanted.judge(&bytes, &trusted_keys(site)?) {
            Ok(Judgement::Current(opened)) => {
                return Ok(NodeSeal { path, bytes, opened: *opened, reasons: Vec::new() });
            }
            Ok(Judgement::Stale { serial, reasons }) => (serial.next(), reasons),
            Err(JudgeError::Damaged(problem)) => return Err(CurrentSealError::Damaged { path, problem }),
            Err(JudgeError::Build(problem)) => return Err(wanted.failed(problem)),
        },
    };
    let Some(serial) = serial else {
        return Err(CurrentSealError::LastSerial { path });
    };
    let serial = Serial::new(wanted.least()).map_or(serial, |least| serial.max(least));
    let (bytes, opened) = wanted.build(serial).map_err(|problem| wanted.failed(problem))?;
    site.folder.write(Site::seal_name(&node.name), &bytes, 0o644)?;
    Ok(NodeSeal { path, bytes, opened, reasons })
}

/// What the seal should be.
struct Wanted<'s> {
    builder: SealBuilder,
    recipient: Recipient,
    admins: Vec<Recipient>,
    site: &'s Site,
    node: &'s Node,
    credentials: &'s Credentials,
}

/// What was found out about the kept seal.
enum Judgement {
    Current(Box<OpenedSeal>),
    Stale { serial: Serial, reasons: Vec<String> },
}

enum JudgeError {
    Damaged(SealError),
    Build(BuildError),
}

impl Wanted<'_> {
    fn header(&self, serial: Serial) -> Header {
        Header {
            site: self.site.id.clone(),
            node: self.node.name.clone(),
            recipient: self.recipient.clone(),
            serial,
            // The site's time and not the clock's: whoever makes this seal from this site makes it with this time.
            created: Timestamp::from_unix(self.site.build_time),
            release_floor: self.site.security_epoch,
        }
    }

    /// The lowest serial that this release accepts from the node; 0 where that is any.
    fn least(&self) -> u64 {
        self.site.floors().for_node(&self.node.name)
    }

    fn failed(&self, problem: BuildError) -> CurrentSealError {
        CurrentSealError::Build { node: self.node.name.to_string(), problem }
    }

    fn build(&self, serial: Serial) -> Result<(Vec<u8>, OpenedSeal), BuildError> {
        let bytes = self.builder.build(&self.header(serial), &self.admins, &self.credentials.signing)?;
        let trusted = [self.credentials.signing.public().clone()];
        let opened = UnverifiedSeal::parse(&bytes)?
            .verify(&trusted, &self.site.id)?
            .open_as_admin(&self.credentials.identity)?;
        Ok((bytes, opened))
    }

    fn judge(&self, bytes: &[u8], trusted: &[PublicKey]) -> Result<Judgement, JudgeError> {
        let seal = UnverifiedSeal::parse(bytes).map_err(JudgeError::Damaged)?;
        let unproven = seal.unproven_header().clone();
        let stale =
            |reason: &str| Ok(Judgement::Stale { serial: unproven.serial, reasons: vec![reason.to_owned()] });
        let seal = match seal.verify(trusted, &self.site.id) {
            Ok(seal) => seal,
            // Signed by a key that the site has given up: nothing in it is believed but that serials go on from there.
            Err(SealError::Signature { problem: BadSignature::UntrustedKey { .. }, .. }) => {
                return stale("it was signed by a key that is no longer the site's");
            }
            Err(SealError::OtherSite { .. }) => return stale("the site has another id"),
            Err(problem) => return Err(JudgeError::Damaged(problem)),
        };
        let mut reasons = Vec::new();
        let header = seal.header().clone();
        let mut note = |changed: bool, reason: &str| {
            if changed {
                reasons.push(reason.to_owned());
            }
        };
        note(seal.signer() != self.credentials.signing.public().id(), "the signing key changed");
        let wanted = self.header(header.serial);
        note(header.node != wanted.node, "it was made for a node of another name");
        note(header.recipient != wanted.recipient, "the node's key changed");
        note(header.release_floor != wanted.release_floor, "the release floor changed");
        note(
            header.serial.number() < self.least(),
            &format!("its serial {} is below least-serial {}", header.serial, self.least()),
        );
        note(
            header.recipient == wanted.recipient && seal.trusted_comment() != comment(&wanted, &self.admins),
            "the admins changed",
        );
        let manifest = self.builder.manifest().map_err(JudgeError::Build)?;
        match seal.open_as_admin(&self.credentials.identity) {
            Ok(opened) => {
                reasons.extend(changes(opened.manifest(), &manifest));
                if reasons.is_empty() {
                    return Ok(Judgement::Current(Box::new(opened)));
                }
            }
            Err(SealError::Payload { problem: BadPayload::NotForThisKey, .. }) => {
                if reasons.is_empty() {
                    reasons.push("it was not made for this admin".to_owned());
                }
            }
            Err(problem) => return Err(JudgeError::Damaged(problem)),
        }
        Ok(Judgement::Stale { serial: header.serial, reasons })
    }
}

/// In what a manifest differs from an older one, a line a thing.
fn changes(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in &new.entries {
        match old.entries.iter().find(|known| known.path == entry.path) {
            None => lines.push(format!("{} is new", entry.path)),
            Some(known) if known.digest != entry.digest => lines.push(format!("{} changed", entry.path)),
            Some(known) if known != entry => lines.push(format!("{} is to lie otherwise", entry.path)),
            Some(_) => {}
        }
    }
    let gone = old.entries.iter().filter(|known| new.entries.iter().all(|entry| entry.path != known.path));
    lines.extend(gone.map(|known| format!("{} is gone", known.path)));
    if old.policy != new.policy || old.remove_unknown != new.remove_unknown {
        lines.push("the answers to faults changed".to_owned());
    }
    lines
}
