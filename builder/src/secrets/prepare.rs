//! All steps from a site to the secrets of its nodes' images: credentials, keys, and current seals.
//!
//! `build-image`, `mksecrets` and `psyops seal` all begin here, so that they do the same.

use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::parallel;
use crate::secrets::credentials::{Credentials, Locations};
use crate::secrets::key_guard::KeyGuard;
use crate::secrets::node_keys;
use crate::secrets::node_notes::{Floors, NodeNote, NodeNotes};
use crate::secrets::partition::write_partition;
use crate::secrets::seal::{NodeSeal, SealRequest, current_seal};
use crate::secrets::trust::{self, TrustError};
use crate::site::{Node, Site, SiteError};
use handoff::loader_config::LoaderConfig;
use handoff::name::Name;
use keys::seal::{NotAccepted, UnverifiedSeal};
use keys::signature::PublicKey;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A node with keys and a current seal.
#[derive(Debug)]
pub struct Prepared {
    /// The site as it is now: public keys of nodes may have been added to its files.
    pub site: Arc<Site>,
    /// The name of the node.
    pub node: Name,
    /// The private keys that were used.
    pub credentials: Arc<Credentials>,
    /// The guard against private keys in files that are packed.
    pub guard: Arc<KeyGuard>,
    /// The node's current seal.
    pub seal: NodeSeal,
    /// Whether keys of the node were made by this command.
    pub keys_made: bool,
    /// Whether this command wrote the accepted keys into the site (`trust.toml`).
    pub trust_published: bool,
}

/// An exclusive lock on a site: while it exists, no other process makes keys or seals, as two at once would give a node
/// two keys.
pub(super) struct SiteLock(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl SiteLock {
    /// Waits for other processes, and reads the site again, because they may have changed it.
    pub(super) fn with(site: &Site) -> Result<(Self, Site), Error> {
        let locked = File::open(&site.dir).and_then(|folder| folder.lock().map(|()| folder));
        let locked = locked.map_err(|source| SiteError::Read { path: site.dir.clone(), source })?;
        Ok((Self(locked), Site::load(&site.dir)?))
    }
}

/// Makes the keys that the node lacks, and a seal if the stored one is not current.
pub fn prepare(site: &Site, node: &str, at: &Locations) -> Result<Prepared, Error> {
    // One name gives one node, or an error above.
    prepare_all(site, [node], at)?.pop().ok_or_else(|| NothingPrepared.into())
}

/// The user named no node, so none was prepared.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("no node was named; add --node NAME or --all")]
struct NothingPrepared;

impl Classified for NothingPrepared {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }
}

/// The same for several nodes, in order, each once.
pub fn prepare_all<'n>(
    site: &Site,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
) -> Result<Vec<Prepared>, Error> {
    prepare_all_as_requested(site, nodes, at, SealRequest::default())
}

/// The same with further options for the seals.
pub fn prepare_all_as_requested<'n>(
    site: &Site,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
    request: SealRequest,
) -> Result<Vec<Prepared>, Error> {
    let (_exclusive, site) = SiteLock::with(site)?;
    // A mistyped name is reported before asking for passphrases.
    let nodes: Vec<Name> =
        nodes.into_iter().map(|node| Ok(site.node(node)?.name.clone())).collect::<Result<_, SiteError>>()?;
    let (mut site, credentials) = Credentials::load(site, at)?;
    let trust_published = trust::publish_if_missing(&site, &credentials.signing)?;
    let mut names: Vec<(Name, node_keys::Made)> = Vec::new();
    for name in nodes {
        if names.iter().any(|(known, _)| *known == name) {
            continue;
        }
        // One after the other, because each may change the site.
        let made;
        (site, made) = node_keys::ensure(site, &name, &credentials.identity)?;
        names.push((name, made));
    }
    let made = names.iter().map(|(name, made)| {
        (name, NodeNote { key: made.identity.clone(), host_key: made.host_key.clone(), generation: None })
    });
    let accepted =
        site.accepted.clone().ok_or_else(|| TrustError::NothingAccepted { site: site.id.clone() })?;
    let known = NodeNotes::note(&accepted, None, made)?;
    let nodes = || names.iter().map(|(name, _)| name);
    trust::check_node_keys(&site, &accepted, &known, nodes())?;
    trust::check_host_keys(&site, &accepted, &known, &credentials.identity, nodes())?;
    let guard = Arc::new(KeyGuard::new(&site, at, &credentials));
    let (site, credentials) = (Arc::new(site), Arc::new(credentials));
    let floors = Some(Floors::of(&site));
    let prepared = parallel::each(&names, |(name, made)| {
        let last = known.generation(name);
        let seal = current_seal(&site, site.node(name.as_str())?, &credentials, &guard, last, request)?;
        let (site, credentials) = (Arc::clone(&site), Arc::clone(&credentials));
        let guard = Arc::clone(&guard);
        let (node, keys_made) = (name.clone(), made.anything);
        Ok::<_, Error>(Prepared { site, node, credentials, guard, seal, keys_made, trust_published })
    })?;
    let sealed = prepared.iter().map(|one| {
        let header = one.seal.opened.header();
        let (generation, key) = (Some(header.generation), Some(header.recipient.clone()));
        (&one.node, NodeNote { generation, key, host_key: trust::host_key_of(&one.seal.opened) })
    });
    NodeNotes::note(&accepted, floors.as_ref(), sealed)?;
    Ok(prepared)
}

/// A node would not start with its new seal and system.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("node {node} would not start: {problem}")]
pub struct NotAcceptedByOwnSystem {
    /// The name of the node.
    pub node: Name,
    /// The node's own reason for refusing them.
    pub problem: Box<NotAccepted>,
}

impl Classified for NotAcceptedByOwnSystem {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Refused)
    }

    fn own_advice(&self) -> Option<String> {
        let again = psyops(&format!("seal --node {}", self.node));
        Some(format!("the site changed in the meantime; make its seal again: {again}"))
    }
}

impl Prepared {
    /// Checks the node's seal against its system, as the node does at each start.
    pub fn check_system(&self, system: &LoaderConfig) -> Result<(), Error> {
        let keys: Vec<PublicKey> = system.signing_keys.iter().filter_map(|key| key.parse().ok()).collect();
        let seal = UnverifiedSeal::parse(&self.seal.bytes).and_then(|seal| seal.verify(&keys, &system.site));
        let accepted = seal.map_err(NotAccepted::from).and_then(|seal| seal.accepted_by(system));
        let node = self.node.clone();
        accepted.map_err(|problem| NotAcceptedByOwnSystem { node, problem: Box::new(problem) })?;
        Ok(())
    }

    /// The node in the site.
    pub fn node(&self) -> Result<&Node, Error> {
        Ok(self.site.node(self.node.as_str())?)
    }

    /// Writes the node's secret partition to the file `image`, with the node's key from the store or from `key`.
    pub fn write_partition(&self, key: Option<&Path>, size: u64, image: &Path) -> Result<(), Error> {
        let node = self.node()?;
        Ok(write_partition(&self.site, node, &self.seal, &self.credentials, key, size, image)?)
    }
}
