//! Which disk is the node's: a pure choice from the facts about all disks.

use crate::disk::facts::Disk;
use handoff::gpt::DuplicateRole;
use handoff::guid::Guid;
use handoff::partition::Role;
use handoff::slot::Slot;

/// A node boots only from a disk with these partitions. The secret partition is not among them: a missing one is its
/// own fault, found when the disk is known.
const NEEDED: [Role; 5] =
    [Role::Control, Role::Seal(Slot::A), Role::Seal(Slot::B), Role::Root(Slot::A), Role::Verity(Slot::A)];

/// The result of the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// No disk matches; holds a description of each.
    None(Vec<String>),
    /// The one disk that matches.
    One(&'a Disk),
    /// More than one disk matches, and the right one cannot be known.
    Several(Vec<&'a Disk>),
}

/// Chooses the disk whose ESP has the GUID `esp` (the one that the selector was started from), or if that is unknown,
/// the only disk that has all needed partitions.
pub(crate) fn choose(disks: &[Disk], esp: Option<Guid>) -> Choice<'_> {
    let mut fitting = Vec::new();
    let mut passed = Vec::new();
    for disk in disks {
        match why_not(disk, esp) {
            None => fitting.push(disk),
            Some(why) => passed.push(format!("{}: {why}", disk.description)),
        }
    }
    match fitting.as_slice() {
        [] => Choice::None(passed),
        [disk] => Choice::One(disk),
        _ => Choice::Several(fitting),
    }
}

fn why_not(disk: &Disk, esp: Option<Guid>) -> Option<String> {
    if let Some(problem) = &disk.problem {
        return Some(problem.clone());
    }
    if let Some(wanted) = esp {
        let found: Vec<_> = disk.with_role(Role::Esp).collect();
        if !found.iter().any(|partition| partition.entry.guid == wanted) {
            return Some("its ESP is not the one that this machine booted from".into());
        }
    }
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|role| disk.with_role(**role).next().is_none())
        .map(|role| role.name())
        .collect();
    if !missing.is_empty() {
        return Some(format!("has no partition {}", missing.join(", ")));
    }
    // With a second partition of the same role the right one cannot be known, and the boot asks no questions.
    let mut double = disk.duplicate_roles.iter().filter(|DuplicateRole { role, .. }| *role != Role::Secret);
    if let Some(double) = double.next() {
        return Some(double.to_string());
    }
    // The kernel announces a disk before its partitions; they follow at once.
    let waiting = disk.partitions.iter().find(|partition| partition.device.is_none())?;
    Some(format!("the kernel has no device for partition {} yet", waiting.entry.role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::facts::{BlockDevice, KnownPartition, Partition};

    fn guid(first: u8) -> Guid {
        Guid::from_disk([first; 16])
    }

    fn disk(name: &str, esp: u8) -> Disk {
        let partitions = Role::ALL.into_iter().zip(1..).map(|(role, number)| KnownPartition {
            entry: Partition { number, role, guid: guid(if role == Role::Esp { esp } else { 0 }) },
            device: Some(BlockDevice { name: format!("{name}{number}"), numbers: format!("8:{number}") }),
        });
        Disk {
            name: name.into(),
            description: format!("/dev/{name}"),
            partitions: partitions.collect(),
            duplicate_roles: Vec::new(),
            table_fault: None,
            problem: None,
        }
    }

    fn without(mut disk: Disk, role: Role) -> Disk {
        disk.partitions.retain(|partition| partition.entry.role != role);
        disk
    }

    fn name<'a>(choice: &Choice<'a>) -> &'a str {
        match choice {
            Choice::One(disk) => &disk.name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_disk_that_firmware_chose_wins_over_another_of_the_same_site() {
        let disks = [disk("sda", 0xaa), disk("sdb", 0xbb)];
        assert_eq!(name(&choose(&disks, Some(guid(0xbb)))), "sdb");
    }

    #[test]
    fn a_clone_is_refused_with_both_named() {
        let disks = [disk("sda", 0xaa), disk("sdb", 0xaa)];
        for esp in [None, Some(guid(0xaa))] {
            let Choice::Several(both) = choose(&disks, esp) else { panic!("not several") };
            assert_eq!(both.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>(), ["sda", "sdb"]);
        }
    }

    #[test]
    fn each_reason_against_a_disk_is_reported() {
        let mut blank = disk("sda", 0xaa);
        blank.partitions.clear();
        blank.problem = Some("no GPT".into());
        let mut early = disk("sda", 0xaa);
        early.partitions.last_mut().unwrap().device = None;
        let mut twice = disk("sda", 0xaa);
        twice.duplicate_roles = vec![DuplicateRole { role: Role::Control, numbers: [2, 13] }];
        for (disk, why) in [
            (blank, "/dev/sda: no GPT"),
            (early, "/dev/sda: the kernel has no device for partition data yet"),
            (twice, "/dev/sda: two partitions control, numbers 2 and 13"),
            (disk("sda", 0xbb), "/dev/sda: its ESP is not the one that this machine booted from"),
            (without(disk("sda", 0xaa), Role::Root(Slot::A)), "/dev/sda: has no partition root-a"),
        ] {
            let disks = [disk];
            assert_eq!(choose(&disks, Some(guid(0xaa))), Choice::None(vec![why.into()]));
        }
    }

    #[test]
    fn a_disk_without_its_secret_partition_is_still_the_disk() {
        let disks = [without(disk("sda", 0xaa), Role::Secret), without(disk("sdb", 0xbb), Role::Control)];
        assert_eq!(name(&choose(&disks, None)), "sda");
    }
}
