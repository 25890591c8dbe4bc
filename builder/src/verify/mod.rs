//! Whether an image or stick is whole: each part that is needed for a start is read completely, and checked as strictly
//! as by the program that reads it at a start, or more so.
//!
//! Without a site, signatures are verified with the keys that the system in slot a (else b) trusts itself: this proves
//! that the parts fit each other. With a site, they are verified with the site's keys: this proves that the image is
//! the site's. Only reads, and needs no root rights for a file.
//!
//! *Whole* means that nothing is damaged. *Current* means that the site would make the same today; this is only checked
//! with a site, and a whole image need not be current.

mod current;
mod esp;
mod floors;
mod secret;
mod signed;
mod text;

pub(crate) use text::{checks_to_json, comparison_to_text};
pub use text::{to_json, to_text};

use crate::error::Error;
use crate::image::digests::{Digests, Part};
use crate::image::reader::{ImageReader, ReadError};
use crate::image::root_check;
use crate::image::slot::{self, SlotError};
use crate::limits;
use crate::secrets::trust::SiteAndKeys;
use crate::site::Site;
use crate::tools;
use handoff::boot_record::BadBootRecord;
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use keys::identity::NodeIdentity;
use keys::seal::SealError;
use signed::{Slots, TrustedKeys};
use std::path::PathBuf;

/// How many lines of e2fsck are shown.
const MOST_FINDINGS: usize = 3;

/// A checked part, and the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of the part of the disk.
    pub part: String,
    /// A description of the part, or what is wrong with it.
    pub result: Result<String, String>,
    /// Whether the part was checked; if not, `result` has the reason.
    pub was_checked: bool,
}

impl Check {
    /// The result for a part that was checked.
    #[must_use]
    pub fn of(part: &str, result: Result<String, String>) -> Self {
        Self { part: part.to_owned(), result, was_checked: true }
    }

    /// The result for a part that was not checked, with the reason.
    #[must_use]
    pub fn skipped(part: &str, why: String) -> Self {
        Self { part: part.to_owned(), result: Ok(why), was_checked: false }
    }
}

/// What an image is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'r> {
    /// The site that the image should be of.
    pub site: Option<&'r SiteAndKeys>,
    /// The selector that must be on the image.
    pub selector: Option<&'r [u8]>,
    /// The selector of this builder: another one on the image is not damage.
    pub own_selector: Option<&'r [u8]>,
    /// An identity to decrypt the seal with, before the node's own on the image is tried.
    pub identity: Option<&'r NodeIdentity>,
}

/// The results of all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The path of the image.
    pub path: PathBuf,
    /// The parts in the order of the disk, with their results.
    pub checks: Vec<Check>,
    /// The comparison with the site; empty without a site.
    pub current: Vec<Check>,
    /// Why the given identity cannot decrypt the seal; this is not a fault of the image.
    pub wrong_identity: Option<String>,
    /// The root hash of slot a, if all its data fit.
    root: Option<RootHash>,
}

impl Verification {
    /// Whether no part is damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.checks.iter().all(|check| check.result.is_ok())
    }

    /// Whether the site would make the same image today; `None` without a site.
    #[must_use]
    pub fn is_current(&self) -> Option<bool> {
        (!self.current.is_empty()).then(|| self.current.iter().all(|check| check.result.is_ok()))
    }

    /// The digests of the verified image. A root that fits its root hash is not read again.
    pub fn digests(&self, image: &ImageReader) -> Result<Digests, SlotError> {
        let root = self.root.map(|root| root.to_string());
        Digests::of_rest(image, |part| root.clone().filter(|_| part == Part::Root))
    }
}

/// Verifies everything. `site` is the site that the image should be of; `selector` is the selector that must be on it.
pub fn verify(
    image: &ImageReader,
    site: Option<&SiteAndKeys>,
    selector: Option<&[u8]>,
) -> Result<Verification, Error> {
    verify_for(image, &Request { site, selector, ..Request::default() })
}

/// Verifies everything, and compares it with the request.
pub fn verify_for(image: &ImageReader, request: &Request<'_>) -> Result<Verification, Error> {
    let mut checks: Vec<Check> = request.site.map(keys).into_iter().collect();
    let mut root_of_a = None;
    let mut add = |part: &str, result| checks.push(Check::of(part, result));
    add("partition table", table(image));
    add("esp", esp::check(image, request.selector, request.own_selector));
    add("control", control(image));
    let slots = Slots::read(image, request.site.map(|site| TrustedKeys::of_site(site)).as_ref());
    for slot in Slot::BOTH {
        add(&Role::Boot(slot).to_string(), slots.check(slot));
        if let Some(root) = slots.root_hash(slot) {
            let found = root_check::check_data(image, slot, root);
            root_of_a = root_of_a.or((slot == Slot::A && found.is_ok()).then_some(root));
            add(&Role::Root(slot).to_string(), found);
        }
    }
    for slot in Slot::BOTH {
        add(&Role::Seal(slot).to_string(), seal(image, slot, slots.trusted()));
    }
    checks.push(floors::check(image, &slots));
    checks.push(Check::of("secret", secret(image)?));
    let secret::Compared { check, wrong_identity } = secret::check(image, &slots, request.identity);
    checks.push(check);
    if let Some(said) = slots.state() {
        checks.push(Check::of("slots", Ok(said)));
    }
    let current = request.site.map_or_else(Vec::new, |site| {
        let found = esp::selector_digest(image);
        let own = request.own_selector.map(Sha256Digest::of);
        current::checks(image, site, &slots, found.zip(own))
    });
    Ok(Verification { path: image.path().to_owned(), checks, current, wrong_identity, root: root_of_a })
}

/// Compares an image with what a site would make today, without reading all of the image.
#[must_use]
pub fn compare_with_site(image: &ImageReader, site: &Site, own_selector: Option<&[u8]>) -> Vec<Check> {
    let slots = Slots::read(image, Some(&TrustedKeys::of_site(site)));
    let selector = esp::selector_digest(image).zip(own_selector.map(Sha256Digest::of));
    current::checks(image, site, &slots, selector)
}

/// Whose keys are used. Without a site they are the image's own, which do not prove whose image it is.
fn keys(site: &SiteAndKeys) -> Check {
    const PART: &str = "keys";
    if site.accepted().is_some() {
        return Check::of(
            PART,
            Ok(format!("those of the site {} that were accepted on this workstation", site.id)),
        );
    }
    let why = format!(
        "no keys of the site {} were accepted on this workstation; checked with the keys in site.toml",
        site.id
    );
    Check::skipped(PART, why)
}

fn table(image: &ImageReader) -> Result<String, String> {
    // Two partitions with one role are reported as faults of the table.
    let missing = Role::ALL.into_iter().filter(|role| {
        *role != Role::Data && matches!(image.partition(*role), Err(ReadError::NoPartition { .. }))
    });
    let missing = missing.map(|role| format!("there is no partition {role}"));
    let faults: Vec<String> = image.table_faults().iter().cloned().chain(missing).collect();
    if faults.is_empty() {
        Ok(format!("{} partitions, both copies of the table are valid and equal", image.partitions().len()))
    } else {
        Err(faults.join("; "))
    }
}

fn control(image: &ImageReader) -> Result<String, String> {
    let area = slot::control(image).map_err(|error| error.to_string())?;
    let bad: Vec<String> = (0..)
        .zip(&area.records)
        .filter_map(|(number, record)| Some(format!("record {number}: {}", record.as_ref().err()?)))
        .collect();
    if !bad.is_empty() {
        return Err(bad.join("; "));
    }
    let slots = area.effective().slots;
    Ok(format!(
        "slot a {} with {} tries left, slot b {} with {}",
        slots.a.state, slots.a.tries_left, slots.b.state, slots.b.tries_left
    ))
}

fn seal(image: &ImageReader, slot: Slot, trusted: &Result<TrustedKeys, String>) -> Result<String, String> {
    let unverified = match slot::seal(image, slot).map_err(|error| error.to_string())? {
        Err(SealError::Empty) if has_no_seal(image, slot.other()) => {
            return Err("both seal partitions are empty: the node could not open its secrets".into());
        }
        Err(SealError::Empty) => return Ok("empty".into()),
        other => other.map_err(|error| error.to_string())?,
    };
    let trusted = trusted.as_ref().map_err(|reason| format!("its signature cannot be checked: {reason}"))?;
    let seal = unverified.verify(&trusted.keys, &trusted.site).map_err(|error| error.to_string())?;
    let header = seal.header();
    Ok(format!(
        "generation {} of node {}, signed by {}",
        header.generation.number(),
        header.node,
        seal.signer()
    ))
}

fn has_no_seal(image: &ImageReader, slot: Slot) -> bool {
    matches!(slot::seal(image, slot), Ok(Err(SealError::Empty)))
}

/// Runs e2fsck on the secret partition, read-only.
fn secret(image: &ImageReader) -> Result<Result<String, String>, Error> {
    let checked = image.check_size(Role::Secret, &limits::SECRET);
    let partition = match checked.and_then(|size| image.for_program(Role::Secret, size)) {
        Ok(partition) => partition,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut check = tools::E2FSCK.command()?;
    check.args(["-f", "-n"]).arg(format!("{}?offset={}", partition.path.display(), partition.offset));
    let output = tools::output(&mut check)?;
    if output.status.success() {
        return Ok(Ok("a file system without errors".into()));
    }
    // The findings are on its standard output; its standard error begins with the version.
    let found = String::from_utf8_lossy(&output.stdout);
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("Pass ");
    let found: Vec<&str> = found.lines().filter(told).take(MOST_FINDINGS).map(str::trim).collect();
    Ok(Err(format!("e2fsck finds errors: {}", found.join(" "))))
}

/// Whether nothing was ever written to a slot.
fn is_empty(error: &SlotError) -> bool {
    matches!(error, SlotError::Record(BadBootRecord::Empty))
}

#[cfg(test)]
mod current_tests;
#[cfg(test)]
mod floors_tests;
#[cfg(test)]
mod tests;
