//! Step `seal`: of all seals in the known places, takes the newest one that the site signed.

use crate::boot::Boot;
use crate::disk::facts::Disk;
use crate::failure::{FailureKind, StepError};
use handoff::advice::WRITE_STICK;
use handoff::fault::Fault;
use handoff::loader_config::LoaderConfig;
use handoff::partition::Role;
use handoff::paths;
use handoff::slot::Slot;
use keys::seal::newest::newest;
use keys::seal::{SealError, SystemTooOld, VerifiedSeal};
use keys::signature::{BadPublicKey, PublicKey};
use medium::{Partition, seal_slots};
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Errors of the step `seal`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSeal {
    /// A key in the loader configuration is not valid.
    #[error("{path}: {0}", path = paths::TRUST)]
    TrustedKey(#[from] BadPublicKey),
    /// No place has a seal with a valid signature.
    #[error("no valid seal: {}", .0.join("; "))]
    NoneHolds(Vec<String>),
    /// Every valid seal was replaced by one with a higher generation, which is missing.
    #[error("no seal that this system accepts: {}", .0.join("; "))]
    Replaced(Vec<String>),
    /// The seal requires a newer system.
    #[error(transparent)]
    TooOld(#[from] SystemTooOld),
}

impl StepError for NoSeal {
    fn kind(&self) -> FailureKind {
        match self {
            Self::TrustedKey(_) => FailureKind::Initramfs,
            Self::NoneHolds(_) | Self::Replaced(_) => FailureKind::Site(Fault::Seal),
            // The other slot may have a newer system.
            Self::TooOld(_) => FailureKind::Site(Fault::Root),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::TrustedKey(_) => {
                "build the image again; the loader settings in this one are damaged".into()
            }
            Self::NoneHolds(_) => format!("write the stick again on the workstation: {WRITE_STICK}"),
            Self::Replaced(_) => format!(
                "write the stick again on the workstation: {WRITE_STICK}; if no admin of the site put an older seal \
                 there, find out who had the stick"
            ),
            Self::TooOld(_) => format!(
                "start the newer system in the other slot, or write the stick again on the workstation: {WRITE_STICK}"
            ),
        }
    }
}

/// Runs the step `seal`.
pub(crate) fn run(boot: &mut Boot, disk: &Disk, trust: &LoaderConfig) -> Result<VerifiedSeal, NoSeal> {
    let keys = trust.signing_keys.iter().map(|key| key.parse()).collect::<Result<Vec<PublicKey>, _>>()?;
    let mut sources = Vec::new();
    let mut unreadable = Vec::new();
    let mut take = |name: String, path: &std::path::Path| match Partition::open(path)
        .and_then(|partition| seal_slots::read(&partition))
    {
        Ok(bytes) => sources.push((name, bytes)),
        Err(error) => unreadable.push(format!("{name}: {error}")),
    };
    for slot in Slot::BOTH {
        if let Some(device) = disk.device(Role::Seal(slot)) {
            take(format!("{} ({device})", Role::Seal(slot)), &device.path());
        }
    }
    if std::path::Path::new(paths::INITRAMFS_SEAL).exists() {
        take(format!("initramfs ({})", paths::INITRAMFS_SEAL), paths::INITRAMFS_SEAL.as_ref());
    }
    let places = sources.iter().map(|(name, bytes)| (name, bytes.as_slice()));
    let newest = newest(places, &keys, &trust.site, &trust.least_generation);
    let mut problems = unreadable;
    problems.extend(newest.failed.iter().map(|(name, error)| format!("{name}: {error}")));
    let Some((source, seal)) = newest.chosen else {
        let replaced = newest.failed.iter().any(|(_, error)| matches!(error, SealError::BelowLeast { .. }));
        return Err(if replaced { NoSeal::Replaced(problems) } else { NoSeal::NoneHolds(problems) });
    };
    // On every new stick the second place is empty.
    for (name, error) in newest.failed.iter().filter(|(_, error)| *error != SealError::Empty) {
        boot.log.error(&format!("a seal is not used: {name}: {error}"));
    }
    let header = seal.header();
    boot.log.info(&format!(
        "seal of node {}, generation {}, signed by {}, from {source}",
        header.node,
        header.generation,
        seal.signer()
    ));
    let seal = seal.runs_on(trust.security_epoch)?;
    boot.report.node = Some(seal.header().node.to_string());
    boot.report.generation = Some(seal.header().generation.number());
    Ok(seal)
}
