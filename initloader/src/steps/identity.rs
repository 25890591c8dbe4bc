//! Step `identity`: the node's age key opens the seal. The loader cannot restore this file, so it only reads it.

use crate::boot::Boot;
use crate::failure::{FailureKind, StepError};
use crate::steps::secret::SecretStore;
use handoff::advice::{WRITE_SECRETS, WRITE_STICK};
use handoff::fault::Fault;
use handoff::paths;
use keys::identity::{BadIdentity, NodeIdentity, Recipient};
use keys::seal::{OpenedSeal, SealError, VerifiedSeal};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// The most bytes of an identity file.
const LONGEST: u64 = 64 * 1024;

/// Errors of the step `identity`. Each names the key that the seal is for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The file cannot be read.
    #[error("{file} cannot be read ({error}); the seal is for {expected}")]
    Unreadable {
        /// The file and its partition.
        file: String,
        /// The kernel's error.
        error: std::io::Error,
        /// The public key that the seal is for.
        expected: Recipient,
    },
    /// The file does not have a usable identity.
    #[error("{file} has no usable age identity: {problem}; the seal is for {expected}")]
    Malformed {
        /// The file and its partition.
        file: String,
        /// Why the identity cannot be used.
        problem: BadIdentity,
        /// The public key that the seal is for.
        expected: Recipient,
    },
    /// The file is the identity of another node.
    #[error("{file} is the key {found}, but the seal of node {node} is for {expected}")]
    Other {
        /// The file and its partition.
        file: String,
        /// The public key of the identity.
        found: Recipient,
        /// The name of the node that the seal is for.
        node: String,
        /// The public key that the seal is for.
        expected: Recipient,
    },
    /// The seal does not open, though key and signature are right.
    #[error(transparent)]
    Seal(SealError),
}

impl StepError for IdentityError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Seal(_) => FailureKind::Site(Fault::Seal),
            _ => FailureKind::Site(Fault::Identity),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Seal(_) => format!("write the stick again on the workstation: {WRITE_STICK}"),
            Self::Other { .. } => format!(
                "use the stick of this node, or make its secret partition again on the workstation: \
                 {WRITE_SECRETS}"
            ),
            _ => format!(
                "the site keeps the key for the admins; write it back on the workstation: {WRITE_SECRETS}"
            ),
        }
    }
}

/// Runs the step `identity`.
pub(crate) fn run(
    boot: &mut Boot,
    seal: VerifiedSeal,
    store: &SecretStore,
) -> Result<OpenedSeal, IdentityError> {
    let file = format!("{} on {}", paths::AGE_KEY, store.device());
    let expected = seal.header().recipient.clone();
    let node = seal.header().node.to_string();
    let mut bytes = Vec::new();
    // Not a link: it could lead to a file that another system wrote. Not a pipe: reading would never end.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let read = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(store.path().join(paths::AGE_KEY))
        .and_then(|opened| opened.take(LONGEST).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(IdentityError::Unreadable { file, error, expected });
    }
    let identity = NodeIdentity::parse(&bytes);
    bytes.fill(0);
    let identity = identity.map_err(|problem| IdentityError::Malformed {
        file: file.clone(),
        problem,
        expected: expected.clone(),
    })?;
    let opened = seal.open(&identity).map_err(|error| match error {
        SealError::OtherRecipient { found, .. } => IdentityError::Other { file, found, node, expected },
        other => IdentityError::Seal(other),
    })?;
    boot.log.info(&format!("identity {} opens the seal", identity.recipient()));
    Ok(opened)
}
