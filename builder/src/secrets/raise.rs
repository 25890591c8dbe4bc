//! Raising the lowest generation or release that a site's systems and seals accept, so that nodes refuse older ones.
//!
//! The new seals are made before the floor is written, because a floor cannot be lowered: if a seal is refused, no floor
//! is raised. After an interruption between floor and seals, the next build or `psyops seal` makes those that are missing.

use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::secrets::node_notes::NodeNotes;
use crate::secrets::seal::refuse_jump;
use crate::secrets::stored_seal::{self, UntrustedSeal};
use crate::secrets::trust::{self, SiteAndKeys, TrustError};
use crate::site::{Site, SiteEdits, SiteError, SiteNumber};
use handoff::name::Name;
use keys::seal::header::{Generation, Header};
use std::collections::BTreeSet;

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
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::ReleaseOfSomeNodes => Some(format!("add --all: {}", psyops("seal --all --raise release"))),
            Self::Highest { .. } => None,
        }
    }
}

/// Which floor is to be raised.
#[derive(Debug, Clone, Copy)]
pub struct RaiseRequest<'r> {
    /// The floor.
    pub what: Raise,
    /// The nodes; `None` for all.
    pub nodes: Option<&'r [String]>,
}

impl RaiseRequest<'_> {
    /// Finds what is wrong with the request before the user is asked for passphrases.
    pub(super) fn check(&self, site: &Site) -> Result<(), Error> {
        self.names(site)?;
        if self.what == Raise::Release && self.nodes.is_some() {
            return Err(RaiseError::ReleaseOfSomeNodes.into());
        }
        Ok(())
    }

    /// The names of the nodes; one that was given twice is raised once.
    fn names(&self, site: &Site) -> Result<Option<BTreeSet<Name>>, SiteError> {
        let names = self.nodes.map(|names| names.iter().map(|name| Ok(site.node(name)?.name.clone())));
        names.map(Iterator::collect).transpose()
    }

    /// Decides the new floors: they are in `site` then, and for its files in `edits`.
    pub(super) fn decide(
        &self,
        site: &mut SiteAndKeys,
        edits: &mut SiteEdits,
        known: &NodeNotes,
        untrusted: UntrustedSeal,
    ) -> Result<Vec<Raised>, Error> {
        let nodes = self.names(site)?;
        match (self.what, nodes) {
            (Raise::Generation, None) => Ok(vec![raise_generation(site, edits, None, known, untrusted)?]),
            (Raise::Generation, Some(nodes)) => {
                nodes.iter().map(|node| raise_generation(site, edits, Some(node), known, untrusted)).collect()
            }
            (Raise::Release, _) => Ok(vec![raise_release(site, edits, untrusted)?]),
        }
    }
}

/// One above the highest generation of any seal of these nodes, so that every one of them is below.
fn raise_generation(
    site: &mut SiteAndKeys,
    edits: &mut SiteEdits,
    node: Option<&Name>,
    known: &NodeNotes,
    untrusted: UntrustedSeal,
) -> Result<Raised, Error> {
    let floors = site.floors();
    let mut highest = 0;
    for node in site.nodes().map(|one| &one.name).filter(|one| node.is_none_or(|name| *one == name)) {
        highest = highest.max(highest_generation(site, node, known, untrusted)?).max(floors.for_node(node));
    }
    let key = "least-serial";
    let from = node.map_or(floors.for_all(), |name| floors.for_node(name));
    let to = highest.checked_add(1).and_then(SiteNumber::new);
    let to = to.ok_or_else(|| RaiseError::Highest { key, site: site.id.clone(), number: highest })?;
    edits.set_least_generation(site, node, to)?;
    Ok(Raised { key, node: node.cloned(), from, to: to.number() })
}

/// One above the site's own epoch and those in stored seals, in case the site's epoch was lowered.
fn raise_release(
    site: &mut SiteAndKeys,
    edits: &mut SiteEdits,
    untrusted: UntrustedSeal,
) -> Result<Raised, Error> {
    let key = "security-epoch";
    let from = site.security_epoch;
    let mut highest = from;
    for node in site.nodes() {
        highest = highest.max(kept(site, &node.name, untrusted)?.map_or(0, |kept| kept.security_epoch));
    }
    let last = || RaiseError::Highest { key, site: site.id.clone(), number: highest.into() };
    let to = highest.checked_add(1).ok_or_else(last)?;
    edits.set_security_epoch(site, to)?;
    Ok(Raised { key, node: None, from: from.into(), to: to.into() })
}

/// The highest generation of a node's seals: that of the stored one, or of one that was made here and is gone now.
fn highest_generation(
    site: &SiteAndKeys,
    node: &Name,
    known: &NodeNotes,
    untrusted: UntrustedSeal,
) -> Result<u64, Error> {
    let (kept, noted) =
        (kept(site, node, untrusted)?.map(|header| header.generation), known.generation(node));
    if let Some(kept) = kept {
        let jump = refuse_jump(&site.seal_file(node), node, kept, noted);
        match jump {
            Err(_) if untrusted == UntrustedSeal::Replace => return Ok(noted.map_or(0, Generation::number)),
            other => other?,
        }
    }
    Ok(kept.max(noted).map_or(0, Generation::number))
}

/// The header of a node's stored seal; `None` if there is none, or if it was made under a former key or id of the site:
/// such a seal does not count.
fn kept(site: &SiteAndKeys, node: &Name, untrusted: UntrustedSeal) -> Result<Option<Header>, Error> {
    let Some(accepted) = site.accepted() else {
        return Err(TrustError::NothingAccepted { site: site.id.clone() }.into());
    };
    match stored_seal::verified(site, node, &accepted.keys.signers, &accepted.former_signers) {
        Ok(seal) => Ok(seal.map(|seal| seal.header().clone())),
        Err(_) if untrusted == UntrustedSeal::Replace => Ok(None),
        Err(bad) => {
            trust::refuse(site, vec![bad.into()])?;
            Ok(None)
        }
    }
}
