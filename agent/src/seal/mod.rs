//! The node's seal on the running system: reading the one that is used, and installing a new one.
//!
//! The trusted keys are those of the initramfs: it left its loader configuration, because the initramfs itself is gone.

pub mod install;

use crate::disk::{BootDisk, DiskError};
use crate::file::{self, FileError};
use crate::root::Root;
use handoff::advice::{WRITE_SECRETS, WRITE_STICK};
use handoff::loader_config::{BadLoaderConfig, LoaderConfig};
use handoff::partition::Role;
use handoff::paths;
use handoff::slot::Slot;
use keys::identity::{BadIdentity, NodeIdentity};
use keys::seal::newest::newest;
use keys::seal::{OpenedSeal, SealError};
use keys::signature::{BadPublicKey, PublicKey};
use medium::{MediumError, Partition, seal_slots};

/// Why a seal could not be read, verified or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealProblem {
    /// A file of this boot cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A seal partition cannot be read.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The loader left a loader configuration that is not valid.
    #[error("{place}: {0}; reboot", place = paths::RUNNING_TRUST)]
    LoaderConfig(#[from] BadLoaderConfig),
    /// A key in the loader configuration is not valid.
    #[error("{place}: {0}", place = paths::RUNNING_TRUST)]
    Key(#[from] BadPublicKey),
    /// The stick that booted, or a partition of it, was not found.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The stick has no valid seal.
    #[error("no seal on the stick is valid: {0}; write the stick again on the workstation: {WRITE_STICK}")]
    NoSeal(String),
    /// The node's key cannot be used.
    #[error("{place}/{name}: {0}; write it back on the workstation: {WRITE_SECRETS}", place = paths::SECRET_PARTITION, name = paths::AGE_KEY)]
    Identity(#[from] BadIdentity),
    /// The seal is not valid or does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The keys that this system trusts to sign seals.
#[derive(Debug)]
pub struct Trusted {
    /// The loader configuration of the initramfs.
    pub trust: LoaderConfig,
    /// The signing keys in it.
    pub keys: Vec<PublicKey>,
}

impl Trusted {
    /// Reads the loader configuration that the loader left.
    pub fn load(root: &Root) -> Result<Self, SealProblem> {
        let trust = LoaderConfig::decode(&file::read_text(&root.at(paths::RUNNING_TRUST))?)?;
        let keys = trust.signing_keys.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
        Ok(Self { trust, keys })
    }
}

/// Reads the node's key from the secret partition.
pub fn identity(root: &Root) -> Result<NodeIdentity, SealProblem> {
    let key = root.at(paths::SECRET_PARTITION).join(paths::AGE_KEY);
    let mut bytes = file::read(&key)?;
    let identity = NodeIdentity::parse(&bytes);
    bytes.fill(0);
    Ok(identity?)
}

/// The newest seal of the stick that booted, verified and opened.
pub fn open_current(root: &Root) -> Result<OpenedSeal, SealProblem> {
    let trusted = Trusted::load(root)?;
    let disk = BootDisk::find(root)?;
    let mut sources = Vec::new();
    for slot in Slot::BOTH {
        let partition = Partition::open(&disk.partition(Role::Seal(slot))?)?;
        sources.push((Role::Seal(slot).name(), seal_slots::read(&partition)?));
    }
    let sources = sources.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
    let found = newest(sources, &trusted.keys, &trusted.trust.site, &trusted.trust.least_generation);
    let Some((_, verified)) = found.chosen else {
        let reasons = found.failed.iter().map(|(name, error)| format!("{name}: {error}"));
        return Err(SealProblem::NoSeal(reasons.collect::<Vec<_>>().join("; ")));
    };
    Ok(verified.open(&identity(root)?)?)
}
