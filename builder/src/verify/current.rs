//! Whether an image is current, that is, whether its site would make the same today. A whole image need not be current.
//!
//! The seal, release, security epoch, floor of generations and selector are compared with those of the site and of this
//! builder. An image that a node refuses because of a floor is not whole; `floors` checks that.

use super::Check;
use super::signed::{Slots, TrustedKeys};
use crate::image::reader::ImageReader;
use crate::image::seals::{self, NewestSeal};
use crate::image::slot::start_order;
use crate::input::read_limited;
use crate::limits;
use crate::site::Site;
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use keys::seal::UnverifiedSeal;
use std::cmp::Ordering;

/// Compares the image with the site; `selector` has the digests of the one on the ESP and of this builder's.
pub(super) fn checks(
    image: &ImageReader,
    site: &Site,
    slots: &Slots,
    selector: Option<(Sha256Digest, Sha256Digest)>,
) -> Vec<Check> {
    let trusted = TrustedKeys::of_site(site);
    let newest = slots.newest_seal(image, &trusted);
    let seal = seal(&newest, site, &trusted);
    // Also of an image whose seal is below the floor.
    let owner = seals::owner(image, Some((&trusted.keys, &trusted.site)));
    let floor = owner.and_then(|owner| floor(image, &owner.node, site, slots));
    [seal, release(image, site, slots)].into_iter().chain(floor).chain([self::selector(selector)]).collect()
}

fn seal(newest: &NewestSeal, site: &Site, trusted: &TrustedKeys) -> Check {
    const PART: &str = "seal";
    let Some((_, found)) = &newest.chosen else {
        return Check::of(
            PART,
            Err(format!("the image has no seal that its node would use: {}", newest.problems())),
        );
    };
    let (node, generation) = (&found.header().node, found.header().generation);
    let path = site.seal_file(node);
    let bytes = site.folder.file(Site::seal_name(node)).and_then(|file| read_limited(file, &limits::SEAL));
    let kept = match bytes {
        Ok(bytes) => UnverifiedSeal::parse(&bytes),
        Err(error) => return Check::of(PART, Err(format!("cannot read {}: {error}", path.display()))),
    };
    let kept = match kept.and_then(|seal| seal.verify(&trusted.keys, &trusted.site)) {
        Ok(kept) => kept,
        Err(error) => return Check::of(PART, Err(format!("{}: {error}", path.display()))),
    };
    let current = kept.header().generation;
    let (least, epoch) = (site.floors().for_node(node), site.security_epoch);
    Check::of(
        PART,
        match generation.cmp(&current) {
            Ordering::Less => Err(format!(
                "older than the site's: generation {generation} of node {node}, the site has {current}"
            )),
            Ordering::Greater => Err(format!(
                "generation {generation} of node {node}, newer than the site's generation {current}: this checkout of \
                 the site is out of date"
            )),
            Ordering::Equal if kept.bytes() != found.bytes() => Err(format!(
                "generation {generation} of node {node}, but not the site's seal with this generation"
            )),
            // A floor was raised and the seal was not made again yet: the site would make another one.
            Ordering::Equal if generation.number() < least => {
                Err(format!("generation {generation} of node {node}, below the site's least-serial {least}"))
            }
            Ordering::Equal if found.header().security_epoch != epoch => Err(format!(
                "generation {generation} of node {node} needs security epoch {} or later; the site has {epoch}",
                found.header().security_epoch
            )),
            Ordering::Equal => Ok(format!("generation {generation} of node {node}, as in the site")),
        },
    )
}

/// Release and security epoch of the slot that would start first.
fn release(image: &ImageReader, site: &Site, slots: &Slots) -> Check {
    const PART: &str = "release";
    let Some((slot, record)) =
        start_order(image).into_iter().find_map(|slot| Some((slot, slots.record(slot)?)))
    else {
        return Check::of(PART, Err("no slot has a system".into()));
    };
    let said =
        format!("slot {slot} has release {}, security epoch {}", record.release, record.security_epoch);
    Check::of(
        PART,
        if (&record.release, record.security_epoch) == (&site.release, site.security_epoch) {
            Ok(format!("{said}, as in the site"))
        } else {
            let (release, epoch) = (&site.release, site.security_epoch);
            Err(format!("{said}; the site has release {release}, security epoch {epoch}"))
        },
    )
}

/// The least generation that the system in the slot that would start first accepts from the node.
fn floor(image: &ImageReader, node: &Name, site: &Site, slots: &Slots) -> Option<Check> {
    const PART: &str = "least generation";
    let (slot, system) = start_order(image).into_iter().find_map(|slot| Some((slot, slots.trust(slot)?)))?;
    let (found, current) = (system.config.least_generation.for_node(node), site.floors().for_node(node));
    let said = format!("slot {slot} accepts generation {found} or later of node {node}");
    Some(Check::of(
        PART,
        if found == current {
            Ok(format!("{said}, as in the site"))
        } else {
            Err(format!("{said}; the site has {current}"))
        },
    ))
}

fn selector(selector: Option<(Sha256Digest, Sha256Digest)>) -> Check {
    const PART: &str = "selector";
    match selector {
        None => Check::skipped(PART, "this builder has no selector to compare with; run `make build`".into()),
        Some((found, own)) if found == own => Check::of(PART, Ok(format!("this builder's, SHA-256 {own}"))),
        Some((found, own)) => {
            Check::of(PART, Err(format!("SHA-256 {found}; this builder has the one with SHA-256 {own}")))
        }
    }
}
