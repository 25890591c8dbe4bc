//! `[hardening]` of `site.toml`: how nodes isolate users from the kernel and from each other.

use super::error::SiteError;
use super::known::Known;
use super::source::Source;
use handoff::hardening::{BadHardening, Hardening};
use std::collections::BTreeMap;
use toml::Spanned;

/// Checks the table with the code by which nodes read it.
pub(super) fn hardening(
    source: &Source,
    typed: &BTreeMap<Spanned<String>, Spanned<String>>,
) -> Result<Hardening, SiteError> {
    let mut table = Hardening::default();
    for (key, word) in typed {
        table.set(key.get_ref(), word.get_ref()).map_err(|problem| match problem {
            BadHardening::Key => SiteError::UnknownKey {
                at: source.at(&key.span()),
                key: key.get_ref().clone(),
                known: Known::near(key.get_ref(), Hardening::KEYS),
            },
            BadHardening::Word { known } => SiteError::UnknownWord {
                at: source.at(&word.span()),
                key: Hardening::KEYS.into_iter().find(|known| known == key.get_ref()).unwrap_or("hardening"),
                word: word.get_ref().clone(),
                known: Known::near(word.get_ref(), known),
            },
        })?;
    }
    Ok(table)
}
