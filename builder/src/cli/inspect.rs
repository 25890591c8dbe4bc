//! `psyops inspect IMAGE`: what an image is.

use crate::error::Error;
use crate::inspect::{self, Inspection};
use clap::Args;
use std::fmt;
use std::path::PathBuf;

/// Show what an image or stick holds: partitions, slots, release, root hash, node, seal, recipients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops inspect pi1.img
  psyops inspect /dev/sdX --json")]
pub struct InspectArgs {
    /// The image
    pub image: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What there is to say.
#[derive(Debug)]
pub struct InspectOutput {
    /// The facts.
    pub inspection: Inspection,
    json: bool,
}

/// Does it.
pub fn run(args: &InspectArgs) -> Result<InspectOutput, Error> {
    Ok(InspectOutput { inspection: inspect::inspect(&args.image)?, json: args.json })
}

impl fmt::Display for InspectOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            write!(f, "{:#}", inspect::to_json(&self.inspection))
        } else {
            f.write_str(inspect::to_text(&self.inspection).trim_end())
        }
    }
}
