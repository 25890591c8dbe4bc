//! Compares two sets of keys.

use super::differences::{Change, Difference, Role, TrustFile};
use super::key_set::KeySet;

/// The differences of `found` from `accepted`.
pub(super) fn between(accepted: &KeySet, found: &KeySet, file: TrustFile) -> Vec<Difference> {
    let mut all = Vec::new();
    if accepted.site != found.site {
        all.push(Difference::SiteId { file, accepted: accepted.site.clone(), found: found.site.clone() });
    }
    let texts = |set: &KeySet| {
        [
            (Role::Admin, set.admins.iter().map(ToString::to_string).collect::<Vec<_>>()),
            (Role::Signer, set.signers.iter().map(|key| key.as_str().to_owned()).collect()),
        ]
    };
    for ((role, old), (_, new)) in texts(accepted).into_iter().zip(texts(found)) {
        let difference = |key: &String, change| Difference::Key { file, role, key: key.clone(), change };
        let mut seen = Vec::new();
        for key in new.iter().filter(|key| !old.contains(key)) {
            if !seen.contains(&key) {
                seen.push(key);
                all.push(difference(key, Change::Added));
            }
        }
        all.extend(old.iter().filter(|key| !new.contains(key)).map(|key| difference(key, Change::Removed)));
    }
    all
}
