//! All files of a root in one stream: the "pseudo file" that `unsquashfs -pf` writes, with a line for each file, and
//! then all contents one after the other. Nothing is unpacked, so it needs neither disk space nor rights.
//!
//! The data are compared with the root hash first. Not compared: times, and extended attributes if unsquashfs (before
//! 4.6) does not print them.

use super::change::{Facts, Value};
use super::packages;
use crate::browse::squashfs::check_links;
use crate::image::reader::ImageReader;
use crate::image::root_check;
use crate::input::over;
use crate::limits;
use crate::root::superblock::MEMORY_OPTIONS;
use crate::tool_output;
use crate::tools::{self, ToolError};
use crate::width::{to_u64, to_usize};
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::process::Stdio;

/// The comment before the contents, between two empty ones.
const DATA_FOLLOWS: &[u8] = b"# START OF DATA - DO NOT MODIFY";
/// A path of 4096 bytes, each with a backslash, and a target of as many.
const LONGEST_LINE: u64 = 32_768;
/// A comment line.
const COMMENT: &[u8] = b"#";

/// The files of a root.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) files: Facts,
    /// Contents of the files that are parsed.
    kept: BTreeMap<String, Vec<u8>>,
}

impl Root {
    pub(super) fn packages(&self) -> Result<Facts, String> {
        let kept = |path| self.kept.get(path).map(Vec::as_slice);
        packages::list(kept(packages::SPDX), kept(packages::DPKG))
    }
}

/// Reads the root of a slot; the inner error says what is wrong with the root.
pub(super) fn read(
    image: &ImageReader,
    slot: Slot,
    root: RootHash,
) -> Result<Result<Root, String>, ToolError> {
    let checked = root_check::check_squashfs(image, slot, root);
    let partition = match checked
        .and_then(|length| image.for_program(Role::Root(slot), length).map_err(|error| error.to_string()))
    {
        Ok(partition) => partition,
        Err(problem) => return Ok(Err(problem)),
    };
    if let Err(problem) = check_links(&partition)? {
        return Ok(Err(problem));
    }
    let mut command = tools::UNSQUASHFS.command()?;
    // A path for the standard output, because versions before 4.6 write to a file named `-`.
    command
        .args(["-q", "-n", "-o", &partition.offset.to_string(), "-pf", "/dev/stdout"])
        .args(MEMORY_OPTIONS)
        .arg(&partition.path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tools::start(&mut command)?;
    let (parsed, complaint) =
        tool_output::listen(&running, |out| parse(BufReader::with_capacity(1 << 20, out)));
    // If unsquashfs failed, its message is better than that about the truncated stream.
    match running.check(Vec::new(), complaint) {
        Ok(_) => Ok(parsed.map_err(|error| error.to_string())),
        // If it was stopped because its output was refused, it has no message.
        Err(ToolError::Failed { complaint, .. }) => Ok(Err(match parsed {
            Err(refused) if complaint.is_empty() => refused.to_string(),
            _ => complaint.to_string(),
        })),
        Err(error) => Err(error),
    }
}

/// A file whose content follows.
struct Pending {
    path: String,
    offset: u64,
    length: u64,
}

fn parse(mut input: impl BufRead) -> io::Result<Root> {
    let mut root = Root::default();
    let mut pending = Vec::new();
    let (mut line, mut lines) = (Vec::new(), 0);
    loop {
        line.clear();
        if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        lines += 1;
        limits::ROOT_FILES.check(lines).map_err(over)?;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if text == DATA_FOLLOWS {
            line.clear();
            input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            break;
        }
        if text != COMMENT {
            definition(text, &mut root.files, &mut pending).ok_or_else(|| {
                let line = String::from_utf8_lossy(text).into_owned();
                io::Error::other(format!("cannot parse a line of unsquashfs: {line:?}"))
            })?;
        }
    }
    // Checked before anything is unpacked: a few bytes can expand to any number of zeros.
    let all = pending.iter().fold(0, |all: u64, file| all.saturating_add(file.length));
    limits::ROOT_UNPACKED.check(all).map_err(over)?;
    pending.sort_by_key(|file| (file.offset, file.length));
    let mut position = 0;
    for file in pending {
        let gap = file.offset.checked_sub(position).ok_or_else(|| cut(&file.path))?;
        io::copy(&mut input.by_ref().take(gap), &mut io::sink())?;
        let content = root.content(&mut input, &file)?;
        root.files.entry(file.path).or_default().push(("content", Value::Digest(content)));
        position = file.offset.saturating_add(file.length);
    }
    // What may follow does not belong to a file; without reading it, unsquashfs would end with a broken pipe.
    io::copy(&mut input, &mut io::sink())?;
    Ok(root)
}

/// Parses what unsquashfs prints, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(printed: &[u8]) {
    if let Ok(root) = parse(printed) {
        let _ = root.packages();
    }
}

fn cut(path: &str) -> io::Error {
    io::Error::other(format!("the content of {path} is not where unsquashfs reports it"))
}

impl Root {
    /// Hashes the next content, and keeps it if the file is one to parse.
    fn content(&mut self, input: &mut impl BufRead, file: &Pending) -> io::Result<Sha256Digest> {
        let mut hasher = Sha256::new();
        let mut kept = [packages::SPDX, packages::DPKG].contains(&file.path.as_str()).then(Vec::new);
        if kept.is_some() {
            limits::SHOWN_FILE.check(file.length).map_err(over)?;
        }
        let mut left = file.length;
        while left > 0 {
            let there = input.fill_buf()?;
            let taken = there.len().min(to_usize(left));
            let bytes =
                there.get(..taken).filter(|bytes| !bytes.is_empty()).ok_or_else(|| cut(&file.path))?;
            hasher.update(bytes);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(bytes);
            }
            input.consume(taken);
            left = left.saturating_sub(to_u64(taken));
        }
        if let Some(kept) = kept {
            self.kept.insert(file.path.clone(), kept);
        }
        Ok(Sha256Digest::from_bytes(hasher.finalize().into()))
    }
}

/// Parses a line: the path, a letter for the kind, and the facts (mksquashfs(1), "pseudo file definitions").
fn definition(line: &[u8], files: &mut Facts, pending: &mut Vec<Pending>) -> Option<()> {
    let (path, rest) = name(line)?;
    let rest = String::from_utf8_lossy(rest).into_owned();
    let (letter, rest) = rest.split_once(' ')?;
    let text = |text: &str| Value::Text(text.to_owned());
    match letter {
        "L" => {
            files.insert(path, vec![("kind", text("hard link")), ("target", text(rest))]);
            return Some(());
        }
        // An attribute of a file in an earlier line.
        "x" | "X" => {
            files.entry(path).or_default().push(("attribute", text(rest)));
            return Some(());
        }
        _ => {}
    }
    let mut words = rest.splitn(5, ' ');
    let (_time, mode, user, group) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let rest = words.next().unwrap_or_default();
    let mode = u32::from_str_radix(mode, 8).ok()?;
    let kind = match letter {
        "D" => "folder",
        "R" => "file",
        "S" => "link",
        "B" => "block device",
        "C" => "character device",
        "I" => "pipe or socket",
        _ => return None,
    };
    let mut facts = vec![("kind", text(kind))];
    // The mode of a link has no meaning.
    if letter != "S" {
        facts.push(("mode", Value::Text(format!("{mode:04o}"))));
    }
    facts.push(("owner", Value::Text(format!("{user}:{group}"))));
    match letter {
        "R" => {
            let mut numbers = rest.split(' ').map(|word| word.parse::<u64>().ok());
            let (length, offset) = (numbers.next()??, numbers.next()??);
            facts.push(("size", Value::Number(length)));
            pending.push(Pending { path: path.clone(), offset, length });
        }
        "S" => facts.push(("target", text(rest))),
        "B" | "C" => facts.push(("device", text(rest))),
        _ => {}
    }
    files.insert(path, facts);
    Some(())
}

/// The path at a line's beginning, in which spaces, quotes and backslashes have a backslash before them.
fn name(line: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::new();
    let mut bytes = line.iter().copied().enumerate();
    loop {
        match bytes.next()? {
            (at, b' ') => {
                let rest = line.get(at + 1..)?;
                return Some((String::from_utf8_lossy(&name).into_owned(), rest));
            }
            (_, b'\\') => name.push(bytes.next()?.1),
            (_, byte) => name.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pseudo: &str) -> Result<Vec<String>, String> {
        let root = parse(pseudo.as_bytes()).map_err(|error| error.to_string())?;
        let line = |(path, facts): (String, Vec<(&str, Value)>)| {
            let facts: Vec<_> = facts.iter().map(|(what, value)| format!("{what} {value}")).collect();
            format!("{path}: {}", facts.join(", "))
        };
        Ok(root.files.into_iter().map(line).collect())
    }

    #[test]
    fn files_of_all_kinds_are_listed() {
        let text = "/ D 17 755 0 0\na\\ b\\\"c\\\\d R 17 4755 0 42 5 3 0\nempty R 17 600 7 8 0 3 0\n\
                    l S 17 777 0 0 x -> y z\nl2 L l\ndev C 17 620 0 5 5 1\npipe I 17 644 0 0 f\n\
                    #\n# START OF DATA - DO NOT MODIFY\n#\nabchelloz";
        assert_eq!(
            told(text).unwrap(),
            [
                "/: kind folder, mode 0755, owner 0:0",
                "a b\"c\\d: kind file, mode 4755, owner 0:42, size 5, content 2cf24dba5fb0…",
                "dev: kind character device, mode 0620, owner 0:5, device 5 1",
                "empty: kind file, mode 0600, owner 7:8, size 0, content e3b0c44298fc…",
                "l: kind link, owner 0:0, target x -> y z",
                "l2: kind hard link, target l",
                "pipe: kind pipe or socket, mode 0644, owner 0:0",
            ]
        );
        assert_eq!(told("/ D 17 755 0 0\n").unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_cannot_be_parsed_is_reported() {
        for line in ["new", "line R 1 644 0 0", "x Q 1 644 0 0", "x D 1 9 0 0", "\\"] {
            let error = told(&format!("/ D 17 755 0 0\n{line}\n")).unwrap_err();
            assert!(
                error.contains("cannot parse a line of unsquashfs") && error.contains(&format!("{line:?}")),
                "{error}"
            );
        }
        let error = told("x R 1 644 0 0 99999999999999 0 0\n").unwrap_err();
        assert_eq!(
            error,
            "the unpacked root has 99999999999999 bytes, more than the limit of 68719476736 bytes (four times the \
             largest root)"
        );
        let data = "#\n# START OF DATA - DO NOT MODIFY\n#\nab";
        assert!(told(&format!("x R 1 644 0 0 3 0 0\n{data}")).unwrap_err().contains("content of x is not"));
        let twice = format!("x R 1 644 0 0 2 0 0\ny R 1 644 0 0 1 1 0\n{data}");
        assert!(told(&twice).unwrap_err().contains("content of y is not"));
    }
}
