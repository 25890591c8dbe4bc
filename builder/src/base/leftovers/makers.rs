//! Which package left a file: a hint for the user, because no record of it exists.
//!
//! In this order: packages whose maintainer scripts name the path; those whose scripts name the file; those that own
//! the folder, where they are few. Scripts and lists of files are read from the locked packages, not from the root.

use super::Leftover;
use crate::base::locked_package::Part;
use crate::base::vouch::VouchedLock;
use crate::base::{BaseError, debs};
use crate::store::Store;
use crate::tree::LayeredTree;
use std::path::Path;

/// A longer list of packages explains nothing.
const MOST: usize = 3;
/// Shorter file names occur in many scripts.
const SHORTEST_NAME: usize = 4;

/// How well a package explains a file: the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    NamesPath,
    NamesFile,
    OwnsFolder,
}

/// Adds to each leftover the packages that most likely left it.
pub(super) fn name(found: &mut [Leftover], lock: &VouchedLock, store: &Store) -> Result<(), BaseError> {
    let mut reasons: Vec<Vec<(Reason, String)>> = vec![Vec::new(); found.len()];
    for package in lock.vouched_packages(Part::Base) {
        let name = Path::new(&package.name);
        let (mut control, mut files) = (LayeredTree::new(), LayeredTree::new());
        control.add_tar_file(debs::control_tree(store, package)?, name, &|_| true)?;
        files.add_tar_file(debs::file_tree(store, package)?, name, &|_| true)?;
        let mut scripts = Vec::new();
        for script in ["preinst", "postinst", "config"] {
            scripts.extend(control.read(script)?);
        }
        for (leftover, reasons) in found.iter().zip(&mut reasons) {
            let reason = reason(&leftover.path, &scripts, &files);
            reasons.extend(reason.map(|reason| (reason, package.name.clone())));
        }
    }
    for (leftover, mut reasons) in found.iter_mut().zip(reasons) {
        reasons.sort();
        let best = reasons.first().map(|(reason, _)| *reason);
        let same = reasons.into_iter().filter(|(reason, _)| Some(*reason) == best);
        let makers: Vec<String> = same.map(|(_, package)| package).collect();
        if makers.len() <= MOST {
            leftover.makers = makers;
        }
    }
    Ok(())
}

fn reason(path: &str, scripts: &[Vec<u8>], files: &LayeredTree) -> Option<Reason> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_named = |text: &str| {
        scripts.iter().any(|script| script.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    if is_named(&format!("/{path}")) {
        Some(Reason::NamesPath)
    } else if name.len() >= SHORTEST_NAME && is_named(name) {
        Some(Reason::NamesFile)
    } else {
        files.contains(folder).then_some(Reason::OwnsFolder)
    }
}
