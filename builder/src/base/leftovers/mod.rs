//! What maintainer scripts left behind. Every file of a new base whose content is not from a package is searched for
//! what must differ between nodes, or must not leave this machine.
//!
//! The rules in `rules.rs` remove or replace known finds; any other find makes the build fail with the file's name. A
//! path is never trusted: what counts is whether a package of the lock has a file with that content.

mod berkeley;
mod ids;
mod makers;
mod passwords;
mod rules;
mod search;
mod times;

use super::locked_package::Part;
use super::vouch::VouchedLock;
use super::{BaseError, debs};
use crate::store::Store;
use crate::tree::LayeredTree;
use handoff::hash::Sha256Digest;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) use search::Find;
pub(super) use search::Machine;
pub(super) use times::Span;

/// A file that a script made and that no rule covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The file's path in the root.
    pub path: String,
    /// What was found in it.
    pub find: Find,
    /// The packages that most likely made it; empty if unknown.
    pub makers: Vec<String>,
}

/// Removes from `tree` what the rules name, and fails if another find is left.
pub(super) fn clean(
    tree: &mut LayeredTree,
    lock: &VouchedLock,
    store: &Store,
    machine: &Machine,
    span: Span,
) -> Result<(), BaseError> {
    rules::apply(tree, span.build_time)?;
    berkeley::apply(tree)?;
    let known = contents_of_packages(lock, store)?;
    let mut found = search_tree(tree, &known, machine, Some(span))?;
    if found.is_empty() {
        return Ok(());
    }
    makers::name(&mut found, lock, store)?;
    Err(BaseError::Leftovers { found })
}

/// The digests of all files in the packages of the base, and of their control files, which dpkg keeps.
fn contents_of_packages(lock: &VouchedLock, store: &Store) -> Result<BTreeSet<Sha256Digest>, BaseError> {
    let mut known = BTreeSet::new();
    for package in lock.vouched_packages(Part::Base) {
        for tar in [debs::file_tree(store, package)?, debs::control_tree(store, package)?] {
            let mut tree = LayeredTree::new();
            tree.add_tar_file(tar, Path::new(&package.name), &|_| true)?;
            for path in tree.paths().filter(|path| tree.is_file(path)) {
                if let Some(bytes) = tree.read(path)? {
                    known.insert(Sha256Digest::of(&bytes));
                }
            }
        }
    }
    Ok(known)
}

fn search_tree(
    tree: &LayeredTree,
    known: &BTreeSet<Sha256Digest>,
    machine: &Machine,
    span: Option<Span>,
) -> Result<Vec<Leftover>, BaseError> {
    let mut found = Vec::new();
    let leftover = |path: &str, find| Leftover { path: path.to_owned(), find, makers: Vec::new() };
    for path in tree.paths() {
        if !tree.is_file(path) {
            if let Some(find) = tree.link_target(path).and_then(|target| machine.search_name(target)) {
                found.push(leftover(path, find));
            }
            continue;
        }
        let Some(bytes) = tree.read(path)?.filter(|bytes| !bytes.is_empty()) else { continue };
        if known.contains(&Sha256Digest::of(&bytes)) {
            continue;
        }
        let find = machine.search(&bytes);
        let find = find.or_else(|| passwords::find(path, &bytes).map(Find::Password));
        if let Some(find) = find.or_else(|| span?.find(&bytes).map(Find::Time)) {
            found.push(leftover(path, find));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
