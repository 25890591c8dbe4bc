//! `psyops lock show`: the locked packages of a site or of a node.

use super::Which;
use super::changes::{names, nodes_with};
use crate::base::Lock;
use crate::base::locked_package::LockedPackage;
use crate::error::{Class, Classified, Error};
use crate::site::{LOCK_FILE, Site, site_or_default};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The site has no lock yet.
#[derive(Debug, thiserror::Error)]
#[error("{path} is not there yet")]
pub(super) struct NoLock {
    path: PathBuf,
}

impl Classified for NoLock {
    fn class(&self) -> Class {
        Class::MissingInput
    }

    fn advice(&self) -> Option<String> {
        Some("make it with: psyops lock update --yes (or build an image)".into())
    }
}

pub(super) fn run(which: &Which, node: Option<&str>) -> Result<String, Error> {
    let site = site_or_default(which.site.as_deref())?;
    let missing = || NoLock { path: site.dir.join(LOCK_FILE) };
    let lock = match node {
        // Which packages are a node's is only known of a lock that answers what the node wants.
        Some(node) => {
            let set = &site.node(node)?.packages;
            Lock::read(&site)?.ok_or_else(missing)?.of(&site, set)?
        }
        None => Lock::read_any(&site)?.ok_or_else(missing)?,
    };
    Ok(if which.json { to_json(&lock, &site) } else { to_text(&lock, &site) })
}

/// A line a package: part, name, version, architecture. What some nodes have besides comes under a heading.
fn to_text(lock: &Lock, site: &Site) -> String {
    let base =
        lock.given.as_ref().map(|given| format!("base   {} sha256:{}\n", lock.wish.base, given.digest()));
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

fn to_json(lock: &Lock, site: &Site) -> String {
    let variants = lock.variants.iter().map(|variant| {
        json!({
            "wanted": variant.wanted,
            "nodes": names(&nodes_with(site, &variant.wanted)),
            "without": variant.without,
            "packages": variant.packages.iter().map(package_to_json).collect::<Vec<_>>(),
        })
    });
    let value = json!({
        "base": lock.wish.base.to_string(),
        "base_sha256": lock.given.as_ref().map(|given| given.digest().to_string()),
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
