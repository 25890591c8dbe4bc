//! `psyops diff A B`: compares two images.

use crate::diff::{self, Difference};
use crate::error::{Class, Error};
use clap::Args;
use std::fmt;
use std::path::PathBuf;

/// Show what differs between two images or sticks: packages, files, kernel, command line, initramfs, seals, keys, sizes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops diff pi1-old.img pi1.img
  psyops diff pi1.img /dev/sdX --all   list every file that changed on a stick
  psyops diff pi1.img pi2.img --json

Of the secret partition only whether it differs is shown; the data partition is not compared. Two
roots with the same root hash count as equal without being read: psyops verify checks whether a
stick is damaged. If one image is damaged, the other parts are still compared.")]
pub struct DiffArgs {
    /// The first image
    pub a: PathBuf,
    /// The second image
    pub b: PathBuf,
    /// List every file that differs, not only the first of each kind
    #[arg(long)]
    pub all: bool,
    /// Print JSON, with every file
    #[arg(long)]
    pub json: bool,
}

/// The result of `diff`.
#[derive(Debug)]
pub struct DiffOutput {
    /// The differences, part by part.
    pub difference: Difference,
    all: bool,
    json: bool,
}

impl DiffOutput {
    /// The exit code of diff(1), or that of bad content if a part is damaged.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.difference {
            difference if !difference.damaged.is_empty() => Class::BadContent.exit_code(),
            difference => u8::from(!difference.is_same()),
        }
    }
}

/// Runs the command.
pub fn run(args: &DiffArgs) -> Result<DiffOutput, Error> {
    Ok(DiffOutput { difference: diff::diff(&args.a, &args.b)?, all: args.all, json: args.json })
}

impl fmt::Display for DiffOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            write!(f, "{:#}", diff::to_json(&self.difference))
        } else {
            f.write_str(diff::to_text(&self.difference, self.all).trim_end())
        }
    }
}
