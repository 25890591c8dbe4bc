//! The seal: the files of a node, signed by its site, readable only by the node and the admins.
//!
//! A text header ([`header`]), a binary age file (age-encryption.org/v1) with a tar of manifest and contents
//! ([`payload`]), and the four lines of a minisign signature over both. Each step returns another type, and only the
//! last one gives access to the content: [`UnverifiedSeal`] -> [`VerifiedSeal`] -> [`OpenedSeal`]. Nothing here reads a
//! device.

pub(crate) mod age_file;
pub mod header;
pub mod newest;
pub mod payload;

use crate::identity::{NodeIdentity, Recipient};
use crate::signature::{self, BadSignature, KeyId, PublicKey};
use handoff::advice::WRITE_SECRETS;
use handoff::least_generation::LeastGeneration;
use handoff::loader_config::LoaderConfig;
use handoff::manifest::{Manifest, RelativePath};
use handoff::name::Name;
use header::{BadHeader, Generation, Header};
use payload::{BadPayload, Contents};
use thiserror::Error;

/// Why a seal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// Only zeros: nothing was ever written here.
    #[error("empty: no seal was written here")]
    Empty,
    /// The header is not valid.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// The payload or the signature ends early.
    #[error("the seal is cut off: {expected} bytes before its signature, {found} are there")]
    Cut {
        /// Bytes of header and payload, according to the header.
        expected: usize,
        /// Bytes before the end of the data.
        found: usize,
    },
    /// Bytes other than zero follow the seal; holds their offset.
    #[error("there is data after the seal, at byte {0}, where only zeros are expected")]
    Trailing(usize),
    /// The signature is not valid.
    #[error("seal of site {site}, node {node}: {problem}")]
    Signature {
        /// The site that the (unproven) header names.
        site: Name,
        /// The node that the (unproven) header names.
        node: Name,
        /// Why the signature is not valid.
        problem: BadSignature,
    },
    /// Signed by a trusted key, but for another site.
    #[error("the seal is of site {found}, this system is of site {expected}")]
    OtherSite {
        /// This system's site.
        expected: Name,
        /// The seal's site.
        found: Name,
    },
    /// Genuine, but replaced by a newer seal that this system requires.
    #[error(
        "the seal of node {node} has generation {generation}, this system accepts generation {least} or later: an \
         older seal was put back"
    )]
    BelowLeast {
        /// The node of the seal.
        node: Name,
        /// The generation of the seal.
        generation: Generation,
        /// The lowest generation that the system accepts for that node.
        least: u64,
    },
    /// Made for another key than the available one.
    #[error(
        "the seal of node {node} is for the key {expected}, but the key on this stick is {found}; \
         use the stick of this node, or make its secret partition again on the workstation: {WRITE_SECRETS}"
    )]
    OtherRecipient {
        /// The node of the seal.
        node: Name,
        /// The public key that the seal is for.
        expected: Recipient,
        /// The public key of the available identity.
        found: Recipient,
    },
    /// The signed payload does not open, or its parts do not match.
    #[error("the signed content of the seal of node {node} is not valid: {problem}")]
    Payload {
        /// The node of the seal.
        node: Name,
        /// What is wrong with the payload.
        problem: BadPayload,
    },
}

/// A genuine seal that requires a newer system than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the seal needs a system of security epoch {floor} or later, this one has {own}")]
pub struct SystemTooOld {
    /// The lowest security epoch that the seal accepts.
    pub floor: u32,
    /// The security epoch of the system.
    pub own: u32,
}

/// Why a genuine seal is not used with a system.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// The system refuses the seal.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The seal refuses the system.
    #[error(transparent)]
    System(#[from] SystemTooOld),
}

/// Bytes in the form of a seal. Nothing in it can be trusted yet.
#[derive(Debug, Clone)]
pub struct UnverifiedSeal {
    header: Header,
    bytes: Vec<u8>,
    header_length: usize,
    signed_length: usize,
}

/// A seal of this site with a valid signature.
#[derive(Debug, Clone)]
pub struct VerifiedSeal {
    seal: UnverifiedSeal,
    signer: KeyId,
}

/// The files of a node: signed by its site, decrypted, every content checked against the manifest.
pub struct OpenedSeal {
    header: Header,
    signer: KeyId,
    contents: Contents,
}

impl UnverifiedSeal {
    /// Reads a seal file or a seal partition (a seal and zeros after it).
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(SealError::Empty);
        }
        let (header, header_length, payload) = Header::decode(bytes)?;
        let signed_length = header_length.saturating_add(payload);
        let rest = bytes
            .get(signed_length..)
            .ok_or(SealError::Cut { expected: signed_length, found: bytes.len() })?;
        let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index);
        let cut = SealError::Cut { expected: signed_length, found: bytes.len() };
        let last = ends.nth(3).ok_or(cut)?;
        let end = signed_length.saturating_add(last).saturating_add(1);
        let (seal, padding) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        match padding.iter().position(|&byte| byte != 0) {
            Some(offset) => Err(SealError::Trailing(end.saturating_add(offset))),
            None => Ok(Self { header, bytes: seal.to_vec(), header_length, signed_length }),
        }
    }

    /// The header. Not verified: only for messages, not for decisions.
    #[must_use]
    pub fn unproven_header(&self) -> &Header {
        &self.header
    }

    /// The id of the key that signed it, according to the signature itself. Not verified: only for messages.
    #[must_use]
    pub fn unproven_signer(&self) -> Option<KeyId> {
        let signature = std::str::from_utf8(self.bytes.get(self.signed_length..)?).ok()?;
        signature::unproven_signer(signature)
    }

    /// The seal's bytes without padding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Verifies that one of the keys in `trusted` signed it, for `site`.
    pub fn verify(self, trusted: &[PublicKey], site: &Name) -> Result<VerifiedSeal, SealError> {
        let error = |problem| SealError::Signature {
            site: self.header.site.clone(),
            node: self.header.node.clone(),
            problem,
        };
        let (content, signature) =
            self.bytes.split_at_checked(self.signed_length).unwrap_or((&self.bytes, &[]));
        let signature =
            std::str::from_utf8(signature).map_err(|_| error(BadSignature::Malformed("it is not text")))?;
        let signer = signature::verify(content, signature, trusted).map_err(error)?.id();
        if self.header.site != *site {
            return Err(SealError::OtherSite { expected: site.clone(), found: self.header.site });
        }
        Ok(VerifiedSeal { seal: self, signer })
    }
}

impl VerifiedSeal {
    /// Refuses a seal whose generation is below the floor of its node: it was replaced by a newer one.
    pub fn at_least(self, floors: &LeastGeneration) -> Result<Self, SealError> {
        let Header { node, generation, .. } = self.header();
        let least = floors.for_node(node);
        if generation.number() < least {
            return Err(SealError::BelowLeast { node: node.clone(), generation: *generation, least });
        }
        Ok(self)
    }

    /// Refuses a system of the security epoch `own` if the seal requires a later one.
    pub fn runs_on(self, own: u32) -> Result<Self, SystemTooOld> {
        let floor = self.header().security_epoch;
        if floor > own { Err(SystemTooOld { floor, own }) } else { Ok(self) }
    }

    /// Checks both floors: the system's for the generation, and the seal's for the security epoch of the system.
    pub fn accepted_by(self, system: &LoaderConfig) -> Result<Self, NotAccepted> {
        Ok(self.at_least(&system.least_generation)?.runs_on(system.security_epoch)?)
    }

    /// The verified header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.seal.header
    }

    /// The key that signed it.
    #[must_use]
    pub fn signer(&self) -> KeyId {
        self.signer
    }

    /// The seal's bytes without padding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.seal.bytes
    }

    /// The signature's trusted comment, which the signature covers: it says for whom the seal was made.
    #[must_use]
    pub fn trusted_comment(&self) -> &str {
        let signature = self.seal.bytes.get(self.seal.signed_length..).unwrap_or_default();
        let line = std::str::from_utf8(signature).ok().and_then(|text| text.lines().nth(2));
        line.and_then(|line| line.strip_prefix("trusted comment: ")).unwrap_or_default()
    }

    /// Opens it with the node's identity, which must be the one that the header names.
    pub fn open(self, identity: &NodeIdentity) -> Result<OpenedSeal, SealError> {
        // For a wrong key age only reports that no identity matched, so the keys are compared first.
        let found = identity.recipient();
        if found != self.seal.header.recipient {
            let Header { node, recipient: expected, .. } = self.seal.header;
            return Err(SealError::OtherRecipient { node, expected, found });
        }
        self.decrypt(identity)
    }

    /// Opens it with an admin's identity, to which every seal is encrypted beside the node's.
    #[cfg(feature = "issue")]
    pub fn open_as_admin(self, identity: &NodeIdentity) -> Result<OpenedSeal, SealError> {
        self.decrypt(identity)
    }

    fn decrypt(self, identity: &NodeIdentity) -> Result<OpenedSeal, SealError> {
        let Self { seal, signer } = self;
        let payload = seal.bytes.get(seal.header_length..seal.signed_length).unwrap_or_default();
        match Contents::open(payload, identity) {
            Ok(contents) => Ok(OpenedSeal { header: seal.header, signer, contents }),
            Err(problem) => Err(SealError::Payload { node: seal.header.node, problem }),
        }
    }
}

impl OpenedSeal {
    /// The verified header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The key that signed it.
    #[must_use]
    pub fn signer(&self) -> KeyId {
        self.signer
    }

    /// The manifest of the node's files.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.contents.manifest
    }

    /// The content of an entry of the manifest; every entry has one.
    #[must_use]
    pub fn content(&self, path: &RelativePath) -> Option<&[u8]> {
        self.contents.of(path)
    }
}

impl std::fmt::Debug for OpenedSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Contents are secrets; they never reach a log.
        write!(f, "OpenedSeal({} of {})", self.header.generation, self.header.node)
    }
}
