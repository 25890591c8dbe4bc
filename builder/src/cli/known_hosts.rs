//! `psyops known-hosts`: prints the lines that tie the site's nodes to their SSH host keys.

use crate::error::Error;
use crate::secrets::known_hosts::known_hosts;
use crate::site::{Site, default_site};
use clap::Args;
use std::path::PathBuf;

/// Print the nodes' SSH host keys as lines for known_hosts
#[expect(clippy::doc_markdown, reason = "this is the text of the help")]
#[derive(Debug, Args)]
pub struct KnownHostsArgs {
    /// The site's folder (by default the embedded site)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
}

/// Does it: a line a node, each with its line end.
pub fn run(args: &KnownHostsArgs) -> Result<String, Error> {
    let site = match &args.site {
        Some(dir) => Site::load(dir)?,
        None => default_site()?,
    };
    Ok(known_hosts(&site)?)
}
