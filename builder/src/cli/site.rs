//! The site of a command: found, read, and remembered for the messages that follow.

use crate::error::Error;
use crate::next_command::note_found_site;
use crate::site::{FoundBy, LockedSite, SITE_FILE, SITE_VARIABLE, Site, find_site};
use std::path::{Path, PathBuf};

/// The site that the user names with `--site`, or the one that is found without it.
pub fn load_site(named: Option<&Path>) -> Result<Site, Error> {
    Ok(Site::load(&find(named)?)?)
}

/// The same for a command that changes the site.
pub fn load_locked_site(named: Option<&Path>) -> Result<LockedSite, Error> {
    Ok(LockedSite::load(&find(named)?)?)
}

/// The folder of that site.
pub fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    let found = find_site(named)?;
    match found.by {
        FoundBy::Option => {}
        FoundBy::Variable => note_found_site(&found.dir, &format!("from {SITE_VARIABLE}")),
        FoundBy::CurrentFolder => note_found_site(&found.dir, "found from the current folder"),
    }
    Ok(found.dir)
}

/// The ways to let someone log in to the nodes of a site.
pub(super) fn how_to_let_in(site: &Site) -> String {
    format!(
        "in {}, add the line of a file *.pub to ssh-keys under [admin], or under [console] set login = \"password\" \
         with a password-hash, or login = \"shell\" for everyone at the console",
        site.dir.join(SITE_FILE).display()
    )
}
