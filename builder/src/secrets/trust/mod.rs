//! The keys that count for a site on this workstation.
//!
//! `site.toml` is only a proposal: anyone who can commit to the site can write it. What counts is the set that the user
//! accepted. It is stored beside the private keys (`SITE.trust.toml`) and, for other workstations, in the site as
//! `trust.toml` with a signature. If one of the three differs from another, the command fails. The user changes the
//! accepted set with `psyops trust accept KEY`. The reasons are in docs/decisions/pinned-trust.md.
//!
//! A workstation on which nothing was accepted (as in CI, which has no private keys) can only verify, with the keys in
//! the site itself.

mod accept;
pub(super) mod accepted;
mod compare;
mod differences;
mod error;
mod floors;
mod host_key;
mod key_set;
mod node_key;
mod place;
mod review;

pub use accept::{Acceptance, accept, accept_typed, open};
pub use accepted::{Accepted, SiteAndKeys};
pub use differences::{Change, Difference, Role, TrustFile};
pub use error::TrustError;
pub use host_key::{Witness, check_host_keys, host_key_of, unknown_host_keys};
pub use key_set::KeySet;
pub use node_key::{check_node_keys, unknown_node_keys};
pub use place::ACCEPTED_ENDING;
pub use review::{Review, Signed, review, review_with_nodes};

use crate::atomic::AtomicError;
use crate::secrets::locations::Locations;
use crate::secrets::node_notes::NodeNotes;
use crate::secrets::own_keys::OwnPublicKeys;
use crate::secrets::stored_seal::UntrustedSeal;
use crate::site::Site;
use keys::issue::signing::SigningKey;

/// The file in a site with the accepted keys.
pub const TRUST_FILE: &str = "trust.toml";
/// The file with its signature.
pub const TRUST_SIGNATURE: &str = "trust.toml.minisig";

/// A sentence that a site was accepted at its first use; `None` if it was not.
#[must_use]
pub fn first_use(site: &SiteAndKeys) -> Option<String> {
    let accepted = site.accepted().filter(|accepted| accepted.is_first_use())?;
    Some(format!(
        "accepted the keys of the site {}, which are this workstation's own: {}",
        site.id,
        place::file(&accepted.folder, &site.id).display()
    ))
}

/// Returns an error if there is any difference.
pub fn refuse(site: &Site, differences: Vec<Difference>) -> Result<(), TrustError> {
    if differences.is_empty() { Ok(()) } else { Err(TrustError::differs(site, differences)) }
}

/// The site with the accepted set, if there is one. Every difference from it is an error. So is a site of which
/// nothing was accepted, if the user accepted keys of other sites: otherwise a committer could change the id to have
/// the site checked with the committer's own keys.
pub fn check(site: Site, at: &Locations) -> Result<SiteAndKeys, TrustError> {
    let review = review(&site, at)?;
    if review.accepted.is_none() {
        let known = place::others(&site.id, at)?;
        if !known.is_empty() {
            return Err(TrustError::other_site(&site, known));
        }
    }
    review.check(&site)?;
    Ok(SiteAndKeys::new(site, review.into_accepted()))
}

/// The same before private keys are used: there must be an accepted set. A site that has only this workstation's own
/// keys is accepted at its first use: `own` gets whether this is that, and returns those keys. Stored seals that cannot be
/// read do not count if the user wants them replaced.
pub fn settle<E: From<TrustError>>(
    site: Site,
    at: &Locations,
    untrusted: UntrustedSeal,
    own: impl FnOnce(bool) -> Result<OwnPublicKeys, E>,
) -> Result<SiteAndKeys, E> {
    let mut review = review(&site, at)?;
    if untrusted == UntrustedSeal::Replace {
        review.without_stored_seals();
    }
    let is_first = review.accepted.is_none();
    let own = own(is_first)?;
    if is_first {
        // Own keys are not enough if they are known as those of another site.
        let known = place::others_beside_keys(&site.id, at)?;
        if !known.is_empty() {
            return Err(TrustError::other_site(&site, known).into());
        }
        let keys = review.site_keys.only(&own);
        review.accept_first(place::new_folder(&site.id, at)?, keys);
    }
    review.check(&site)?;
    if let Some(accepted) = review.accepted.as_ref().filter(|_| is_first) {
        place::write(&accepted.folder, &accepted.keys)?;
    }
    Ok(SiteAndKeys::new(site, review.into_accepted()))
}

/// The accepted set in the form of `trust.toml`, signed, and not written yet.
#[derive(Debug)]
pub struct SignedKeys {
    text: String,
    signature: String,
}

/// The accepted set, signed, if the site does not have it yet.
pub fn unpublished(site: &SiteAndKeys, key: &SigningKey) -> Result<Option<SignedKeys>, TrustError> {
    let Some(accepted) = site.accepted() else { return Ok(None) };
    let read = |source| TrustError::Read { path: site.dir.join(TRUST_FILE), source };
    if site.folder.kind(TRUST_FILE).map_err(read)?.is_some() {
        return Ok(None);
    }
    SignedKeys::new(site, &accepted.keys, key).map(Some)
}

impl SignedKeys {
    fn new(site: &Site, keys: &KeySet, key: &SigningKey) -> Result<Self, TrustError> {
        let text = keys.to_text()?;
        let comment = format!("psyopsOS trusted keys, site {}", site.id);
        let signature = key.sign(text.as_bytes(), &comment)?;
        Ok(Self { text, signature })
    }

    /// Writes them into the site.
    pub fn write(&self, site: &Site) -> Result<(), AtomicError> {
        // If interrupted in between, the old file has a signature that does not fit; this is reported, and the command
        // can be repeated.
        site.folder.write(TRUST_SIGNATURE, self.signature.as_bytes(), 0o644)?;
        site.folder.write(TRUST_FILE, self.text.as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests;
