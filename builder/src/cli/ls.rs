//! `psyops ls IMAGE [PATH]`: lists files in an image.

use crate::browse::{self, Entry};
use crate::error::Error;
use clap::Args;
use serde_json::json;
use std::fmt;
use std::path::PathBuf;

/// List files of an image: of its ESP, initramfs, root or secret partition
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops ls pi1.img                     the parts: esp, initramfs, root, secret
  psyops ls pi1.img root/etc
  psyops ls pi1.img initramfs-b/lib/modules
  psyops ls /dev/sdX secret --json

Each name is one line; control characters in it are escaped as in JSON. `root` and `initramfs` are
those of the first slot with a system; `root-b` and `initramfs-b` are those of slot b.")]
pub struct LsArgs {
    /// The image
    pub image: PathBuf,
    /// The folder or file, beginning with its part (esp, initramfs, root or secret)
    #[arg(default_value = "")]
    pub path: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result of `ls`.
#[derive(Debug)]
pub struct LsOutput {
    /// The files, sorted by name.
    pub entries: Vec<Entry>,
    json: bool,
}

/// Runs the command.
pub fn run(args: &LsArgs) -> Result<LsOutput, Error> {
    Ok(LsOutput { entries: browse::list(&args.image, &args.path)?, json: args.json })
}

impl fmt::Display for LsOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            let entries: Vec<_> = self.entries.iter().map(Entry::to_json).collect();
            return write!(f, "{:#}", json!({"format": 1, "entries": entries}));
        }
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}
