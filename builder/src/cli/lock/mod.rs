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

/// Choose the packages of a site anew, and list them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops lock update --site fleet --dry-run  what would change
  psyops lock update --site fleet            say what changes, ask, and take it
  psyops lock update --site fleet --yes      take it
  psyops lock show --site fleet --node pi1   the packages of a node
  psyops lock sign --site fleet              show what no archive vouches for, ask, and sign site.lock
A build takes a package only if the site's signing key vouches for it (site.lock.minisig), or the archive's signed index
that site.lock names and the store has. lock update does both.")]
pub struct LockArgs {
    #[command(subcommand)]
    command: LockCommand,
}

#[derive(Debug, Subcommand)]
enum LockCommand {
    /// Take the archive's present packages into site.lock, after saying what changes
    #[command(after_help = "Examples:
  psyops lock update --site fleet --dry-run  what would change
  psyops lock update --site fleet            say what changes, ask, and take it
  psyops lock update --site fleet --yes      say what changes, and take it
Where nothing changes and the lock's signature is missing or does not hold, it is signed again, after asking as well.")]
    Update {
        #[command(flatten)]
        which: Which,
        /// Only say what would change
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        signing: SigningKeyArgs,
    },
    /// Sign site.lock as it is, after saying what nothing else vouches for
    #[command(after_help = "Examples:
  psyops lock sign --site fleet         show, ask, and write site.lock.minisig
  psyops lock sign --site fleet --yes   do not ask
For a lock that was made before locks were signed, or without the signing key. Look at what it names first: every build of
the site then takes it, without the network and on any machine.")]
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
  psyops lock show --site fleet --node pi1   the packages of a node
  psyops lock show --site fleet --json
The first line says who vouches for the lock.")]
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
