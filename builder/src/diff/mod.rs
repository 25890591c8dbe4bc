//! Compares two images: packages, files, kernel, command line, initramfs, seals, keys, sizes, ESP; of the secret
//! partition only whether it differs. Only reads.
//!
//! Roots with the same root hash are the same and are not read. Damaged parts are reported instead of compared, and the
//! rest is still compared. Only digests and root hashes are checked here; `verify` checks signatures.

mod change;
mod command_line;
mod json;
mod packages;
mod root;
mod system;
mod text;
mod whole;

#[cfg(feature = "fuzzing")]
pub(crate) use {packages::fuzz as fuzz_packages, root::fuzz as fuzz_root};

pub use change::{Change, Detail, DifferenceKind, Section, Value};
pub use json::to_json;
pub use text::to_text;

use crate::error::Error;
use crate::image::reader::ImageReader;
use crate::parallel;
use crate::tools::ToolError;
use change::compare;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fmt;
use std::path::{Path, PathBuf};
use system::System;

/// One of the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first image.
    A,
    /// The second image.
    B,
}

impl Side {
    /// Both sides in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// A part that could not be compared, because it is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The image with the damage.
    pub side: Side,
    /// The name of the part of the disk.
    pub part: String,
    /// What is wrong with it, in one line.
    pub problem: String,
}

/// The result of comparing two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The paths of the images.
    pub paths: [PathBuf; 2],
    /// The differences, part by part.
    pub sections: Vec<Section>,
    /// The damaged parts.
    pub damaged: Vec<Damage>,
}

impl Difference {
    /// Whether all compared parts are the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.sections.iter().all(Section::is_same)
    }
}

/// Compares two images. Only a file that is not an image at all is an error.
pub fn diff(a: &Path, b: &Path) -> Result<Difference, Error> {
    let images = [ImageReader::open(a)?, ImageReader::open(b)?];
    let mut comparison = Comparison { images: &images, sections: Vec::new(), damaged: Vec::new() };
    for (side, image) in Side::BOTH.into_iter().zip(&images) {
        image
            .table_faults()
            .iter()
            .for_each(|fault| comparison.damaged(side, "partition table", fault.clone()));
    }
    for slot in Slot::BOTH {
        comparison.slot(slot)?;
    }
    comparison.rest();
    let Comparison { sections, damaged, .. } = comparison;
    Ok(Difference { paths: [a.to_owned(), b.to_owned()], sections, damaged })
}

/// Does the same work on both images at once.
fn both<T: Send>(images: &[ImageReader; 2], work: impl Fn(Side, &ImageReader) -> T + Sync) -> [T; 2] {
    let [a, b] = images;
    parallel::both(|| work(Side::A, a), || work(Side::B, b)).into()
}

/// The comparison while it is made.
struct Comparison<'i> {
    images: &'i [ImageReader; 2],
    sections: Vec<Section>,
    damaged: Vec<Damage>,
}

impl Comparison<'_> {
    fn damaged(&mut self, side: Side, part: &str, problem: String) {
        self.damaged.push(Damage { side, part: part.to_owned(), problem });
    }

    /// Both values if both parts could be read; damage is noted.
    fn whole<T>(&mut self, part: &str, [a, b]: [Result<T, String>; 2]) -> Option<[T; 2]> {
        let mut note = |side, result: Result<T, String>| {
            result.map_err(|problem| self.damaged(side, part, problem)).ok()
        };
        let (a, b) = (note(Side::A, a), note(Side::B, b));
        Some([a?, b?])
    }

    fn section(&mut self, part: &'static str, slot: Option<Slot>, changes: Vec<Change>) {
        self.sections.push(Section::new(part, slot, changes));
    }

    fn slot(&mut self, slot: Slot) -> Result<(), ToolError> {
        let systems = both(self.images, |_, image| system::read(image, slot));
        let Some(systems) = self.whole(&format!("slot {slot}"), systems) else { return Ok(()) };
        let slot_name = || format!("slot {slot}");
        let only = |kind, system: System| Change {
            kind,
            name: slot_name(),
            details: compare(&system.release, &change::Facts::new())
                .into_iter()
                .flat_map(|change| change.details)
                .collect(),
        };
        let [a, b] = match systems {
            [None, None] => return Ok(()),
            [Some(a), Some(b)] => [a, b],
            [Some(a), None] => {
                self.section("system", Some(slot), vec![only(DifferenceKind::Removed, a)]);
                return Ok(());
            }
            [None, Some(b)] => {
                self.section("system", Some(slot), vec![only(DifferenceKind::Added, b)]);
                return Ok(());
            }
        };
        self.roots(slot, [&a, &b])?;
        self.section("kernel", Some(slot), compare(&a.kernel, &b.kernel));
        self.section("command line", Some(slot), command_line::compare(&a.command_line, &b.command_line));
        self.section("initramfs", Some(slot), compare(&a.initramfs, &b.initramfs));
        self.section("system", Some(slot), compare(&a.release, &b.release));
        self.section("keys", Some(slot), compare(&a.keys, &b.keys));
        Ok(())
    }

    /// Compares packages and files, which are the same if the root hashes are.
    fn roots(&mut self, slot: Slot, [a, b]: [&System; 2]) -> Result<(), ToolError> {
        if a.root == b.root {
            self.section("packages", Some(slot), Vec::new());
            self.section("root", Some(slot), Vec::new());
            return Ok(());
        }
        let hash = |side| if side == Side::A { a.root } else { b.root };
        let [a, b] = both(self.images, |side, image| root::read(image, slot, hash(side)));
        let Some([a, b]) = self.whole(&Role::Root(slot).to_string(), [a?, b?]) else { return Ok(()) };
        let mut packages = Section::new("packages", Some(slot), Vec::new());
        match [a.packages(), b.packages()] {
            [Ok(a), Ok(b)] => packages.changes = compare(&a, &b),
            lists => {
                let note = |(side, list): (Side, Result<_, String>)| Some(format!("{side}: {}", list.err()?));
                packages.notes = Side::BOTH.into_iter().zip(lists).filter_map(note).collect();
            }
        }
        let mut files = Section::new("root", Some(slot), compare(&a.files, &b.files));
        if files.is_same() {
            let change =
                Change { kind: DifferenceKind::Changed, name: "the file system".into(), details: Vec::new() };
            files.changes.push(change);
            files
                .notes
                .push("the files are the same; times, attributes or how they are packed differ".into());
        }
        self.sections.extend([packages, files]);
        Ok(())
    }

    fn rest(&mut self) {
        let images = self.images;
        let [a, b] = images;
        for slot in Slot::BOTH {
            let seals = [a, b].map(|image| whole::seal(image, slot));
            if let Some([a, b]) = self.whole(&Role::Seal(slot).to_string(), seals) {
                self.section("seal", Some(slot), compare(&a, &b));
            }
        }
        self.section("partitions", None, compare(&whole::partitions(a), &whole::partitions(b)));
        if let Some([a, b]) = self.whole("esp", both(images, |_, image| whole::esp(image))) {
            self.section("esp", None, compare(&a, &b));
        }
        for (side, image) in Side::BOTH.into_iter().zip(images) {
            for fault in whole::control_faults(image) {
                self.damaged(side, "control", fault);
            }
        }
        if let Some([a, b]) = self.whole("control", [a, b].map(whole::control)) {
            self.section("control", None, compare(&a, &b));
        }
        let faults = [a, b].map(whole::secret_fault);
        for (side, fault) in Side::BOTH.into_iter().zip(faults.clone()) {
            if let Some(fault) = fault {
                self.damaged(side, "secret", fault);
            }
        }
        if faults.iter().all(Option::is_none) {
            match whole::secret([a, b]) {
                Ok(changes) => self.section("secret", None, changes),
                // The message has the image's path, which tells the images apart.
                Err(error) => self.damaged(Side::B, "secret", error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
