//! Which keys count for a site on this workstation.
//!
//! `site.toml` is a wish: whoever can commit to the site can write it. What counts is the set that the user accepted, which
//! is stored beside the private keys (`SITE.trust.toml`) and, for the other workstations, in the site as `trust.toml` with
//! a signature. Wherever one of the three differs from another, the command refuses; `psyops trust accept KEY` is how the
//! user changes the accepted set. Why it is so: docs/decisions/pinned-trust.md.
//!
//! A workstation on which nothing was accepted (as in CI, which has no private keys) can only verify, and verifies with
//! what the site itself says.

mod accept;
mod differences;
mod error;
mod floors;
mod host_key;
mod key_set;
mod node_key;
mod place;
mod review;

pub use accept::{Acceptance, accept, accept_typed, open};
pub use differences::{Change, Difference, Origin, Role};
pub use error::TrustError;
pub use host_key::{Witness, check_host_keys, host_key_of, unknown_host_keys};
pub use key_set::KeySet;
pub use node_key::{check_node_keys, unknown_node_keys};
pub use place::ACCEPTED_ENDING;
pub use review::{Review, Signed, review, review_with_nodes};

use crate::secrets::credentials::{CredentialError, Credentials, Locations, OwnPublicKeys};
use crate::secrets::node_notes::NodeNotes;
use crate::secrets::passphrase::Passphrases;
use crate::site::{ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE, Site};
use keys::issue::signing::SigningKey;
use keys::signature::PublicKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The accepted set, as a file of the site.
pub const TRUST_FILE: &str = "trust.toml";
/// Its signature.
pub const TRUST_SIGNATURE: &str = "trust.toml.minisig";

/// The keys of a site that the user of this workstation accepted; `site.toml` says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The keys.
    pub keys: KeySet,
    /// Keys that signed for the site in the past. Only the serials of seals that they signed are still believed.
    pub former_signers: Vec<PublicKey>,
    /// The folder beside the private keys in which they are stored.
    pub folder: PathBuf,
    // Private, so that only this module can call keys accepted.
    is_first_use: bool,
}

impl Accepted {
    /// Keys as if they were accepted, to find out in what else a site differs.
    fn at(folder: PathBuf, keys: KeySet) -> Self {
        Self { former_signers: keys.former_signers.clone(), keys, folder, is_first_use: false }
    }

    /// Whether they were stored just now, because the site names this workstation's keys and no others.
    #[must_use]
    pub fn is_first_use(&self) -> bool {
        self.is_first_use
    }
}

/// Any of these differences is an error.
pub fn refuse(site: &Site, differences: Vec<Difference>) -> Result<(), TrustError> {
    if differences.is_empty() { Ok(()) } else { Err(TrustError::differs(site, differences)) }
}

/// Gives `site` the accepted set, if there is one. Every difference from it is an error, and so is a site of which nothing
/// was accepted, where the user accepted keys of others: a committer who changes the id must not get judged by his own keys.
pub fn check(mut site: Site, at: &Locations) -> Result<Site, TrustError> {
    let review = review(&site, at)?;
    if review.accepted.is_none() {
        let known = place::others(&site.id, at)?;
        if !known.is_empty() {
            return Err(TrustError::other_site(&site, known));
        }
    }
    review.check(&site)?;
    site.accepted = review.into_accepted().map(Arc::new);
    Ok(site)
}

/// The same, where private keys are about to be used: there must be an accepted set. A site that names this workstation's
/// own keys and no others is accepted at its first use.
pub fn settle(mut site: Site, at: &Locations, own: &OwnPublicKeys) -> Result<Site, TrustError> {
    let mut review = review(&site, at)?;
    if review.accepted.is_none() {
        // That keys are this workstation's own proves nothing, where they are known as those of another site.
        let known = place::others_beside_keys(&site.id, at)?;
        if !known.is_empty() {
            return Err(TrustError::other_site(&site, known));
        }
        let keys = review.wish.only(own);
        review.accept_first(place::new_folder(&site.id, at)?, keys);
        review.check(&site)?;
        if let Some(accepted) = &review.accepted {
            place::write(&accepted.folder, &accepted.keys)?;
        }
    }
    review.check(&site)?;
    site.accepted = review.into_accepted().map(Arc::new);
    Ok(site)
}

/// Accepts the keys of a site that was made just now with the keys below `config`, and writes them into it.
pub fn accept_new_site(
    site: Site,
    config: &Path,
    passphrases: &Passphrases,
) -> Result<Site, CredentialError> {
    let folder = config.join(site.id.as_str());
    let at = Locations {
        identity: Some(folder.join(ADMIN_IDENTITY_FILE)),
        signing_key: Some(folder.join(SIGNING_KEY_FILE)),
        passphrases: passphrases.clone(),
    };
    let (site, credentials) = Credentials::load(site, &at)?;
    publish_if_missing(&site, &credentials.signing)?;
    Ok(site)
}

/// Writes the accepted set into the site, signed, where the site does not have it yet.
pub fn publish_if_missing(site: &Site, key: &SigningKey) -> Result<bool, TrustError> {
    let Some(accepted) = &site.accepted else { return Ok(false) };
    let read = |source| TrustError::Read { path: site.dir.join(TRUST_FILE), source };
    if site.folder.kind(TRUST_FILE).map_err(read)?.is_some() {
        return Ok(false);
    }
    publish(site, &accepted.keys, key)?;
    Ok(true)
}

fn publish(site: &Site, keys: &KeySet, key: &SigningKey) -> Result<(), TrustError> {
    let text = keys.to_text()?;
    let signature = key.sign(text.as_bytes(), &format!("psyopsOS trusted keys, site {}", site.id))?;
    // Cut off between the two, the old file has a signature that does not fit, which is reported and can be repeated.
    site.folder.write(TRUST_SIGNATURE, signature.as_bytes(), 0o644)?;
    Ok(site.folder.write(TRUST_FILE, text.as_bytes(), 0o644)?)
}

#[cfg(test)]
mod tests;
