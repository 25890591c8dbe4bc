//! No file has a marker for work that is still open: open work belongs in an issue, not in a comment.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Words that mark something as open, in two halves each, so that this file has none of them.
const MARKERS: [(&str, &str); 6] =
    [("TO", "DO"), ("FIX", "ME"), ("X", "XX"), ("HA", "CK"), ("to", "do!"), ("unimple", "mented!")];

/// The first marker in a line that is a separate word.
fn marker(line: &str) -> Option<String> {
    MARKERS.into_iter().map(|(one, two)| format!("{one}{two}")).find(|marker| {
        line.match_indices(marker.as_str()).any(|(at, _)| {
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
            let before = line.get(..at).and_then(|text| text.chars().next_back());
            let behind = line.get(at + marker.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_part)
                && !behind.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/'))
        })
    })
}

#[test]
fn no_comment_has_an_open_marker() -> Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
    let listing = Command::new("git").args(["ls-files"]).current_dir(checkout).output()?;
    ensure!(listing.status.success(), "git ls-files failed");
    let (mut found, mut files) = (Vec::new(), 0);
    for name in String::from_utf8(listing.stdout)?.lines() {
        // Inputs for the fuzz targets may have any content.
        let Ok(text) = fs::read_to_string(checkout.join(name)) else { continue };
        if name.starts_with("fuzz/corpus/") || name.ends_with("Cargo.toml") {
            continue;
        }
        files += 1;
        for (number, line) in (1..).zip(text.lines()) {
            found.extend(marker(line).map(|marker| format!("{name}:{number}: {marker}")));
        }
    }
    ensure!(files > 400, "only {files} files were looked at");
    ensure!(found.is_empty(), "finish these, or file an issue:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn a_marker_is_a_word_of_its_own() {
    let open = format!("// {}{}: later", "TO", "DO");
    assert!(marker(&open).is_some());
    assert!(marker("the folder XXXL, mktemp psyops.XXXXXX").is_none());
}
