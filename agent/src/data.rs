//! The `data` partition: files that outlive a reboot, on nodes that mount one.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Whether a separate file system is mounted at `folder`, and only root can write to its top folder.
pub(crate) fn is_mounted_for_root(folder: &Path) -> bool {
    let (Ok(facts), Some(Ok(above))) =
        (std::fs::symlink_metadata(folder), folder.parent().map(std::fs::symlink_metadata))
    else {
        return false;
    };
    facts.is_dir()
        && facts.dev() != above.dev()
        && facts.uid() == rustix::process::geteuid().as_raw()
        && facts.permissions().mode() & 0o022 == 0
}
