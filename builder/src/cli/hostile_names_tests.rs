//! The output of successful commands for an image with hostile names: text that a terminal displays and does not obey,
//! in the right number of lines, JSON with the names unchanged, and charts without tags from the image.
//!
//! Each command runs in its own process, which is this test program started again, through the only code that prints.

use super::Psyops;
use crate::image::fixture::{self, Fixture, Recipe};
use clap::Parser as _;
use handoff::shown::must_be_escaped;
use keys::issue::signing::SigningKey;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable with the words of the command, for the process that runs it.
const WORDS: &str = "PSYOPS_TEST_WORDS";
/// The marks before and after the output of the command.
const BEGIN: &str = "<<<psyops\n";
const END: &str = ">>>psyops";

/// A name with terminal sequences, right-to-left text, and a tag.
const NAME: &str = "x\u{1b}[2J\r\u{9b}2J\u{202e}<script>]]>\"'&\u{200b}";
const NAME_SHOWN: &str = "x\\u001b[2J\\r\\u009b2J\\u202e<script>]]>\"'&\\u200b";
/// The same with line ends, followed by lines that look like ours.
const LINES: &str = "x\u{1b}[2J\nerror: forged\npsyops-report: {}\r\u{9b}2J\u{202e}<script>]]>\"'&\u{200b}";
/// The same for the name of a partition, which has at most 36 characters.
const LABEL: &str = "\u{1b}[2J\nerror: x\u{202e}</title><script>]]>\"";

#[test]
#[ignore = "the other tests of this file start it, in a process of its own"]
fn psyops() {
    let words: Vec<String> = serde_json::from_str(&env::var(WORDS).unwrap()).unwrap();
    io::stdout().write_all(format!("\n{BEGIN}").as_bytes()).unwrap();
    let _ = Psyops::parse_from(words).run();
    io::stdout().write_all(END.as_bytes()).unwrap();
}

/// Runs the command; returns its standard output and standard error.
fn run(words: &[&str]) -> (String, String) {
    let words = serde_json::to_string(&[&["psyops"], words].concat()).unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "cli::hostile_names_tests::psyops", "--ignored", "--test-threads=1"]);
    let output = child.env(WORDS, &words).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let said = stdout.split_once(BEGIN).and_then(|(_, rest)| rest.rsplit_once(END));
    (said.unwrap_or_else(|| panic!("{words}: {stdout} {stderr}")).0.to_owned(), stderr)
}

/// The same for a command that must print no error: plain text, without a line made by a name.
fn text(words: &[&str]) -> String {
    let (said, complaints) = run(words);
    assert_eq!(complaints, "", "{words:?}");
    assert_plain(&said);
    said
}

fn assert_plain(said: &str) {
    assert!(said.chars().all(|c| c == '\n' || !must_be_escaped(c)), "{said:?}");
    let forged = |line: &&str| line.starts_with("error: ") || line.starts_with("psyops-report: ");
    assert_eq!(said.lines().find(forged), None, "{said}");
}

/// A whole image whose root, partition names, command line and file name are hostile.
struct Hostile {
    _fixture: Fixture,
    _folder: tempfile::TempDir,
    image: PathBuf,
}

impl Hostile {
    fn new(content: &[u8]) -> Self {
        let signing = SigningKey::generate().unwrap();
        let (file, folder) = (format!("bad/{NAME}"), format!("{NAME}/file"));
        let fixture = fixture::image_of(&Recipe {
            root: &[
                (&file, 0o644, content),
                (&folder, 0o644, b"in a folder\n"),
                ("bad/good", 0o600, b"good\n"),
            ],
            words: "quiet x\u{1b}]0;title\u{7}\nerror: forged\u{202e}<script>",
            ..Recipe::plain(&signing)
        });
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join(LINES);
        fs::copy(&fixture.image.path, &image).unwrap();
        Self { _fixture: fixture, _folder: folder, image }
    }

    fn path(&self) -> &str {
        self.image.to_str().unwrap()
    }
}

/// Changes the name of a partition, in both copies of the table.
fn label(image: &Path, number: &str, label: &str) {
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args([OsStr::new("--quiet"), OsStr::new("--part-label"), image.as_os_str()]);
    assert!(sfdisk.arg(number).arg(label).status().unwrap().success());
}

#[test]
fn ls_and_cat_show_hostile_names_as_one_line_each() {
    let hostile = Hostile::new(b"content\n");
    let listed = text(&["ls", hostile.path(), "root/bad"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().any(|line| line.ends_with(&format!("  {NAME_SHOWN}"))), "{listed}");
    let inside = format!("root/{NAME}");
    assert!(text(&["ls", hostile.path(), &inside]).ends_with("  file\n"));
    let json = text(&["ls", hostile.path(), "root/bad", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<&str> =
        json["entries"].as_array().unwrap().iter().filter_map(|entry| entry["name"].as_str()).collect();
    assert!(names.contains(&NAME) && names.contains(&"good"), "{names:?}");
    assert_eq!(text(&["cat", hostile.path(), &format!("root/bad/{NAME}")]), "content\n");
    let (said, complaint) = run(&["cat", hostile.path(), &inside]);
    assert!(
        said.is_empty() && complaint.starts_with("error: ") && complaint.contains(NAME_SHOWN),
        "{complaint}"
    );
    assert_eq!(complaint.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{complaint}");
}

#[test]
fn a_root_with_line_ends_in_names_is_not_listed() {
    let signing = SigningKey::generate().unwrap();
    let file = format!("bad/{LINES}");
    let fixture =
        fixture::image_of(&Recipe { root: &[(&file, 0o644, b"content\n")], ..Recipe::plain(&signing) });
    let image = fixture.image.path.to_str().unwrap();
    let (said, complaint) = run(&["ls", image, "root/bad"]);
    assert!(
        said.is_empty() && complaint.starts_with("error: the root cannot be read: "),
        "{said} {complaint}"
    );
    assert!(
        complaint.contains("cannot parse a line of unsquashfs: ") && !complaint.contains("\nerror: "),
        "{complaint}"
    );
    assert_plain(complaint.strip_prefix("error: ").unwrap());
}

#[test]
fn inspect_shows_hostile_names_and_draws_no_tag_of_them() {
    let hostile = Hostile::new(b"content\n");
    let partitions = inspected(&hostile)["partitions"].as_array().unwrap().clone();
    let seal = partitions.iter().find(|found| found["name"] == "seal-b").unwrap();
    label(&hostile.image, &seal["number"].to_string(), LABEL);
    let shown = text(&["inspect", hostile.path()]);
    assert!(shown.contains("\\u001b[2J\\nerror: x\\u202e</title><script>]]>\""), "{shown}");
    assert!(shown.contains("x\\u001b]0;title\\u0007\\nerror: forged\\u202e<script>"), "{shown}");
    let (verified, complaint) = run(&["verify", hostile.path()]);
    assert!(verified.contains("is not whole") && complaint.is_empty(), "{verified} {complaint}");
    assert_plain(&verified);
    let json = inspected(&hostile);
    assert!(json["partitions"].as_array().unwrap().iter().any(|found| found["name"] == LABEL), "{json}");
    let picture = text(&["inspect", hostile.path(), "--svg"]);
    assert_picture(&picture);
    // Both names are in it as text.
    assert!(picture.contains("&lt;script&gt;]]&gt;") && picture.contains("error: forged"), "{picture}");
}

fn inspected(hostile: &Hostile) -> serde_json::Value {
    serde_json::from_str(&text(&["inspect", hostile.path(), "--json"])).unwrap()
}

#[test]
fn diff_shows_hostile_names_as_one_line_each() {
    let (one, other) = (Hostile::new(b"content\n"), Hostile::new(b"other content\n"));
    let shown = text(&["diff", one.path(), other.path()]);
    assert!(shown.contains(NAME_SHOWN), "{shown}");
    let json = text(&["diff", one.path(), other.path(), "--json"]);
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
}

#[test]
fn a_chart_of_a_hostile_report_has_no_tag_of_it() {
    let step = serde_json::json!({"name": NAME, "kind": "configure", "start": 1.5, "seconds": 0.25});
    let mut report: serde_json::Value =
        serde_json::from_str(&handoff::report::BootReport::default().to_json()).unwrap();
    report["steps"] = [step].into_iter().collect();
    report["node"] = LABEL.into();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), report.to_string()).unwrap();
    let picture = text(&["boot-chart", file.path().to_str().unwrap()]);
    assert_picture(&picture);
    assert!(picture.contains("&lt;script&gt;]]&gt;"), "{picture}");
}

/// Checks a chart that must have only our own tags.
fn assert_picture(picture: &str) {
    assert!(picture.starts_with("<?xml ") && picture.ends_with("</svg>\n"), "{picture}");
    for forbidden in ["<script", "]]>", "\"'&"] {
        assert!(!picture.contains(forbidden), "{forbidden}: {picture}");
    }
    assert_eq!(picture.matches("<title>").count(), picture.matches("</title>").count(), "{picture}");
}
