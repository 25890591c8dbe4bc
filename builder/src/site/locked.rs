//! A site that one command changes: locked before it is read, so that what was read is still true when it is written.

use super::{Site, SiteError};
use std::fs::File;
use std::path::Path;

/// A site that no other process changes while this value exists: two commands that make keys or seals at once would give
/// a node two keys.
///
/// It is read once. Another process that waited for the lock reads what this one wrote.
#[derive(Debug)]
pub struct LockedSite {
    /// The site, as it was read under the lock.
    pub site: Site,
    lock: SiteLock,
}

/// The lock of a site, which ends with this value.
#[derive(Debug)]
pub(crate) struct SiteLock(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl LockedSite {
    /// Waits for other processes that change the site in `dir`, then reads it.
    pub fn load(dir: &Path) -> Result<Self, SiteError> {
        match File::open(dir).and_then(|folder| folder.lock().map(|()| folder)) {
            Ok(folder) => Ok(Self { site: Site::load(dir)?, lock: SiteLock(folder) }),
            // Reading says best what is wrong with a folder that cannot be opened.
            Err(source) => {
                let problem = Site::load(dir).err();
                Err(problem.unwrap_or_else(|| SiteError::Read { path: dir.to_owned(), source }))
            }
        }
    }

    /// The site, and the lock, which is to be kept until the last write.
    pub(crate) fn into_parts(self) -> (Site, SiteLock) {
        (self.site, self.lock)
    }
}
