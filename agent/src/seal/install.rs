//! `psyops-agent seal install`: installs a new seal for this node, which is used from the next start on.
//!
//! A seal that would not start the node must not become the one that is used. So before a byte is written, its
//! signature is verified, it is opened with the node's key, and compared with what runs.

use super::{SealProblem, Trusted, identity};
use crate::disk::{BootDisk, DiskError};
use crate::highest_seen;
use crate::report;
use crate::root::Root;
use handoff::advice::newer_seal;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::{PerSlot, Slot};
use keys::seal::header::{Generation, Header};
use keys::seal::{SealError, SystemTooOld, UnverifiedSeal};
use medium::seal_slots::{self, Installed};
use medium::{MediumError, Partition};
use tracing::{info, info_span};

/// The most bytes of a seal.
pub const LONGEST: u64 = 64 * 1024 * 1024;

/// The result of an installation that succeeded.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The generation of the seal.
    pub generation: Generation,
    /// Whether it was written, and into which slot.
    pub installed: Installed,
}

/// Why a seal was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The node's data for checking it cannot be read.
    #[error(transparent)]
    Node(SealProblem),
    /// Not a seal, not one of this site, or not one for this node's key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// This node runs with a newer one, from any source.
    #[error(
        "the seal has generation {new}, this node runs with generation {running}: the older one would never be used; \
         make a newer one on the workstation: {}", newer_seal("NAME", *running)
    )]
    OlderThanRunning {
        /// The generation of the new seal.
        new: Generation,
        /// The generation in the boot report.
        running: u64,
    },
    /// The new seal requires a newer system.
    #[error("{0}; update the system first")]
    SystemTooOld(#[from] SystemTooOld),
    /// This node has run with a newer seal before.
    #[error(
        "the seal has generation {new}, this node has run with generation {seen}: {}", highest_seen::advice(node, *seen)
    )]
    OlderThanSeen {
        /// The name of the node.
        node: Name,
        /// The generation of the new seal.
        new: Generation,
        /// The generation in the node's record.
        seen: u64,
    },
    /// The seal could not be written to the stick, or is refused there.
    #[error(transparent)]
    Slots(#[from] seal_slots::InstallError),
}

impl From<SealProblem> for InstallError {
    fn from(problem: SealProblem) -> Self {
        Self::Node(problem)
    }
}

impl From<DiskError> for InstallError {
    fn from(error: DiskError) -> Self {
        Self::Node(error.into())
    }
}

impl From<MediumError> for InstallError {
    fn from(error: MediumError) -> Self {
        Self::Node(error.into())
    }
}

/// Installs the seal in `bytes` on the stick that booted.
pub fn install(root: &Root, bytes: &[u8]) -> Result<Outcome, InstallError> {
    let _span = info_span!("seal install", bytes = bytes.len()).entered();
    let Trusted { trust, keys } = Trusted::load(root)?;
    let seal = UnverifiedSeal::parse(bytes)?.verify(&keys, &trust.site)?.at_least(&trust.least_generation)?;
    seal.clone().open(&identity(root)?)?;
    let seal = seal.runs_on(trust.security_epoch)?;
    // Without a report, only the seals on the stick show which one is newer.
    let running = report::load(root).ok().and_then(|report| report.generation);
    // A damaged record must not prevent a new seal.
    let seen = highest_seen::read(root, &trust.site, &seal.header().node).ok().flatten();
    not_older(seal.header(), running, seen.map(|seen| seen.generation))?;
    let generation = seal.header().generation;
    let disk = BootDisk::find(root)?;
    let open = |slot| -> Result<Partition, InstallError> {
        Ok(Partition::open_to_write(&disk.partition(Role::Seal(slot))?)?)
    };
    let slots = PerSlot { a: open(Slot::A)?, b: open(Slot::B)? };
    let installed = seal_slots::install(&slots, &seal, &keys)?;
    info!(%generation, ?installed, "the seal is on the stick");
    Ok(Outcome { generation, installed })
}

/// Refuses a seal whose generation is below the running one or the one in the node's record.
fn not_older(new: &Header, running: Option<u64>, seen: Option<u64>) -> Result<(), InstallError> {
    let (node, new) = (new.node.clone(), new.generation);
    let above = |generation: &u64| *generation > new.number();
    match (running.filter(above), seen.filter(above)) {
        (Some(running), _) => Err(InstallError::OlderThanRunning { new, running }),
        (None, Some(seen)) => Err(InstallError::OlderThanSeen { node, new, seen }),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::tests::Site;
    use handoff::paths;
    use handoff::report::BootReport;
    use keys::issue::identity_file;
    use keys::issue::signing::SigningKey;
    use std::fs;

    fn device(site: &Site, path: &str) -> Vec<u8> {
        fs::read(site.root.at(path)).unwrap()
    }

    #[test]
    fn a_new_seal_is_written_to_the_other_slot() {
        let site = Site::new();
        let old = device(&site, "/dev/sda9");
        let (new, _) = site.seal_for("node-1", 2, &site.key);
        let generation = Generation::new(2).unwrap();
        let written = Installed::Written { slot: Slot::B, replaced: Some(Generation::FIRST) };
        assert_eq!(install(&site.root, &new).unwrap(), Outcome { generation, installed: written });
        assert_eq!(device(&site, "/dev/sda9"), old);
        assert!(device(&site, "/dev/sda10").starts_with(&new));
        let again = install(&site.root, &new).unwrap();
        assert_eq!(again.installed, Installed::AlreadyThere(Slot::B));
        let (third, _) = site.seal_for("node-1", 3, &site.key);
        let back = install(&site.root, &third).unwrap();
        assert_eq!(back.installed, Installed::Written { slot: Slot::A, replaced: Some(generation) });
    }

    #[test]
    fn a_seal_below_what_the_node_has_seen_is_refused() {
        let site = Site::new();
        let seal = UnverifiedSeal::parse(&site.seal_for("node-1", 5, &site.key).0).unwrap();
        let header = seal.unproven_header();
        for (running, seen) in [(None, None), (Some(5), Some(5)), (Some(4), Some(3))] {
            assert!(not_older(header, running, seen).is_ok(), "{running:?} {seen:?}");
        }
        let error = not_older(header, Some(4), Some(6)).unwrap_err();
        let start = "the seal has generation 5, this node has run with generation 6: ";
        assert_eq!(error.to_string(), start.to_owned() + &highest_seen::advice(&header.node, 6));
        assert!(matches!(
            not_older(header, Some(7), Some(6)),
            Err(InstallError::OlderThanRunning { running: 7, .. })
        ));
    }

    #[test]
    fn a_seal_that_cannot_start_this_node_is_refused_before_a_byte_is_written() {
        let site = Site::new();
        let refused = |bytes: &[u8]| install(&site.root, bytes).unwrap_err();
        let (good, _) = site.seal_for("node-1", 2, &site.key);
        assert!(matches!(refused(b"no seal"), InstallError::Seal(SealError::Header(_))));
        let foreign = site.seal_for("node-1", 2, &SigningKey::generate().unwrap()).0;
        assert!(matches!(refused(&foreign), InstallError::Seal(SealError::Signature { .. })));
        let mut flipped = good.clone();
        flipped[600] ^= 1;
        assert!(matches!(refused(&flipped), InstallError::Seal(SealError::Signature { .. })));
        let beta = site.seal_for("beta", 2, &site.key).0;
        let other = InstallError::Slots(seal_slots::InstallError::OtherNode {
            expected: "node-1".parse().unwrap(),
            found: "beta".parse().unwrap(),
        });
        assert_eq!(refused(&beta).to_string(), other.to_string());
        let report = BootReport { generation: Some(9), ..BootReport::default() };
        site.write(paths::BOOT_REPORT, report.to_json().as_bytes());
        assert!(matches!(refused(&good), InstallError::OlderThanRunning { running: 9, .. }));
        site.write(paths::BOOT_REPORT, BootReport::default().to_json().as_bytes());
        let trust =
            format!("{}least-serial: 3\n", fs::read_to_string(site.root.at(paths::RUNNING_TRUST)).unwrap());
        site.write(paths::RUNNING_TRUST, trust.as_bytes());
        assert!(matches!(refused(&good), InstallError::Seal(SealError::BelowLeast { least: 3, .. })));
        let key = identity_file::text(&identity_file::generate(), keys::timestamp::Timestamp::from_unix(0));
        site.write("/run/psyops/private/secret-partition/age.key", key.as_bytes());
        let (third, _) = site.seal_for("node-1", 3, &site.key);
        assert!(matches!(refused(&third), InstallError::Seal(SealError::OtherRecipient { .. })));
        assert!(device(&site, "/dev/sda10").iter().all(|&byte| byte == 0), "something was written");
    }
}
