//! `psyops trust accept`: the only way in which the accepted set changes.

use super::differences::{Difference, Origin};
use super::error::TrustError;
use super::key_set::KeySet;
use super::review::{Signed, review, review_with_nodes};
use super::{Accepted, changed_host_keys, floors, place, publish};
use crate::secrets::credentials::{Locations, OwnKeys};
use crate::secrets::node_notes::{Floors, NodeNote, NodeNotes};
use crate::site::Site;
use handoff::name::Name;
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

/// Accepts what `site.toml` says of each key that was `typed`: that it counts, or that it does not any more. The keys of
/// nodes and floors that sank are accepted in the same way, as [`Difference::to_type`] has them.
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
    let of_nodes = OfNodes::typed(site, &before.notes, typed);
    for text in typed {
        match apply(text, &before.wish, &mut keys) {
            Err(TrustError::UnknownKey { .. }) if of_nodes.is_known(site, text) => {}
            other => other?,
        }
    }
    let is_new = before.accepted.as_ref().is_none_or(|accepted| {
        accepted.keys != keys || accepted.keys.former_signers.len() != keys.former_signers.len()
    });
    // A set without a signer or admin would say that anything else is a change, which is true.
    if is_new {
        place::write(&folder, &keys)?;
    }
    let after = review(site, at)?;
    if let Some(accepted) = &after.accepted {
        of_nodes.note(accepted, &Floors::of(site), typed)?;
    }
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
    let remaining = review_with_nodes(site, at)?.differences;
    let is_first = before.accepted.is_none();
    Ok(Acceptance { file: place::file(&folder, &site.id), keys, is_first, published, remaining })
}

/// What the user accepts of nodes: keys, SSH host keys, and floors that sank.
struct OfNodes<'s> {
    news: Vec<(&'s Name, NodeNote)>,
    host_keys: Vec<Difference>,
    lowered: Vec<Difference>,
}

impl<'s> OfNodes<'s> {
    fn typed(site: &'s Site, notes: &NodeNotes, typed: &[String]) -> Self {
        let host_keys = changed_host_keys(site, notes);
        let mut news = Vec::new();
        for node in site.nodes() {
            let is_typed = |text: &&String| node.recipient.as_deref() == Some(text.trim());
            let key = typed.iter().find(is_typed).and_then(|text| text.trim().parse::<Recipient>().ok());
            let host_key = host_keys.iter().find_map(|difference| match difference {
                Difference::HostKey { node: of, key, .. } if *of == node.name => {
                    typed.iter().any(|text| difference.is_accepted_by(text)).then(|| key.clone())
                }
                _ => None,
            });
            if key.is_some() || host_key.is_some() {
                news.push((&node.name, NodeNote { serial: None, key, host_key }));
            }
        }
        Self { news, host_keys, lowered: floors::lowered(notes.floors(), &Floors::of(site)) }
    }

    fn is_known(&self, site: &Site, text: &str) -> bool {
        site.nodes().any(|node| node.recipient.as_deref() == Some(text.trim()))
            || self.host_keys.iter().chain(&self.lowered).any(|difference| difference.is_accepted_by(text))
    }

    fn note(self, accepted: &Accepted, found: &Floors, typed: &[String]) -> Result<(), TrustError> {
        let notes = NodeNotes::note(accepted, None, self.news)?;
        let floors = floors::accepted(notes.floors(), found, typed);
        if floors != *notes.floors() {
            NodeNotes::replace_floors(accepted, floors)?;
        }
        Ok(())
    }
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
