//! `psyops lock update`: chooses packages anew, says what changes, and writes and signs the lock when the user agrees.

use super::Which;
use super::changes::{count, to_json, to_text};
use super::consent::{Consent, NotWritten};
use crate::base::changes::Changes;
use crate::base::vouch::Trusted;
use crate::base::{BaseError, Lock, LockFile, present_lock, signing_key, take_lock};
use crate::error::Error;
use crate::secrets::credentials::Locations;
use crate::site::{Site, site_or_default};
use crate::store::Store;
use handoff::shown::Shown;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What there is to say when it is done, or is not.
struct Told<'a> {
    path: PathBuf,
    lock: &'a Lock,
    changes: &'a Changes,
    /// Why a build would not take the lock as it was.
    problem: Option<&'a str>,
    /// Bytes that the store lacks.
    fetch: u64,
    json: bool,
}

pub(super) fn run(
    which: &Which,
    keys: &Locations,
    consent: &Consent<'_>,
    progress: &dyn Fn(&str),
) -> Result<(String, Option<Error>), Error> {
    let site = site_or_default(which.site.as_deref())?;
    let store = Store::from_environment()?;
    let old = present(&site, progress)?;
    let mut file = resolve(&site, &store, progress)?;
    let changes = Changes::between(old.as_ref().map(LockFile::lock), file.lock())?;
    let problem = old.as_ref().map(|old| problem_of(old, &site, &store)).transpose()?.flatten();
    let lock = file.lock().clone();
    let fetch = bytes_to_fetch(&lock, &store);
    let path = file.path().to_owned();
    let told =
        Told { path, lock: &lock, changes: &changes, problem: problem.as_deref(), fetch, json: which.json };
    if !changes.any && told.problem.is_none() {
        return Ok((told.ending(&site, &Written::not("as it was")), None));
    }
    let nothing = Written::not("nothing was written");
    if consent.dry_run {
        return Ok((told.whole(&site, &nothing), None));
    }
    let key = signing_key(&site, keys)?;
    let key = match key {
        // No archive lists a tar or an image: without a signature, no build would take it.
        Err(problem) if lock.given.is_some() => return Err(problem.into()),
        key => key,
    };
    match told.agreed(&site, consent, progress) {
        Ok(()) => {}
        Err(error @ NotWritten::NoTerminal { .. }) => {
            return Ok((told.whole(&site, &nothing), Some(error.into())));
        }
        Err(error) => return Err(error.into()),
    }
    // The answer may have taken a while.
    if LockFile::read_any(&site).ok().flatten() != old {
        return Err(NotWritten::Changed { path: told.path }.into());
    }
    let _in_use = store.in_use()?;
    let written = match &key {
        Ok(key) => {
            file.sign(&site, key).map_err(BaseError::from)?;
            let id = key.public().id().to_string();
            Written { ending: format!("written and signed by key {id}"), done: true, key: Some(id) }
        }
        Err(problem) => {
            let ending = format!(
                "written, not signed: it counts in this store only, until psyops lock sign ({problem})"
            );
            Written { ending, done: true, key: None }
        }
    };
    take_lock(&site, &file, &store, progress)?;
    Ok((told.ending(&site, &written), None))
}

/// Why a build would not take the lock as it is.
fn problem_of(old: &LockFile, site: &Site, store: &Store) -> Result<Option<String>, Error> {
    let problem = old.vouching(&Trusted::of(site)?, store).into_result().err();
    Ok(problem.map(|problem| problem.to_string()))
}

fn resolve(site: &Site, store: &Store, progress: &dyn Fn(&str)) -> Result<LockFile, Error> {
    let _in_use = store.in_use()?;
    Ok(present_lock(site, store, progress)?)
}

/// The lock as it is. One that answers another wish is what this command is for, and so is one that cannot be understood.
fn present(site: &Site, progress: &dyn Fn(&str)) -> Result<Option<LockFile>, Error> {
    match LockFile::read_any(site) {
        Err(error @ BaseError::BadLock { .. }) => {
            progress(&format!("{error}; every package counts as new"));
            Ok(None)
        }
        other => Ok(other?),
    }
}

fn bytes_to_fetch(lock: &Lock, store: &Store) -> u64 {
    let missing = lock.all().filter(|package| !store.deb(&package.sha256).is_file());
    // A package may be taken for several parts and sets.
    let sizes: BTreeMap<_, _> = missing.map(|package| (package.sha256, package.size)).collect();
    sizes.values().sum()
}

/// What became of it.
struct Written {
    ending: String,
    done: bool,
    /// The key that signed it.
    key: Option<String>,
}

impl Written {
    fn not(ending: &str) -> Self {
        Self { ending: ending.to_owned(), done: false, key: None }
    }
}

impl Told<'_> {
    /// Shows the changes and finds out whether they are wanted. Programs are not asked.
    fn agreed(&self, site: &Site, consent: &Consent<'_>, progress: &dyn Fn(&str)) -> Result<(), NotWritten> {
        let list = self.list(site);
        if consent.yes {
            // Said before it is done: fetching may take a while, and may be stopped.
            list.lines().for_each(progress);
            return Ok(());
        }
        let question = format!("{list}\nTake them into {}?", Shown(self.path.display()));
        consent.ask_for(&self.path, &question, self.json)
    }

    /// What changes, and why a build would not take the lock as it was.
    fn list(&self, site: &Site) -> String {
        let problem = self.problem.map(|problem| format!("{problem}\n")).unwrap_or_default();
        format!("{problem}{}{}", to_text(self.changes, site), count(self.changes, self.fetch))
    }

    /// Changes and ending.
    fn whole(&self, site: &Site, written: &Written) -> String {
        let ending = self.ending(site, written);
        if self.json { ending } else { format!("{}\n{ending}", self.list(site)) }
    }

    /// The last line; or all, in JSON.
    fn ending(&self, site: &Site, written: &Written) -> String {
        if self.json {
            let mut value = to_json(self.changes, site);
            value["lock"] = Value::from(self.path.display().to_string());
            value["packages"] = Value::from(self.lock.packages.len());
            value["fetch"] = Value::from(self.fetch);
            value["not_vouched"] = Value::from(self.problem);
            value["written"] = Value::from(written.done);
            value["signed_by"] = Value::from(written.key.clone());
            return format!("{value:#}");
        }
        let variants = match self.lock.variants.len() {
            0 => String::new(),
            1 => ", and those of one more set".to_owned(),
            more => format!(", and those of {more} more sets"),
        };
        format!(
            "{}: {} packages{variants}, {}",
            Shown(self.path.display()),
            self.lock.packages.len(),
            written.ending
        )
    }
}
