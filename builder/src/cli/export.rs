//! `psyops export IMAGE --form FORM`: writes an image in another form.

use crate::error::Error;
use crate::export::{self, Form};
use clap::Args;
use handoff::shown::Shown;
use serde_json::json;
use std::fmt;
use std::path::PathBuf;

/// Convert an image: compressed with a block map, as a QEMU disk, or for network boot
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops export pi1.img --form zst                      pi1.img.zst and pi1.img.bmap, for bmaptool
  psyops export pi1.img --form qcow2 --output pi1.qcow2
  psyops export pi1.img --form netboot --output tftp    vmlinuz, initramfs.img and cmdline

The image itself is not changed. To write only a secret partition, use mksecrets.")]
pub struct ExportArgs {
    /// The image
    pub image: PathBuf,
    /// The form
    #[arg(long, value_enum)]
    pub form: Form,
    /// The output (default: in the folder of the image)
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result of `export`.
#[derive(Debug)]
pub struct ExportOutput {
    files: Vec<PathBuf>,
    json: bool,
}

/// Runs the command.
pub fn run(args: &ExportArgs) -> Result<ExportOutput, Error> {
    let output = args.output.clone().unwrap_or_else(|| args.form.beside(&args.image));
    Ok(ExportOutput { files: export::export(&args.image, args.form, &output)?, json: args.json })
}

impl fmt::Display for ExportOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
            return write!(f, "{:#}", json!({"format": 1, "files": files}));
        }
        for file in &self.files {
            writeln!(f, "{}", Shown(file.display()))?;
        }
        Ok(())
    }
}
