//! Storing the reason and the log of a failed boot on the stick, and marking it as shown in a later one.

use crate::partition::{MediumError, Partition, Raw};
use handoff::last_failure::{
    BadFailureRecord, FailureArea, FailureRecord, HEAD, LastFailure, PLACE_OFFSETS, record_length,
};

/// Reads both places of the failure area.
pub fn read<R: Raw>(control: &Partition<R>) -> Result<FailureArea, MediumError> {
    let [first, second] = PLACE_OFFSETS;
    Ok(FailureArea { records: [place(control, first)?, place(control, second)?] })
}

/// Reads one place. It is mostly empty: its head says how much of it to read.
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

/// Stores the reason of this boot's failure for the next boot that succeeds. It replaces an earlier failure.
pub fn leave<R: Raw>(control: &Partition<R>, failure: LastFailure) -> Result<(), MediumError> {
    let area = read(control)?;
    write(control, &area, failure, false)
}

/// Marks the last failure as shown; `false` if there is none, or it was marked already.
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
