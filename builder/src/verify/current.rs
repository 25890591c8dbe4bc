//! Whether an image is current: what its site would make today. Apart from that, it may be whole.
//!
//! The seal, release, security epoch and selector are compared with those of the site and of this builder. What a node
//! refuses because it is older than a floor in what is signed is a third question; a check of that belongs here, too.

use super::Check;
use super::secret::newest;
use super::signed::{Judge, Slots};
use crate::image::reader::ImageReader;
use crate::image::slot;
use crate::input::read_limited;
use crate::limits;
use crate::site::Site;
use handoff::hash::Sha256Digest;
use handoff::slot::Slot;
use keys::seal::UnverifiedSeal;
use std::cmp::Ordering;

/// Compares with the site; `selector` is the one on the ESP and the one of this builder.
pub(super) fn checks(
    image: &ImageReader,
    site: &Site,
    slots: &Slots,
    selector: Option<(Sha256Digest, Sha256Digest)>,
) -> Vec<Check> {
    let judge = Judge::of_site(site);
    vec![seal(image, site, &judge), release(image, site, slots), self::selector(selector)]
}

fn seal(image: &ImageReader, site: &Site, judge: &Judge) -> Check {
    const PART: &str = "seal";
    let Some(found) = newest(image, judge) else {
        return Check::of(PART, Err("the image has no seal that a key of the site signed".into()));
    };
    let (node, serial) = (&found.header().node, found.header().serial);
    let path = site.seal_file(node);
    let bytes = site.folder.file(Site::seal_name(node)).and_then(|file| read_limited(file, &limits::SEAL));
    let kept = match bytes {
        Ok(bytes) => UnverifiedSeal::parse(&bytes),
        Err(error) => return Check::of(PART, Err(format!("cannot read {}: {error}", path.display()))),
    };
    let kept = match kept.and_then(|seal| seal.verify(&judge.keys, &judge.site)) {
        Ok(kept) => kept,
        Err(error) => return Check::of(PART, Err(format!("{}: {error}", path.display()))),
    };
    let current = kept.header().serial;
    Check::of(
        PART,
        match serial.cmp(&current) {
            Ordering::Less => Err(format!("serial {serial} of node {node}; the site's is serial {current}")),
            Ordering::Greater => Err(format!(
                "serial {serial} of node {node}, newer than the site's serial {current}: this checkout of the site is old"
            )),
            Ordering::Equal if kept.bytes() != found.bytes() => {
                Err(format!("serial {serial} of node {node}, but not the site's seal with this serial"))
            }
            Ordering::Equal => Ok(format!("serial {serial} of node {node}, as in the site")),
        },
    )
}

/// Release and security epoch of the slot that starts first.
fn release(image: &ImageReader, site: &Site, slots: &Slots) -> Check {
    const PART: &str = "release";
    let first = slot::control(image).map_or(Slot::A, |area| area.effective().first);
    let Some((slot, record)) =
        [first, first.other()].into_iter().find_map(|slot| Some((slot, slots.record(slot)?)))
    else {
        return Check::of(PART, Err("no slot holds a system".into()));
    };
    let said =
        format!("slot {slot} has release {}, security epoch {}", record.release, record.security_epoch);
    Check::of(
        PART,
        if (&record.release, record.security_epoch) == (&site.release, site.security_epoch) {
            Ok(format!("{said}, as the site"))
        } else {
            let (release, epoch) = (&site.release, site.security_epoch);
            Err(format!("{said}; the site has release {release}, security epoch {epoch}"))
        },
    )
}

fn selector(selector: Option<(Sha256Digest, Sha256Digest)>) -> Check {
    const PART: &str = "selector";
    match selector {
        None => Check::skipped(PART, "this builder has none to compare with: make build".into()),
        Some((found, own)) if found == own => Check::of(PART, Ok(format!("this builder's, SHA-256 {own}"))),
        Some((found, own)) => {
            Check::of(PART, Err(format!("SHA-256 {found}; this builder has the one with SHA-256 {own}")))
        }
    }
}
