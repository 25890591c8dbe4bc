//! `psyops open-device`: the helper that psyops runs with sudo. It only opens a disk and passes the descriptor on.

use crate::disks::number::Number;
use crate::disks::preflight::Asked;
use crate::disks::privileged::hand_over;
use crate::error::Error;
use clap::Args;
use std::path::PathBuf;

/// Open a disk and hand it over to psyops (which calls this by itself)
#[derive(Debug, Args)]
pub struct OpenDeviceArgs {
    /// The disk
    pub device: PathBuf,
    /// Its number, MAJOR:MINOR: no other disk is opened
    #[arg(long, value_name = "NUMBER")]
    pub number: Number,
    /// Open it past the cache
    #[arg(long)]
    pub direct: bool,
    /// A partition is meant, and not a whole disk
    #[arg(long)]
    pub partition: bool,
    /// The disk once more, where it is neither removable nor on USB
    #[arg(long, value_name = "DEV")]
    pub fixed_disk: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &OpenDeviceArgs) -> Result<&'static str, Error> {
    let asked = Asked { partition: args.partition, fixed_disk: args.fixed_disk.clone() };
    hand_over(&args.device, args.number, args.direct, &asked)?;
    Ok("")
}
