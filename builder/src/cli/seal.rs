//! `psyops seal`: makes those seals of nodes again whose content changed, and nothing else.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::mksecrets::tell;
use crate::cli::nodes::NodesArgs;
use crate::cli::site::load_locked_site;
use crate::error::Error;
use crate::next_command::psyops;
use crate::secrets::prepare::{Prepared, prepare};
use crate::secrets::raise::{Raise, RaiseRequest, Raised};
use crate::secrets::seal::{SealRequest, UntrustedSeal};
use clap::Args;
use handoff::shown::Shown;
use keys::seal::header::Generation;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Make new seals for nodes whose files, keys or settings changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops seal --site fleet --all
  psyops seal --site fleet --node pi1 --node pi2 --json
  psyops seal --site fleet --all --raise serial     the next release refuses all earlier seals
  psyops seal --site fleet --node pi1 --raise serial
  psyops seal --site fleet --all --raise release    the new seals refuse all earlier releases
  psyops seal --site fleet --node pi1 --replace     if seals/pi1.seal is not valid
  psyops seal --site fleet --node pi1 --above 9     replace a seal of generation 9 on the node

Writes seals/NODE.seal in the site where the node's files, keys or settings changed. A running node
takes a new seal without a new stick: psyops-agent seal install.")]
pub struct SealArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub nodes: NodesArgs,
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    /// First raise a limit, so that nodes refuse older seals or releases
    #[arg(long, value_name = "WHAT")]
    pub raise: Option<Raise>,
    /// Replace a stored seal that is not valid, with a generation above the last one that this workstation knows
    #[arg(long)]
    pub replace: bool,
    /// A generation that the node has seen: make a new seal with a higher one if the stored seal is not above it
    #[arg(long, value_name = "GENERATION", conflicts_with = "raise")]
    pub above: Option<Generation>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The result of `seal`.
#[derive(Debug)]
pub struct SealOutput {
    nodes: Vec<Prepared>,
    raised: Vec<Raised>,
    json: bool,
}

/// Runs the command.
pub fn run(args: &SealArgs, progress: &dyn Fn(&str)) -> Result<SealOutput, Error> {
    let site = load_locked_site(args.site.as_deref())?;
    let some = (!args.nodes.all).then_some(args.nodes.node.as_slice());
    let names = args.nodes.names(&site.site);
    let request = SealRequest {
        untrusted: if args.replace { UntrustedSeal::Replace } else { UntrustedSeal::Refuse },
        above: args.above,
    };
    let raise = args.raise.map(|what| RaiseRequest { what, nodes: some });
    let (nodes, raised) =
        prepare(site, names.iter().map(String::as_str), &args.credentials.locations(), request, raise)?;
    if let Some(first) = nodes.first() {
        first.told_of_trust().iter().for_each(|line| progress(line));
    }
    for prepared in &nodes {
        tell(prepared, progress);
    }
    Ok(SealOutput { nodes, raised, json: args.json })
}

fn to_json(prepared: &Prepared) -> Value {
    json!({
        "node": prepared.node.to_string(),
        "serial": prepared.seal.opened.header().generation.number(),
        "seal": prepared.seal.path.display().to_string(),
        "sealed_because": prepared.seal.reasons,
        "keys_made": prepared.keys_made,
    })
}

fn raised_to_json(raised: &Raised) -> Value {
    let node = raised.node.as_ref().map(ToString::to_string);
    json!({"key": raised.key, "node": node, "from": raised.from, "to": raised.to})
}

fn raised_to_text(raised: &Raised) -> String {
    let Raised { key, node, from, to } = raised;
    let file = node.as_ref().map_or_else(|| "site.toml".to_owned(), |node| format!("nodes/{node}.toml"));
    format!("{file}: {key} is {to} now, it was {from}")
}

impl fmt::Display for SealOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            let seals: Value = self.nodes.iter().map(to_json).collect();
            let raised: Value = self.raised.iter().map(raised_to_json).collect();
            return write!(f, "{:#}", json!({"format": 1, "raised": raised, "seals": seals}));
        }
        for raised in &self.raised {
            writeln!(f, "{}", raised_to_text(raised))?;
        }
        let made = self.nodes.iter().filter(|node| !node.seal.reasons.is_empty()).count();
        let seals = if self.nodes.len() == 1 { "seal" } else { "seals" };
        writeln!(f, "{} {seals}: {made} made, {} unchanged", self.nodes.len(), self.nodes.len() - made)?;
        if !self.raised.is_empty() {
            let build = Shown(psyops("build-image --all"));
            let next = if self.raised.iter().any(|raised| raised.key == "security-epoch") {
                "The new seals refuse systems built before, so no running node takes one: build the images, which have \
                 both, and flash the sticks"
            } else {
                "Nodes refuse older seals only after an update to a system that is built from now on: install the new \
                 seals first, then build the images again"
            };
            writeln!(f, "{next}: {build}")?;
        }
        Ok(())
    }
}
