//! `psyops verify IMAGE`: checks whether an image or stick is whole.

use crate::cli::own_selector::own_selector;
use crate::error::{Class, Error};
use crate::flash::receipt::{Receipt, StickFacts};
use crate::image::reader::ImageReader;
use crate::image::seals;
use crate::input::read_input;
use crate::secrets::credentials::{Locations, trusted_keys, with_accepted};
use crate::secrets::key_error::KeyError;
use crate::secrets::private_file::read_private;
use crate::secrets::trust::SiteAndKeys;
use crate::site::Site;
use crate::verify::{self, Check, Request, Verification};
use clap::Args;
use keys::identity::NodeIdentity;
use std::fmt;
use std::path::{Path, PathBuf};

/// The exit code if the image is whole, but the given identity cannot decrypt its seal.
const WRONG_IDENTITY: Class = Class::BadContent;
/// The exit code if the image is whole, but not what the site would make today.
const NOT_CURRENT: u8 = 3;

/// Check every byte of an image or stick: partition tables, ESP, signatures, roots, seals, file systems
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops verify pi1.img
  psyops verify /dev/sdX --site fleet          also compare it with the site and its receipt
  psyops verify pi1.img --json
  psyops verify pi1.img --identity admin.age   open the seal with this identity

An image is whole if nothing in it is damaged. It is current if the site would make the same seal,
release, security epoch and selector today. Without --site only the first is checked. Nothing is
written.")]
pub struct VerifyArgs {
    /// The image
    pub image: PathBuf,
    /// The site whose keys must have signed it (default: the keys that the image itself trusts)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// The selector that must be on it (default: compare with this builder's, where a different one is not an error)
    #[arg(long, value_name = "FILE")]
    pub selector: Option<PathBuf>,
    /// An age identity to open the seal with, so that the files of the secret partition can be compared
    /// (default, and if it does not open the seal: the node's own key on that partition)
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result of `verify`.
#[derive(Debug)]
pub struct VerifyOutput {
    /// The results, part by part.
    pub verification: Verification,
    json: bool,
}

impl VerifyOutput {
    /// 0; 1 if the image is damaged, 65 if the identity cannot decrypt the seal, 3 if the image is only not current.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.verification.is_whole(), self.verification.is_current()) {
            (false, _) => 1,
            _ if self.verification.wrong_identity.is_some() => WRONG_IDENTITY.exit_code(),
            (true, Some(false)) => NOT_CURRENT,
            (true, _) => 0,
        }
    }
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> Result<VerifyOutput, Error> {
    let site = args.site.as_deref().map(Site::load).transpose()?;
    // Everything is verified with the site's keys: those that were accepted beside the user's keys.
    let at = Locations { identity: args.identity.clone(), ..Locations::default() };
    let site = site.map(|site| with_accepted(site, &at)).transpose()?;
    let selector = args.selector.as_deref().map(read_input).transpose()?;
    let image = ImageReader::open(&args.image)?;
    let identity = args.identity.as_deref().map(identity).transpose()?;
    // A builder without its programs can still verify: then the selector is not compared.
    let own_selector = own_selector(&image)?;
    let request = Request {
        site: site.as_ref(),
        selector: selector.as_deref(),
        own_selector: own_selector.as_deref(),
        identity: identity.as_ref(),
    };
    let mut verification = verify::verify_for(&image, &request)?;
    if let Some(site) = &site {
        verification.checks.extend(receipt(&image, &verification, site)?);
    }
    Ok(VerifyOutput { verification, json: args.json })
}

fn identity(path: &Path) -> Result<NodeIdentity, Error> {
    let file = read_private("identity", path)?;
    let problem = |problem| KeyError::Identity { path: path.to_owned(), problem };
    Ok(NodeIdentity::parse(&file).map_err(problem)?)
}

/// The comparison with the receipt of a stick; `None` if the site has no receipt for it.
fn receipt(image: &ImageReader, found: &Verification, site: &SiteAndKeys) -> Result<Option<Check>, Error> {
    let stick = StickFacts::of(image.path())?;
    let keys = trusted_keys(site)?;
    let receipt = Receipt::find(&site.folder, &stick, &keys);
    let check = |result| Some(Check::of("receipt", result));
    let receipt = match receipt {
        Ok(None) => return Ok(None),
        Ok(Some(receipt)) => receipt,
        Err(error) => return Ok(check(Err(error.to_string()))),
    };
    let node = seals::owner(image, Some((&keys, &site.id)))
        .map_or_else(String::new, |header| header.node.to_string());
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
