//! `secrets check` and `secrets fix`: the steps of a boot from the disk to the secret partition, on demand.
//!
//! It runs in its own mount namespace, so that nothing stays mounted for others, even after an error.

use super::{complain, say};
use crate::boot::Boot;
use crate::disk::facts::Disk;
use crate::failure::Failure;
use crate::mounts;
use crate::node;
use crate::steps::secret::SecretStore;
use crate::steps::{disk, reconcile, selection};
use handoff::fault::{Fault, FaultAction};
use handoff::loader_config::LoaderConfig;
use handoff::paths;
use keys::reconcile::compare;
use keys::seal::OpenedSeal;
use nix::sched::{CloneFlags, unshare};
use std::process::ExitCode;

/// The exit code if the state cannot be determined, as in `psyops-agent secrets`.
const UNKNOWN: u8 = 3;

pub(super) fn check() -> ExitCode {
    with_store(|_, store, seal| match compare(store.path(), seal.manifest()) {
        Ok(comparison) => {
            comparison.differing.iter().for_each(|difference| say(&format!("differs: {difference}")));
            comparison.unknown.iter().for_each(|path| say(&format!("not in the seal: {}", path.display())));
            say(&format!("{} files match the seal", comparison.same.len()));
            ExitCode::from(u8::from(!comparison.differing.is_empty()))
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(UNKNOWN)
        }
    })
}

pub(super) fn fix() -> ExitCode {
    with_store(|boot, store, seal| {
        // Here a person asked for the repair, and wants to see where it fails.
        boot.policy.set(Fault::FileDiffers, FaultAction::Repair);
        boot.policy.set(Fault::Repair, FaultAction::Rescue);
        match boot.step("reconcile", reconcile::DEADLINE, |boot| reconcile::run(boot, store, seal)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                tell(&failure);
                ExitCode::FAILURE
            }
        }
    })
}

fn with_store(work: impl FnOnce(&mut Boot, &SecretStore, &OpenedSeal) -> ExitCode) -> ExitCode {
    let mut boot = Boot::for_person();
    let opened = unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| errno.desc().to_owned()).and_then(|()| {
        let text = std::fs::read_to_string(paths::TRUST).map_err(|error| error.to_string())?;
        LoaderConfig::decode(&text).map_err(|error| error.to_string())
    });
    let trust = match opened {
        Ok(trust) => trust,
        Err(problem) => {
            complain(&problem);
            return ExitCode::from(UNKNOWN);
        }
    };
    let code = match open(&mut boot, &trust) {
        Ok((store, seal)) => work(&mut boot, &store, &seal),
        Err(failure) => {
            tell(&failure);
            ExitCode::from(UNKNOWN)
        }
    };
    // Unmounting explicitly reports errors; the end of the namespace would hide them.
    if mounts::is_mounted(paths::SECRET_PARTITION)
        && let Err(error) = mounts::unmount(paths::SECRET_PARTITION)
    {
        complain(&error);
    }
    code
}

fn open(boot: &mut Boot, trust: &LoaderConfig) -> Result<(SecretStore, OpenedSeal), Failure> {
    let esp = boot.step("selection", selection::DEADLINE, selection::run)?;
    let disk: Disk = boot.step("disk", disk::deadline(boot), |boot| disk::run(boot, esp))?;
    node::open_store(boot, &disk, trust)
}

fn tell(failure: &Failure) {
    failure.lines().iter().for_each(|line| complain(line));
}
