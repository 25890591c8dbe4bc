//! `psyops known-hosts`: prints lines with the SSH host keys of the site's nodes.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::site::load_site;
use crate::cli::trust::with_trusted_keys;
use crate::error::Error;
use crate::secrets::known_hosts::{KnownHost, known_hosts};
use clap::Args;
use serde_json::json;
use std::fmt;
use std::path::PathBuf;

/// Print the nodes' SSH host keys as lines for known_hosts
#[expect(clippy::doc_markdown, reason = "this is the text of the help")]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops known-hosts --site fleet >>~/.ssh/known_hosts
  psyops known-hosts --site fleet --json")]
pub struct KnownHostsArgs {
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The host keys of the nodes.
#[derive(Debug)]
pub struct KnownHostsOutput {
    nodes: Vec<KnownHost>,
    json: bool,
}

/// Runs the command.
pub fn run(args: &KnownHostsArgs) -> Result<KnownHostsOutput, Error> {
    let site = with_trusted_keys(load_site(args.site.as_deref())?, &args.credentials.locations())?;
    Ok(KnownHostsOutput { nodes: known_hosts(&site)?, json: args.json })
}

impl fmt::Display for KnownHostsOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{}", json!({"format": 1, "nodes": self.nodes}));
        }
        self.nodes.iter().try_for_each(|node| writeln!(f, "{node}"))
    }
}
