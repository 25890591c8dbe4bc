//! `psyops open-device`: the helper that psyops runs with sudo. It only opens a disk and passes the descriptor on.

use crate::disks::number::Number;
use crate::disks::preflight::Asked;
use crate::disks::privileged::hand_over;
use crate::error::Error;
use clap::Args;
use std::path::PathBuf;

/// Open a disk for psyops, which runs this command itself with sudo
#[derive(Debug, Args)]
pub struct OpenDeviceArgs {
    /// The disk
    pub device: PathBuf,
    /// The device number that it must have, MAJOR:MINOR
    #[arg(long, value_name = "NUMBER")]
    pub number: Number,
    /// Open it without the page cache (`O_DIRECT`)
    #[arg(long)]
    pub direct: bool,
    /// Open a partition instead of a whole disk
    #[arg(long)]
    pub partition: bool,
    /// The same disk again, to allow one that is neither removable nor on USB
    #[arg(long, value_name = "DEV")]
    pub fixed_disk: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &OpenDeviceArgs) -> Result<&'static str, Error> {
    let asked = Asked { partition: args.partition, fixed_disk: args.fixed_disk.clone() };
    hand_over(&args.device, args.number, args.direct, &asked)?;
    Ok("")
}
