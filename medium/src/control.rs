//! The control records of a running system: read, changed, and the change written to the place that does not hold.

use crate::partition::{MediumError, Partition, Raw};
use handoff::control::{ControlArea, ControlRecord, RECORD_OFFSETS, RECORD_SIZE};

/// Both records.
pub fn read<R: Raw>(control: &Partition<R>) -> Result<ControlArea, MediumError> {
    let [first, second] = RECORD_OFFSETS;
    Ok(ControlArea::decode(&control.read(first, RECORD_SIZE)?, &control.read(second, RECORD_SIZE)?))
}

/// Makes `change` of the record that holds the one that holds; `false` where that is no change. Where both are lost,
/// what is assumed then is changed and written.
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
