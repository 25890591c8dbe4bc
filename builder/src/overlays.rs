//! The overlays that are embedded in the builder.

use include_dir::{Dir, include_dir};

/// One folder for each base, and one for the initramfs.
pub(crate) static OVERLAYS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../overlays");
