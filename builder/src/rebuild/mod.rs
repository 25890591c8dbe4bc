//! Building an image again to check that it is what its site describes: for users with doubts, and without any private
//! key.
//!
//! Everything is made again from the packages (or layers) of the lock, in a separate store that has only those, and
//! compared part by part. Parts that need the site's keys are not built: the seal is compared with the site's, and the
//! UKI's signature is verified with the site's public keys. The secret partition belongs to the node and is left out.

mod text;

pub use text::{to_json, to_text};

use crate::base::{self, LockFile};
use crate::engine::system;
use crate::error::{Class, Classified, Error};
use crate::image::digests::{self, Part};
use crate::image::ids::ImageIds;
use crate::image::reader::ImageReader;
use crate::image::slot::{self, SlotError};
use crate::image::{self, assemble};
use crate::input::read_input;
use crate::programs::Programs;
use crate::secrets::credentials::{Locations, trusted_keys};
use crate::secrets::trust::SiteAndKeys;
use crate::site::{Bytes, LOCK_FILE, Site};
use crate::store::{Store, StoreError};
use crate::width::{to_u64, to_usize};
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// How many bytes are compared at once.
const PIECE: u64 = 1 << 20;

/// The result for a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The part was built again, and is the same.
    Same,
    /// The part was built again, and is different.
    Different {
        /// The offset of the first byte that differs; for parts of unequal length this may be the end of the shorter
        /// one.
        offset: u64,
        /// The digest of the part in the image.
        found: Sha256Digest,
        /// The digest of the part built from the site.
        built: Sha256Digest,
    },
    /// The part was not built but verified, and is valid: a description.
    Holds(String),
    /// The part was verified, and is not valid: what is wrong with it.
    Bad(String),
}

impl Verdict {
    /// Whether the part is the same or valid.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Same | Self::Holds(_))
    }
}

/// The results for an image, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The path of the image.
    pub path: PathBuf,
    /// The node that the image is for.
    pub node: Name,
    /// The parts in order, with their results.
    pub parts: Vec<(Part, Verdict)>,
}

impl Rebuilt {
    /// Whether the image is what the site describes.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.parts.iter().all(|(_, verdict)| verdict.is_good())
    }
}

/// Why an image could not be compared.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum RebuildError {
    /// The site has no lock file, so its packages are not known.
    #[error("{path} is missing, so the builder cannot build the image again to compare")]
    NoLock {
        /// Where the lock file should be.
        path: PathBuf,
    },
    /// The image has the seal of another site.
    #[error("{path} is an image of site {found}, not of {expected}")]
    OtherSite {
        /// The path of the image.
        path: PathBuf,
        /// The id of the site in its seal.
        found: Name,
        /// The id of the site to compare with.
        expected: Name,
    },
    /// The image has no seal that names its node.
    #[error("{path}: cannot tell from its seal which node it is for: {problem}")]
    Nameless {
        /// The path of the image.
        path: PathBuf,
        /// What is wrong with the seal.
        problem: String,
    },
    /// A part of the image could not be read.
    #[error("{path}: {part}: {source}; psyops verify shows what is damaged")]
    Part {
        /// The path of the image.
        path: PathBuf,
        /// The part that could not be read.
        part: Part,
        /// The error from reading it.
        r#source: SlotError,
    },
}

impl Classified for RebuildError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoLock { .. } => Class::MissingInput,
            Self::OtherSite { .. } | Self::Nameless { .. } => Class::BadContent,
            Self::Part { .. } => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NoLock { .. } => {
                Some("check out the site as it was when the image was built, with its site.lock".into())
            }
            Self::OtherSite { .. } => Some("name the site of the image with --site".into()),
            _ => None,
        }
    }
}

/// Builds the image at `path` again from `site`, and compares. The packages come from `store`.
pub fn rebuild(
    path: &Path,
    site: &SiteAndKeys,
    programs: &Programs,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Rebuilt, Error> {
    let image = ImageReader::open(path)?;
    if LockFile::read(site)?.is_none() {
        return Err(RebuildError::NoLock { path: site.dir.join(LOCK_FILE) }.into());
    }
    let node = node_of(&image, site)?;
    let _in_use = store.in_use()?;
    let scratch = store.scratch()?;
    let empty = empty_store(scratch.path(), store)?;
    let made = scratch.path().join("image");
    make(site, &node, programs, &empty, &made, progress)?;
    let made = ImageReader::open(&made)?;
    progress("comparing");
    let mut parts = Vec::new();
    for part in Part::ALL {
        let verdict = match part {
            Part::Seal => seal(&image, site, &node)?,
            Part::Signature => signature(&image, site)?,
            part => compare([&image, &made], part)?,
        };
        parts.push((part, verdict));
    }
    Ok(Rebuilt { path: path.to_owned(), node, parts })
}

/// The node that the image's seal names.
fn node_of(image: &ImageReader, site: &Site) -> Result<Name, Error> {
    let path = || image.path().to_owned();
    let seal = slot::seal(image, Slot::A)?;
    let seal = seal.map_err(|error| RebuildError::Nameless { path: path(), problem: error.to_string() })?;
    let header = seal.unproven_header();
    if header.site != site.id {
        let (found, expected) = (header.site.clone(), site.id.clone());
        return Err(RebuildError::OtherSite { path: path(), found, expected }.into());
    }
    Ok(site.node(header.node.as_str())?.name.clone())
}

/// A store with only the packages and layers of another, and the indexes that vouch for them.
fn empty_store(folder: &Path, lender: &Store) -> Result<Store, StoreError> {
    let dir = folder.join("store");
    let failed = |source| StoreError { path: dir.clone(), source };
    std::fs::create_dir(&dir).map_err(failed)?;
    for folder in ["debs", "blobs", "indexes"] {
        symlink(lender.dir().join(folder), dir.join(folder)).map_err(failed)?;
    }
    Store::at(&dir)
}

/// Builds all parts that need no key.
fn make(
    site: &SiteAndKeys,
    node: &Name,
    programs: &Programs,
    store: &Store,
    output: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    // There is a lock already, so nothing is signed.
    let keys = Locations::default();
    let base = base::prepare(site, &site.node(node.as_str())?.packages, store, &keys, progress)?;
    let system = system::make(site, &base, programs, store, progress)?;
    let inputs = image::Inputs {
        ids: ImageIds { architecture: site.architecture, site: &site.id, node, root: system.root.hash },
        release: &site.release,
        security_epoch: site.security_epoch,
        tries: site.boot.tries,
        sizes: &site.sizes,
        selector: &read_input(&programs.selector)?,
        uki: &system.uki,
        uki_signature: "",
        root: &system.root.squashfs,
        verity: &system.root.verity,
        seal: &[],
        secret: None,
    };
    assemble(&inputs, output)?;
    Ok(())
}

fn of(image: &ImageReader, part: Part) -> Result<Vec<u8>, RebuildError> {
    digests::content(image, part).map_err(|source| bad(image, part, source))
}

fn bad(image: &ImageReader, part: Part, source: SlotError) -> RebuildError {
    RebuildError::Part { path: image.path().to_owned(), part, source }
}

/// Compares a part; a part that is too large for memory is compared piece by piece.
fn compare(images: [&ImageReader; 2], part: Part) -> Result<Verdict, RebuildError> {
    let [found, built] = images;
    let extent =
        |image: &ImageReader| digests::extent(image, part).map_err(|source| bad(image, part, source));
    let difference = match [extent(found)?, extent(built)?] {
        [Some(one), Some(other)] => difference_in_pieces(images, part, [one, other])?,
        _ => first_difference(&of(found, part)?, &of(built, part)?),
    };
    let Some(offset) = difference else { return Ok(Verdict::Same) };
    let digest =
        |image: &ImageReader| digests::digest(image, part).map_err(|source| bad(image, part, source));
    Ok(Verdict::Different { offset, found: digest(found)?, built: digest(built)? })
}

fn difference_in_pieces(
    [found, built]: [&ImageReader; 2],
    part: Part,
    [(one, length), (other, other_length)]: [(Role, u64); 2],
) -> Result<Option<u64>, RebuildError> {
    let (common, mut at) = (length.min(other_length), 0);
    while at < common {
        let size = PIECE.min(common - at);
        let read = |image: &ImageReader, role| {
            let piece = image.read(role, Bytes(at), to_usize(size));
            piece.map_err(|source| bad(image, part, source.into()))
        };
        if let Some(offset) = first_difference(&read(found, one)?, &read(built, other)?) {
            return Ok(Some(at + offset));
        }
        at += size;
    }
    Ok((length != other_length).then_some(common))
}

fn first_difference(found: &[u8], built: &[u8]) -> Option<u64> {
    if found == built {
        return None;
    }
    let common = found.iter().zip(built).take_while(|(found, built)| found == built).count();
    Some(to_u64(common))
}

fn seal(image: &ImageReader, site: &Site, node: &Name) -> Result<Verdict, Error> {
    let kept = site.seal_file(node);
    let found = of(image, Part::Seal)?;
    Ok(match site.folder.read(Site::seal_name(node)) {
        Ok(bytes) if bytes == found => Verdict::Holds("the one in the site".into()),
        Ok(_) => Verdict::Bad(format!("different from {}", kept.display())),
        Err(error) => Verdict::Bad(format!("cannot read {}: {error}", kept.display())),
    })
}

fn signature(image: &ImageReader, site: &SiteAndKeys) -> Result<Verdict, Error> {
    let (uki, text) = (of(image, Part::Uki)?, of(image, Part::Signature)?);
    let text = String::from_utf8_lossy(&text);
    Ok(match keys::signature::verify(&uki, &text, &trusted_keys(site)?) {
        Ok(_) => Verdict::Holds("by a key of the site".into()),
        Err(error) => Verdict::Bad(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference(b"same", b"same"), None);
        for (found, built, at) in [("abcd", "abXd", 2), ("abc", "abcd", 3), ("abcd", "ab", 2), ("", "x", 0)] {
            assert_eq!(first_difference(found.as_bytes(), built.as_bytes()), Some(at), "{found} {built}");
        }
    }
}
