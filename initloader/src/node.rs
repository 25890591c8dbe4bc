//! Which node this is: the steps from the seal to a secret store that matches it.
//!
//! If the site's policy allows it, a node without a usable seal or store goes on without them: degraded, with none of
//! its files, but reachable.

use crate::boot::Boot;
use crate::disk::facts::Disk;
use crate::failure::Failure;
use crate::log::Log;
use crate::mounts;
use crate::steps::secret::SecretStore;
use crate::steps::{copy, identity, reconcile, seal, secret};
use handoff::fault::FaultAction;
use handoff::loader_config::LoaderConfig;
use handoff::manifest::RelativePath;
use handoff::paths;
use handoff::rescue_network::FixedAddress;
use keys::seal::OpenedSeal;

/// Runs the steps; `None` if the policy allows going on without the node's files.
pub(crate) fn establish(
    boot: &mut Boot,
    disk: &Disk,
    trust: &LoaderConfig,
) -> Result<Option<OpenedSeal>, Failure> {
    let failure = match steps(boot, disk, trust) {
        Ok(seal) => return Ok(Some(seal)),
        Err(failure) => failure,
    };
    match failure.kind.action(&boot.policy) {
        FaultAction::Reboot | FaultAction::Rescue => return Err(failure),
        FaultAction::Degraded | FaultAction::Repair | FaultAction::Continue => boot.degrade(&failure),
    }
    boot.log.error("going on without any of the node's secrets");
    // These files were not compared with a seal: nothing that runs later may take them for the node's.
    for place in [paths::SECRETS, paths::SECRET_PARTITION] {
        while mounts::is_mounted(place) {
            if let Err(error) = mounts::unmount(place) {
                boot.log.error(&error.to_string());
                break;
            }
        }
    }
    Ok(None)
}

/// Finds the addresses for rescue by SSH, for an attempt that ends before the node is established.
pub(crate) fn learn_addresses(boot: &mut Boot, disk: &Disk, trust: &LoaderConfig) -> Result<(), Failure> {
    open(boot, disk, trust).map(drop)
}

fn steps(boot: &mut Boot, disk: &Disk, trust: &LoaderConfig) -> Result<OpenedSeal, Failure> {
    let (store, seal) = open(boot, disk, trust)?;
    boot.policy = seal.manifest().policy.clone();
    boot.step("reconcile", reconcile::DEADLINE, |boot| reconcile::run(boot, &store, &seal))?;
    boot.step("copy", copy::DEADLINE, |boot| copy::run(boot, &seal))?;
    Ok(seal)
}

fn open(boot: &mut Boot, disk: &Disk, trust: &LoaderConfig) -> Result<(SecretStore, OpenedSeal), Failure> {
    let (store, seal) = open_store(boot, disk, trust)?;
    boot.addresses = rescue_addresses(&seal, &mut boot.log);
    Ok((store, seal))
}

/// Mounts the secret store, and opens the seal with the key in it.
pub(crate) fn open_store(
    boot: &mut Boot,
    disk: &Disk,
    trust: &LoaderConfig,
) -> Result<(SecretStore, OpenedSeal), Failure> {
    let verified = boot.step("seal", seal::DEADLINE, |boot| seal::run(boot, disk, trust))?;
    let store = boot.step("secret", secret::DEADLINE, |boot| secret::run(boot, disk))?;
    let seal = boot.step("identity", identity::DEADLINE, |boot| identity::run(boot, verified, &store))?;
    Ok((store, seal))
}

/// The seal's addresses for rescue by SSH. A line that is not valid is logged and skipped.
fn rescue_addresses(seal: &OpenedSeal, log: &mut Log) -> Vec<FixedAddress> {
    let content = RelativePath::new(paths::RESCUE_NETWORK).and_then(|path| seal.content(&path));
    let text = String::from_utf8_lossy(content.unwrap_or_default());
    let mut addresses = Vec::new();
    for (line, address) in (1..).zip(FixedAddress::decode_all(&text)) {
        match address {
            Ok(address) => addresses.push(address),
            Err(problem) => log.error(&format!("{}, line {line}: {problem}", paths::RESCUE_NETWORK)),
        }
    }
    addresses
}
