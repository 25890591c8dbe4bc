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
use crate::site::Site;
use clap::Args;
use std::path::PathBuf;

/// Write an image to sticks, read it back, and keep a signed receipt
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psyops disks                                        what there is
  psyops flash pi1.img /dev/sdX --site fleet
  psyops flash pi1.img /dev/sdX --site fleet --serial 9A3F   without a terminal
  psyops flash pi1.img /dev/sdX --also pi2.img=/dev/sdY      two nodes in one run
  psyops flash pi1.img stick.img                      a file as long as the stick will be
Only what differs is written, all of it is read from the stick, and the partition table comes last: cut off at any time,
nothing starts from the stick, and the next run goes on with what is there.
Exit codes: 0 written and read back; 65 the image is bad; 80 no disk, 81 a partition, 82 in use, 83 carries the running
system, 84 too small, 85 read-only, 86 carries the image, 87 neither removable nor USB, 88 a stick of another node,
89 holds something else, 90 not confirmed, 91 sectors that are not 512 bytes; 92 the stick is bad, 93 it has less room
than it says, 94 it is gone, or the work was broken off.")]
pub struct FlashArgs {
    /// The image
    pub image: PathBuf,
    /// Whole disks, or files that are as long as a stick
    #[arg(required = true, value_name = "DEVICE")]
    pub targets: Vec<PathBuf>,
    /// Another image for another stick, in the same run; may be given more than once
    #[arg(long, value_name = "IMAGE=DEVICE", value_parser = pair)]
    pub also: Vec<(PathBuf, PathBuf)>,
    /// The site, whose keys must have signed the images, and which keeps the receipts
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// The signing key (by default the one of the site under the user's configuration)
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
    /// Write everything, and not only what differs
    #[arg(long)]
    pub full: bool,
    /// Do not read back what was written: it is not known then whether the stick holds it, and there is no receipt
    #[arg(long)]
    pub no_read_back: bool,
}

fn pair(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (image, target) = text.split_once('=').ok_or("expected IMAGE=DEVICE")?;
    Ok((image.into(), target.into()))
}

/// Runs the command.
pub fn run(args: &FlashArgs) -> Result<FlashOutput, Error> {
    let site = args.site.as_deref().map(Site::load).transpose()?;
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
