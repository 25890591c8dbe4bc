//! The selector that this builder would put into an image, to compare that of an image with.

use crate::error::Error;
use crate::input::read_input;
use crate::programs::Programs;

/// The selector beside this program. A builder without its programs can still verify: then there is nothing to compare
/// with. One that is there and cannot be read is an error.
pub(super) fn own_selector() -> Result<Option<Vec<u8>>, Error> {
    let Ok(programs) = Programs::find(None) else { return Ok(None) };
    Ok(Some(read_input(&programs.selector)?))
}
