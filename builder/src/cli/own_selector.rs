//! The selector that this builder would put into an image, to compare that of an image with.

use crate::error::Error;
use crate::image::esp_reader;
use crate::image::reader::ImageReader;
use crate::input::read_input;
use crate::programs::Programs;

/// The selector beside this program, for the architecture of `image`. A builder without its programs can still verify, and
/// so can one whose image has no selector that is found: then there is nothing to compare with. One that is there and cannot
/// be read is an error.
pub(super) fn own_selector(image: &ImageReader) -> Result<Option<Vec<u8>>, Error> {
    let Some(architecture) = esp_reader::architecture(image) else { return Ok(None) };
    let Ok(programs) = Programs::find(architecture, None) else { return Ok(None) };
    Ok(Some(read_input(&programs.selector)?))
}
