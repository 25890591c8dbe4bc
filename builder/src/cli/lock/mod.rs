//! `psyops lock`: the packages of a site, as `site.lock` records them.

mod changes;
mod consent;
mod show;
mod sign;
mod update;

use crate::cli::credential_args::SigningKeyArgs;
use crate::error::Error;
use clap::{Args, Subcommand};
use consent::Consent;
use std::io;
use std::path::PathBuf;

/// Update, sign and list the locked packages of a site
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops lock update --site fleet --dry-run   show what would change
  psyops lock update --site fleet             show what changes, ask, and write it
  psyops lock update --site fleet --yes       show what changes, and write it
  psyops lock show --site fleet --node pi1    the packages of one node
  psyops lock sign --site fleet               sign site.lock as it is

A build uses a package only if the signature of site.lock (site.lock.minisig) or the archive's
signed index vouches for it.")]
pub struct LockArgs {
    #[command(subcommand)]
    command: LockCommand,
}

#[derive(Debug, Subcommand)]
enum LockCommand {
    /// Update site.lock to the packages that the archive has now
    #[command(after_help = "Examples:
  psyops lock update --site fleet --dry-run   show what would change
  psyops lock update --site fleet             show what changes, ask, and write it
  psyops lock update --site fleet --yes       show what changes, and write it

Writes site.lock and site.lock.minisig in the site. If no package changes, but the signature is
missing or not valid, it asks whether to sign the lock again.")]
    Update {
        #[command(flatten)]
        which: Which,
        /// Only show what would change
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        signing: SigningKeyArgs,
    },
    /// Sign site.lock as it is
    #[command(after_help = "Examples:
  psyops lock sign --site fleet         show, ask, and write site.lock.minisig
  psyops lock sign --site fleet --yes   the same without a question

For a lock that was written without the signing key. Look at the packages first: after that, every
build of the site uses them, on any machine and without the network.")]
    Sign {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        signing: SigningKeyArgs,
    },
    /// List the locked packages
    #[command(after_help = "Examples:
  psyops lock show --site fleet
  psyops lock show --site fleet --node pi1   the packages of one node
  psyops lock show --site fleet --json

The first line shows whose signature vouches for the lock.")]
    Show {
        #[command(flatten)]
        which: Which,
        /// Only the packages of this node
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
    },
}

/// What every command here takes.
#[derive(Debug, Args)]
struct Which {
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LockArgs {
    /// Whether the command prints JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        let (LockCommand::Update { which, .. }
        | LockCommand::Sign { which, .. }
        | LockCommand::Show { which, .. }) = &self.command;
        which.json
    }
}

/// Runs the command; returns the text to print, and the error with which it then ends. `ask` asks the user a question,
/// and returns `None` without a terminal.
pub fn run(
    args: &LockArgs,
    progress: &dyn Fn(&str),
    ask: &dyn Fn(&str) -> io::Result<Option<bool>>,
) -> Result<(String, Option<Error>), Error> {
    match &args.command {
        LockCommand::Update { which, dry_run, yes, signing } => {
            let consent = Consent { dry_run: *dry_run, yes: *yes, ask };
            update::run(which, &signing.locations(), &consent, progress)
        }
        LockCommand::Sign { which, yes, signing } => {
            let consent = Consent { dry_run: false, yes: *yes, ask };
            sign::run(which, &signing.locations(), &consent, progress)
        }
        LockCommand::Show { which, node } => Ok((show::run(which, node.as_deref())?, None)),
    }
}
