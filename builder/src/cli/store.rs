//! `psyops store`: removes files from the store that are no longer needed.

use crate::engine::needed;
use crate::error::Error;
use crate::store::{Collected, Store, collect_garbage};
use clap::{Args, Subcommand};
use handoff::shown::Shown;
use serde_json::json;
use std::fmt;

/// Manage the store of packages and finished build steps
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops store gc --dry-run   list what would be removed
  psyops store gc             remove all that no node's last build uses

The store is in $XDG_CACHE_HOME/psyops (by default ~/.cache/psyops).")]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Remove everything that no node's last build uses; it can all be made or fetched again
    #[command(after_help = "Examples:
  psyops store gc --dry-run   list what would be removed
  psyops store gc
  psyops store gc --json")]
    Gc {
        /// Only list what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The result of `store gc`.
#[derive(Debug)]
pub struct StoreOutput {
    collected: Collected,
    dry_run: bool,
    json: bool,
}

/// Runs the command.
pub fn run(args: &StoreArgs) -> Result<StoreOutput, Error> {
    let StoreCommand::Gc { dry_run, json } = args.command;
    Ok(StoreOutput {
        collected: collect_garbage(&Store::from_environment()?, dry_run, needed)?,
        dry_run,
        json,
    })
}

impl fmt::Display for StoreOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Collected { removed, freed, kept } = &self.collected;
        if self.json {
            let value = json!({
                "format": 1, "removed": removed, "freed": freed, "kept": kept, "dry_run": self.dry_run,
            });
            return write!(f, "{value:#}");
        }
        if self.dry_run {
            for path in removed {
                writeln!(f, "{}", Shown(path.display()))?;
            }
        }
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        write!(
            f,
            "{} files and folders {verb}, {} MiB; {} MiB are kept",
            removed.len(),
            freed >> 20,
            kept >> 20
        )
    }
}
