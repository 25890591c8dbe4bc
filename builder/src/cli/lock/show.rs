//! `psyops lock show`: the locked packages of a site or of a node.

use super::Which;
use super::changes::{names, nodes_with};
use crate::base::locked_package::LockedPackage;
use crate::base::vouch::{NoIndex, Subject, Trusted, Vouching};
use crate::base::{Lock, LockFile};
use crate::cli::site::load_site;
use crate::cli::trust::with_trusted_keys;
use crate::error::{Class, Classified, Error};
use crate::next_command::psyops;
use crate::secrets::credentials::Locations;
use crate::secrets::trust::SiteAndKeys;
use crate::site::{LOCK_FILE, Site};
use crate::store::Store;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The site has no lock yet.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{path} does not exist yet")]
pub(super) struct NoLock {
    pub(super) path: PathBuf,
}

impl Classified for NoLock {
    fn own_class(&self) -> Option<Class> {
        Some(Class::MissingInput)
    }

    fn own_advice(&self) -> Option<String> {
        Some(format!("make it with: {}", psyops("lock update")))
    }
}

pub(super) fn run(which: &Which, node: Option<&str>) -> Result<String, Error> {
    let site = with_trusted_keys(load_site(which.site.as_deref())?, &Locations::default())?;
    let missing = || NoLock { path: site.dir.join(LOCK_FILE) };
    let (file, lock) = if let Some(node) = node {
        // The packages of a node are only known if the lock fits the node's request.
        let set = &site.node(node)?.packages;
        let file = LockFile::read(&site)?.ok_or_else(missing)?;
        let lock = file.lock().of(&site, set)?;
        (file, lock)
    } else {
        let file = LockFile::read_any(&site)?.ok_or_else(missing)?;
        let lock = file.lock().clone();
        (file, lock)
    };
    let vouching = vouching(&file, &site)?;
    if which.json {
        return Ok(to_json(&lock, &site, &vouching));
    }
    Ok(format!("{}{}", vouching_to_text(&vouching), to_text(&lock, &site)))
}

/// Who vouches for the lock. The store is read only if no signature vouches for it.
fn vouching(file: &LockFile, site: &SiteAndKeys) -> Result<Vouching, Error> {
    let trusted = Trusted::of(site)?;
    Ok(match file.signer(&trusted) {
        Ok(key) => Vouching { signature: Ok(key), unlisted: Vec::new() },
        Err(_) => file.vouching(&trusted, &Store::from_environment()?),
    })
}

fn vouching_to_text(vouching: &Vouching) -> String {
    match &vouching.signature {
        Ok(key) => format!("vouched for by the site's signing key {key}\n"),
        Err(problem) if vouching.is_whole() => {
            format!("vouched for by the archive's index, valid only with this store: {problem}\n")
        }
        Err(problem) => {
            let unlisted = unlisted_to_text(&vouching.unlisted);
            format!(
                "neither the site's signing key ({problem}) nor the archive's index vouches for:\n{unlisted}"
            )
        }
    }
}

/// A line for each part that no index vouches for.
pub(super) fn unlisted_to_text(unlisted: &[(Subject, NoIndex)]) -> String {
    unlisted.iter().map(|(subject, problem)| format!(" {subject}: {problem}\n")).collect()
}

pub(super) fn unlisted_to_json(unlisted: &[(Subject, NoIndex)]) -> Value {
    let one = |(subject, problem): &(Subject, NoIndex)| json!({"what": subject.to_string(), "problem": problem.to_string()});
    unlisted.iter().map(one).collect()
}

/// `by` is `key`, `index` or null.
fn vouching_to_json(vouching: &Vouching) -> Value {
    let by = match &vouching.signature {
        Ok(_) => Some("key"),
        Err(_) => vouching.is_whole().then_some("index"),
    };
    json!({
        "by": by,
        "key": vouching.signature.as_ref().ok().map(ToString::to_string),
        "signature_problem": vouching.signature.as_ref().err().map(ToString::to_string),
        "unlisted": unlisted_to_json(&vouching.unlisted),
    })
}

/// A line for each package: part, name, version, architecture. Additional packages of some nodes follow under a
/// heading.
fn to_text(lock: &Lock, site: &Site) -> String {
    let base = lock
        .imported
        .as_ref()
        .map(|imported| format!("base   {} sha256:{}\n", lock.request.base, imported.digest()));
    let mut text: String = base.into_iter().chain(lock.packages.iter().map(line)).collect();
    for variant in &lock.variants {
        let nodes = match names(&nodes_with(site, &variant.wanted)).join(", ") {
            none if none.is_empty() => "no node any more".to_owned(),
            nodes => nodes,
        };
        text.push_str(&format!("with {} ({nodes}):\n", variant.wanted.join(", ")));
        text.extend(variant.without.iter().map(|name| format!("  without {name}\n")));
        text.extend(variant.packages.iter().map(|package| format!("  {}", line(package))));
    }
    text
}

fn line(package: &LockedPackage) -> String {
    let LockedPackage { part, name, version, architecture, .. } = package;
    format!("{:<6} {name} {version} {architecture}\n", part.name())
}

fn to_json(lock: &Lock, site: &Site, vouching: &Vouching) -> String {
    let variants = lock.variants.iter().map(|variant| {
        json!({
            "wanted": variant.wanted,
            "nodes": names(&nodes_with(site, &variant.wanted)),
            "without": variant.without,
            "packages": variant.packages.iter().map(package_to_json).collect::<Vec<_>>(),
        })
    });
    let value = json!({
        "format": 1,
        "vouched": vouching_to_json(vouching),
        "base": lock.request.base.to_string(),
        "base_sha256": lock.imported.as_ref().map(|imported| imported.digest().to_string()),
        "packages": lock.packages.iter().map(package_to_json).collect::<Vec<_>>(),
        "variants": variants.collect::<Vec<_>>(),
    });
    format!("{value:#}")
}

fn package_to_json(package: &LockedPackage) -> Value {
    json!({
        "part": package.part,
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "sha256": package.sha256.to_string(),
        "size": package.size,
    })
}
