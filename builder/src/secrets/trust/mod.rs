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

/// The file in a site with the accepted keys.
pub const TRUST_FILE: &str = "trust.toml";
/// The file with its signature.
pub const TRUST_SIGNATURE: &str = "trust.toml.minisig";

/// The keys of a site that the user of this workstation accepted; `site.toml` has the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The accepted keys.
    pub keys: KeySet,
    /// Keys that signed for the site in the past. Only the generations of seals that they signed still count.
    pub former_signers: Vec<PublicKey>,
    /// The folder beside the private keys in which the accepted keys are stored.
    pub folder: PathBuf,
    // Private, so that only this module can mark keys as accepted.
    is_first_use: bool,
}

impl Accepted {
    /// Keys treated as accepted, to find the other differences of a site.
    fn at(folder: PathBuf, keys: KeySet) -> Self {
        Self { former_signers: keys.former_signers.clone(), keys, folder, is_first_use: false }
    }

    /// Whether they were stored by this command, because the site has only this workstation's own keys.
    #[must_use]
    pub fn is_first_use(&self) -> bool {
        self.is_first_use
    }
}

/// Returns an error if there is any difference.
pub fn refuse(site: &Site, differences: Vec<Difference>) -> Result<(), TrustError> {
    if differences.is_empty() { Ok(()) } else { Err(TrustError::differs(site, differences)) }
}

/// Adds the accepted set to `site`, if there is one. Every difference from it is an error. So is a site of which
/// nothing was accepted, if the user accepted keys of other sites: otherwise a committer could change the id to have
/// the site checked with the committer's own keys.
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

/// The same before private keys are used: there must be an accepted set. A site that has only this workstation's own
/// keys is accepted at its first use.
pub fn settle(mut site: Site, at: &Locations, own: &OwnPublicKeys) -> Result<Site, TrustError> {
    let mut review = review(&site, at)?;
    if review.accepted.is_none() {
        // Own keys are not enough if they are known as those of another site.
        let known = place::others_beside_keys(&site.id, at)?;
        if !known.is_empty() {
            return Err(TrustError::other_site(&site, known));
        }
        let keys = review.site_keys.only(own);
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

/// Accepts the keys of a new site, which was made with the keys below `config`, and writes them into it.
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

/// Writes the accepted set into the site, signed, if the site does not have it yet.
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
    // If interrupted in between, the old file has a signature that does not fit; this is reported, and the command can
    // be repeated.
    site.folder.write(TRUST_SIGNATURE, signature.as_bytes(), 0o644)?;
    Ok(site.folder.write(TRUST_FILE, text.as_bytes(), 0o644)?)
}

#[cfg(test)]
mod tests;
