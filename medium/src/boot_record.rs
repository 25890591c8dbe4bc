//! The boot record at the end of a boot partition, read only.

use crate::partition::{MediumError, Partition, Raw};
use handoff::boot_record::{BadBootRecord, BootRecord, SIZE, SIZE_U64};

/// Reads the record of a boot partition. Its content is not signed.
pub fn read<R: Raw>(boot: &Partition<R>) -> Result<Result<BootRecord, BadBootRecord>, MediumError> {
    let offset = boot.size()?.saturating_sub(SIZE_U64);
    Ok(BootRecord::decode(&boot.read(offset, SIZE)?))
}
