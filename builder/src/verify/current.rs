//! Whether an image is current, that is, whether its site would make the same today. A whole image need not be current.
//!
//! The seal, release, security epoch, floor of serials and selector are compared with those of the site and of this
//! builder. An image that a node refuses because of a floor is not whole; `floors` checks that.

use super::Check;
use super::signed::{Judge, Slots};
use crate::image::reader::ImageReader;
use crate::image::seals;
use crate::image::slot::start_order;
use crate::input::read_limited;
use crate::limits;
use crate::site::Site;
use handoff::hash::Sha256Digest;
use handoff::least_serial::LeastSerial;
use handoff::name::Name;
use keys::seal::{UnverifiedSeal, VerifiedSeal};
use std::cmp::Ordering;

/// Compares the image with the site; `selector` has the digests of the one on the ESP and of this builder's.
pub(super) fn checks(
    image: &ImageReader,
    site: &Site,
    slots: &Slots,
    selector: Option<(Sha256Digest, Sha256Digest)>,
) -> Vec<Check> {
    let judge = Judge::of_site(site);
    let newest = seals::newest(image, &judge.keys, &judge.site, &LeastSerial::default());
    let newest = newest.chosen.map(|(_, seal)| seal);
    let seal = seal(newest.as_ref(), site, &judge);
    let floor = newest.and_then(|seal| floor(image, &seal.header().node, site, slots));
    [seal, release(image, site, slots)].into_iter().chain(floor).chain([self::selector(selector)]).collect()
}

fn seal(found: Option<&VerifiedSeal>, site: &Site, judge: &Judge) -> Check {
    const PART: &str = "seal";
    let Some(found) = found else {
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
    let (least, epoch) = (site.floors().for_node(node), site.security_epoch);
    Check::of(
        PART,
        match serial.cmp(&current) {
            Ordering::Less => {
                Err(format!("older than the site's (serial {serial} of node {node}, site has {current})"))
            }
            Ordering::Greater => Err(format!(
                "serial {serial} of node {node}, newer than the site's serial {current}: this checkout of the site is old"
            )),
            Ordering::Equal if kept.bytes() != found.bytes() => {
                Err(format!("serial {serial} of node {node}, but not the site's seal with this serial"))
            }
            // A floor was raised and the seal was not made again yet: the site would make another one.
            Ordering::Equal if serial.number() < least => {
                Err(format!("serial {serial} of node {node}, below the site's least-serial {least}"))
            }
            Ordering::Equal if found.header().release_floor != epoch => Err(format!(
                "serial {serial} of node {node} runs on security epoch {} or later; the site has {epoch}",
                found.header().release_floor
            )),
            Ordering::Equal => Ok(format!("serial {serial} of node {node}, as in the site")),
        },
    )
}

/// Release and security epoch of the slot that would start first.
fn release(image: &ImageReader, site: &Site, slots: &Slots) -> Check {
    const PART: &str = "release";
    let Some((slot, record)) =
        start_order(image).into_iter().find_map(|slot| Some((slot, slots.record(slot)?)))
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

/// The least serial that the system in the slot that would start first accepts from the node.
fn floor(image: &ImageReader, node: &Name, site: &Site, slots: &Slots) -> Option<Check> {
    const PART: &str = "least serial";
    let (slot, system) = start_order(image).into_iter().find_map(|slot| Some((slot, slots.trust(slot)?)))?;
    let (found, current) = (system.config.least_serial.for_node(node), site.floors().for_node(node));
    let said = format!("slot {slot} accepts serial {found} or later of node {node}");
    Some(Check::of(
        PART,
        if found == current {
            Ok(format!("{said}, as the site"))
        } else {
            Err(format!("{said}; the site has {current}"))
        },
    ))
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
