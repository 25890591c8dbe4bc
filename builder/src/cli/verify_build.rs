//! `psyops verify-build IMAGE`: builds an image again and compares it.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::site::load_site;
use crate::cli::trust::with_trusted_keys;
use crate::error::Error;
use crate::programs::Programs;
use crate::rebuild::{self, Rebuilt};
use crate::store::Store;
use clap::Args;
use std::fmt;
use std::path::PathBuf;

/// Build an image again from its site and the locked packages, and compare it part by part
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops verify-build pi1.img --site fleet
  psyops verify-build pi1.img --site fleet --json

Needs no private key, and does not compare the secret partition. The programs of the node must be
the same as in the image: build them from the same source, or name their folder with --programs.")]
pub struct VerifyBuildArgs {
    /// The image
    pub image: PathBuf,
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    /// The folder with selector.efi, initloader and psyops-agent (default: those of `make build`)
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result of `verify-build`.
#[derive(Debug)]
pub struct VerifyBuildOutput {
    /// The results, part by part.
    pub rebuilt: Rebuilt,
    json: bool,
}

impl VerifyBuildOutput {
    /// Whether the image is what the site describes.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.rebuilt.is_same()
    }
}

/// Runs the command.
pub fn run(args: &VerifyBuildArgs, progress: &dyn Fn(&str)) -> Result<VerifyBuildOutput, Error> {
    let site = with_trusted_keys(load_site(args.site.as_deref())?, &args.credentials.locations())?;
    let programs = Programs::find(site.architecture, args.programs.as_deref())?;
    let store = Store::from_environment()?;
    let rebuilt = rebuild::rebuild(&args.image, &site, &programs, &store, progress)?;
    Ok(VerifyBuildOutput { rebuilt, json: args.json })
}

impl fmt::Display for VerifyBuildOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            write!(f, "{:#}", rebuild::to_json(&self.rebuilt))
        } else {
            f.write_str(rebuild::to_text(&self.rebuilt).trim_end())
        }
    }
}
