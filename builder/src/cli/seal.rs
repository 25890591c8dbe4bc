//! `psyops seal`: makes the seals of nodes anew where something in them changed, and nothing else.

use crate::cli::mksecrets::{CredentialArgs, tell};
use crate::error::Error;
use crate::secrets::prepare::{Prepared, prepare_all};
use crate::site::{Site, default_site};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Make the seals of nodes anew where something in them changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops seal --site fleet --all
  psyops seal --site fleet --node pi1 --node pi2 --json
A node that runs takes its new seal without a new stick: psyops-agent seal install.")]
#[command(group(ArgGroup::new("which").required(true).args(["node", "all"])))]
pub struct SealArgs {
    /// A node; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// All nodes of the site
    #[arg(long)]
    pub all: bool,
    /// The site's folder (by default the embedded site)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The seals.
#[derive(Debug)]
pub struct SealOutput {
    nodes: Vec<Prepared>,
    json: bool,
}

/// Does it.
pub fn run(args: &SealArgs, progress: &dyn Fn(&str)) -> Result<SealOutput, Error> {
    let site = match &args.site {
        Some(dir) => Site::load(dir)?,
        None => default_site()?,
    };
    let nodes =
        if args.all { site.nodes().map(|node| node.name.to_string()).collect() } else { args.node.clone() };
    let nodes = prepare_all(&site, nodes.iter().map(String::as_str), &args.credentials.locations())?;
    for prepared in &nodes {
        tell(prepared, progress);
    }
    Ok(SealOutput { nodes, json: args.json })
}

fn to_json(prepared: &Prepared) -> Value {
    json!({
        "node": prepared.node.to_string(),
        "serial": prepared.seal.opened.header().serial.number(),
        "seal": prepared.seal.path,
        "sealed_because": prepared.seal.reasons,
        "keys_made": prepared.keys_made,
    })
}

impl fmt::Display for SealOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{:#}", self.nodes.iter().map(to_json).collect::<Value>());
        }
        let made = self.nodes.iter().filter(|node| !node.seal.reasons.is_empty()).count();
        writeln!(f, "{} seals: {made} made anew, {} as they were", self.nodes.len(), self.nodes.len() - made)
    }
}
