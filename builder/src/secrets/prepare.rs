//! The whole way from a site to what its nodes' images need of secrets: credentials, keys, the current seals.
//!
//! `build-image`, `mksecrets` and `psyops seal` all begin here, so that they cannot differ.

use crate::error::Error;
use crate::parallel;
use crate::secrets::credentials::{Credentials, Locations};
use crate::secrets::node_keys;
use crate::secrets::partition::write_partition;
use crate::secrets::seal::{NodeSeal, current_seal};
use crate::site::{Node, Site, SiteError};
use handoff::name::Name;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A node whose secrets are ready.
#[derive(Debug)]
pub struct Prepared {
    /// The site as it is now: nodes' public keys may have been written into it.
    pub site: Arc<Site>,
    /// The node.
    pub node: Name,
    /// The private keys that were used.
    pub credentials: Arc<Credentials>,
    /// The node's current seal.
    pub seal: NodeSeal,
    /// Whether keys of the node were made just now.
    pub keys_made: bool,
}

/// While it lives, no other process makes keys or seals of a site: two at once would give a node two keys.
pub(super) struct Alone(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl Alone {
    /// Waits for others, and reads the site again, because they may have changed it.
    pub(super) fn with(site: &Site) -> Result<(Self, Site), Error> {
        let locked = File::open(&site.dir).and_then(|folder| folder.lock().map(|()| folder));
        let locked = locked.map_err(|source| SiteError::Read { path: site.dir.clone(), source })?;
        Ok((Self(locked), Site::load(&site.dir)?))
    }
}

/// Gives the node the keys that it lacks, and a seal if the kept one is not current.
pub fn prepare(site: &Site, node: &str, at: &Locations) -> Result<Prepared, Error> {
    let (_alone, site) = Alone::with(site)?;
    let name = site.node(node)?.name.clone();
    let credentials = Credentials::load(&site, at)?;
    let (site, keys_made) = node_keys::ensure(site, &name, &credentials.identity)?;
    seal(&Arc::new(site), &Arc::new(credentials), &name, keys_made)
}

/// The same for several nodes, in their order, each once.
pub fn prepare_all<'n>(
    site: &Site,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
) -> Result<Vec<Prepared>, Error> {
    let (_alone, mut site) = Alone::with(site)?;
    let credentials = Arc::new(Credentials::load(&site, at)?);
    let mut names: Vec<(Name, bool)> = Vec::new();
    for node in nodes {
        let name = site.node(node)?.name.clone();
        if names.iter().any(|(known, _)| *known == name) {
            continue;
        }
        // One after the other: each may change the site.
        let keys_made;
        (site, keys_made) = node_keys::ensure(site, &name, &credentials.identity)?;
        names.push((name, keys_made));
    }
    let site = Arc::new(site);
    parallel::each(&names, |(name, keys_made)| seal(&site, &credentials, name, *keys_made))
}

fn seal(
    site: &Arc<Site>,
    credentials: &Arc<Credentials>,
    name: &Name,
    keys_made: bool,
) -> Result<Prepared, Error> {
    let seal = current_seal(site, site.node(name.as_str())?, credentials)?;
    let (site, credentials) = (Arc::clone(site), Arc::clone(credentials));
    Ok(Prepared { site, node: name.clone(), credentials, seal, keys_made })
}

impl Prepared {
    /// The node as the site has it.
    pub fn node(&self) -> Result<&Node, Error> {
        Ok(self.site.node(self.node.as_str())?)
    }

    /// Writes the node's secret partition as the file `image`, with the node's key from the store or from `key`.
    pub fn write_partition(&self, key: Option<&Path>, size: u64, image: &Path) -> Result<(), Error> {
        let node = self.node()?;
        Ok(write_partition(&self.site, node, &self.seal, &self.credentials, key, size, image)?)
    }
}
