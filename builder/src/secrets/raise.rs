//! Raising the lowest generation or release that a site's systems and seals accept, so that nodes refuse older ones.
//!
//! The keys for new seals are opened first, because a floor cannot be lowered. Then the floor is written, and new seals
//! are made for it: after an interruption in between, the next build or `psyops seal` makes those that are missing.

use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::secrets::credentials::{Credentials, Locations, trusted_keys};
use crate::secrets::node_notes::{Floors, NodeNotes};
use crate::secrets::prepare::SiteLock;
use crate::secrets::seal::refuse_jump;
use crate::site::{InitError, Site, SiteError, set_least_generation, set_security_epoch};
use handoff::name::Name;
use keys::seal::UnverifiedSeal;
use keys::seal::header::{Generation, Header};
use std::collections::BTreeSet;
use std::io;

/// What is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Raise {
    /// The least generation: systems that are built from now on refuse all seals made until now
    #[value(name = "serial", alias = "generation")]
    Generation,
    /// The least release: seals that are made from now on refuse all releases built until now
    Release,
}

/// A number in the site that was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// The key in the site's file.
    pub key: &'static str,
    /// The node with that file; `None` for `site.toml`.
    pub node: Option<Name>,
    /// The number before; 0 if there was none.
    pub from: u64,
    /// The number now.
    pub to: u64,
}

/// Why a floor could not be raised.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum RaiseError {
    /// The site's file could not be changed.
    #[error(transparent)]
    Site(#[from] InitError),
    /// The user named nodes, but the least release is the same for all nodes.
    #[error("--raise release works only for all nodes of a site at once")]
    ReleaseOfSomeNodes,
    /// The number cannot be higher.
    #[error("{key} of the site {site} is {number}, the highest possible number")]
    Highest {
        /// The key in the site's file.
        key: &'static str,
        /// The id of the site.
        site: Name,
        /// The present number.
        number: u64,
    },
}

impl Classified for RaiseError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::ReleaseOfSomeNodes => Class::Refused,
            Self::Highest { .. } => Class::BadContent,
            Self::Site(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::ReleaseOfSomeNodes => Some(format!("add --all: {}", psyops("seal --all --raise release"))),
            _ => None,
        }
    }
}

/// Raises the floor `what` in the site: for these nodes, or for all if `nodes` is `None`. `at` has the paths of the
/// private keys; the accepted keys and the notes are beside them.
pub fn raise(
    site: &Site,
    nodes: Option<&[String]>,
    what: Raise,
    at: &Locations,
) -> Result<Vec<Raised>, Error> {
    let (_exclusive, site) = SiteLock::with(site)?;
    // A mistyped name is found before asking for passphrases, and a node that is named twice is raised once.
    let nodes = nodes.map(|names| names.iter().map(|name| Ok(&site.node(name)?.name)));
    let nodes: Option<BTreeSet<&Name>> = nodes.map(Iterator::collect::<Result<_, SiteError>>).transpose()?;
    if what == Raise::Release && nodes.is_some() {
        return Err(RaiseError::ReleaseOfSomeNodes.into());
    }
    let known = known(&site, at)?;
    let raised = match (what, nodes) {
        (Raise::Generation, None) => raise_generation(&site, None, &known).map(|raised| vec![raised]),
        (Raise::Generation, Some(nodes)) => {
            nodes.into_iter().map(|node| raise_generation(&site, Some(node), &known)).collect()
        }
        (Raise::Release, _) => raise_release(&site, &known).map(|raised| vec![raised]),
    };
    // Noted even if only some floors were raised, or if the seals cannot be made afterwards, so that these floors
    // cannot be lowered without being noticed.
    if let Some(accepted) = &known.site.accepted {
        NodeNotes::note(accepted, Some(&Floors::of(&Site::load(&site.dir)?)), [])?;
    }
    raised
}

/// The keys that count for the site, and the generations that this workstation used.
struct Known {
    site: Site,
    notes: NodeNotes,
}

fn known(site: &Site, at: &Locations) -> Result<Known, Error> {
    let (site, _) = Credentials::load(site.clone(), at)?;
    let notes = site.accepted.as_deref().map(NodeNotes::of).transpose()?.unwrap_or_default();
    Ok(Known { site, notes })
}

/// One above the highest generation of any seal of these nodes, so that every one of them is below.
fn raise_generation(site: &Site, node: Option<&Name>, known: &Known) -> Result<Raised, Error> {
    let floors = site.floors();
    let mut highest = 0;
    for node in site.nodes().map(|known| &known.name).filter(|one| node.is_none_or(|name| *one == name)) {
        highest = highest.max(known.highest_generation(node)?).max(floors.for_node(node));
    }
    let key = "least-serial";
    let from = node.map_or(floors.for_all(), |name| floors.for_node(name));
    // Site files have TOML's integers, which are signed.
    let to = highest.checked_add(1).filter(|generation| i64::try_from(*generation).is_ok());
    let to = to.ok_or_else(|| RaiseError::Highest { key, site: site.id.clone(), number: highest })?;
    set_least_generation(site, node, to).map_err(RaiseError::from)?;
    Ok(Raised { key, node: node.cloned(), from, to })
}

/// One above the site's own epoch and those in stored seals, in case the site's epoch was lowered.
fn raise_release(site: &Site, known: &Known) -> Result<Raised, Error> {
    let key = "security-epoch";
    let from = site.security_epoch;
    let mut highest = from;
    for node in site.nodes() {
        highest = highest.max(known.kept(&node.name)?.map_or(0, |kept| kept.security_epoch));
    }
    let last = || RaiseError::Highest { key, site: site.id.clone(), number: highest.into() };
    let to = highest.checked_add(1).ok_or_else(last)?;
    set_security_epoch(site, to).map_err(RaiseError::from)?;
    Ok(Raised { key, node: None, from: from.into(), to: to.into() })
}

impl Known {
    /// The highest generation of a node's seals: that of the stored one, or of one that was made here and is gone now.
    fn highest_generation(&self, node: &Name) -> Result<u64, Error> {
        let (kept, noted) = (self.kept(node)?.map(|header| header.generation), self.notes.generation(node));
        if let Some(kept) = kept {
            refuse_jump(&self.site.seal_file(node), node, kept, noted)?;
        }
        Ok(kept.max(noted).map_or(0, Generation::number))
    }

    /// The header of a node's stored seal; `None` if there is none, or none that the site signed: such a seal does not
    /// count.
    fn kept(&self, node: &Name) -> Result<Option<Header>, Error> {
        let bytes = match self.site.folder.read(Site::seal_name(node)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SiteError::Read { path: self.site.seal_file(node), source }.into()),
        };
        let trusted = trusted_keys(&self.site)?;
        let verified = UnverifiedSeal::parse(&bytes).and_then(|seal| seal.verify(&trusted, &self.site.id));
        Ok(verified.ok().map(|seal| seal.header().clone()))
    }
}
