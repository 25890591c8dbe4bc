//! Values that occur in more than one table of the site's files.

use super::error::SiteError;
use super::source::Source;
use super::ssh_key;
use handoff::manifest::Required;
use toml::Spanned;

/// A number that must not be zero.
pub(super) fn positive<T: Copy + Default + PartialEq + ToString>(
    source: &Source,
    key: &'static str,
    typed: Option<Spanned<T>>,
    default: T,
) -> Result<T, SiteError> {
    match typed {
        Some(typed) if *typed.get_ref() == T::default() => {
            Err(source.wrong(key, &typed, "it must be at least 1"))
        }
        Some(typed) => Ok(*typed.get_ref()),
        None => Ok(default),
    }
}

/// How much a node needs a file.
pub(super) fn required(source: &Source, typed: &Spanned<String>) -> Result<Required, SiteError> {
    let needs = [Required::Boot, Required::Run, Required::Optional].map(|need| (need.word(), need));
    source.word("required", typed, &needs)
}

/// A line of `authorized_keys`.
pub(super) fn ssh_key(source: &Source, typed: &Spanned<String>) -> Result<String, SiteError> {
    let line = typed.get_ref();
    match ssh_key::parse(line) {
        Ok(line) => Ok(line.to_owned()),
        Err(problem) => Err(SiteError::WrongValue {
            at: source.at(&typed.span()),
            key: "ssh-keys",
            value: problem.shown(line),
            problem: problem.to_string(),
        }),
    }
}

/// Checks an age X25519 recipient: Bech32 with the prefix `age` (its checksum is checked where it is used).
pub(super) fn check_recipient(source: &Source, typed: &Spanned<String>) -> Result<String, SiteError> {
    let text = typed.get_ref();
    let data = text.strip_prefix("age1").unwrap_or_default();
    let charset = |c: char| "qpzry9x8gf2tvdw0s3jn54khce6mua7l".contains(c);
    if data.len() == 58 && data.chars().all(charset) {
        return Ok(text.clone());
    }
    let problem = if text.starts_with("AGE-SECRET-KEY-") {
        "this is a private key, which must not be in a site: write its public half, which begins with age1"
    } else {
        "a public age key begins with age1 and has 62 characters"
    };
    // A private key must not be printed on a terminal or into a log.
    let shown = if text.starts_with("AGE-") { "AGE-SECRET-KEY-..." } else { text };
    Err(SiteError::WrongValue {
        at: source.at(&typed.span()),
        key: "recipient",
        value: shown.to_owned(),
        problem: problem.to_owned(),
    })
}
