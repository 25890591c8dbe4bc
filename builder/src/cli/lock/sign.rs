//! `psyops lock sign`: signs the lock as it is, after showing what the signature would vouch for.
//!
//! For a lock that was made before locks were signed, on another machine, or by a person.

use super::Which;
use super::consent::{Consent, NotWritten};
use super::show::{NoLock, unlisted_to_json, unlisted_to_text};
use crate::base::vouch::{NoSignature, Trusted, Vouching};
use crate::base::{BaseError, LockFile};
use crate::cli::site::load_site;
use crate::error::Error;
use crate::secrets::credentials::{Locations, load_signing_key};
use crate::site::LOCK_FILE;
use crate::store::Store;
use handoff::shown::Shown;
use serde_json::json;
use std::path::PathBuf;

pub(super) fn run(
    which: &Which,
    keys: &Locations,
    consent: &Consent<'_>,
    progress: &dyn Fn(&str),
) -> Result<(String, Option<Error>), Error> {
    let site = load_site(which.site.as_deref())?;
    let mut file = LockFile::read_any(&site)?.ok_or_else(|| NoLock { path: site.dir.join(LOCK_FILE) })?;
    let vouching = file.vouching(&Trusted::of(&site.clone().into())?, &Store::from_environment()?);
    let mut told = Told {
        path: file.signature_path(),
        packages: file.lock().all().count(),
        base: file.lock().imported.is_some(),
        json: which.json,
        vouching,
        key: None,
    };
    if let Ok(key) = &told.vouching.signature {
        told.key = Some(key.to_string());
        return Ok((told.ending(false, "unchanged"), None));
    }
    let (_, key) = load_signing_key(site.clone(), keys)?;
    if consent.yes {
        told.list().lines().for_each(progress);
    } else {
        let question = format!(
            "{}Sign it with key {}? Every build of this site then trusts these packages.",
            told.list(),
            key.public().id()
        );
        match consent.ask_for(&told.path, &question, which.json) {
            Ok(()) => {}
            Err(error @ NotWritten::NoTerminal { .. }) => {
                let list = if told.json { String::new() } else { told.list() };
                let ending = told.ending(false, "nothing was written");
                return Ok((format!("{list}{ending}"), Some(error.into())));
            }
            Err(error) => return Err(error.into()),
        }
    }
    // The answer may have taken a while. Only the lock that was shown is signed.
    if LockFile::read_any(&site)?.as_ref() != Some(&file) {
        return Err(NotWritten::Changed { path: told.path }.into());
    }
    file.sign(&site, &key).map_err(BaseError::from)?;
    file.write_signature()?;
    told.key = Some(key.public().id().to_string());
    Ok((told.ending(true, "written"), None))
}

/// The output of the command.
struct Told {
    path: PathBuf,
    packages: usize,
    base: bool,
    json: bool,
    vouching: Vouching,
    key: Option<String>,
}

impl Told {
    /// What the signature would vouch for, beginning with what the archive does not.
    fn list(&self) -> String {
        let before = match &self.vouching.signature {
            Err(NoSignature::Missing { .. }) | Ok(_) => String::new(),
            Err(problem) => format!("the present signature is not valid: {problem}\n"),
        };
        let base = if self.base { " and a base that no archive lists" } else { "" };
        let heading = match self.vouching.unlisted.len() {
            0 => "the archive's index vouches for all packages\n".to_owned(),
            _ => "the archive's index in this store does not vouch for:\n".to_owned(),
        };
        let unlisted = unlisted_to_text(&self.vouching.unlisted);
        format!("{before}{heading}{unlisted}the lock names {} packages{base}\n", self.packages)
    }

    /// The last line; with JSON, the whole output.
    fn ending(&self, written: bool, ending: &str) -> String {
        if self.json {
            let value = json!({
                "format": 1,
                "signature": self.path.display().to_string(),
                "signed_by": self.key,
                "packages": self.packages,
                "unlisted": unlisted_to_json(&self.vouching.unlisted),
                "written": written,
            });
            return format!("{value:#}");
        }
        let by = self.key.as_ref().map(|key| format!("signed by key {key}, ")).unwrap_or_default();
        format!("{}: {by}{ending}", Shown(self.path.display()))
    }
}
