//! `psyops lock`: the packages of a site, as `site.lock` records them.

mod changes;
mod show;
mod update;

use crate::error::Error;
use clap::{Args, Subcommand};
use std::io;
use std::path::PathBuf;

/// Choose the packages of a site anew, and list them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops lock update --site fleet --dry-run  what would change
  psyops lock update --site fleet            say what changes, ask, and take it
  psyops lock update --site fleet --yes      take it
  psyops lock show --site fleet --node pi1   the packages of a node")]
pub struct LockArgs {
    #[command(subcommand)]
    command: LockCommand,
}

#[derive(Debug, Subcommand)]
enum LockCommand {
    /// Take the archive's present packages into site.lock, after saying what changes
    Update {
        #[command(flatten)]
        which: Which,
        /// Only say what would change
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// List the locked packages
    Show {
        #[command(flatten)]
        which: Which,
        /// Only those of this node's system
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
    },
}

/// What every command here takes.
#[derive(Debug, Args)]
struct Which {
    /// The site's folder (by default the embedded site)
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LockArgs {
    /// Whether the result is JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        let (LockCommand::Update { which, .. } | LockCommand::Show { which, .. }) = &self.command;
        which.json
    }
}

/// Does it: what there is to say, and the error that it then ends with. `ask` puts a question to whoever sits there;
/// `None`: nobody does.
pub fn run(
    args: &LockArgs,
    progress: &dyn Fn(&str),
    ask: &dyn Fn(&str) -> io::Result<Option<bool>>,
) -> Result<(String, Option<Error>), Error> {
    match &args.command {
        LockCommand::Update { which, dry_run, yes } => {
            let consent = update::Consent { dry_run: *dry_run, yes: *yes, ask };
            update::run(which, &consent, progress)
        }
        LockCommand::Show { which, node } => Ok((show::run(which, node.as_deref())?, None)),
    }
}
