//! `docs/guides/troubleshooting.md` quotes messages that exist, and has an entry for each fault and each exit code.

use anyhow::{Context as _, Result, ensure};
use builder::cli::exit_codes;
use handoff::fault::Fault;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates whose messages a user sees.
const CRATES: [&str; 7] = ["agent", "builder", "handoff", "initloader", "keys", "medium", "selector"];

fn checkout() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?.to_owned())
}

/// The string literals of a source, without comments and tests. Placeholders are `...`, as in the guide.
fn literals(source: &str) -> Vec<String> {
    let code = crate::common::without_tests(source);
    let code =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let mut text: Option<String> = None;
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        match (&mut text, character) {
            (None, '\'') if characters.peek() == Some(&'"') => drop(characters.next()),
            (None, '"') => text = Some(String::new()),
            (Some(_), '"') => found.extend(text.take()),
            (Some(text), '\\') => match characters.next() {
                // The literal continues on the next line.
                Some('\n') => while characters.next_if(|next| next.is_whitespace()).is_some() {},
                Some(escaped) => text.push(escaped),
                None => {}
            },
            (Some(text), '{') if characters.peek() != Some(&'{') => {
                while characters.next_if(|next| *next != '}').is_some() {}
                characters.next();
                text.push_str("...");
            }
            (Some(text), other) => text.push(other),
            (None, _) => {}
        }
    }
    found
}

/// The literals of all programs.
fn messages(checkout: &Path) -> Result<Vec<String>> {
    let listing = Command::new("git").args(["ls-files", "*.rs"]).current_dir(checkout).output()?;
    ensure!(listing.status.success(), "git ls-files failed");
    let mut found = Vec::new();
    for file in String::from_utf8(listing.stdout)?.lines() {
        let is_source = CRATES.iter().any(|name| file.starts_with(&format!("{name}/src/")));
        if is_source && !file.contains("tests") {
            // A file that git still tracks may have been removed from the work tree.
            found.extend(
                fs::read_to_string(checkout.join(file)).map(|text| literals(&text)).unwrap_or_default(),
            );
        }
    }
    Ok(found)
}

/// A row of a table in the guide: the names above its cells, and the cells.
fn rows(guide: &str) -> Vec<Vec<(String, String)>> {
    let mut rows = Vec::new();
    let mut header: Vec<String> = Vec::new();
    for line in guide.lines() {
        let Some(row) = line.strip_prefix("| ").and_then(|rest| rest.strip_suffix(" |")) else {
            header.clear();
            continue;
        };
        let cells: Vec<String> =
            row.split(" | ").map(|cell| cell.trim_matches([' ', '|']).to_owned()).collect();
        if header.is_empty() {
            header = cells;
        } else if !cells.iter().all(|cell| cell == "---") {
            rows.push(header.iter().cloned().zip(cells).collect());
        }
    }
    rows
}

/// The quoted texts in the cells under a heading.
fn quoted<'r>(rows: &'r [Vec<(String, String)>], column: &str) -> Vec<&'r str> {
    let cells = rows.iter().flatten().filter(|(name, _)| name == column);
    cells.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2)).collect()
}

fn guide() -> Result<Vec<Vec<(String, String)>>> {
    Ok(rows(&fs::read_to_string(checkout()?.join("docs/guides/troubleshooting.md"))?))
}

#[test]
fn every_message_in_the_guide_exists_in_the_programs() -> Result<()> {
    let messages = messages(&checkout()?)?;
    let guide = guide()?;
    let quoted = quoted(&guide, "message");
    ensure!(quoted.len() > 90, "the guide has only {} messages", quoted.len());
    let missing: Vec<_> =
        quoted.iter().filter(|quote| !messages.iter().any(|message| message.contains(**quote))).collect();
    ensure!(
        missing.is_empty(),
        "docs/guides/troubleshooting.md quotes messages that do not exist: {missing:#?}"
    );
    Ok(())
}

#[test]
fn every_fault_has_an_entry_in_the_guide() -> Result<()> {
    let guide = guide()?;
    let named: BTreeSet<&str> = quoted(&guide, "fault").into_iter().collect();
    assert_eq!(named, Fault::ALL.map(Fault::name).into());
    Ok(())
}

#[test]
fn every_exit_code_of_an_error_has_an_entry_in_the_guide() -> Result<()> {
    let guide = guide()?;
    let cells = guide.iter().flatten().filter(|(name, _)| name == "code");
    let listed: BTreeSet<u8> = cells.map(|(_, code)| code.parse()).collect::<Result<_, _>>()?;
    // A command that is done, or that was used wrongly, needs no entry.
    let expected = exit_codes::of("flash").into_keys().filter(|code| ![0, 2].contains(code));
    assert_eq!(listed, expected.collect());
    Ok(())
}

#[test]
fn placeholders_and_continued_lines_of_a_message_are_read() {
    let source = "// \"a comment\"\nlet c = '\"';\nf!(\"{path} has \\\n        {} \\\"bytes\\\"\", \"{{}}\");\n#[cfg(test)]\n\"x\"";
    assert_eq!(literals(source), ["... has ... \"bytes\"", "{...}"]);
    let table = "| message | code |\n| --- | --- |\n| `a ... b`, `c` | 65 |\n";
    assert_eq!(quoted(&rows(table), "message"), ["a ... b", "c"]);
    assert!(!"a message".contains("a ... b"));
}
