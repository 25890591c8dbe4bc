//! `psyops cat IMAGE PATH`: prints a file in an image.

use crate::browse;
use crate::error::Error;
use clap::Args;
use std::path::PathBuf;

/// Print a file of an image: of its ESP, initramfs, root or secret partition
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops cat pi1.img root/etc/os-release
  psyops cat pi1.img initramfs/psyops/trust   the keys that the system trusts
  psyops cat pi1.img secret/hostname

On a terminal only plain text is printed; other files must go to a file or a pipe, which gets them
byte by byte.")]
pub struct CatArgs {
    /// The image
    pub image: PathBuf,
    /// The file, beginning with its part (esp, initramfs, root or secret)
    pub path: String,
}

/// Runs the command; returns the content of the file.
pub fn run(args: &CatArgs) -> Result<Vec<u8>, Error> {
    Ok(browse::read(&args.image, &args.path)?)
}
