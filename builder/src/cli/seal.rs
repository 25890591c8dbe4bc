//! `psyops seal`: makes those seals of nodes again whose content changed, and nothing else.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::mksecrets::tell;
use crate::cli::nodes::NodesArgs;
use crate::default_site::locked_site_or_default;
use crate::error::Error;
use crate::next_command::psyops;
use crate::secrets::prepare::{Prepared, prepare_raised};
use crate::secrets::raise::{Raise, RaiseRequest, Raised};
use crate::secrets::seal::{SealWish, Unbelieved};
use clap::Args;
use handoff::shown::Shown;
use keys::seal::header::Serial;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Make the seals of nodes anew where something in them changed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops seal --site fleet --all
  psyops seal --site fleet --node pi1 --node pi2 --json
  psyops seal --site fleet --all --raise serial    all seals of before are refused by the next release
  psyops seal --site fleet --node pi1 --raise serial
  psyops seal --site fleet --all --raise release   all releases of before refuse the new seals
  psyops seal --site fleet --node pi1 --replace          where seals/pi1.seal cannot be believed
  psyops seal --site fleet --node pi1 --above 9          where the node has seen serial 9, and this is to replace it
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
    /// Raise the least serial or the least release first, so that what was replaced is refused
    #[arg(long, value_name = "WHAT")]
    pub raise: Option<Raise>,
    /// Make a new seal where the kept one cannot be believed, above the last serial that is known here
    #[arg(long)]
    pub replace: bool,
    /// A serial that the node has seen: a seal that is not above it is made again, with a higher one
    #[arg(long, value_name = "SERIAL", conflicts_with = "raise")]
    pub above: Option<Serial>,
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
    let site = locked_site_or_default(args.site.as_deref())?;
    let some = (!args.nodes.all).then_some(args.nodes.node.as_slice());
    let names = args.nodes.names(&site.site);
    let wish = SealWish {
        unbelieved: if args.replace { Unbelieved::Replace } else { Unbelieved::Refuse },
        above: args.above,
    };
    let raise = args.raise.map(|what| RaiseRequest { what, nodes: some });
    let (nodes, raised) =
        prepare_raised(site, names.iter().map(String::as_str), &args.credentials.locations(), wish, raise)?;
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
        "serial": prepared.seal.opened.header().serial.number(),
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
    format!("{file}: {key} is {to} now, {from} before")
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
        writeln!(
            f,
            "{} seals: {made} made anew, {} as they were",
            self.nodes.len(),
            self.nodes.len() - made
        )?;
        if !self.raised.is_empty() {
            let build = Shown(psyops("build-image --all"));
            writeln!(
                f,
                "Running nodes refuse what is older only with a system that was built now: install the new seals first, then \
                 build the images again: {build}"
            )?;
        }
        Ok(())
    }
}
