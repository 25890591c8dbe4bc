//! Reading the three sets of a site's keys: accepted, proposed (`site.toml`) and signed (`trust.toml`).

use super::compare::between;
use super::differences::{Difference, TrustFile, distinct};
use super::error::TrustError;
use super::key_set::KeySet;
use super::{
    Accepted, TRUST_FILE, TRUST_SIGNATURE, Witness, floors, place, unknown_host_keys, unknown_node_keys,
};
use crate::secrets::locations::Locations;
use crate::secrets::node_notes::NodeNotes;
use crate::site::Site;
use keys::signature::{self, PublicKey};
use std::io;
use std::path::{Path, PathBuf};

/// The state of `trust.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// The site has none, like sites of older versions.
    Missing,
    /// Its signature is not accepted, or it could not be read: why.
    Bad(String),
    /// Signed by this key, one of those that count.
    By(PublicKey, KeySet),
}

/// Everything that is known of a site's keys.
#[derive(Debug, Clone)]
pub struct Review {
    /// The keys that were accepted on this workstation, if any.
    pub accepted: Option<Accepted>,
    /// The keys in `site.toml`.
    pub site_keys: KeySet,
    /// The keys in `trust.toml`.
    pub signed: Signed,
    /// The differences between the site and the accepted keys; without accepted keys, those between its two files.
    pub differences: Vec<Difference>,
    /// The notes about the site's nodes on this workstation.
    pub(super) notes: NodeNotes,
    floors: Vec<Difference>,
    file: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
}

/// Compares the site with the accepted keys.
pub fn review(site: &Site, at: &Locations) -> Result<Review, TrustError> {
    let accepted = place::find(&site.id, at)?.map(|(folder, keys)| Accepted::at(folder, keys));
    Review::of(site, accepted)
}

/// The same including the keys of all nodes, for people: each stored seal is read.
pub fn review_with_nodes(site: &Site, at: &Locations) -> Result<Review, TrustError> {
    let mut review = review(site, at)?;
    if let Some(accepted) = &review.accepted {
        let mut all = std::mem::take(&mut review.differences);
        all.extend(unknown_node_keys(site, accepted, &review.notes));
        all.extend(unknown_host_keys(site, accepted, &review.notes, Witness::StoredSeal)?);
        review.differences = distinct(all);
    }
    Ok(review)
}

impl Review {
    fn of(site: &Site, accepted: Option<Accepted>) -> Result<Self, TrustError> {
        let notes = accepted.as_ref().map(NodeNotes::of).transpose()?.unwrap_or_default();
        let mut review = Self {
            accepted,
            floors: Vec::new(),
            notes,
            site_keys: KeySet::of_site(site)?,
            signed: Signed::Missing,
            differences: Vec::new(),
            file: read(site, TRUST_FILE)?,
            signature: read(site, TRUST_SIGNATURE)?,
        };
        review.signed = review.check_signature();
        if let Some(accepted) = &review.accepted {
            let (in_use, unreadable) = floors::noted(site, accepted, &review.former_signers(), &review.notes);
            review.floors = floors::differences(site, &in_use, &review.notes);
            review.floors.extend(unreadable);
        }
        review.compare();
        Ok(review)
    }

    /// The keys that signed for the site in the past, according to the accepted set and to `trust.toml`.
    pub(super) fn former_signers(&self) -> Vec<PublicKey> {
        let mut former =
            self.accepted.as_ref().map_or_else(Vec::new, |accepted| accepted.former_signers.clone());
        if let Signed::By(_, keys) = &self.signed {
            former.extend(keys.former_signers.iter().cloned());
        }
        former
    }

    /// Leaves out stored seals that cannot be read, because the user wants them replaced.
    pub(super) fn without_stored_seals(&mut self) {
        self.differences.retain(|difference| !matches!(difference, Difference::BadStoredSeal { .. }));
    }

    /// Continues with keys for a site of which nothing was accepted before.
    pub(super) fn accept_first(&mut self, folder: PathBuf, keys: KeySet) {
        self.accepted = Some(Accepted { keys, former_signers: Vec::new(), folder, is_first_use: true });
        self.compare();
    }

    /// The keys to compare with: the accepted ones, or else those in `site.toml`.
    fn measure(&self) -> &KeySet {
        self.accepted.as_ref().map_or(&self.site_keys, |accepted| &accepted.keys)
    }

    fn compare(&mut self) {
        self.signed = self.check_signature();
        let measure = self.measure();
        let mut differences = between(measure, &self.site_keys, TrustFile::Site);
        match &self.signed {
            Signed::Missing => {}
            Signed::Bad(problem) => differences.push(Difference::NotSigned { problem: problem.clone() }),
            Signed::By(_, keys) => differences.extend(between(measure, keys, TrustFile::Signed)),
        }
        differences.extend(self.floors.iter().cloned());
        self.differences = differences;
    }

    fn check_signature(&self) -> Signed {
        let Some(file) = &self.file else { return Signed::Missing };
        let signature = self.signature.as_deref().map(std::str::from_utf8);
        let Some(Ok(signature)) = signature else {
            return Signed::Bad("it has no signature (trust.toml.minisig)".into());
        };
        match signature::verify(file, signature, &self.measure().signers) {
            Err(problem) => Signed::Bad(problem.to_string()),
            Ok(key) => match KeySet::parse(Path::new(TRUST_FILE), file) {
                Ok(keys) => Signed::By(key.clone(), keys),
                Err(problem) => Signed::Bad(problem.to_string()),
            },
        }
    }

    /// Returns an error if there is any difference.
    pub(super) fn check(&self, site: &Site) -> Result<(), TrustError> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let differences = self.differences.clone();
        let is_first_use = self.accepted.as_ref().is_some_and(|accepted| accepted.is_first_use);
        Err(if is_first_use {
            TrustError::not_own(site, differences)
        } else {
            TrustError::differs(site, differences)
        })
    }

    /// The accepted keys, with the former signers that an accepted key vouches for.
    pub(super) fn into_accepted(self) -> Option<Accepted> {
        let former_signers = self.former_signers();
        Some(Accepted { former_signers, ..self.accepted? })
    }
}

/// Reads a file of the site, which may not exist.
fn read(site: &Site, name: &str) -> Result<Option<Vec<u8>>, TrustError> {
    match site.folder.read(name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TrustError::Read { path: site.dir.join(name), source }),
    }
}
