//! `psyops lock`: takes the archive's present packages, and the present image or tar of the base, into `site.lock`.

use crate::base::{Lock, present_lock, take_lock};
use crate::error::Error;
use crate::site::{LOCK_FILE, Site, default_site};
use crate::store::Store;
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Choose the packages of a site (and the image or tar that is its base) anew, say what changes, and write them into site.lock
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops lock --site fleet --dry-run what would change
  psyops lock --site fleet           choose the packages anew
  psyops lock --site fleet --json    and print what changed for a program")]
pub struct LockArgs {
    /// The site's folder (by default the embedded site)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Print what changed as JSON
    #[arg(long)]
    pub json: bool,
}

/// What changed.
#[derive(Debug, Serialize)]
pub struct LockOutput {
    lock: PathBuf,
    packages: usize,
    changes: Vec<Change>,
    dry_run: bool,
    #[serde(skip)]
    json: bool,
}

/// A package, or a base that is none of packages, that came, went or has another version.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

/// Does it.
pub fn run(args: &LockArgs, progress: &dyn Fn(&str)) -> Result<LockOutput, Error> {
    let site = match &args.site {
        Some(dir) => Site::load(dir)?,
        None => default_site()?,
    };
    // A lock that cannot be read, or answers another wish, is what this command is for.
    let old = Lock::read(&site).ok().flatten();
    let store = Store::from_environment()?;
    let _in_use = store.in_use()?;
    let new = present_lock(&site, &store, progress)?;
    let changes = changes(old.as_ref(), &new);
    if !args.dry_run {
        // Said before it is done: fetching may take a while, and may be stopped.
        for change in &changes {
            progress(&change.to_string());
        }
        take_lock(&site, &new, &store, progress)?;
    }
    let (lock, packages) = (site.dir.join(LOCK_FILE), new.packages.len());
    Ok(LockOutput { lock, packages, changes, dry_run: args.dry_run, json: args.json })
}

fn changes(old: Option<&Lock>, new: &Lock) -> Vec<Change> {
    let mut changes = Vec::new();
    let given = |lock: &Lock| lock.given.as_ref().map(|given| format!("sha256:{}", given.digest()));
    let (before, after) = (old.and_then(given), given(new));
    if before != after {
        changes.push(Change { name: new.wish.base.to_string(), before, after });
    }
    let old = old.map_or(&[][..], |lock| &lock.packages);
    for package in &new.packages {
        let before = old.iter().find(|old| old.name == package.name && old.part == package.part);
        if before.is_none_or(|before| before.sha256 != package.sha256) {
            changes.push(Change {
                name: package.name.clone(),
                before: before.map(|before| before.version.clone()),
                after: Some(package.version.clone()),
            });
        }
    }
    for package in old {
        if !new.packages.iter().any(|new| new.name == package.name && new.part == package.part) {
            let before = Some(package.version.clone());
            changes.push(Change { name: package.name.clone(), before, after: None });
        }
    }
    changes
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "  {} {before} -> {after}", self.name),
            (None, Some(after)) => write!(f, "+ {} {after}", self.name),
            (before, None) => write!(f, "- {} {}", self.name, before.as_deref().unwrap_or_default()),
        }
    }
}

impl fmt::Display for LockOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?);
        }
        let (lock, packages, changed) = (self.lock.display(), self.packages, self.changes.len());
        if !self.dry_run {
            return write!(f, "{lock}: {packages} packages, {changed} changed");
        }
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        write!(f, "{lock}: {packages} packages, {changed} would change; nothing was written")
    }
}
