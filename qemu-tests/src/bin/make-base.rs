//! `make-base SITE STORE`: makes the debian base of a site, the first step of `build-image`, and prints the digest of
//! its tar. It is a separate program so that a test can run it several times.

use anyhow::{Context as _, Result};
use builder::base;
use builder::secrets::credentials::Locations;
use builder::secrets::trust::SiteAndKeys;
use builder::site::Site;
use builder::store::Store;
use handoff::hash::Sha256Digest;
use std::env;
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let mut next = || arguments.next().context("usage: make-base SITE STORE");
    let (site, store): (SiteAndKeys, _) = (Site::load(&next()?)?.into(), Store::at(&next()?)?);
    let report = |line: &str| say(line);
    let system = base::prepare(&site, &site.packages.extra, &store, &Locations::default(), &report)?;
    let tar = std::fs::read(&system.tree_tar)?;
    say(&format!("{} {}", Sha256Digest::of(&tar), system.tree_tar.display()));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the caller reads it")]
fn say(line: &str) {
    println!("{line}");
}
