//! Leaving the reason and the log of a failed boot on the stick, and showing them at a later one.

use crate::partition::{MediumError, Partition, Raw};
use handoff::last_failure::{
    BadFailureRecord, FailureArea, FailureRecord, HEAD, LastFailure, PLACE_OFFSETS, record_length,
};

/// Both places.
pub fn read<R: Raw>(control: &Partition<R>) -> Result<FailureArea, MediumError> {
    let [first, second] = PLACE_OFFSETS;
    Ok(FailureArea { records: [place(control, first)?, place(control, second)?] })
}

/// A place is mostly empty: its head says how much of it there is to read.
fn place<R: Raw>(
    control: &Partition<R>,
    offset: u64,
) -> Result<Result<FailureRecord, BadFailureRecord>, MediumError> {
    let mut bytes = control.read(offset, HEAD)?;
    match record_length(&bytes) {
        Err(bad) => return Ok(Err(bad)),
        Ok(length) if length > HEAD => bytes = control.read(offset, length)?,
        Ok(_) => {}
    }
    Ok(FailureRecord::decode(&bytes))
}

/// Leaves the reason of this boot's failure for the next one that succeeds. It takes the place of an earlier failure.
pub fn leave<R: Raw>(control: &Partition<R>, failure: LastFailure) -> Result<(), MediumError> {
    let area = read(control)?;
    write(control, &area, failure, false)
}

/// Notes that the last failure was shown; `false` where there is none, or it was noted already.
pub fn acknowledge<R: Raw>(control: &Partition<R>) -> Result<bool, MediumError> {
    let area = read(control)?;
    match area.current() {
        Some(held) if !held.acknowledged => write(control, &area, held.failure.clone(), true).map(|()| true),
        _ => Ok(false),
    }
}

fn write<R: Raw>(
    control: &Partition<R>,
    area: &FailureArea,
    failure: LastFailure,
    acknowledged: bool,
) -> Result<(), MediumError> {
    let (offset, record) = area.replacement(failure, acknowledged);
    control.write(offset, &record.encode())
}
