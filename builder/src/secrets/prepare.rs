//! The whole way from a site to what a node's image needs of secrets: credentials, keys, the current seal.
//!
//! `build-image` and `mksecrets` both begin here, so that they cannot differ.

use crate::error::Error;
use crate::secrets::credentials::{Credentials, Locations};
use crate::secrets::node_keys;
use crate::secrets::partition::write_partition;
use crate::secrets::seal::{NodeSeal, current_seal};
use crate::site::{Node, Site};
use handoff::name::Name;
use std::path::Path;

/// A node whose secrets are ready.
#[derive(Debug)]
pub struct Prepared {
    /// The site as it is now: a node's public key may have been written into it.
    pub site: Site,
    /// The node.
    pub node: Name,
    /// The private keys that were used.
    pub credentials: Credentials,
    /// The node's current seal.
    pub seal: NodeSeal,
    /// Whether keys of the node were made just now.
    pub keys_made: bool,
}

/// Gives the node the keys that it lacks, and a seal if the kept one is not current.
pub fn prepare(site: Site, node: &str, at: &Locations) -> Result<Prepared, Error> {
    let name = site.node(node)?.name.clone();
    let credentials = Credentials::load(&site, at)?;
    let (site, keys_made) = node_keys::ensure(site, &name, &credentials.identity)?;
    let seal = current_seal(&site, site.node(name.as_str())?, &credentials)?;
    Ok(Prepared { site, node: name, credentials, seal, keys_made })
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
