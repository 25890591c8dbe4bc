//! The control records of a running system: reads both, and writes a change over the one that is not current.

use crate::partition::{MediumError, Partition, Raw};
use handoff::control::{ControlArea, ControlRecord, RECORD_OFFSETS, RECORD_SIZE};

/// Reads both records.
pub fn read<R: Raw>(control: &Partition<R>) -> Result<ControlArea, MediumError> {
    let [first, second] = RECORD_OFFSETS;
    Ok(ControlArea::decode(&control.read(first, RECORD_SIZE)?, &control.read(second, RECORD_SIZE)?))
}

/// Applies `change` to the current record and writes the result as the new current one; `false` if nothing changes. If
/// both records are lost, `change` is applied to the assumed record.
pub fn change<R: Raw>(
    control: &Partition<R>,
    change: impl FnOnce(ControlRecord) -> ControlRecord,
) -> Result<bool, MediumError> {
    let area = read(control)?;
    let present = area.effective();
    let wanted = change(present.clone());
    if area.current().is_some() && wanted == present {
        return Ok(false);
    }
    let (offset, record) = area.replacement(&wanted);
    control.write(offset, &record.encode())?;
    Ok(true)
}
