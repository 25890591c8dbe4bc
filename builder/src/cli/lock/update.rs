//! `psyops lock update`: chooses packages anew, says what changes, and writes the lock when somebody agrees.

use super::Which;
use super::changes::{count, to_json, to_text};
use crate::base::changes::Changes;
use crate::base::{BaseError, Lock, present_lock, take_lock};
use crate::error::{Class, Classified, Error};
use crate::site::{LOCK_FILE, Site, site_or_default};
use crate::store::Store;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// How it is found out whether the new lock is wanted.
pub(super) struct Consent<'a> {
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) ask: &'a dyn Fn(&str) -> io::Result<Option<bool>>,
}

/// The new lock was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    /// Nobody could be asked.
    #[error("{path} was not written: there is nobody to ask")]
    NobodyToAsk {
        /// The lock file.
        path: PathBuf,
    },
    /// Whoever was asked did not agree.
    #[error("{path} was not written, as you wished")]
    Declined {
        /// The lock file.
        path: PathBuf,
    },
    /// Somebody else wrote one meanwhile.
    #[error("{path} was not written: it is not what it was when you were asked")]
    Changed {
        /// The lock file.
        path: PathBuf,
    },
    /// The answer could not be read.
    #[error("{path} was not written: cannot read the answer: {source}")]
    NoAnswer {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Classified for NotWritten {
    fn class(&self) -> Class {
        match self {
            Self::NobodyToAsk { .. } | Self::Declined { .. } | Self::Changed { .. } => Class::Refused,
            Self::NoAnswer { source, .. } => Class::of_reading(source),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NobodyToAsk { .. } => Some("to take these packages unasked, add --yes".into()),
            Self::Changed { .. } => Some("look at it, then update again".into()),
            Self::Declined { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

/// What there is to say when it is done, or is not.
struct Told<'a> {
    path: PathBuf,
    lock: &'a Lock,
    changes: &'a Changes,
    /// Bytes that the store lacks.
    fetch: u64,
    json: bool,
}

pub(super) fn run(
    which: &Which,
    consent: &Consent<'_>,
    progress: &dyn Fn(&str),
) -> Result<(String, Option<Error>), Error> {
    let site = site_or_default(which.site.as_deref())?;
    let store = Store::from_environment()?;
    let old = present(&site, progress)?;
    let lock = resolve(&site, &store, progress)?;
    let changes = Changes::between(old.as_ref(), &lock)?;
    let fetch = bytes_to_fetch(&lock, &store);
    let told =
        Told { path: site.dir.join(LOCK_FILE), lock: &lock, changes: &changes, fetch, json: which.json };
    if !changes.any {
        return Ok((told.ending(&site, false, "as it was"), None));
    }
    if consent.dry_run {
        return Ok((told.whole(&site, "nothing was written"), None));
    }
    match told.agreed(&site, consent, progress) {
        Ok(()) => {}
        Err(error @ NotWritten::NobodyToAsk { .. }) => {
            return Ok((told.whole(&site, "nothing was written"), Some(error.into())));
        }
        Err(error) => return Err(error.into()),
    }
    // Whoever was asked may have taken a while.
    if Lock::read_any(&site).ok().flatten() != old {
        return Err(NotWritten::Changed { path: told.path }.into());
    }
    let _in_use = store.in_use()?;
    take_lock(&site, &lock, &store, progress)?;
    Ok((told.ending(&site, true, "written"), None))
}

fn resolve(site: &Site, store: &Store, progress: &dyn Fn(&str)) -> Result<Lock, Error> {
    let _in_use = store.in_use()?;
    Ok(present_lock(site, store, progress)?)
}

/// The lock as it is. One that answers another wish is what this command is for, and so is one that makes no sense.
fn present(site: &Site, progress: &dyn Fn(&str)) -> Result<Option<Lock>, Error> {
    match Lock::read_any(site) {
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

impl Told<'_> {
    /// Shows the changes and finds out whether they are wanted. Programs are not asked.
    fn agreed(&self, site: &Site, consent: &Consent<'_>, progress: &dyn Fn(&str)) -> Result<(), NotWritten> {
        let list = format!("{}{}", to_text(self.changes, site), count(self.changes, self.fetch));
        if consent.yes {
            // Said before it is done: fetching may take a while, and may be stopped.
            list.lines().for_each(progress);
            return Ok(());
        }
        let path = self.path.clone();
        let question = format!("{list}\nTake them into {}?", path.display());
        let answer = if self.json { Ok(None) } else { (consent.ask)(&question) };
        match answer {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false)) => Err(NotWritten::Declined { path }),
            Ok(None) => Err(NotWritten::NobodyToAsk { path }),
            Err(source) => Err(NotWritten::NoAnswer { path, source }),
        }
    }

    /// Changes and ending.
    fn whole(&self, site: &Site, ending: &str) -> String {
        if self.json {
            return self.ending(site, false, ending);
        }
        let (list, count) = (to_text(self.changes, site), count(self.changes, self.fetch));
        format!("{list}{count}\n{}", self.ending(site, false, ending))
    }

    /// The last line; or all, in JSON.
    fn ending(&self, site: &Site, written: bool, ending: &str) -> String {
        if self.json {
            let mut value = to_json(self.changes, site);
            value["lock"] = Value::from(self.path.display().to_string());
            value["packages"] = Value::from(self.lock.packages.len());
            value["fetch"] = Value::from(self.fetch);
            value["written"] = Value::from(written);
            return format!("{value:#}");
        }
        let variants = match self.lock.variants.len() {
            0 => String::new(),
            1 => ", and those of one more set".to_owned(),
            more => format!(", and those of {more} more sets"),
        };
        format!("{}: {} packages{variants}, {ending}", self.path.display(), self.lock.packages.len())
    }
}
