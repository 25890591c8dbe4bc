//! Writing images to sticks: the sticks are checked, confirmed, opened and written, and each gets a receipt.

use super::WritingArgs;
use super::image::Image;
use super::outcome::{FlashOutput, Outcome};
use crate::cli::finish;
use crate::cli::trust::{tell_first_use, with_trusted_keys};
use crate::disks::Disk;
use crate::disks::consent::ConsentArgs;
use crate::error::Error;
use crate::flash::event::Event;
use crate::flash::layout::Layout;
use crate::flash::receipt::{self, ImageDigests, Receipt, StickFacts};
use crate::flash::target::{self, Wanted};
use crate::flash::{self, Finished, FlashError, Job, Options, Target};
use crate::image::digests::Digests;
use crate::interrupt;
use crate::secrets::credentials::{Locations, load_signing_key};
use crate::secrets::trust::SiteAndKeys;
use crate::site::Site;
use keys::issue::signing::SigningKey;
use keys::timestamp::Timestamp;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Which images to write to which sticks, and how.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Order<'o> {
    pub(in crate::cli) pairs: &'o [(&'o Path, &'o Path)],
    pub(in crate::cli) site: Option<&'o SiteAndKeys>,
    pub(in crate::cli) locations: Locations,
    pub(in crate::cli) consent: &'o ConsentArgs,
    pub(in crate::cli) writing: WritingArgs,
    pub(in crate::cli) json: bool,
}

/// A stick that is open for writing, and its image.
#[derive(Debug)]
struct Stick {
    image: Arc<Image>,
    target: Target,
    facts: StickFacts,
}

/// The site for the receipts, and the key that signs them.
type Signer = (SiteAndKeys, SigningKey);

impl Order<'_> {
    pub(in crate::cli) fn carry_out(&self) -> Result<FlashOutput, Error> {
        // Missing files for a receipt are reported before anything is written.
        let signer = self.signer()?;
        let sticks = self.open()?;
        // All checking threads have ended, and there are no more questions for the user.
        let stop = interrupt::softly();
        let began = now();
        let options = Options { full: self.writing.full, read_back: !self.writing.no_read_back };
        self.tell_images(&sticks);
        let jobs = sticks.iter().map(Stick::job).collect::<Result<_, _>>()?;
        let hear = |events: &[Event]| tell(events, self.json);
        let finished = flash::flash(jobs, self.site, options, (&stop, &hear))?;
        // There is one for each job, and a job for each stick, in order.
        let outcome = |(stick, finished): (&Stick, _)| stick.outcome(finished, signer.as_ref(), &began);
        Ok(FlashOutput { sticks: sticks.iter().zip(finished).map(outcome).collect(), json: self.json })
    }

    /// The site and key for receipts; `None` if there are no receipts.
    fn signer(&self) -> Result<Option<Signer>, Error> {
        let Some(site) = self.site.map(|site| Site::clone(site)) else { return Ok(None) };
        if self.writing.no_read_back {
            with_trusted_keys(site, &self.locations)?;
            return Ok(None);
        }
        let (site, key) = load_signing_key(site, &self.locations)?;
        tell_first_use(&site);
        Ok(Some((site, key)))
    }

    /// Checks, confirms and opens all sticks.
    fn open(&self) -> Result<Vec<Stick>, Error> {
        let consent = self.consent.consent();
        for (image, path) in self.pairs {
            Disk::preflight_before_reading(path, image, &consent)?;
        }
        let paths: Vec<&Path> = self.pairs.iter().map(|(image, _)| *image).collect();
        let images = Image::open_each(&paths, self.site)?;
        let reads = Image::files(&images);
        let mut sticks: Vec<Stick> = Vec::new();
        for (image, (_, path)) in images.iter().zip(self.pairs) {
            let wanted = Wanted {
                image: image.reader.path(),
                reads: reads.clone(),
                site: &image.site,
                node: &image.node,
                size: image.reader.size().0,
            };
            let (target, facts) = target::open(path, &wanted, &consent, &mut finish::ask_for_text)?;
            target::is_another(&target, sticks.iter().map(|stick| &stick.target))?;
            sticks.push(Stick { image: Arc::clone(image), target, facts });
        }
        Ok(sticks)
    }

    fn tell_images(&self, sticks: &[Stick]) {
        let say = finish::progress_for(self.json);
        let mut told: Vec<&Arc<Image>> = Vec::new();
        for Stick { image, .. } in sticks {
            if !told.iter().any(|other| Arc::ptr_eq(other, image)) {
                say(&format!("{}: reading the image to its last byte", image.reader.path().display()));
                told.push(image);
            }
        }
    }
}

impl Stick {
    fn job(&self) -> Result<Job<'_>, FlashError> {
        Job::new(&self.image.reader, &self.target)
    }

    fn outcome(&self, finished: Finished<'_>, signer: Option<&Signer>, began: &str) -> Outcome {
        let Finished { job, image, stick } = finished;
        let result = stick.map_err(Error::from).and_then(|flashed| {
            let Some((site, key)) = signer.filter(|_| flashed.read_back) else { return Ok((flashed, None)) };
            let digests = image.digests(job.image)?;
            let receipt = self.receipt(&digests, &job.layout, flashed.written, [began, &now()]);
            Ok((flashed, Some(receipt.write(&site.folder, key)?)))
        });
        let Target { name, size, .. } = job.target;
        Outcome { target: name.clone(), node: self.image.node.clone(), size: *size, result }
    }

    fn receipt(&self, image: &Digests, layout: &Layout, written: u64, [began, ended]: [&str; 2]) -> Receipt {
        Receipt {
            version: Receipt::version(),
            site: self.image.site.clone(),
            node: self.image.node.clone(),
            builder: env!("CARGO_PKG_VERSION").to_owned(),
            stick: self.facts.clone(),
            began: began.to_owned(),
            ended: ended.to_owned(),
            written,
            image: ImageDigests { public: image.public().to_string(), node: image.node().to_string() },
            parts: receipt::on_stick(image, &layout.table_bytes()),
        }
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

/// The present time, for a receipt.
#[expect(clippy::disallowed_methods, reason = "a receipt says when; nothing of it comes into an image")]
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(since.as_secs()).to_string()
}
