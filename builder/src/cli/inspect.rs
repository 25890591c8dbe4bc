//! `psyops inspect IMAGE`: what an image is.

use crate::atomic;
use crate::error::Error;
use crate::inspect::{self, Inspection};
use clap::Args;
use std::path::PathBuf;

/// Show what an image or stick holds: partitions, slots, release, root hash, node, seal, recipients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops inspect pi1.img
  psyops inspect /dev/sdX --json
  psyops inspect pi1.img --svg --output pi1.svg     the disk as a map
Exit codes: 0 shown (what is damaged stands in the warnings), 65 no image at all.")]
pub struct InspectArgs {
    /// The image
    pub image: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Draw the disk as a map, as SVG
    #[arg(long, conflicts_with = "json")]
    pub svg: bool,
    /// Write the map to this file instead of the standard output
    #[arg(long, value_name = "FILE", requires = "svg")]
    pub output: Option<PathBuf>,
}

/// Does it; returns what is to be printed.
pub fn run(args: &InspectArgs) -> Result<String, Error> {
    let inspection = inspect::inspect(&args.image)?;
    match &args.output {
        _ if args.json => Ok(format!("{:#}\n", inspect::to_json(&inspection))),
        _ if !args.svg => Ok(inspect::to_text(&inspection)),
        None => Ok(inspect::to_svg(&inspection)),
        Some(path) => {
            atomic::write_file(path, inspect::to_svg(&inspection).as_bytes())?;
            Ok(drawn(path, &inspection))
        }
    }
}

fn drawn(path: &std::path::Path, inspection: &Inspection) -> String {
    let (partitions, warnings) = (inspection.partitions.len(), inspection.warnings.len());
    format!("{}: {partitions} partitions, {warnings} warnings\n", path.display())
}
