//! `psyops verify IMAGE`: whether an image or stick is whole.

use crate::error::Error;
use crate::flash::receipt::{Receipt, StickFacts};
use crate::image::reader::ImageReader;
use crate::image::slot;
use crate::input::read_input;
use crate::secrets::credentials::trusted_keys;
use crate::site::Site;
use crate::verify::{self, Check, Verification};
use clap::Args;
use std::fmt;
use std::path::PathBuf;

/// Read an image or stick to its last byte and say whether it is whole: partition tables, ESP, signatures, roots, seals,
/// file systems
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops verify pi1.img
  psyops verify /dev/sdX --site fleet       and is it ours, and as its receipt says
  psyops verify pi1.img --json
Exit codes: 0 whole, 1 damaged, 65 no image at all.")]
pub struct VerifyArgs {
    /// The image
    pub image: PathBuf,
    /// The site whose keys must have signed it (by default those that the image itself trusts)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// The selector that must be on it (by default only its SHA-256 is shown)
    #[arg(long, value_name = "FILE")]
    pub selector: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was found.
#[derive(Debug)]
pub struct VerifyOutput {
    /// Part by part.
    pub verification: Verification,
    json: bool,
}

impl VerifyOutput {
    /// Whether the image is whole.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.verification.is_whole()
    }
}

/// Does it.
pub fn run(args: &VerifyArgs) -> Result<VerifyOutput, Error> {
    let site = args.site.as_deref().map(Site::load).transpose()?;
    let selector = args.selector.as_deref().map(read_input).transpose()?;
    let image = ImageReader::open(&args.image)?;
    let mut verification = verify::verify(&image, site.as_ref(), selector.as_deref())?;
    if let Some(site) = &site {
        verification.checks.extend(receipt(&image, &verification, site)?);
    }
    Ok(VerifyOutput { verification, json: args.json })
}

/// What the receipt of a stick says; nothing where the site has none for it.
fn receipt(image: &ImageReader, found: &Verification, site: &Site) -> Result<Option<Check>, Error> {
    let stick = StickFacts::of(image.path())?;
    let receipt = Receipt::find(&site.folder, &stick, &trusted_keys(site)?);
    let check = |result| Some(Check { part: "receipt".to_owned(), result });
    let receipt = match receipt {
        Ok(None) => return Ok(None),
        Ok(Some(receipt)) => receipt,
        Err(error) => return Ok(check(Err(error.to_string()))),
    };
    let node = slot::owner(image).map_or_else(String::new, |header| header.node.to_string());
    Ok(check(match found.digests(image) {
        Ok(now) => receipt.compare(&stick, &node, &now),
        Err(error) => Err(format!("cannot be compared: {error}")),
    }))
}

impl fmt::Display for VerifyOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            write!(f, "{:#}", verify::to_json(&self.verification))
        } else {
            f.write_str(verify::to_text(&self.verification).trim_end())
        }
    }
}
