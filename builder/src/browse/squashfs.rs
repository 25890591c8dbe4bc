//! Files of a root, read by `unsquashfs` in place in the image.
//!
//! The whole root is compared with its root hash first: squashfs has no checksums, and a damaged block would appear as
//! another file or another content.

use super::{BrowseError, Entry, EntryKind, PathInImage};
use crate::image::reader::{ImageReader, ProgramInput};
use crate::image::root_check;
use crate::image::slot;
use crate::limits;
use crate::root::superblock::MEMORY_OPTIONS;
use crate::tool_output::{self, OutputError};
use crate::tools::{self, ToolError};
use handoff::partition::Role;
use handoff::shown::ShownBytes;
use handoff::slot::Slot;
use std::process::Command;

/// What `unsquashfs` prints before every path of a listing.
const TOP: &str = "squashfs-root";
/// What it prints between a link and its target.
const ARROW: &str = " -> ";

pub(super) fn list(image: &ImageReader, slot: Slot, place: &PathInImage) -> Result<Vec<Entry>, BrowseError> {
    let length = check(image, slot)?;
    entries(&image.for_program(Role::Root(slot), length)?, place)
}

/// Before `unsquashfs` is started, compares the root with its root hash, and its superblock with the limits.
fn check(image: &ImageReader, slot: Slot) -> Result<u64, BrowseError> {
    let root = slot::uki(image, slot).and_then(|uki| uki.root_hash());
    let root = root.map_err(|problem| BrowseError::Slot { slot, problem })?;
    root_check::check_squashfs(image, slot, root)
        .map_err(|reason| BrowseError::Damaged { part: "the root", reason })
}

fn entries(partition: &ProgramInput, place: &PathInImage) -> Result<Vec<Entry>, BrowseError> {
    let levels = place.names.len() + 1;
    let mut command = unsquashfs(partition)?;
    command.args(["-lln", "-max-depth", &levels.to_string()]).arg(&partition.path);
    if !place.names.is_empty() {
        command.arg(place.path());
    }
    let listing = tool_output::run(&mut command, &limits::ROOT_LIST).map_err(damaged)?;
    let lines = lines(&listing).map_err(|reason| BrowseError::Damaged { part: "the root", reason })?;
    let full =
        std::iter::once(TOP).chain(place.names.iter().map(String::as_str)).collect::<Vec<_>>().join("/");
    let inside = |path: &str| path.strip_prefix(&full).is_some_and(|rest| rest.starts_with('/'));
    let itself = lines.iter().find(|(path, _)| *path == full).map(|(_, entry)| entry);
    match itself {
        None => Err(place.not_found()),
        Some(entry) if entry.kind != EntryKind::Folder => Ok(vec![entry.clone()]),
        Some(_) => {
            Ok(lines.iter().filter(|(path, _)| inside(path)).map(|(_, entry)| entry.clone()).collect())
        }
    }
}

pub(super) fn read(image: &ImageReader, slot: Slot, place: &PathInImage) -> Result<Vec<u8>, BrowseError> {
    let partition = image.for_program(Role::Root(slot), check(image, slot)?)?;
    // The entries are read first, because unsquashfs has one exit code for all problems of a path.
    let entries = entries(&partition, place)?;
    let name = place.names.last();
    match entries.as_slice() {
        [entry] if Some(&entry.name) == name && entry.kind == EntryKind::File => {
            limits::SHOWN_FILE.check(entry.size).map_err(|over| damaged(over.into()))?;
        }
        [entry] if Some(&entry.name) == name && entry.kind == EntryKind::Link => {
            return Err(place.is("a link"));
        }
        _ => return Err(place.is("not a file")),
    }
    let mut command = unsquashfs(&partition)?;
    command.arg("-no-wildcards").arg("-cat").arg(&partition.path).arg(place.path());
    tool_output::run(&mut command, &limits::SHOWN_FILE).map_err(damaged)
}

fn unsquashfs(partition: &ProgramInput) -> Result<Command, BrowseError> {
    let mut command = tools::UNSQUASHFS.command()?;
    command.args(["-q", "-no-wildcards", "-o", &partition.offset.to_string()]).args(MEMORY_OPTIONS);
    Ok(command)
}

fn damaged(error: OutputError) -> BrowseError {
    let reason = match error {
        OutputError::Tool(ToolError::Failed { complaint, .. }) => complaint.to_string(),
        OutputError::Tool(other) => return BrowseError::Tool(other),
        OutputError::Limit(over) => over.to_string(),
    };
    BrowseError::Damaged { part: "the root", reason }
}

/// Refuses a root in which a link could fake lines of what `unsquashfs` prints: it prints the line ends in targets
/// unchanged.
///
/// The inner error says what is wrong with the root.
pub(crate) fn check_links(partition: &ProgramInput) -> Result<Result<(), String>, ToolError> {
    let mut command = tools::UNSQUASHFS.command()?;
    command
        .args(["-q", "-o", &partition.offset.to_string(), "-lln"])
        .args(MEMORY_OPTIONS)
        .arg(&partition.path);
    Ok(match tool_output::run(&mut command, &limits::ROOT_LIST) {
        Ok(listing) => lines(&listing).map(drop),
        Err(OutputError::Tool(ToolError::Failed { complaint, .. })) => Err(complaint.to_string()),
        Err(OutputError::Tool(other)) => return Err(other),
        Err(OutputError::Limit(over)) => Err(over.to_string()),
    })
}

/// The lines of `-lln`. A line end in a name or in the target of a link leaves lines that cannot be parsed.
fn lines(listing: &[u8]) -> Result<Vec<(String, Entry)>, String> {
    let read = |text: &[u8]| {
        let senseless = "cannot parse a line of unsquashfs";
        line(text).ok_or_else(|| format!("{senseless}: \"{}\"", ShownBytes(text)))
    };
    let listing = listing.strip_suffix(b"\n").unwrap_or(listing);
    listing.split(|byte| *byte == b'\n').filter(|_| !listing.is_empty()).map(read).collect()
}

/// A line of `-lln`: mode, owner/group, size (of devices two numbers), date, time, path, and of links ` -> ` and a
/// target.
///
/// The size of a link is the length of its target, so a target with a line end in it is noticed. That works if the
/// arrow appears once: a longer name with an arrow in it could compensate for what is missing.
fn line(line: &[u8]) -> Option<(String, Entry)> {
    let text = String::from_utf8_lossy(line);
    let (before, path) = text.split_once(TOP)?;
    let path = format!("{TOP}{path}");
    let mut words = before.split_ascii_whitespace();
    let (mode, owner, size) = (words.next()?, words.next()?, words.next()?);
    let kind = match mode.chars().next()? {
        '-' => EntryKind::File,
        'd' => EntryKind::Folder,
        'l' => EntryKind::Link,
        _ => EntryKind::Special,
    };
    if kind == EntryKind::Link && !has_whole_target(line, size) {
        return None;
    }
    let (path, target) = match path.split_once(ARROW).filter(|_| kind == EntryKind::Link) {
        Some((path, target)) => (path.to_owned(), Some(target.to_owned())),
        None => (path, None),
    };
    let (uid, gid) = owner.split_once('/')?;
    let size = if kind == EntryKind::File { size.parse().ok()? } else { 0 };
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let owner = Some((uid.parse().ok()?, gid.parse().ok()?));
    Some((path, Entry { name, kind, mode: Some(mode_bits(mode)), owner, size, target }))
}

fn has_whole_target(line: &[u8], size: &str) -> bool {
    let arrow = |(_, window): &(usize, &[u8])| *window == ARROW.as_bytes();
    let mut arrows = line.windows(ARROW.len()).enumerate().filter(arrow);
    let (Some((at, _)), None) = (arrows.next(), arrows.next()) else { return false };
    size.parse() == Ok(line.len().saturating_sub(at + ARROW.len()))
}

/// Parses a line of `-lln`, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_line(text: &str) {
    if let Some((path, entry)) = line(text.as_bytes()) {
        assert!(path.ends_with(&entry.name), "the name is the end of the path");
    }
}

/// The twelve mode bits of `rwxr-sr-t` and the like (ls(1)).
fn mode_bits(letters: &str) -> u32 {
    let bit = |(position, letter): (u32, char)| -> u32 {
        let own = 0o400 >> position;
        // Set user id, set group id and sticky share a letter with the execute permission.
        let special = 0o4000 >> (position / 3);
        match letter {
            'r' | 'w' | 'x' => own,
            's' | 't' => own | special,
            'S' | 'T' => special,
            _ => 0,
        }
    };
    (0..9).zip(letters.chars().skip(1)).map(bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_kinds_are_read() {
        let (path, entry) =
            line(b"-rwsr-xr-t 0/42                  354 2026-11-22 12:05 squashfs-root/a b/su").unwrap();
        assert_eq!((path.as_str(), entry.name.as_str()), ("squashfs-root/a b/su", "su"));
        assert_eq!((entry.mode, entry.owner, entry.size), (Some(0o5755), Some((0, 42)), 354));
        let (_, entry) = line(b"lrwxrwxrwx 0/0   7 2026-11-22 12:05 squashfs-root/bin -> usr/bin").unwrap();
        assert_eq!((entry.kind, entry.target.as_deref()), (EntryKind::Link, Some("usr/bin")));
        let (_, entry) = line(b"crw--w---- 0/5    5,  1 2026-11-22 12:05 squashfs-root/dev/console").unwrap();
        assert_eq!((entry.kind, entry.mode), (EntryKind::Special, Some(0o620)));
        assert_eq!(line(b"Parallel unsquashfs: Using 2 processors"), None);
    }

    #[test]
    fn a_newline_in_a_name_cannot_forge_a_line_of_a_list() {
        const DATE: &str = "2026-11-22 12:05 squashfs-root/bad";
        let forged = format!("-rwsr-xr-x 0/0 5 {DATE}/su");
        for (size, link) in [
            (forged.len() + 2, format!("x -> a\n{forged}")),
            // The longer name compensates for what the line lacks.
            (forged.len() + 2, format!("{} -> {} -> a\n{forged}", "x", "y".repeat(forged.len() - 3))),
        ] {
            let listing = format!("lrwxrwxrwx 0/0 {size} {DATE}/{link}\n");
            let problem = lines(listing.as_bytes()).unwrap_err();
            assert!(problem.contains("cannot parse a line of unsquashfs: \"lrwx"), "{problem}");
        }
        let listing = format!("-rw-r--r-- 0/0 5 {DATE}/x\nerror: forged\n");
        assert!(lines(listing.as_bytes()).unwrap_err().ends_with("\"error: forged\""));
        let listing = format!("{forged}\nlrwxrwxrwx 0/0 2 {DATE}/l -> \u{fc}\n");
        assert_eq!(lines(listing.as_bytes()).unwrap().len(), 2);
        assert_eq!(lines(b"").unwrap(), []);
    }
}
