//! Names in the code use the field's terms. Private words that were replaced do not come back as the name of an item, a
//! variable or a file; in comments and messages they are ordinary English.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Words that no name contains, and what to use instead.
const RETIRED: [(&str, &str); 25] = [
    ("adopted", "inherited"),
    ("anew", "again"),
    ("bereft", "daemon died"),
    ("bill of", "sbom"),
    ("judge", "check or preflight"),
    ("judged", "checked"),
    ("judgement", "verdict"),
    ("kept seal", "stored seal"),
    ("last made", "last built"),
    ("least serial", "least generation"),
    ("papers", "system documents"),
    ("release floor", "security epoch"),
    ("somebody", "user, process or session"),
    ("speakable", "quotable"),
    ("unbelieved", "untrusted"),
    ("vacate", "release"),
    ("visitor", "session"),
    ("whoever", "user, process or session"),
    ("wish", "request"),
    ("wished", "requested"),
    ("wishes", "requests"),
    ("workbench", "fixture, VM, sandbox or run"),
    ("workplace", "fixture, VM, sandbox or run"),
    ("workshop", "fixture, VM, sandbox or run"),
    ("world", "fixture, VM, sandbox or run"),
];

/// Words that are not the whole name of a type: several types could have them, each meaning another thing.
const UNQUALIFIED: [&str; 4] = ["Kind", "Origin", "Place", "State"];

/// What comes before the name of a type.
const TYPE_KEYWORDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

/// What comes before a name that is introduced.
const KEYWORDS: [&str; 10] =
    ["fn", "struct", "enum", "trait", "type", "mod", "const", "static", "let", "mut"];

/// The words of a name in snake or camel case, in lower case and with spaces around each.
fn words(name: &str) -> String {
    let mut words = String::from(" ");
    let mut before = '_';
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(' ');
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        }
        before = c;
    }
    words.push(' ');
    words
}

/// The retired word in a name, and what to use instead.
fn retired(name: &str) -> Option<(&'static str, &'static str)> {
    let words = words(name);
    RETIRED.into_iter().find(|(word, _)| words.contains(&format!(" {word} ")))
}

/// The type that a line of Rust introduces with a name that does not say what it is of.
fn unqualified(line: &str) -> Option<&'static str> {
    let mut words =
        line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '/').filter(|word| !word.is_empty());
    words.by_ref().take_while(|word| !word.contains('/')).find(|word| TYPE_KEYWORDS.contains(word))?;
    let name = words.next()?;
    UNQUALIFIED.into_iter().find(|word| *word == name)
}

/// The names that a line of Rust introduces after a keyword, and the fields and variants that begin it.
fn introduced(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return Vec::new();
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let tokens: Vec<&str> = line.split(|c: char| !is_part(c)).filter(|token| !token.is_empty()).collect();
    let named = tokens.windows(2).filter_map(|pair| match pair {
        [keyword, name] if KEYWORDS.contains(keyword) => Some(*name),
        _ => None,
    });
    let declaration = line.split_once([':', ',', '(', '{']).map_or("", |(start, _)| start);
    let field = declaration.rsplit(' ').next().filter(|name| name.chars().all(is_part));
    named.chain(field).collect()
}

#[test]
fn no_name_has_a_word_that_was_replaced() -> Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
    let listing = Command::new("git").args(["ls-files", "*.rs"]).current_dir(checkout).output()?;
    ensure!(listing.status.success(), "git ls-files failed");
    let (mut found, mut files) = (Vec::new(), 0);
    for file in String::from_utf8(listing.stdout)?.lines() {
        // A file that git still tracks may have been removed from the work tree.
        let Ok(text) = fs::read_to_string(checkout.join(file)) else { continue };
        files += 1;
        if file == file!() {
            continue;
        }
        let stem = file.strip_suffix(".rs").unwrap_or(file);
        found.extend(retired(stem).map(|(word, instead)| format!("{file}: {word}: {instead}")));
        for (number, line) in (1..).zip(text.lines()) {
            let names = introduced(line).into_iter().filter_map(retired);
            found.extend(names.map(|(word, instead)| format!("{file}:{number}: {word}: {instead}")));
            let vague =
                unqualified(line).map(|name| format!("{file}:{number}: {name}: say in the name of what"));
            found.extend(vague);
        }
    }
    ensure!(files > 400, "only {files} files were looked at");
    ensure!(found.is_empty(), "use another word, as named at the end:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn a_word_is_found_in_names_and_not_in_text() {
    let names = [
        ("    pub(super) fn judge_text(held: &[u8]) -> Verdict {", "judge"),
        ("struct SealWish;", "wish"),
        ("    pub release_floor: u32,", "release floor"),
        ("let mut bill_of_materials = 1;", "bill of"),
        ("    Adopted(Socket),", "adopted"),
    ];
    for (line, word) in names {
        let found: Vec<&str> =
            introduced(line).into_iter().filter_map(retired).map(|(word, _)| word).collect();
        assert_eq!(found, [word], "{line}");
    }
    for line in ["// fn judge() is gone", "let text = \"wish\";", "fn wishbone() {}", "call(judge);"] {
        assert!(introduced(line).into_iter().all(|name| retired(name).is_none()), "{line}");
    }
}

#[test]
fn a_type_is_named_after_what_it_belongs_to() {
    let bare = [
        ("pub enum Origin {", "Origin"),
        ("    pub(super) struct State<'a> {", "State"),
        ("type Kind = u32;", "Kind"),
    ];
    for (line, name) in bare {
        assert_eq!(unqualified(line), Some(name), "{line}");
    }
    for line in [
        "pub enum StepOrigin {",
        "    State(Box<Review>),",
        "// struct State is gone",
        "let state: State = x;",
    ] {
        assert_eq!(unqualified(line), None, "{line}");
    }
}
