//! `psyops trust accept`: the only way in which the accepted set changes.

use super::compare::between;
use super::differences::{Change, Difference, Role, TrustFile, distinct};
use super::error::TrustError;
use super::host_key::{Witness, unknown_host_keys};
use super::key_set::KeySet;
use super::review::{Review, Signed, review, review_with_nodes};
use super::{Accepted, SignedKeys, floors, place, unknown_node_keys};
use crate::details::Details;
use crate::secrets::locations::Locations;
use crate::secrets::node_notes::{NodeNote, NodeNotes};
use crate::secrets::own_keys::OwnKeys;
use crate::site::Site;
use keys::signature::PublicKey;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// The result of `psyops trust accept`.
#[derive(Debug)]
pub struct Acceptance {
    /// The accepted keys now.
    pub keys: KeySet,
    /// The path of the file with them.
    pub file: PathBuf,
    /// Whether nothing was accepted before.
    pub is_first: bool,
    /// The differences that were accepted by this command.
    pub chosen: Vec<Difference>,
    /// Whether `trust.toml` was written and signed.
    pub published: bool,
    /// The differences that remain between the site and the accepted keys.
    pub remaining: Vec<Difference>,
}

/// The differences between the site and the accepted keys that the user can accept.
///
/// With `all`, also host keys of which nothing is known here and for which a stored seal may vouch: a user who names
/// one knows it from elsewhere.
pub fn open(site: &Site, at: &Locations, own: &OwnKeys, all: bool) -> Result<Vec<Difference>, TrustError> {
    let review = review(site, at)?;
    let (accepted, mut open) = if let Some(accepted) = &review.accepted {
        (accepted.clone(), review.differences.clone())
    } else {
        let known = place::others(&site.id, at)?;
        let new = (!known.is_empty()).then(|| Difference::NewSite { site: site.id.clone(), known });
        let keys = between(&review.site_keys.only(&own.public()), &review.site_keys, TrustFile::Site);
        let accepted = Accepted::at(place::new_folder(&site.id, at)?, review.site_keys.clone());
        (accepted, new.into_iter().chain(keys).collect())
    };
    let witness = match &own.identity {
        Some(admin) => Witness::Admin(admin),
        None if all => Witness::None,
        None => Witness::StoredSeal,
    };
    open.extend(unknown_node_keys(site, &accepted, &review.notes));
    open.extend(unknown_host_keys(site, &accepted, &review.notes, witness)?);
    Ok(distinct(open))
}

/// Accepts what the user `typed`: the text of a difference, or, if that is ambiguous, the kind and the text.
pub fn accept_typed(
    site: &Site,
    at: &Locations,
    own: &OwnKeys,
    typed: &[String],
) -> Result<Acceptance, TrustError> {
    let open = open(site, at, own, true)?;
    let known = review(site, at)?;
    let mut chosen = Vec::new();
    for text in typed.iter().map(|text| text.trim()) {
        match matching(&open, text)? {
            Some(difference) => chosen.push(difference.clone()),
            // Accepted already, and the site has the same key.
            None if names(&known.site_keys, text) => {}
            None => return Err(TrustError::UnknownKey { key: text.to_owned() }),
        }
    }
    accept(site, at, own, chosen)
}

fn matching<'d>(open: &'d [Difference], text: &str) -> Result<Option<&'d Difference>, TrustError> {
    let is = |full: Option<String>| full.is_some_and(|full| full == text);
    if let Some(difference) = open.iter().find(|one| is(one.to_type_in_full())) {
        return Ok(Some(difference));
    }
    let found: Vec<&Difference> = open.iter().filter(|one| is(one.to_type())).collect();
    if found.len() > 1 {
        let choices = found.iter().filter_map(|one| one.to_type_in_full()).collect::<Vec<_>>();
        return Err(TrustError::Ambiguous { text: text.to_owned(), choices: Details::listed(&choices) });
    }
    Ok(found.first().copied())
}

fn names(keys: &KeySet, text: &str) -> bool {
    keys.admins.iter().any(|key| key.to_string() == text)
        || keys.signers.iter().any(|key| key.as_str() == text)
}

/// Accepts these differences and no others: each is a single thing that the user was shown and agreed to.
///
/// If the site and the accepted set then agree and the signing key is available, `trust.toml` is written and signed.
pub fn accept(
    site: &Site,
    at: &Locations,
    own: &OwnKeys,
    chosen: Vec<Difference>,
) -> Result<Acceptance, TrustError> {
    let before = review(site, at)?;
    let (folder, mut keys) = if let Some(accepted) = &before.accepted {
        (accepted.folder.clone(), accepted.keys.clone())
    } else {
        let others = place::others(&site.id, at)?;
        let is_agreed = chosen.iter().any(|one| matches!(one, Difference::NewSite { .. }));
        if !others.is_empty() && !is_agreed {
            return Err(TrustError::other_site(site, others));
        }
        (place::new_folder(&site.id, at)?, before.site_keys.only(&own.public()))
    };
    for difference in &chosen {
        apply(difference, &mut keys)?;
    }
    let is_new = before.accepted.as_ref().is_none_or(|accepted| {
        accepted.keys != keys || accepted.keys.former_signers.len() != keys.former_signers.len()
    });
    // A set without a signer or an admin would report everything else as a change, which is right.
    if is_new {
        place::write(&folder, &keys)?;
    }
    let after = review(site, at)?;
    if let Some(accepted) = &after.accepted {
        note(site, accepted, &after, &chosen)?;
    }
    let published = publish_where_agreed(site, own, &after, &mut keys, is_new)?;
    let remaining = review_with_nodes(site, at)?.differences;
    let is_first = before.accepted.is_none();
    Ok(Acceptance { file: place::file(&folder, &site.id), keys, is_first, chosen, published, remaining })
}

/// Writes and signs `trust.toml` if the site agrees with the accepted set, and the file does not yet.
fn publish_where_agreed(
    site: &Site,
    own: &OwnKeys,
    review: &Review,
    keys: &mut KeySet,
    is_new: bool,
) -> Result<bool, TrustError> {
    let wants_signature = !matches!(&review.signed, Signed::By(_, signed) if *signed == *keys);
    let agreed = review.differences.iter().all(|difference| {
        !matches!(difference, Difference::Key { file: TrustFile::Site, .. })
            && !matches!(difference, Difference::SiteId { file: TrustFile::Site, .. })
    });
    let Some(key) = own.signing.as_ref().filter(|key| keys.signers.contains(key.public())) else {
        return Ok(false);
    };
    if !agreed || !(wants_signature || is_new) {
        return Ok(false);
    }
    if let Signed::By(_, signed) = &review.signed {
        // Former signers that other people know are kept.
        let unknown = signed.former_signers.iter().filter(|key| !keys.former_signers.contains(key)).cloned();
        let unknown: Vec<PublicKey> = unknown.collect();
        keys.former_signers.extend(unknown);
    }
    SignedKeys::new(site, keys, key)?.write(site)?;
    Ok(true)
}

/// Notes the keys of nodes and the floors among the chosen differences.
fn note(site: &Site, accepted: &Accepted, review: &Review, chosen: &[Difference]) -> Result<(), TrustError> {
    let mut news = Vec::new();
    for difference in chosen {
        match difference {
            Difference::NodeKey { node, key, .. } => {
                news.push((node, NodeNote { key: Some(parsed(key)?), ..NodeNote::default() }));
            }
            Difference::HostKey { node, key, .. } => {
                news.push((node, NodeNote { host_key: Some(key.clone()), ..NodeNote::default() }));
            }
            _ => {}
        }
    }
    NodeNotes::note(accepted, None, news)?;
    if chosen.iter().any(|difference| matches!(difference, Difference::Floor { .. })) {
        let (in_use, _) = floors::noted(site, accepted, &review.former_signers(), &review.notes);
        NodeNotes::replace_floors(accepted, floors::with_chosen(site, &in_use, chosen))?;
    }
    Ok(())
}

/// Changes the set in this key as the site has it.
fn apply(difference: &Difference, keys: &mut KeySet) -> Result<(), TrustError> {
    let Difference::Key { file: TrustFile::Site, role, key, change } = difference else { return Ok(()) };
    match (role, change) {
        (Role::Admin, Change::Added) => keys.admins.push(parsed(key)?),
        (Role::Admin, Change::Removed) => keys.admins.retain(|known| known.to_string() != *key),
        (Role::Signer, Change::Added) => {
            keys.signers.push(parsed(key)?);
            keys.former_signers.retain(|former| former.as_str() != key);
        }
        (Role::Signer, Change::Removed) => {
            let former = parsed(key)?;
            keys.signers.retain(|known| known.as_str() != key);
            if !keys.former_signers.contains(&former) {
                keys.former_signers.push(former);
            }
        }
    }
    Ok(())
}

/// Parses a key that was accepted; the error names a key that is not valid.
fn parsed<K: FromStr<Err: Display>>(key: &str) -> Result<K, TrustError> {
    key.parse()
        .map_err(|problem: K::Err| TrustError::BadKey { key: key.to_owned(), problem: problem.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::issue::signing::SigningKey;

    #[test]
    fn a_key_that_cannot_be_read_is_not_passed_over() {
        let signer = SigningKey::generate().unwrap().public().clone();
        let mut keys = KeySet {
            site: "lab".parse().unwrap(),
            admins: Vec::new(),
            signers: vec![signer.clone()],
            former_signers: Vec::new(),
        };
        let of = |role, key: &str, change| {
            let (file, key) = (TrustFile::Site, key.to_owned());
            Difference::Key { file, role, key, change }
        };
        for (role, change) in
            [(Role::Admin, Change::Added), (Role::Signer, Change::Added), (Role::Signer, Change::Removed)]
        {
            let error = apply(&of(role, "nonsense", change), &mut keys).unwrap_err();
            assert!(matches!(&error, TrustError::BadKey { key, .. } if key == "nonsense"), "{error}");
        }
        assert_eq!(keys.signers, std::slice::from_ref(&signer));
        apply(&of(Role::Signer, signer.as_str(), Change::Removed), &mut keys).unwrap();
        assert_eq!((keys.signers.len(), keys.former_signers.as_slice()), (0, [signer].as_slice()));
    }
}
