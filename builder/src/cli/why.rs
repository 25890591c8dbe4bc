//! `psyops why NODE|IMAGE`: explains why each step of a node's last build ran, or did not.

use super::build_image::{step_line, step_to_json};
use crate::cli::site::load_site;
use crate::engine::BuildRecord;
use crate::error::{Class, Classified, Error};
use crate::image::reader::ImageReader;
use crate::image::seals;
use crate::next_command::psyops;
use crate::store::Store;
use clap::Args;
use handoff::least_generation::LeastGeneration;
use handoff::name::Name;
use handoff::shown::Shown;
use keys::signature::PublicKey;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};

/// Show why each step of a node's last build ran: which of its inputs had changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops why pi1 --site fleet
  psyops why pi1.img --site fleet        the node of this image
  psyops why pi1 --site fleet --inputs   also the inputs of each step
  psyops why pi1 --site fleet --json

Reads the record of the last build on this machine; nothing is built.")]
pub struct WhyArgs {
    /// The node's name, or one of its images
    pub what: String,
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// List the inputs of each step
    #[arg(long)]
    pub inputs: bool,
    /// Print JSON, with the inputs
    #[arg(long)]
    pub json: bool,
}

/// The record of the node's last build.
#[derive(Debug)]
pub struct WhyOutput {
    record: BuildRecord,
    inputs: bool,
    json: bool,
}

/// The store has no record of a build of the node.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("this workstation has no record of a build of node {node} of site {site}")]
pub struct NoBuild {
    site: Name,
    node: Name,
}

impl Classified for NoBuild {
    fn own_class(&self) -> Option<Class> {
        Some(Class::MissingInput)
    }

    fn own_advice(&self) -> Option<String> {
        let build = psyops(&format!("build-image --node {}", self.node));
        Some(format!("build it on this machine first: {build}"))
    }
}

/// The image has no seal that the site signed.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("{path} has no valid seal of this site, so it is not known whose image it is: {problem}")]
pub struct Nameless {
    path: PathBuf,
    problem: String,
}

impl Classified for Nameless {
    fn own_class(&self) -> Option<Class> {
        Some(Class::BadContent)
    }

    fn own_advice(&self) -> Option<String> {
        Some("name the node instead".into())
    }
}

/// Runs the command.
pub fn run(args: &WhyArgs) -> Result<WhyOutput, Error> {
    let site = load_site(args.site.as_deref())?;
    let path = Path::new(&args.what);
    let name = if path.is_file() {
        node_of_image(path, &site.signing_keys, &site.id)?.to_string()
    } else {
        args.what.clone()
    };
    let node = site.node(&name)?.name.clone();
    let record = BuildRecord::read(&Store::from_environment()?, &site, &node);
    let record = record.ok_or_else(|| NoBuild { site: site.id.clone(), node })?;
    Ok(WhyOutput { record, inputs: args.inputs, json: args.json })
}

/// The node in the seal that the node itself would use.
pub(crate) fn node_of_image(path: &Path, keys: &[PublicKey], site: &Name) -> Result<Name, Error> {
    let image = ImageReader::open(path)?;
    let newest = seals::newest(&image, keys, site, &LeastGeneration::default());
    match &newest.chosen {
        Some((_, seal)) => Ok(seal.header().node.clone()),
        None => Err(Nameless { path: path.to_owned(), problem: newest.problems() }.into()),
    }
}

impl WhyOutput {
    fn to_json(&self) -> Value {
        let steps = self.record.steps.iter().map(|step| {
            let mut value = step_to_json(step);
            let inputs = step.inputs.iter().map(|(name, value)| (name.to_owned(), value.into()));
            value["inputs"] = Value::Object(inputs.collect());
            value
        });
        json!({
            "format": 1,
            "site": self.record.site,
            "node": self.record.node,
            "image": self.record.image.path().display().to_string(),
            "image_unchanged": self.record.image.holds(),
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for WhyOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{:#}", self.to_json());
        }
        let image = &self.record.image;
        let since = if image.holds() { "unchanged since" } else { "changed or removed since" };
        writeln!(
            f,
            "the last build of node {} wrote {}, {since}",
            self.record.node,
            Shown(image.path().display())
        )?;
        for step in &self.record.steps {
            let line = step_line(step);
            let last = if line.ends_with("unchanged") {
                format!(", last made: {}", step.last_built.join("; "))
            } else {
                String::new()
            };
            writeln!(f, "{line}{last}")?;
            for (name, value) in step.inputs.iter().filter(|_| self.inputs) {
                writeln!(f, "    {name} = {value}")?;
            }
        }
        Ok(())
    }
}
