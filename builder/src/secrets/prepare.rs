//! All steps from a site to the secrets of its nodes' images: credentials, keys, and current seals.
//!
//! `build-image`, `mksecrets` and `psyops seal` all begin here, so that they do the same: read, decide, write. The site is
//! read once, before; nothing of it is written before the last decision is made ([`super::pending`]).

use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::parallel;
use crate::secrets::credentials::{Credentials, Locations, secret_store};
use crate::secrets::key_guard::KeyGuard;
use crate::secrets::node_keys::{self, Made, NodeKeys};
use crate::secrets::node_notes::{NodeNote, NodeNotes};
use crate::secrets::partition::write_partition;
use crate::secrets::pending::Pending;
use crate::secrets::raise::{RaiseRequest, Raised};
use crate::secrets::seal::{NodeSeal, SealRequest, current_seal};
use crate::secrets::trust::{self, SiteAndKeys, TrustError};
use crate::site::{LockedSite, Node, Site, SiteEdits, SiteError};
use handoff::loader_config::LoaderConfig;
use handoff::name::Name;
use keys::identity::NodeIdentity;
use keys::seal::{NotAccepted, UnverifiedSeal};
use keys::signature::{BadPublicKey, PublicKey};
use std::path::Path;
use std::sync::Arc;

/// A node with keys and a current seal.
#[derive(Debug)]
pub struct Prepared {
    /// The site with all that was written into it: public keys of nodes may have been added to its files.
    pub site: Arc<SiteAndKeys>,
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

/// The keys of these nodes are opened, and those that they lack are made, and a seal where the stored one is not current;
/// with `raise`, floors are raised first. Returns the nodes in order, each once, and what was raised.
///
/// Either everything is written or, if anything is refused, nothing.
pub fn prepare<'n>(
    site: LockedSite,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
    request: SealRequest,
    raise: Option<RaiseRequest<'_>>,
) -> Result<(Vec<Prepared>, Vec<Raised>), Error> {
    let (site, _lock) = site.into_parts();
    let names = distinct_names(&site, nodes)?;
    if let Some(raise) = &raise {
        raise.check(&site)?;
    }
    let SealRequest { untrusted, .. } = request;
    let (mut site, credentials) = Credentials::load(site, at, untrusted)?;
    let accepted =
        site.accepted().cloned().ok_or_else(|| TrustError::NothingAccepted { site: site.id.clone() })?;
    let trust = trust::unpublished(&site, &credentials.signing)?;
    let mut known = NodeNotes::of(&accepted)?;
    let mut edits = SiteEdits::default();
    let raised = match &raise {
        Some(raise) => raise.decide(&mut site, &mut edits, &known, untrusted)?,
        None => Vec::new(),
    };
    let store = secret_store(&site)?;
    let mut nodes: Vec<(Name, NodeKeys)> = Vec::new();
    for name in names {
        let keys = NodeKeys::of(&store, &site, &name, &credentials.identity)?;
        if let Some(recipient) = &keys.new_recipient {
            edits.set_recipient(&mut site, &name, &recipient.to_string())?;
        }
        let Made { identity, host_key, .. } = keys.made.clone();
        known.add(&name, NodeNote { key: identity, host_key, generation: None });
        nodes.push((name, keys));
    }
    let pairs = || nodes.iter().map(|(name, keys)| (name, keys));
    trust::check_node_keys(&site, &accepted, &known, untrusted, pairs())?;
    trust::check_host_keys(&site, &accepted, &known, &credentials.identity, untrusted, pairs())?;
    let guard = Arc::new(KeyGuard::new(&site, at, &credentials));
    let (site, credentials) = (Arc::new(site), Arc::new(credentials));
    let prepared = parallel::each(&nodes, |(name, keys)| {
        let (last, node) = (known.generation(name), site.node(name.as_str())?);
        let seal = current_seal(&site, node, &credentials, &keys.host_key, &guard, last, request)?;
        let (site, credentials) = (Arc::clone(&site), Arc::clone(&credentials));
        let (guard, node, keys_made) = (Arc::clone(&guard), name.clone(), keys.made.anything);
        let trust_published = trust.is_some();
        Ok::<_, Error>(Prepared { site, node, credentials, guard, seal, keys_made, trust_published })
    })?;
    let news = prepared.iter().map(|one| {
        let header = one.seal.opened.header();
        let (generation, key) = (Some(header.generation), Some(header.recipient.clone()));
        (&one.node, NodeNote { generation, key, host_key: trust::host_key_of(&one.seal.opened) })
    });
    let pending = Pending {
        accepted: &accepted,
        notes: news.collect(),
        trust: trust.as_ref(),
        keys: pairs().collect(),
        edits: &edits,
        seals: prepared.iter().map(|one| (&one.node, &one.seal)).collect(),
    };
    pending.write(&site)?;
    Ok((prepared, raised))
}

/// The same for one node, with the usual seal.
pub fn prepare_one(site: LockedSite, node: &str, at: &Locations) -> Result<Prepared, Error> {
    let (mut all, _) = prepare(site, [node], at, SealRequest::default(), None)?;
    // One name gives one node, or an error above.
    all.pop().ok_or_else(|| NothingPrepared.into())
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

/// The names of these nodes, each once. A mistyped one is reported before anything is asked.
fn distinct_names<'n>(site: &Site, nodes: impl IntoIterator<Item = &'n str>) -> Result<Vec<Name>, SiteError> {
    let mut names: Vec<Name> = Vec::new();
    for node in nodes {
        let name = &site.node(node)?.name;
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
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

/// A system of this builder trusts a key that is not one, so its node would accept no seal.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("node {node} would not start: its system trusts a key that is not valid: {problem}")]
pub struct BadSystemKey {
    /// The name of the node.
    pub node: Name,
    /// What is wrong with the key.
    pub problem: BadPublicKey,
}

impl Classified for BadSystemKey {
    fn own_class(&self) -> Option<Class> {
        Some(Class::BadContent)
    }
}

impl Prepared {
    /// Checks the node's seal against its system, as the node does at each start.
    pub fn check_system(&self, system: &LoaderConfig) -> Result<(), Error> {
        let keys = system.signing_keys.iter().map(|key| key.parse()).collect::<Result<Vec<PublicKey>, _>>();
        let keys = keys.map_err(|problem| BadSystemKey { node: self.node.clone(), problem })?;
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

    /// What the command did about the site's accepted keys, a line each.
    #[must_use]
    pub fn told_of_trust(&self) -> Vec<String> {
        let published = self.trust_published;
        let published =
            published.then(|| "signed trust.toml with the accepted keys: commit it with the site".to_owned());
        trust::first_use(&self.site).into_iter().chain(published).collect()
    }

    /// The node's key, from the store or from the file `key`.
    pub fn identity(&self, key: Option<&Path>) -> Result<NodeIdentity, Error> {
        Ok(node_keys::identity(
            &secret_store(&self.site)?,
            &self.site,
            &self.node,
            &self.credentials.identity,
            key,
        )?)
    }

    /// Writes the node's secret partition, with the node's key, to the file `image`.
    pub fn write_partition(&self, identity: &NodeIdentity, size: u64, image: &Path) -> Result<(), Error> {
        Ok(write_partition(&self.site, self.node()?, &self.seal, identity, size, image)?)
    }
}
