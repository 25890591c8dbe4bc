//! `psyops lock`: takes the archive's present packages into `site.lock`.

use crate::base::{Cache, Lock, renew_lock};
use crate::error::Error;
use crate::site::{LOCK_FILE, Site, default_site};
use clap::Args;
use std::fmt;
use std::path::PathBuf;

/// Choose the packages of a site anew and write them into site.lock
#[derive(Debug, Args)]
pub struct LockArgs {
    /// The site's folder (by default the embedded site)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
}

/// What changed.
#[derive(Debug)]
pub struct LockOutput {
    file: PathBuf,
    changes: Vec<String>,
    count: usize,
}

/// Does it.
pub fn run(args: &LockArgs, progress: &dyn Fn(&str)) -> Result<LockOutput, Error> {
    let site = match &args.site {
        Some(dir) => Site::load(dir)?,
        None => default_site()?,
    };
    // A lock that cannot be read, or answers another wish, is what this command is for.
    let old = Lock::read(&site).ok().flatten();
    let new = renew_lock(&site, &Cache::from_environment()?, progress)?;
    let changes = changes(old.as_ref(), &new);
    Ok(LockOutput { file: site.dir.join(LOCK_FILE), changes, count: new.packages.len() })
}

fn changes(old: Option<&Lock>, new: &Lock) -> Vec<String> {
    let old = old.map_or(&[][..], |lock| &lock.packages);
    let mut changes = Vec::new();
    for package in &new.packages {
        let before = old.iter().find(|old| old.name == package.name && old.part == package.part);
        match before {
            None => changes.push(format!("+ {} {}", package.name, package.version)),
            Some(before) if before.sha256 != package.sha256 => {
                changes.push(format!("  {} {} -> {}", package.name, before.version, package.version));
            }
            Some(_) => {}
        }
    }
    for package in old {
        if !new.packages.iter().any(|new| new.name == package.name && new.part == package.part) {
            changes.push(format!("- {} {}", package.name, package.version));
        }
    }
    changes
}

impl fmt::Display for LockOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        let changed = self.changes.len();
        write!(f, "{}: {} packages, {changed} changed", self.file.display(), self.count)
    }
}
