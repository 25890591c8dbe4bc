//! `docs/hostile-inputs.md` names every limit and every fuzz target, and none that does not exist.

use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn checkout() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?.to_owned())
}

/// The names in backticks in the column with that heading, in all tables.
fn named<'t>(text: &'t str, column: &str) -> BTreeSet<&'t str> {
    let mut names = BTreeSet::new();
    let mut place = None;
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match line.strip_prefix('|') {
            None => place = None,
            Some(_) if cells.first() == Some(&"reader") => {
                place = cells.iter().position(|cell| *cell == column);
            }
            Some(_) => {
                let cell = place.and_then(|place| cells.get(place)).copied().unwrap_or_default();
                names.extend(cell.split('`').skip(1).step_by(2));
            }
        }
    }
    names
}

fn words_after<'t>(text: &'t str, start: &str, end: char) -> BTreeSet<&'t str> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(start)?.split_once(end))
        .map(|(word, _)| word)
        .collect()
}

#[test]
fn every_fuzz_target_is_named_built_and_has_inputs() -> Result<()> {
    let checkout = checkout()?;
    let listing = Command::new("git")
        .args(["ls-files", "fuzz/targets", "fuzz/corpus"])
        .current_dir(&checkout)
        .output()?;
    let listing = String::from_utf8(listing.stdout)?;
    let targets = words_after(&listing, "fuzz/targets/", '.');
    ensure!(targets.len() > 15, "git does not list the targets");
    let document = fs::read_to_string(checkout.join("docs/hostile-inputs.md"))?;
    assert_eq!(named(&document, "fuzz target"), targets, "the tables of docs/hostile-inputs.md");
    let manifest = fs::read_to_string(checkout.join("fuzz/Cargo.toml"))?;
    assert_eq!(words_after(&manifest, "path = \"targets/", '.'), targets, "the programs of fuzz/Cargo.toml");
    assert_eq!(words_after(&listing, "fuzz/corpus/", '/'), targets, "the folders of fuzz/corpus");
    Ok(())
}

#[test]
fn every_limit_is_named() -> Result<()> {
    let checkout = checkout()?;
    let document = fs::read_to_string(checkout.join("docs/hostile-inputs.md"))?;
    let limits = fs::read_to_string(checkout.join("builder/src/limits.rs"))?;
    let limits = words_after(&limits, "pub static ", ':');
    let is_constant =
        |name: &&&str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let bounds = named(&document, "bound");
    let bounds: BTreeSet<&str> = bounds.iter().filter(is_constant).copied().collect();
    assert_eq!(bounds, limits);
    Ok(())
}

#[test]
fn every_test_named_exists() -> Result<()> {
    let checkout = checkout()?;
    let document = fs::read_to_string(checkout.join("docs/hostile-inputs.md"))?;
    let tests = Command::new("git")
        .args(["grep", "-hE", "^ *fn [a-z0-9_]+\\("])
        .arg("--")
        .arg("*.rs")
        .current_dir(&checkout)
        .output()?;
    let tests = String::from_utf8(tests.stdout)?;
    let existing = words_after(&tests, "fn ", '(');
    let named = named(&document, "test");
    ensure!(named.len() > 20, "the tables were not found");
    let missing: Vec<_> = named.difference(&existing).collect();
    ensure!(missing.is_empty(), "docs/hostile-inputs.md names tests that do not exist: {missing:?}");
    Ok(())
}
