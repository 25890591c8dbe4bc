//! `psyops cat IMAGE PATH`: prints a file in an image.

use crate::browse;
use crate::error::Error;
use clap::Args;
use std::path::PathBuf;

/// Print a file of an image: of its ESP, initramfs, root or secret partition
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops cat pi1.img root/etc/os-release
  psyops cat pi1.img initramfs/psyops/trust     whom the system trusts
  psyops cat pi1.img secret/hostname
A terminal gets plain text only; what is not goes to a file or a pipe, byte by byte.
Exit codes: 0 printed, 1 no file but a folder or link, 65 that part is damaged or no image at all, 66 no such file,
77 not plain text on a terminal.")]
pub struct CatArgs {
    /// The image
    pub image: PathBuf,
    /// The file, beginning with its part
    pub path: String,
}

/// Runs the command; returns the content of the file.
pub fn run(args: &CatArgs) -> Result<Vec<u8>, Error> {
    Ok(browse::read(&args.image, &args.path)?)
}
