//! `psyops trust accept`: the only way in which the accepted set changes.

use super::differences::{Difference, Origin};
use super::error::TrustError;
use super::key_set::KeySet;
use super::review::{Signed, review};
use super::{place, publish, unknown_node_keys};
use crate::secrets::credentials::{Locations, OwnKeys};
use crate::secrets::node_notes::{NodeNote, NodeNotes};
use crate::site::Site;
use keys::identity::Recipient;
use keys::signature::PublicKey;
use std::path::PathBuf;

/// What `psyops trust accept` did.
#[derive(Debug)]
pub struct Acceptance {
    /// The keys that count now.
    pub keys: KeySet,
    /// The file that has them.
    pub file: PathBuf,
    /// Whether nothing was accepted before.
    pub is_first: bool,
    /// Whether `trust.toml` was written and signed.
    pub published: bool,
    /// In what the site still differs.
    pub remaining: Vec<Difference>,
}

/// Accepts what `site.toml` says of each key that was `typed`: that it counts, or that it does not any more.
///
/// Where site and accepted set then agree and the signing key is at hand, `trust.toml` is written and signed.
pub fn accept(
    site: &Site,
    at: &Locations,
    own: &OwnKeys,
    typed: &[String],
) -> Result<Acceptance, TrustError> {
    let before = review(site, at)?;
    let (folder, mut keys) = match &before.accepted {
        Some(accepted) => (accepted.folder.clone(), accepted.keys.clone()),
        None => (place::new_folder(&site.id, at)?, before.wish.only(&own.public())),
    };
    let is_first = before.accepted.is_none();
    let mut nodes = Vec::new();
    for key in typed {
        let known = site.nodes().filter(|node| node.recipient.as_deref() == Some(key.trim()));
        let known: Vec<_> = known.map(|node| &node.name).collect();
        match apply(key, &before.wish, &mut keys) {
            // A node's key, and not one of the site's.
            Err(TrustError::UnknownKey { .. }) if !known.is_empty() => {}
            other => other?,
        }
        let key = key.trim().parse::<Recipient>().ok();
        nodes.extend(known.into_iter().map(|node| (node, NodeNote { key: key.clone(), serial: None })));
    }
    let is_new = before.accepted.as_ref().is_none_or(|accepted| {
        accepted.keys != keys || accepted.keys.former_signers.len() != keys.former_signers.len()
    });
    // A set without a signer or admin would say that anything else is a change, which is true.
    if is_new {
        place::write(&folder, &keys)?;
    }
    let after = review(site, at)?;
    let wants_signature = !matches!(&after.signed, Signed::By(_, signed) if *signed == keys);
    let agreed = after.differences.iter().all(|difference| {
        !matches!(difference, Difference::Key { origin: Origin::Site, .. })
            && !matches!(difference, Difference::SiteId { origin: Origin::Site, .. })
    });
    let mut published = false;
    if let Some(key) = own.signing.as_ref().filter(|key| keys.signers.contains(key.public()))
        && agreed
        && (wants_signature || is_new)
    {
        if let Signed::By(_, signed) = &after.signed {
            // What others know of former signers is not forgotten.
            let unknown =
                signed.former_signers.iter().filter(|key| !keys.former_signers.contains(key)).cloned();
            let unknown: Vec<PublicKey> = unknown.collect();
            keys.former_signers.extend(unknown);
        }
        publish(site, &keys, key)?;
        published = true;
    }
    let last = review(site, at)?;
    let mut remaining = last.differences.clone();
    if let Some(accepted) = last.into_accepted() {
        let known = NodeNotes::note(&accepted, nodes)?;
        remaining.extend(unknown_node_keys(site, &accepted, &known));
    }
    Ok(Acceptance { file: place::file(&folder, &site.id), keys, is_first, published, remaining })
}

fn apply(typed: &str, wish: &KeySet, keys: &mut KeySet) -> Result<(), TrustError> {
    let text = typed.trim();
    let unknown = || TrustError::UnknownKey { key: text.to_owned() };
    if let Ok(key) = text.parse::<Recipient>() {
        return toggle(&key, &wish.admins, &mut keys.admins).map(|_| ()).ok_or_else(unknown);
    }
    let key = text.parse::<PublicKey>().map_err(|_| unknown())?;
    match toggle(&key, &wish.signers, &mut keys.signers).ok_or_else(unknown)? {
        Toggled::Removed if !keys.former_signers.contains(&key) => keys.former_signers.push(key),
        Toggled::Added => keys.former_signers.retain(|former| *former != key),
        Toggled::Removed | Toggled::Same => {}
    }
    Ok(())
}

enum Toggled {
    Added,
    Removed,
    Same,
}

/// Makes `accepted` say of `key` what `wished` says; nothing if neither knows it.
fn toggle<K: Clone + PartialEq>(key: &K, wished: &[K], accepted: &mut Vec<K>) -> Option<Toggled> {
    match (wished.contains(key), accepted.contains(key)) {
        (true, false) => {
            accepted.push(key.clone());
            Some(Toggled::Added)
        }
        (false, true) => {
            accepted.retain(|known| known != key);
            Some(Toggled::Removed)
        }
        (true, true) => Some(Toggled::Same),
        (false, false) => None,
    }
}
