//! `build-image --node NAME`: images of nodes, from the site to the finished files.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::flash::{FlashOutput, Order, WritingArgs};
use crate::cli::nodes::NodesArgs;
use crate::cli::site::{how_to_let_in, load_locked_site};
use crate::disks::Disk;
use crate::disks::consent::ConsentArgs;
use crate::engine::{self, BuiltImage, Layout, Output, OutputPlace, Request, StepRecord};
use crate::error::{Class, Classified, Error};
use crate::programs::Programs;
use crate::secrets::credentials::Locations;
use crate::store::{StepOrigin, Store};
use clap::Args;
use handoff::shown::Shown;
use serde_json::{Map, Value, json};
use std::fmt;
use std::path::{Path, PathBuf};

/// Build the images of nodes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  build-image --node pi1                             the site around the current folder
  build-image --node pi1 --site fleet --output pi1.img -v
  build-image --node pi1 --node pi2 --site fleet     pi1.img and pi2.img in the current folder
  build-image --all --site fleet --output images     every node of the site, in the folder images
  build-image --all --site fleet -o images --layout split   store the shared part only once
  build-image --node pi1 --site fleet --flash /dev/sdX      and write a stick

Writes the images, and in the site the keys, seals and site.lock that it makes. Steps with the same
inputs as before are taken from the store; -v shows which ones, and why the others ran. With --json
one node gives one object; several, or --all, give an object with the list `nodes`. Progress is then
printed as JSON lines on standard error.")]
pub struct BuildImageArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub nodes: NodesArgs,
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// The image file (default: NAME.img in the current folder). With several nodes or --all: the folder for the images
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// How images are stored in files
    #[arg(long, value_enum, default_value_t)]
    pub layout: Layout,
    /// Also write each image to a stick, as psyops flash does; repeat it for each node, in the same order
    #[arg(long, value_name = "DEVICE")]
    pub flash: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub consent: ConsentArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub writing: WritingArgs,
    /// The folder with selector.efi, initloader and psyops-agent (default: those of `make build`)
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    /// Whether the result also lists the steps and the partitions; set by `-v`
    #[arg(skip)]
    pub details: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl BuildImageArgs {
    /// The same, with or without the details in the result. `-v` asks for them; it is an option of all commands.
    #[must_use]
    pub fn with_details_if(self, details: bool) -> Self {
        Self { details, ..self }
    }
}

/// The result of `build-image`.
#[derive(Debug)]
pub struct BuildImageOutput {
    /// The nodes that were built, in the order of the request.
    pub built: Vec<BuiltImage>,
    /// The results of writing their sticks.
    flashed: Option<FlashOutput>,
    /// Whether the JSON is a list.
    several: bool,
    details: bool,
    json: bool,
}

/// Runs the command. `progress` gets a line at each stage.
pub fn run(args: &BuildImageArgs, progress: &dyn Fn(&str)) -> Result<BuildImageOutput, Error> {
    let site = load_locked_site(args.site.as_deref())?;
    let (nodes, several) = (args.nodes.names(&site.site), args.nodes.are_several());
    if !site.site.has_login() {
        let how = how_to_let_in(&site.site);
        progress(&format!("warning: no one can log in to the nodes of the site {}: {how}", site.site.id));
    }
    if !args.flash.is_empty() {
        if args.flash.len() != nodes.len() {
            return Err(SticksAndNodes { sticks: args.flash.len(), nodes: nodes.len() }.into());
        }
        // All refusals that are possible now come before anything is made.
        for disk in args.flash.iter().filter(|path| !path.is_file()) {
            Disk::of(disk)?.preflight_for_any(&args.consent.consent())?;
        }
    }
    let place = match &args.output {
        Some(path) if !several => OutputPlace::File(path.clone()),
        path => OutputPlace::Folder(path.clone().unwrap_or_default()),
    };
    let output = Output { place, layout: args.layout };
    let keys = args.credentials.locations();
    let programs = Programs::find(site.site.architecture, args.programs.as_deref())?;
    let request = Request { nodes, keys, programs, output };
    let built = engine::build(site, &request, &Store::from_environment()?, progress)?;
    let flashed = flash(args, &request, &built)?;
    Ok(BuildImageOutput { built, flashed, several, details: args.details, json: args.json })
}

fn flash(
    args: &BuildImageArgs,
    request: &Request,
    built: &[BuiltImage],
) -> Result<Option<FlashOutput>, Error> {
    let images = built.iter().map(|built| built.image.path.as_path());
    let pairs: Vec<(&Path, &Path)> = images.zip(args.flash.iter().map(PathBuf::as_path)).collect();
    let Some(first) = built.first().filter(|_| !pairs.is_empty()) else { return Ok(None) };
    let order = Order {
        pairs: &pairs,
        site: Some(&first.prepared.site),
        locations: Locations { identity: None, ..request.keys.clone() },
        consent: &args.consent,
        writing: args.writing,
        json: args.json,
    };
    order.carry_out().map(Some)
}

/// The numbers of sticks and nodes differ.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{nodes} nodes, but {sticks} sticks: add --flash once for each node, in the order of the nodes")]
pub struct SticksAndNodes {
    sticks: usize,
    nodes: usize,
}

impl Classified for SticksAndNodes {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }
}

fn to_json(built: &BuiltImage) -> Value {
    let (system, prepared) = (&built.system, &built.prepared);
    let (packed, unpacked) = system.initramfs_sizes;
    let steps: Vec<Value> = built.record.steps.iter().map(step_to_json).collect();
    json!({
        "image": built.image.path.display().to_string(),
        "shared": built.shared.as_ref().map(|shared| shared.display().to_string()),
        "written": built.written,
        "size": built.image.plan.disk_size.0,
        "site": prepared.site.id.to_string(),
        "node": prepared.node.to_string(),
        "release": prepared.site.release.to_string(),
        "root_hash": system.root.hash.to_string(),
        "kernel": system.kernel_release,
        "command_line": system.command_line,
        "uki_sha256": built.image.uki_digest.to_string(),
        "uki_size": system.uki.len(),
        "loader_size": system.loader_size,
        "initramfs_size": packed,
        "initramfs_unpacked_size": unpacked,
        "seal_serial": prepared.seal.opened.header().generation.number(),
        "seal_reasons": prepared.seal.reasons,
        "public_sha256": built.record.digests.public().to_string(),
        "node_sha256": built.record.digests.node().to_string(),
        "parts": built.record.digests.iter().map(|(part, digest)| (part.to_string(), digest.into())).collect::<Map<_, Value>>(),
        "steps": steps,
    })
}

/// A step as JSON. Its inputs are left out: they are in the store's record, and would be pages here.
pub(super) fn step_to_json(step: &StepRecord) -> Value {
    json!({
        "step": step.step,
        "made": step.origin == StepOrigin::Built,
        "changes": step.changes,
        "last_made": step.last_built,
        "key": step.key,
    })
}

/// A step as a line of text.
pub(super) fn step_line(step: &StepRecord) -> String {
    let why = step.last_built.join("; ");
    match step.origin {
        StepOrigin::Built => format!("{:<14} made: {why}", step.step),
        StepOrigin::Cached if step.changes.is_empty() => format!("{:<14} unchanged", step.step),
        StepOrigin::Cached => format!("{:<14} from the store, {why}: {}", step.step, step.changes.join("; ")),
    }
}

impl BuildImageOutput {
    fn describe(&self, f: &mut fmt::Formatter<'_>, built: &BuiltImage) -> fmt::Result {
        if self.details {
            for step in &built.record.steps {
                writeln!(f, "{}", step_line(step))?;
            }
            for partition in &built.image.plan.partitions {
                let (offset, size) = (partition.offset.to_string(), partition.size.to_string());
                writeln!(f, "{:<9} at {offset:>8}  {size:>8}", partition.role.name())?;
            }
            writeln!(f, "root hash {}", built.system.root.hash)?;
            for (part, digest) in built.record.digests.iter() {
                writeln!(f, "{part:<9} {digest}")?;
            }
        }
        let (path, size) = (Shown(built.image.path.display()), built.image.plan.disk_size);
        let prepared = &built.prepared;
        let digests = &built.record.digests;
        writeln!(f, "public {}", digests.public())?;
        writeln!(f, "node   {}", digests.node())?;
        write!(
            f,
            "{path}: node {} of site {}, release {}, {size}",
            prepared.node, prepared.site.id, prepared.site.release
        )
    }
}

impl BuildImageOutput {
    /// The exit code: that of the first stick that could not be written.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.flashed.as_ref().map_or(0, FlashOutput::exit_code)
    }

    fn to_json(&self) -> Value {
        let mut sticks = self.flashed.iter().flat_map(FlashOutput::values);
        let mut nodes: Vec<Value> = self.built.iter().map(to_json).collect();
        for node in &mut nodes {
            if let (Some(stick), Some(node)) = (sticks.next(), node.as_object_mut()) {
                node.insert("flashed".into(), stick);
            }
        }
        match nodes.as_mut_slice() {
            [one] if !self.several => {
                one["format"] = 1.into();
                one.take()
            }
            _ => json!({"format": 1, "nodes": nodes}),
        }
    }
}

impl fmt::Display for BuildImageOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{:#}", self.to_json());
        }
        for (number, built) in self.built.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            self.describe(f, built)?;
        }
        if let Some(flashed) = &self.flashed {
            write!(f, "\n{flashed}")?;
        }
        Ok(())
    }
}
