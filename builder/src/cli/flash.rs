//! `psyops flash IMAGE DEVICE...`: writes images to sticks and proves that they are there.

mod outcome;

pub use outcome::FlashOutput;

use crate::cli::finish;
use crate::cli::mksecrets::PassphraseArgs;
use crate::cli::trust::{judged, tell_first_use};
use crate::disks::Disk;
use crate::disks::consent::ConsentArgs;
use crate::error::Error;
use crate::flash::event::Event;
use crate::flash::receipt::{self, ImageDigests, Receipt, StickFacts};
use crate::flash::target::{self, Wanted};
use crate::flash::{self, Failure, Flashed, Options, Target};
use crate::image::digests::Digests;
use crate::image::reader::ImageReader;
use crate::image::slot;
use crate::interrupt;
use crate::secrets::credentials::{Locations, load_signing_key};
use crate::site::Site;
use crate::verify::Verification;
use clap::Args;
use keys::timestamp::Timestamp;
use outcome::Outcome;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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

/// Does it.
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

/// Which images are to be written to which sticks, and how.
#[derive(Debug, Clone)]
pub(super) struct Order<'o> {
    pub(super) pairs: &'o [(&'o Path, &'o Path)],
    pub(super) site: Option<&'o Site>,
    pub(super) locations: Locations,
    pub(super) consent: &'o ConsentArgs,
    pub(super) writing: WritingArgs,
    pub(super) json: bool,
}

impl Order<'_> {
    pub(super) fn carry_out(&self) -> Result<FlashOutput, Error> {
        // What is missing for a receipt is said before anything is written.
        let locations = &self.locations;
        let signer = match self.site {
            Some(site) if self.writing.no_read_back => {
                judged(site.clone(), locations)?;
                None
            }
            Some(site) => Some(load_signing_key(site.clone(), locations)?),
            None => None,
        };
        if let Some((site, _)) = &signer {
            tell_first_use(site);
        }
        let consent = self.consent.consent();
        for (image, path) in self.pairs {
            Disk::judge_before_reading(path, image, &consent)?;
        }
        let images = Images::open(self.pairs, self.site)?;
        let (mut targets, mut facts) = (Vec::new(), Vec::new());
        for (image, path) in self.pairs {
            let (target, stick) =
                target::open(path, &images.wanted(image), &consent, &mut finish::ask_for_text)?;
            target::is_another(&target, &targets)?;
            targets.push(target);
            facts.push(stick);
        }
        // No thread is left of the looking, and nobody is asked any more.
        let stop = interrupt::softly();
        let began = now();
        let options = Options { full: self.writing.full, read_back: !self.writing.no_read_back };
        let (say, hear) = (finish::progress_for(self.json), |events: &[Event]| tell(events, self.json));
        for image in &images.readers {
            say(&format!("{}: reading the image to its last byte", image.path().display()));
        }
        let flash::Run { images: judged, sticks: results } =
            flash::flash(&images.readers, self.site, &targets, options, (&stop, &hear))?;
        let outcome = |((target, stick), result): ((&Target, StickFacts), Result<Flashed, Failure>)| {
            let result = result.map_err(Error::from).and_then(|flashed| {
                let Some((site, key)) = signer.as_ref().filter(|_| flashed.read_back) else {
                    return Ok((flashed, None));
                };
                let receipt = images.receipt(&judged, (target, stick), &flashed, [&began, &now()])?;
                Ok((flashed, Some(receipt.write(&site.folder, key)?)))
            });
            let (_, node) = images.owner(target.image);
            Outcome { target: target.name.clone(), node: node.to_owned(), size: target.size, result }
        };
        let sticks = targets.iter().zip(facts).zip(results).map(outcome).collect();
        Ok(FlashOutput { sticks, json: self.json })
    }
}

fn tell(events: &[Event], json: bool) {
    if json {
        finish::progress_value(&json!({ "sticks": events }));
    } else {
        let lines: Vec<String> = events.iter().map(Event::line).collect();
        finish::progress(&format!("  {}", lines.join("; ")));
    }
}

/// The images of a run, each once, with whose they are.
struct Images {
    readers: Vec<ImageReader>,
    owners: Vec<(String, String)>,
}

impl Images {
    /// Whose they are, nothing has proven yet: nothing is written before their signatures are judged.
    fn open(pairs: &[(&Path, &Path)], site: Option<&Site>) -> Result<Self, Error> {
        let mut images = Self { readers: Vec::new(), owners: Vec::new() };
        for (path, _) in pairs {
            if images.readers.iter().any(|known| known.path() == *path) {
                continue;
            }
            let image = ImageReader::open(path)?;
            let owner = slot::owner(&image);
            if owner.is_none() {
                // One that is nobody's is damaged, which is said before anybody is asked about a disk.
                flash::judge(&image, site)?;
            }
            images.owners.push(
                owner.map_or_else(Default::default, |owner| (owner.site.to_string(), owner.node.to_string())),
            );
            images.readers.push(image);
        }
        Ok(images)
    }

    fn owner(&self, number: usize) -> (&str, &str) {
        self.owners.get(number).map_or(("", ""), |(site, node)| (site, node))
    }

    fn wanted<'w>(&'w self, path: &'w Path) -> Wanted<'w> {
        let number = self.readers.iter().position(|image| image.path() == path).unwrap_or(0);
        let (site, node) = self.owner(number);
        let length = self.readers.get(number).map_or(0, |image| image.size().0);
        let reads = self.readers.iter().flat_map(|image| [Some(image.path()), image.storage().shared()]);
        Wanted { image: path, reads: reads.flatten().collect(), number, site, node, size: length }
    }

    fn receipt(
        &self,
        judged: &[Verification],
        (target, stick): (&Target, StickFacts),
        flashed: &Flashed,
        [began, ended]: [&str; 2],
    ) -> Result<Receipt, Error> {
        let (site, node) = self.owner(target.image);
        let (mut of_image, mut parts) = (Digests::default(), Digests::default());
        if let Some((image, judged)) = self.readers.get(target.image).zip(judged.get(target.image)) {
            of_image = judged.digests(image)?;
            parts = receipt::on_stick(&of_image, &flash::tables(image, target)?);
        }
        Ok(Receipt {
            version: Receipt::version(),
            site: site.to_owned(),
            node: node.to_owned(),
            builder: env!("CARGO_PKG_VERSION").to_owned(),
            stick,
            began: began.to_owned(),
            ended: ended.to_owned(),
            written: flashed.written,
            image: ImageDigests { public: of_image.public().to_string(), node: of_image.node().to_string() },
            parts,
        })
    }
}

/// The time, for a receipt.
#[expect(clippy::disallowed_methods, reason = "a receipt says when; nothing of it comes into an image")]
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(since.as_secs()).to_string()
}
