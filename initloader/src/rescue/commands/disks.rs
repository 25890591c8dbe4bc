//! `disks`: lists the machine's disks and their psyopsOS partitions.

use super::say;
use crate::disk::facts;
use std::process::ExitCode;

pub(super) fn list() -> ExitCode {
    let disks = facts::all();
    if disks.is_empty() {
        say("there is no disk at all");
    }
    for disk in disks {
        say(&disk.description);
        if let Some(problem) = disk.problem {
            say(&format!("  no partitions: {problem}"));
        } else if disk.partitions.is_empty() {
            say("  no psyopsOS partitions");
        }
        let faults = disk.table_fault.iter().map(ToString::to_string);
        for fault in faults.chain(disk.duplicate_roles.iter().map(ToString::to_string)) {
            say(&format!("  {fault}"));
        }
        for partition in disk.partitions {
            let device = partition.device.map_or("no device".to_owned(), |device| device.to_string());
            say(&format!("  {device:<16} {}", partition.entry.role));
        }
    }
    ExitCode::SUCCESS
}
