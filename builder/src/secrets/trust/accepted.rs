//! What the user of this workstation accepted of a site, and the site with it.

use super::key_set::KeySet;
use crate::site::Site;
use keys::signature::PublicKey;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;

/// The keys of a site that the user of this workstation accepted; `site.toml` has the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The accepted keys.
    pub keys: KeySet,
    /// Keys that signed for the site in the past. Only the generations of seals that they signed still count.
    pub former_signers: Vec<PublicKey>,
    /// The folder beside the private keys in which the accepted keys are stored.
    pub folder: PathBuf,
    // Not public, so that only `trust` can mark keys as accepted.
    pub(super) is_first_use: bool,
}

impl Accepted {
    /// Keys treated as accepted, to find the other differences of a site.
    pub(super) fn at(folder: PathBuf, keys: KeySet) -> Self {
        Self { former_signers: keys.former_signers.clone(), keys, folder, is_first_use: false }
    }

    /// Whether they were stored by this command, because the site has only this workstation's own keys.
    #[must_use]
    pub fn is_first_use(&self) -> bool {
        self.is_first_use
    }
}

/// A site, and the keys that the user accepted for it: none if nothing was accepted, or if they were not looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteAndKeys {
    site: Site,
    // Not public, for the same reason.
    accepted: Option<Arc<Accepted>>,
}

impl SiteAndKeys {
    pub(super) fn new(site: Site, accepted: Option<Accepted>) -> Self {
        Self { site, accepted: accepted.map(Arc::new) }
    }

    /// The keys that the user accepted.
    #[must_use]
    pub fn accepted(&self) -> Option<&Arc<Accepted>> {
        self.accepted.as_ref()
    }
}

/// The site as its files are: the accepted keys were not looked up.
impl From<Site> for SiteAndKeys {
    fn from(site: Site) -> Self {
        Self { site, accepted: None }
    }
}

impl Deref for SiteAndKeys {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for SiteAndKeys {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}
