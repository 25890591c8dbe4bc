//! No name can make a command print a line of its own, whatever characters the name has.
//!
//! The templates of errors are checked in the source of all programs; the rest is tested with the real programs.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A name with a line end, a line that looks like ours, terminal sequences, right-to-left text, and invisible
/// characters.
const NAME: &str = "x\nerror: forged\r\u{1b}[2Jwhole\u{9b}2J\u{202e}\u{2028}\u{200b}\npsyops-report: {}";

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The attributes `#[error(...)]` of a source text.
fn templates(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[error(").skip(1).map(|rest| rest.split_once(")]").map_or(rest, |(inside, _)| inside))
}

/// Parts of a template that are not a message of one line: a line end, or a list whose items each begin a line.
fn several_lines(template: &str) -> bool {
    template.contains("\\n") || template.contains("\\r") || template.contains("ShownLines")
}

#[test]
fn no_error_has_a_message_of_several_lines() -> Result<()> {
    assert!(several_lines(templates("#[error(\"a:\\n{0}\")]\nA(u8)").next().context("none")?));
    assert!(!several_lines(templates("#[error(\"a: {0}\")]\n\"\\n\"").next().context("none")?));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?;
    let mut count = 0;
    for part in ["agent", "builder", "charts", "handoff", "initloader", "keys", "medium", "selector"] {
        let mut files = Vec::new();
        rust_files(&checkout.join(part).join("src"), &mut files)?;
        for file in files {
            for template in templates(&fs::read_to_string(&file)?) {
                count += 1;
                ensure!(!several_lines(template), "{}: {template}", file.display());
            }
        }
    }
    ensure!(count > 300, "only {count} templates were found");
    Ok(())
}

/// The parts of a source text that implement the trait `name`, one for each type.
fn implementations<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("impl {name} for ");
    text.split(&start).skip(1).map(|rest| rest.split_once("\n}").map_or(rest, |(inside, _)| inside)).collect()
}

#[test]
fn no_error_forwards_class_and_advice_by_hand() -> Result<()> {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files)?;
    let mut count = 0;
    for file in files.iter().filter(|file| !file.ends_with("src/error.rs")) {
        let text = fs::read_to_string(file)?;
        ensure!(
            implementations(&text, "Cause").is_empty(),
            "{}: derive Cause, which forgets no field",
            file.display()
        );
        for implementation in implementations(&text, "Classified") {
            count += 1;
            for method in ["fn class(", "fn exit_code(", "fn advice("] {
                ensure!(!implementation.contains(method), "{}: {method} replaces own_*", file.display());
            }
        }
    }
    ensure!(count > 50, "only {count} errors were found");
    Ok(())
}

/// The declarations with a template of an error whose message contains the error's source, each with its template.
fn quoted_sources(text: &str) -> Vec<&str> {
    let repeats = |attribute: &&str| {
        let (template, rest) = attribute.split_once(")]\n").unwrap_or((attribute, ""));
        let end =
            |line: &&str| ["},", "}"].contains(&line.trim()) || line.ends_with("),") || line.ends_with(");");
        let mut fields: Vec<&str> = Vec::new();
        for line in rest.lines() {
            fields.push(line.trim().trim_start_matches("pub "));
            if end(&line) {
                break;
            }
        }
        let has = |part: &str| fields.iter().any(|field| field.contains(part));
        let named = fields.iter().any(|field| field.starts_with("source:"));
        let numbered = (has("(#[from] ") || has("#[source] ")) && !has("Details");
        named && template.contains("source") || numbered && template.contains("{0}")
    };
    text.split("#[error(").skip(1).filter(repeats).collect()
}

#[test]
fn no_error_has_its_source_in_its_message_too() -> Result<()> {
    for (repeated, text) in [
        (true, "#[error(\"a: {source}\")]\nA {\n    /// Why.\n    source: B,\n},\n"),
        (false, "#[error(\"a: {source}\")]\nA {\n    /// Why.\n    r#source: B,\n},\n"),
        (false, "#[error(\"a\")]\nA {\n    source: B,\n},\n"),
        (true, "#[error(\"a: {0}\")]\nA(#[from] B),\n"),
        (false, "#[error(\"a: {0}\")]\nA(B),\n"),
    ] {
        ensure!(quoted_sources(text).is_empty() != repeated, "{text}");
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?;
    for part in ["builder", "handoff", "keys", "medium"] {
        let mut files = Vec::new();
        rust_files(&checkout.join(part).join("src"), &mut files)?;
        for file in files {
            let text = fs::read_to_string(&file)?;
            if let Some(found) = quoted_sources(&text).first() {
                let found = found.lines().next().unwrap_or_default();
                anyhow::bail!("{}: the printer would repeat the source of {found}", file.display());
            }
        }
    }
    Ok(())
}

/// The lines for details, advice and usage.
fn is_ours(line: &str) -> bool {
    line.is_empty() || ["  ", "Usage: ", "For more information"].iter().any(|begin| line.starts_with(begin))
}

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Result<Self> {
        let fixture = Self { folder: tempfile::tempdir()? };
        let made = fixture.psyops(&["init", "site"])?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(fixture)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn psyops(&self, words: &[&str]) -> Result<Output> {
        Ok(Command::new(env!("CARGO_BIN_EXE_psyops"))
            .args(words)
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("XDG_DATA_HOME", self.at("data"))
            .env("XDG_CACHE_HOME", self.at("cache"))
            .output()?)
    }

    /// Runs a command that must fail, and returns all lines that it prints.
    fn lines(&self, words: &[&str]) -> Result<Vec<String>> {
        let output = self.psyops(words)?;
        ensure!(!output.status.success(), "{words:?} did not fail");
        let mut lines = Vec::new();
        for said in [output.stdout, output.stderr] {
            let said = String::from_utf8(said)?;
            let plain = |c: char| c == '\n' || !handoff::shown::must_be_escaped(c);
            ensure!(said.chars().all(plain), "{words:?}: {said:?}");
            lines.extend(said.lines().map(str::to_owned));
        }
        Ok(lines)
    }

    /// Runs a command that must fail with a message that names `NAME`, and print no other lines but details and advice.
    fn fails(&self, words: &[&str]) -> Result<()> {
        let lines = self.lines(words)?;
        let (message, others) = lines.split_first().context("nothing was said")?;
        ensure!(
            message.starts_with("error: ") && message.contains("x\\nerror: forged\\r"),
            "{words:?}: {lines:?}"
        );
        ensure!(others.iter().all(|line| is_ours(line)), "{words:?}: {lines:?}");
        Ok(())
    }
}

#[test]
fn names_of_files_and_places_cannot_forge_a_line() -> Result<()> {
    let fixture = Fixture::new()?;
    fs::write(fixture.at(NAME), "neither an image nor a report\n")?;
    for words in [
        &["inspect", NAME][..],
        &["verify", NAME],
        &["ls", NAME],
        &["cat", NAME, "root/etc/passwd"],
        &["diff", NAME, NAME],
        &["run", NAME, "--headless"],
        &["boot-chart", NAME],
        &["export", NAME, "--form", "qcow2", "--output", "out"],
        &["verify-build", "--site", "site", NAME],
        &["seal", "--site", NAME, "--all"],
        &["seal", "--site", "site", "--node", NAME],
        &["secret", "--site", "site", "get", NAME],
        &["init", NAME],
        &["keys", "status", "--site", NAME],
    ] {
        fixture.fails(words).with_context(|| format!("{words:?}"))?;
    }
    Ok(())
}

#[test]
fn texts_of_a_site_cannot_forge_a_line() -> Result<()> {
    let fixture = Fixture::new()?;
    let settings = fs::read_to_string(fixture.at("site/site.toml"))?;
    let quoted = serde_json::to_string(NAME)?;
    for (file, text) in [
        ("site/site.toml", format!("{settings}\n[{quoted}]\n")),
        ("site/site.toml", format!("{quoted} = 1\n{settings}")),
        ("site/nodes/node1.toml", format!("roles = [{quoted}]\n")),
        ("site/nodes/node1.toml", format!("[vars]\na = = {quoted}\n")),
    ] {
        let before = fs::read(fixture.at(file))?;
        fs::write(fixture.at(file), text)?;
        let lines = fixture.lines(&["seal", "--site", "site", "--all"])?;
        ensure!(lines.first().is_some_and(|line| line.starts_with("error: ")), "{lines:?}");
        ensure!(lines.iter().skip(1).all(|line| line.starts_with("  ")), "{lines:?}");
        fs::write(fixture.at(file), before)?;
    }
    fs::write(fixture.at("site/nodes").join(format!("{NAME}.toml")), "")?;
    fixture.fails(&["seal", "--site", "site", "--all"])
}
