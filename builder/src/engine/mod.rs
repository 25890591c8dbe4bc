//! From a site to the images of its nodes: first each system that some of them share, then the parts of each node, in
//! parallel.
//!
//! Each step has named inputs; a stored result of the same inputs is used again. A record of the steps stays in the
//! store ([`BuildRecord`]) and explains the next build.

#[cfg(test)]
mod golden;
mod groups;
mod node;
mod output;
mod record;
mod shared;
mod startup;
pub mod system;

pub use node::BuiltImage;
pub use output::{Layout, Output, OutputPlace};
pub use record::{BuildRecord, StepRecord, needed};
pub use startup::trust;

use crate::atomic::AtomicFile;
use crate::base;
use crate::error::{Class, Classified, Error};
use crate::image::plan::{Contents, plan};
use crate::input::read_input;
use crate::parallel;
use crate::programs::Programs;
use crate::secrets::credentials::Locations;
use crate::secrets::prepare::{Prepared, prepare};
use crate::secrets::seal::{NodeSeal, SealRequest};
use crate::site::{Bytes, LockedSite, Site};
use crate::store::Store;
use crate::tools::TAR2SQFS;
use groups::{Group, groups};
use handoff::name::Name;
use node::SharedBuild;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tracing::{debug, info, info_span};

/// What to build.
#[derive(Debug)]
pub struct Request {
    /// The names of the nodes.
    pub nodes: Vec<String>,
    /// The paths of the private keys, if they are not in the usual place.
    pub keys: Locations,
    /// The programs that go into images.
    pub programs: Programs,
    /// The files or folder for the images.
    pub output: Output,
}

/// The output folder could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot create the folder {path}: {source}")]
pub struct OutputFolderError {
    path: PathBuf,
    r#source: io::Error,
}

impl Classified for OutputFolderError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_writing(&self.source))
    }
}

/// Builds the images of nodes of `site`, in the order of the request. `progress` gets a line at each stage.
pub fn build(
    site: LockedSite,
    request: &Request,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Vec<BuiltImage>, Error> {
    let _span = info_span!("build", site = %site.site.id, release = %site.site.release).entered();
    debug!(store = %store.dir().display(), nodes = request.nodes.len(), "begins");
    let _in_use = store.in_use()?;
    check_lock(&site.site, request)?;
    // Keys and paths first: they take no time, and if they are wrong, all other work would be lost.
    let prepared = prepare_nodes(site, request, progress)?;
    if let Some(first) = prepared.first() {
        first.guard.check_site(&first.site)?;
    }
    if let Some(path) = request.output.folder() {
        fs::create_dir_all(path).map_err(|source| OutputFolderError { path: path.to_owned(), source })?;
    }
    for node in &prepared {
        check_early(node, &request.programs, &request.output.of(&node.node))?;
    }
    let mut built: Vec<Option<BuiltImage>> = prepared.iter().map(|_| None).collect();
    let groups = groups(prepared)?;
    let several = groups.len() > 1;
    for group in groups {
        if several {
            progress(&group.line());
        }
        build_group(group, request, store, &mut built, progress)?;
    }
    info!(nodes = built.len(), "all images are ready");
    Ok(built.into_iter().flatten().collect())
}

/// Makes the system of a group, then the images of its nodes, each stored at its index in `built`.
fn build_group(
    group: Group,
    request: &Request,
    store: &Store,
    built: &mut [Option<BuiltImage>],
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    let Some((_, first)) = group.nodes.first() else { return Ok(()) };
    let base = base::prepare(&first.site, &group.set, store, &request.keys, progress)?;
    first.guard.check_base(&base.tree_tar)?;
    let system = system::make(&first.site, &base, &request.programs, store, progress)?;
    let selector = read_input(&request.programs.selector)?;
    let shared_build = SharedBuild::new(system, selector, store, &request.output);
    finish_nodes(group.nodes, &shared_build, built, progress)
}

/// Checks that the packages of all nodes are locked, before anything is made for the first node.
fn check_lock(site: &Site, request: &Request) -> Result<(), Error> {
    let mut sets = BTreeSet::new();
    for name in &request.nodes {
        sets.insert(&site.node(name)?.packages);
    }
    Ok(base::check_lock(site, sets.into_iter())?)
}

/// Makes the keys and seals that nodes lack. The site is not locked any more afterwards.
fn prepare_nodes(
    site: LockedSite,
    request: &Request,
    progress: &dyn Fn(&str),
) -> Result<Vec<Prepared>, Error> {
    let nodes = request.nodes.iter().map(String::as_str);
    let (all, _) = prepare(site, nodes, &request.keys, SealRequest::default(), None)?;
    if let Some(first) = all.first() {
        first.told_of_trust().iter().for_each(|line| progress(line));
    }
    for prepared in &all {
        let node = &prepared.node;
        if prepared.keys_made {
            progress(&format!("keys of {node}: made; they are in the site, encrypted to its admins"));
        }
        // With a hundred nodes, a line for each would hide the others.
        if request.nodes.len() == 1 || !prepared.seal.reasons.is_empty() {
            progress(&seal_line(node, &prepared.seal));
        }
    }
    Ok(all)
}

fn seal_line(node: &Name, seal: &NodeSeal) -> String {
    let generation = seal.opened.header().generation;
    if seal.reasons.is_empty() {
        format!("seal of {node}: generation {generation}, unchanged")
    } else {
        format!("seal of {node}: generation {generation}, made: {}", seal.reasons.join("; "))
    }
}

/// Quickly checks for errors that would otherwise appear after minutes: an output that cannot be made, a missing tool,
/// partitions that are too small for what is known so far.
fn check_early(prepared: &Prepared, programs: &Programs, output: &Path) -> Result<(), Error> {
    drop(AtomicFile::create_private(output)?);
    TAR2SQFS.find()?;
    let contents = Contents {
        selector: Bytes::of(&read_input(&programs.selector)?),
        uki: Bytes(0),
        root: Bytes(0),
        seal: Bytes::of(&prepared.seal.bytes),
        secret: prepared.site.sizes.secret,
    };
    plan(&prepared.site.sizes, &contents)?;
    Ok(())
}

/// Finishes nodes in as many threads as there are processors. The first error ends it; finished images stay.
fn finish_nodes(
    nodes: Vec<(usize, Prepared)>,
    shared_build: &SharedBuild<'_>,
    built: &mut [Option<BuiltImage>],
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    let mut done = built.iter().flatten().count();
    let count = built.len();
    parallel::each_heard(
        nodes,
        |(number, node)| {
            let _span = info_span!("node", node = %node.node).entered();
            Ok((number, shared_build.finish(node)?))
        },
        |(number, node)| {
            done = done.saturating_add(1);
            let of = if count > 1 { format!(" ({done} of {count})") } else { String::new() };
            let how = if node.written { "written" } else { "unchanged" };
            progress(&format!("image: {}{of}, {how}", node.image.path.display()));
            if let Some(place) = built.get_mut(number) {
                *place = Some(node);
            }
        },
    )
}
