//! `psyops seal`: makes the seals of nodes anew where something in them changed, and nothing else.

use crate::cli::mksecrets::{CredentialArgs, tell};
use crate::cli::nodes::NodesArgs;
use crate::error::Error;
use crate::secrets::prepare::{Prepared, prepare_all};
use crate::site::site_or_default;
use clap::Args;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Make the seals of nodes anew where something in them changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops seal --site fleet --all
  psyops seal --site fleet --node pi1 --node pi2 --json
A node that runs takes its new seal without a new stick: psyops-agent seal install.")]
pub struct SealArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub nodes: NodesArgs,
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
    let site = site_or_default(args.site.as_deref())?;
    let nodes = args.nodes.names(&site);
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
