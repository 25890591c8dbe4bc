//! `[rescue]` of `site.toml`: who may log in to a machine in rescue.

use super::error::SiteError;
use super::raw::RawRescue;
use super::source::Source;
use super::value::{positive, ssh_key};
use crate::rescue_password;
use handoff::rescue::{ConsoleAccess, DEFAULT_RETRY_AFTER, RescueAccess, RescuePolicy};
use toml::Spanned;

const CONSOLES: [&str; 3] = ["off", "password", "shell"];

/// Checks the values and converts them.
pub(super) fn rescue(source: &Source, raw: RawRescue) -> Result<RescuePolicy, SiteError> {
    let ssh_keys = raw.ssh_keys.iter().map(|typed| ssh_key(source, typed)).collect::<Result<_, _>>()?;
    let access = access(source, raw.access.as_ref(), raw.console.as_ref())?;
    Ok(RescuePolicy {
        access,
        console: console(source, raw.console.as_ref(), raw.password_hash)?,
        ssh_keys,
        keep_keys: raw.keep_keys,
        retry_after: positive(source, "retry-after", raw.retry_after, DEFAULT_RETRY_AFTER)?,
    })
}

fn access(
    source: &Source,
    typed: Option<&Spanned<String>>,
    console: Option<&Spanned<String>>,
) -> Result<RescueAccess, SiteError> {
    let words = [("shell", RescueAccess::Shell), ("commands", RescueAccess::Commands)];
    let access = typed.map(|typed| source.word("access", typed, &words)).transpose()?.unwrap_or_default();
    match (access, console) {
        (RescueAccess::Commands, Some(console)) if console.get_ref() == "shell" => {
            let problem = "access = \"commands\" allows no shell; use console = \"password\" or \"off\"";
            Err(source.wrong("console", console, problem))
        }
        _ => Ok(access),
    }
}

fn console(
    source: &Source,
    typed: Option<&Spanned<String>>,
    hash: Option<Spanned<String>>,
) -> Result<ConsoleAccess, SiteError> {
    let words = CONSOLES.map(|word| (word, word));
    let word = typed.map(|typed| source.word("console", typed, &words)).transpose()?;
    match (word.unwrap_or("off"), hash) {
        ("password", Some(hash)) => match rescue_password::check_hash(hash.get_ref()) {
            Ok(()) => Ok(ConsoleAccess::Password(hash.into_inner())),
            Err(problem) => Err(source.wrong("password-hash", &hash, problem.to_string())),
        },
        (_, Some(hash)) => Err(source.wrong("password-hash", &hash, "it needs console = \"password\"")),
        ("password", None) => {
            let at = typed.map_or(0..0, Spanned::span);
            Err(SiteError::MissingKey { at: source.at(&at), key: "password-hash".into() })
        }
        ("shell", None) => Ok(ConsoleAccess::Shell),
        _ => Ok(ConsoleAccess::Off),
    }
}
