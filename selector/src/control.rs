//! The control partition: reads both records, and writes the next state over the one that is not current.
#![cfg(target_os = "uefi")]

use crate::block::Blocks;
use crate::console::say;
use crate::disk::OwnDisk;
use crate::fault::Fault;
use handoff::control::{ControlArea, ControlRecord, RECORD_OFFSETS};
use handoff::partition::Role;

/// The control partition, or why it cannot be used, and the records that were read.
pub(crate) struct Control {
    blocks: Result<Blocks, Fault>,
    area: ControlArea,
}

impl Control {
    /// Reads both records. Errors are printed; a stick without readable records still boots.
    pub(crate) fn read(disk: &OwnDisk) -> Self {
        let mut blocks =
            disk.partition(Role::Control).and_then(|found| Blocks::open(found.handle, found.role.name()));
        let [first, second] = RECORD_OFFSETS.map(|offset| match &mut blocks {
            Ok(blocks) => blocks.read_record(offset).unwrap_or_else(|fault| {
                say(format_args!("{fault}"));
                alloc::vec::Vec::new()
            }),
            Err(_) => alloc::vec::Vec::new(),
        });
        let area = ControlArea::decode(&first, &second);
        match &blocks {
            Ok(_) => say_what_holds(&area),
            Err(fault) => say(format_args!("{fault}; both slots can be started, but starts are not counted")),
        }
        Self { blocks, area }
    }

    /// The current state.
    pub(crate) fn state(&self) -> ControlRecord {
        self.area.effective()
    }

    /// Writes `next`, which is the current state from then on.
    pub(crate) fn write(&mut self, next: &ControlRecord) -> Result<(), Fault> {
        let (offset, record) = self.area.replacement(next);
        let blocks = self.blocks.as_mut().map_err(|fault| fault.clone())?;
        blocks.write_record(offset, &record.encode())?;
        for (place, held) in RECORD_OFFSETS.iter().zip(&mut self.area.records) {
            if *place == offset {
                *held = Ok(record.clone());
            }
        }
        Ok(())
    }
}

/// Prints the state of the records. One invalid record is normal on a new stick and after a power cut; the next write
/// replaces it.
fn say_what_holds(area: &ControlArea) {
    match area.current() {
        Some(record) => say(format_args!("control record {} is valid", record.sequence)),
        None => say(format_args!("no control record is valid: both slots can be started")),
    }
    for (place, record) in area.records.iter().enumerate() {
        if let Err(why) = record {
            say(format_args!("place {place}: {why}"));
        }
    }
}
