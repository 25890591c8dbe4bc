//! What blkid recognises on a volume of a file, by probing it and not from its cache.

use crate::tools::{self, BLKID, ToolError};
use std::collections::BTreeMap;
use std::path::Path;

/// Exit codes (blkid(8)): nothing was recognised, and more than one thing was.
const NOTHING: i32 = 2;
const AMBIVALENT: i32 = 8;

/// A range of a disk that may hold a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Volume {
    /// The partition's number; none for the whole disk.
    pub(super) partition: Option<u32>,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What blkid recognised on a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The partition's number; none for the whole disk.
    pub partition: Option<u32>,
    /// The size of the volume in bytes.
    pub size: u64,
    /// The file system's label.
    pub label: Option<String>,
    /// The kind of file system, in blkid's words.
    pub kind: Option<String>,
    /// The kind of partition table, in blkid's words.
    pub table: Option<String>,
}

/// Runs blkid on the volume.
pub(super) fn probe(file: &Path, volume: Volume) -> Result<Found, ToolError> {
    let mut command = BLKID.command()?;
    command.args(["-p", "-o", "export"]);
    command.args(["--offset", &volume.offset.to_string(), "--size", &volume.size.to_string()]).arg(file);
    let program = tools::program_name(&command);
    let output = tools::output(&mut command)?;
    let nothing =
        Found { partition: volume.partition, size: volume.size, label: None, kind: None, table: None };
    match output.status.code() {
        Some(NOTHING) => Ok(nothing),
        Some(AMBIVALENT) => Ok(Found { kind: Some("ambiguous".to_owned()), ..nothing }),
        _ => {
            let output = tools::check(&program, output)?;
            let Recognised { label, kind, table } = read(&String::from_utf8_lossy(&output.stdout));
            Ok(Found { label, kind, table, ..nothing })
        }
    }
}

/// The values in blkid's output.
#[derive(Debug, PartialEq, Eq, Default)]
struct Recognised {
    label: Option<String>,
    kind: Option<String>,
    table: Option<String>,
}

fn read(export: &str) -> Recognised {
    let values: BTreeMap<&str, &str> = export.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |key| values.get(key).map(|value| unescape(value)).filter(|value| !value.trim().is_empty());
    Recognised { label: value("LABEL"), kind: value("TYPE"), table: value("PTTYPE") }
}

/// blkid writes a backslash before characters with a special meaning in a shell.
fn unescape(value: &str) -> String {
    let mut text = String::new();
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        text.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_blkid_is_parsed() {
        let text = "DEVNAME=/x\nLABEL=my\\ photos\\\\1\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n";
        let found = read(text);
        assert_eq!((found.label.as_deref(), found.kind.as_deref()), (Some("my photos\\1"), Some("ext4")));
        assert_eq!(read("PTTYPE=gpt\nLABEL=\n").table.as_deref(), Some("gpt"));
        assert_eq!(read("PART_ENTRY_SCHEME=gpt\nPART_ENTRY_NUMBER=1\n"), Recognised::default());
    }
}
