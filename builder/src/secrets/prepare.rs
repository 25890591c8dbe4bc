//! The whole way from a site to what its nodes' images need of secrets: credentials, keys, the current seals.
//!
//! `build-image`, `mksecrets` and `psyops seal` all begin here, so that they cannot differ.

use crate::error::{Class, Classified, Error};
use crate::parallel;
use crate::secrets::credentials::{Credentials, Locations};
use crate::secrets::node_keys;
use crate::secrets::partition::write_partition;
use crate::secrets::seal::{NodeSeal, Unbelieved, current_seal};
use crate::secrets::serials::Serials;
use crate::secrets::trust;
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
    /// Whether the accepted keys were written into the site just now (`trust.toml`).
    pub trust_published: bool,
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
    // One name gives one node, or an error above.
    prepare_all(site, [node], at)?.pop().ok_or_else(|| NothingPrepared.into())
}

/// No node was prepared, because none was named.
#[derive(Debug, thiserror::Error)]
#[error("no node was named")]
struct NothingPrepared;

impl Classified for NothingPrepared {
    fn class(&self) -> Class {
        Class::Failure
    }
}

/// The same for several nodes, in their order, each once.
pub fn prepare_all<'n>(
    site: &Site,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
) -> Result<Vec<Prepared>, Error> {
    prepare_all_or_replace(site, nodes, at, Unbelieved::Refuse)
}

/// The same, and what to do where the kept seal of a node cannot be believed.
pub fn prepare_all_or_replace<'n>(
    site: &Site,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
    unbelieved: Unbelieved,
) -> Result<Vec<Prepared>, Error> {
    let (_alone, site) = Alone::with(site)?;
    // A mistyped name is reported before keys are asked for.
    let nodes: Vec<Name> =
        nodes.into_iter().map(|node| Ok(site.node(node)?.name.clone())).collect::<Result<_, SiteError>>()?;
    let (mut site, credentials) = Credentials::load(site, at)?;
    let trust_published = trust::publish_if_missing(&site, &credentials.signing)?;
    let mut names: Vec<(Name, bool)> = Vec::new();
    for name in nodes {
        if names.iter().any(|(known, _)| *known == name) {
            continue;
        }
        // One after the other: each may change the site.
        let keys_made;
        (site, keys_made) = node_keys::ensure(site, &name, &credentials.identity)?;
        names.push((name, keys_made));
    }
    let (site, credentials) = (Arc::new(site), Arc::new(credentials));
    let serials = site.accepted.as_deref().map(Serials::of).transpose()?.unwrap_or_default();
    let prepared = parallel::each(&names, |(name, keys_made)| {
        let last = serials.last(name);
        let seal = current_seal(&site, site.node(name.as_str())?, &credentials, last, unbelieved)?;
        let (site, credentials) = (Arc::clone(&site), Arc::clone(&credentials));
        let (node, keys_made) = (name.clone(), *keys_made);
        Ok::<_, Error>(Prepared { site, node, credentials, seal, keys_made, trust_published })
    })?;
    if let Some(accepted) = &site.accepted {
        let made = prepared.iter().map(|one| (&one.node, one.seal.opened.header().serial));
        Serials::note(accepted, made)?;
    }
    Ok(prepared)
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
