//! What is older on this node than something that it has or had: seals in the two places, the release in the other
//! slot, and the numbers in the record on its `data` partition.
//!
//! The loader has already refused whatever the signed system and the seal do not accept. What is found here runs, and
//! the node is degraded if it should not. What cannot be read is left out: the loader reports it.

use crate::disk::BootDisk;
use crate::highest_seen::{self, RecordError};
use crate::root::Root;
use crate::seal::Trusted;
use handoff::highest_seen::HighestSeen;
use handoff::name::Name;
use handoff::older::{FAULT, Older, OlderKind};
use handoff::partition::Role;
use handoff::report::{BootReport, FaultReport, Outcome};
use handoff::slot::Slot;
use keys::seal::UnverifiedSeal;
use medium::{Partition, boot_record, seal_slots};

/// The seal and the system that run.
struct Running {
    trusted: Trusted,
    node: Name,
    generation: u64,
    slot: Option<Slot>,
}

impl Running {
    /// `None` in a boot without a seal, which has faults of its own.
    fn of(root: &Root, report: &BootReport) -> Option<Self> {
        Some(Self {
            trusted: Trusted::load(root).ok()?,
            node: report.node.as_deref()?.parse().ok()?,
            generation: report.generation?,
            slot: report.slot.as_deref().and_then(|letter| letter.parse().ok()),
        })
    }

    fn epoch(&self) -> u32 {
        self.trusted.trust.security_epoch
    }
}

/// Adds to the report what is older; returns an error that must be reported as well.
pub fn add(root: &Root, report: &mut BootReport) -> Option<RecordError> {
    // A configuration run may be repeated.
    report.older.clear();
    let running = Running::of(root, report)?;
    let mut found = Vec::new();
    if let Ok(disk) = BootDisk::find(root) {
        found.extend(Slot::BOTH.into_iter().filter_map(|slot| seal_place(&running, &disk, slot)));
        found.extend(running.slot.and_then(|slot| other_slot(&running, &disk, slot.other())));
    }
    let seen = highest_seen::read(root, &running.trusted.trust.site, &running.node);
    let problem = match seen {
        Ok(seen) => {
            found.extend(seen.iter().flat_map(|seen| remembered(&running, seen)));
            None
        }
        Err(problem) => {
            fault(
                report,
                format!(
                    "the highest generation that this node has seen is not known: {problem}; what runs now is \
                     remembered"
                ),
            );
            Some(problem)
        }
    };
    for older in found {
        if older.what.runs() {
            fault(report, older.message.clone());
        }
        report.older.push(older);
    }
    problem
}

/// Records the numbers of a boot that is complete.
pub fn remember(root: &Root, report: &BootReport) -> Result<(), RecordError> {
    let Some(running) = Running::of(root, report) else { return Ok(()) };
    let site = running.trusted.trust.site.clone();
    let known = highest_seen::read(root, &site, &running.node);
    // A damaged record was reported, and is replaced.
    let known = known.ok().flatten();
    let (generation, security_epoch) = (running.generation, running.epoch());
    let seen = known.as_ref().map_or_else(
        || HighestSeen { site, node: running.node.clone(), generation, security_epoch },
        |known| known.raised(generation, security_epoch),
    );
    if known.as_ref() == Some(&seen) { Ok(()) } else { highest_seen::write(root, &seen) }
}

fn fault(report: &mut BootReport, message: String) {
    report.outcome = report.outcome.max(Outcome::Degraded);
    let fault = FaultReport { fault: FAULT.into(), message };
    if !report.faults.contains(&fault) {
        report.faults.push(fault);
    }
}

/// A place whose seal has another generation than the seal that runs.
fn seal_place(running: &Running, disk: &BootDisk<'_>, slot: Slot) -> Option<Older> {
    let device = disk.partition(Role::Seal(slot)).ok()?;
    let bytes = seal_slots::read(&Partition::open(&device).ok()?).ok()?;
    let Trusted { trust, keys } = &running.trusted;
    let seal = UnverifiedSeal::parse(&bytes).and_then(|seal| seal.verify(keys, &trust.site)).ok()?;
    let (place, found, runs) = (Role::Seal(slot), seal.header().generation.number(), running.generation);
    if found == runs || seal.header().node != running.node {
        return None;
    }
    let message = if found < runs {
        format!("{place} has the older seal, generation {found}; generation {runs} runs")
    } else {
        format!("generation {runs} runs; {place} has generation {found}, which counts from the next start on")
    };
    Some(Older { what: OlderKind::SealPlace, lower: found.min(runs), higher: found.max(runs), message })
}

/// A release in the other slot that is newer according to its boot record.
fn other_slot(running: &Running, disk: &BootDisk<'_>, other: Slot) -> Option<Older> {
    let device = disk.partition(Role::Boot(other)).ok()?;
    let record = boot_record::read(&Partition::open(&device).ok()?).ok()?.ok()?;
    let (own, found) = (running.epoch(), record.security_epoch);
    (found > own).then(|| Older {
        what: OlderKind::Release,
        lower: own.into(),
        higher: found.into(),
        message: format!(
            "release {} of security epoch {own} runs, and slot {other} has release {} of security epoch {found}: \
             why it was not started is in the last failed boot (psyops-agent status)",
            running.trusted.trust.release, record.release
        ),
    })
}

fn remembered(running: &Running, seen: &HighestSeen) -> Vec<Older> {
    let mut found = Vec::new();
    let (generation, node) = (running.generation, &running.node);
    if generation < seen.generation {
        found.push(Older {
            what: OlderKind::Generation,
            lower: generation,
            higher: seen.generation,
            message: format!(
                "seal generation {generation} runs, but this node has seen {}: {}",
                seen.generation,
                highest_seen::advice(node, seen.generation)
            ),
        });
    }
    let (own, epoch) = (running.epoch(), seen.security_epoch);
    if own < epoch {
        found.push(Older {
            what: OlderKind::Release,
            lower: own.into(),
            higher: epoch.into(),
            message: format!(
                "release {} of security epoch {own} runs, but this node has seen {epoch}: update it, or flash the stick \
                 again",
                running.trusted.trust.release
            ),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::tests::Site;
    use handoff::paths;
    use std::fs;

    fn report(generation: u64) -> BootReport {
        BootReport {
            node: Some("node-1".into()),
            slot: Some("a".into()),
            generation: Some(generation),
            ..BootReport::default()
        }
    }

    fn messages(report: &BootReport) -> Vec<(OlderKind, u64, u64, &str)> {
        report.older.iter().map(|one| (one.what, one.lower, one.higher, one.message.as_str())).collect()
    }

    #[test]
    fn an_older_seal_in_the_other_slot_is_reported_and_is_not_a_fault() {
        let site = Site::new();
        let mut one = report(1);
        assert!(add(&site.root, &mut one).is_none());
        assert_eq!(one, report(1));
        site.write("/dev/sda10", &site.seal_for("node-1", 3, &site.key).0);
        let mut three = report(3);
        add(&site.root, &mut three);
        let older = "seal-a has the older seal, generation 1; generation 3 runs";
        assert_eq!(messages(&three), [(OlderKind::SealPlace, 1, 3, older)]);
        assert_eq!((three.outcome, three.faults.len()), (Outcome::Ok, 0));
        add(&site.root, &mut one);
        let waiting = "generation 1 runs; seal-b has generation 3, which counts from the next start on";
        assert_eq!(messages(&one), [(OlderKind::SealPlace, 1, 3, waiting)]);
        let foreign = keys::issue::signing::SigningKey::generate().unwrap();
        site.write("/dev/sda10", &site.seal_for("node-1", 9, &foreign).0);
        add(&site.root, &mut one);
        assert_eq!(messages(&one), [], "the generation of an unknown signer is not believed");
    }

    #[test]
    fn a_release_that_is_older_than_the_other_slots_makes_the_node_degraded() {
        let site = Site::new();
        let uevent = "MAJOR=8\nDEVNAME=sda6\nDEVTYPE=partition\nPARTNAME=boot-b\n";
        site.write("/sys/devices/usb/block/sda/sda6/uevent", uevent.as_bytes());
        let record = handoff::boot_record::BootRecord {
            length: 4096,
            digest: handoff::hash::Sha256Digest::of(b""),
            release: "2".parse().unwrap(),
            security_epoch: 1,
            signature: String::new(),
        };
        let mut boot = vec![0; 8192];
        boot.extend(record.encode().unwrap());
        site.write("/dev/sda6", &boot);
        let mut found = report(1);
        for _ in 0..2 {
            add(&site.root, &mut found);
            let message = "release 1 of security epoch 0 runs, and slot b has release 2 of security epoch 1: \
                           why it was not started is in the last failed boot (psyops-agent status)";
            assert_eq!(messages(&found), [(OlderKind::Release, 0, 1, message)]);
            let fault = FaultReport { fault: FAULT.into(), message: message.into() };
            assert_eq!((found.outcome, &found.faults), (Outcome::Degraded, &vec![fault]));
        }
    }

    #[test]
    fn without_a_data_partition_nothing_is_remembered() {
        let site = Site::new();
        fs::create_dir(site.root.at(paths::DATA)).unwrap();
        remember(&site.root, &report(7)).unwrap();
        assert!(crate::file::names(&site.root.at(paths::DATA)).unwrap().is_empty());
    }
}
