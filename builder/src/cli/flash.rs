//! `psyops flash IMAGE DEVICE...`: writes images to sticks and verifies them there.

mod image;
mod order;
mod outcome;

pub(super) use order::Order;
pub use outcome::FlashOutput;

use crate::cli::credential_args::PassphraseArgs;
use crate::disks::consent::ConsentArgs;
use crate::error::Error;
use crate::secrets::credentials::Locations;
use crate::secrets::trust::SiteAndKeys;
use crate::site::Site;
use clap::Args;
use std::path::PathBuf;

/// Write an image to sticks, read it back, and store a signed receipt
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops disks                                               list the disks
  psyops flash pi1.img /dev/sdX --site fleet
  psyops flash pi1.img /dev/sdX --site fleet --serial 9A3F   without a terminal
  psyops flash pi1.img /dev/sdX --also pi2.img=/dev/sdY      two nodes in one run
  psyops flash pi1.img stick.img                             a file with the size of a stick

Everything on the disk is lost, except what is equal to the image already. The whole image is read
back, and the partition table is written last: after an interruption no machine starts from the
stick, and the next run continues. With --site a signed receipt is stored in the site.")]
pub struct FlashArgs {
    /// The image
    pub image: PathBuf,
    /// Whole disks, or files with the size of a stick
    #[arg(required = true, value_name = "DEVICE")]
    pub targets: Vec<PathBuf>,
    /// Another image for another stick in the same run; can be repeated
    #[arg(long, value_name = "IMAGE=DEVICE", value_parser = pair)]
    pub also: Vec<(PathBuf, PathBuf)>,
    /// The site's folder: its keys must have signed the images, and receipts are stored in it
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// The signing key (default: the site's key in your configuration folder)
    #[arg(long, value_name = "FILE", requires = "site")]
    pub signing_key: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub passphrase: PassphraseArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub consent: ConsentArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub writing: WritingArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How sticks are written.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct WritingArgs {
    /// Write everything, not only what differs
    #[arg(long)]
    pub full: bool,
    /// Do not read back what was written; then bad sticks are not found, and there is no receipt
    #[arg(long)]
    pub no_read_back: bool,
}

fn pair(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (image, target) = text.split_once('=').ok_or("expected IMAGE=DEVICE")?;
    Ok((image.into(), target.into()))
}

/// Runs the command.
pub fn run(args: &FlashArgs) -> Result<FlashOutput, Error> {
    let site = args.site.as_deref().map(Site::load).transpose()?.map(SiteAndKeys::from);
    let first = args.targets.iter().map(|target| (args.image.as_path(), target.as_path()));
    let more = args.also.iter().map(|(image, target)| (image.as_path(), target.as_path()));
    let order = Order {
        pairs: &first.chain(more).collect::<Vec<_>>(),
        site: site.as_ref(),
        locations: Locations {
            identity: None,
            signing_key: args.signing_key.clone(),
            passphrases: args.passphrase.passphrases(),
        },
        consent: &args.consent,
        writing: args.writing,
        json: args.json,
    };
    order.carry_out()
}
