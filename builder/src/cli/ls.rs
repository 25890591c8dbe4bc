//! `psyops ls IMAGE [PATH]`: lists files in an image.

use crate::browse::{self, Entry};
use crate::error::Error;
use clap::Args;
use serde_json::json;
use std::fmt;
use std::path::PathBuf;

/// List the files in an image: of its ESP, initramfs, root or secret partition
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops ls pi1.img                     the parts: esp, initramfs, root, secret
  psyops ls pi1.img root/etc
  psyops ls pi1.img initramfs-b/lib/modules
  psyops ls /dev/sdX secret --json
A name has one line; what is not plain text in it is escaped as in JSON. --json has names as they are.
Without a letter, root and initramfs are those of the first slot that holds a system.
Exit codes: 0 shown, 65 that part is damaged or no image at all, 66 no such file.")]
pub struct LsArgs {
    /// The image
    pub image: PathBuf,
    /// The folder or file, beginning with its part
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
