//! `psyops inspect IMAGE`: describes an image.

use crate::atomic;
use crate::cli::own_selector::own_selector;
use crate::cli::trust::with_trusted_keys;
use crate::error::Error;
use crate::image::reader::ImageReader;
use crate::inspect::{self, Inspection};
use crate::secrets::credentials::Locations;
use crate::site::Site;
use crate::verify::{self, Check};
use clap::Args;
use handoff::shown::Shown;
use std::path::{Path, PathBuf};

/// Show the content of an image or stick: partitions, slots, release, root hash, node, seal, recipients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops inspect pi1.img
  psyops inspect /dev/sdX --json
  psyops inspect /dev/sdX --site fleet            also compare it with the site
  psyops inspect pi1.img --svg --output pi1.svg   draw the disk

Damaged parts are listed as warnings, and the exit code is still 0; psyops verify checks an image.")]
pub struct InspectArgs {
    /// The image
    pub image: PathBuf,
    /// Compare seal, release and selector with those of this site, as `psyops verify --site` does
    #[arg(long, value_name = "DIR", conflicts_with = "svg")]
    pub site: Option<PathBuf>,
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

/// Runs the command; returns what to print.
pub fn run(args: &InspectArgs) -> Result<String, Error> {
    // The image is verified with the site's keys.
    let site = args
        .site
        .as_deref()
        .map(|site| with_trusted_keys(Site::load(site)?, &Locations::default()))
        .transpose()?;
    let inspection = inspect::inspect(&args.image)?;
    let compared = site.map(|site| compare(&args.image, &site)).transpose()?;
    match &args.output {
        _ if args.json => {
            let mut json = inspect::to_json(&inspection);
            if let Some(checks) = &compared {
                json["current"] = checks.iter().all(|check| check.result.is_ok()).into();
                json["compared_with_site"] = verify::checks_to_json(checks).into();
            }
            Ok(format!("{json:#}\n"))
        }
        _ if !args.svg => {
            let compared = compared.map(|checks| format!("\n{}", verify::comparison_to_text(&checks)));
            Ok(inspect::to_text(&inspection) + &compared.unwrap_or_default())
        }
        None => Ok(inspect::to_svg(&inspection)),
        Some(path) => {
            atomic::write_file(path, inspect::to_svg(&inspection).as_bytes())?;
            Ok(drawn(path, &inspection))
        }
    }
}

fn compare(image: &Path, site: &Site) -> Result<Vec<Check>, Error> {
    let image = ImageReader::open(image)?;
    let selector = own_selector(&image)?;
    Ok(verify::compare_with_site(&image, site, selector.as_deref()))
}

fn drawn(path: &Path, inspection: &Inspection) -> String {
    let (partitions, warnings) = (inspection.partitions.len(), inspection.warnings.len());
    format!("{}: {partitions} partitions, {warnings} warnings\n", Shown(path.display()))
}
