//! Every test that `docs/threat-model.md` names as a proof exists.

use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn checkout() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?.to_owned())
}

/// The names in backticks in the last column of each row of a table whose header ends in "test".
fn named_tests(text: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut in_table = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) else {
            in_table = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        match last {
            "test" => in_table = true,
            "---" => {}
            _ if in_table => {
                let quoted: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
                ensure!(!quoted.is_empty() || !row.contains("cannot"), "this line names no test: {line}");
                names.extend(quoted.into_iter().map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The functions under `#[test]` in the Rust files that git tracks.
fn existing_tests(checkout: &Path) -> Result<BTreeSet<String>> {
    let listing = Command::new("git").args(["ls-files", "*.rs"]).current_dir(checkout).output()?;
    ensure!(listing.status.success(), "git ls-files failed");
    let mut names = BTreeSet::new();
    for file in String::from_utf8(listing.stdout)?.lines() {
        // A file that git still tracks may have been removed from the work tree.
        let Ok(text) = fs::read_to_string(checkout.join(file)) else { continue };
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" {
                marked = true;
            } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
                names.extend(rest.split('(').next().map(str::to_owned));
                marked = false;
            } else if !line.starts_with("#[") && !line.starts_with("//") {
                marked = false;
            }
        }
    }
    Ok(names)
}

#[test]
fn every_test_that_the_threat_model_names_exists() -> Result<()> {
    let checkout = checkout()?;
    let text = fs::read_to_string(checkout.join("docs/threat-model.md"))?;
    let existing = existing_tests(&checkout)?;
    ensure!(existing.contains("every_test_that_the_threat_model_names_exists"), "this test was not found");
    let missing: Vec<String> =
        named_tests(&text)?.into_iter().filter(|name| !existing.contains(name)).collect();
    ensure!(missing.is_empty(), "docs/threat-model.md names tests that do not exist: {missing:?}");
    Ok(())
}

#[test]
fn a_claim_without_a_test_is_found() {
    let table = |last: &str| format!("| who | test |\n| --- | --- |\n| x cannot do this | {last} |\n");
    assert_eq!(named_tests(&table("`one`, `two`")).unwrap(), ["one", "two"].map(str::to_owned).into());
    assert!(named_tests(&table("none yet")).is_err());
}
