//! Which site is the default one: its name and its folder. `crate::default_site` makes it.

use super::SITE_FILE;
use std::path::{Path, PathBuf};

/// The id of the default site, and the name of its node.
pub const DEFAULT_NAME: &str = "demo";

/// The folder of the default site of a user with this folder for data.
#[must_use]
pub fn default_site_dir(data: &Path) -> PathBuf {
    data.join("default-site")
}

/// Whether the user has the default site, which is in this folder.
#[must_use]
pub fn has_default_site_in(data: &Path) -> bool {
    default_site_dir(data).join(SITE_FILE).exists()
}
