//! The selector that this builder would put into an image, to compare with the one of an image.

use crate::error::Error;
use crate::image::esp_reader;
use crate::image::reader::ImageReader;
use crate::input::read_input;
use crate::programs::Programs;

/// The selector beside this program, for the architecture of `image`. `None` if the builder has no programs, or the
/// image has no selector: then there is nothing to compare, and the image can still be verified. A selector that exists
/// but cannot be read is an error.
pub(super) fn own_selector(image: &ImageReader) -> Result<Option<Vec<u8>>, Error> {
    let Some(architecture) = esp_reader::architecture(image) else { return Ok(None) };
    let Ok(programs) = Programs::find(architecture, None) else { return Ok(None) };
    Ok(Some(read_input(&programs.selector)?))
}
