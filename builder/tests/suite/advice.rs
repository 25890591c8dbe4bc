//! Every command that a message, a help text or a document tells the user to type exists, with its options.

use agent::cli::Arguments;
use anyhow::{Context as _, Result, ensure};
use builder::cli::Psyops;
use clap::{Command, CommandFactory as _};
use std::fs;
use std::path::Path;
use std::process::Command as Process;

/// The characters that end a command in a text.
const ENDS: [char; 12] = ['`', '"', '\n', ')', '(', ';', ',', '|', '>', '<', '&', '\\'];
/// Words that look like commands and are not: prefixes of log lines, and sentences about the program.
const NOT_COMMANDS: [&str; 21] = [
    "fault",
    "initloader",
    "selector",
    "rescue",
    "last",
    "policy",
    "remove-unknown",
    "makes",
    "runs",
    "is",
    "and",
    "does",
    "must",
    "boots",
    "uses",
    "keeps",
    "has",
    "itself",
    "wants",
    "writes",
    "in",
];

/// Why the words after a program are not a command of it.
fn problem(program: &Command, words: &[&str]) -> Option<String> {
    let mut command = program;
    let mut path = program.get_name().to_owned();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(found) = command.find_subcommand(word) else {
            // An option before the command, and its value.
            if let Some(option) = word.strip_prefix("--") {
                let known = command.get_arguments().find(|argument| argument.get_long() == Some(option));
                if known.is_some_and(|argument| argument.get_action().takes_values()) {
                    rest.next();
                }
                continue;
            }
            if command.has_subcommands() {
                return Some(format!("{path} has no command {word}"));
            }
            break;
        };
        command = found;
        path = format!("{path} {word}");
    }
    for word in words.iter().filter_map(|word| word.strip_prefix("--")) {
        let name = word.split(['=', '.', ':', ']']).next().unwrap_or_default();
        let known = ["help", "version", ""].contains(&name)
            || command.get_arguments().chain(program.get_arguments()).any(|argument| {
                argument.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name))
            });
        // The words after a bare `--` belong to another program.
        if name.is_empty() {
            break;
        }
        if !known {
            return Some(format!("{path} has no option --{name}"));
        }
    }
    None
}

/// The words after each mention of `program` in a text that may be a command.
fn mentions<'t>(text: &'t str, program: &str) -> Vec<Vec<&'t str>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(program) {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let Some(rest) = text.get(at + program.len()..).and_then(|rest| rest.strip_prefix(' ')) else {
            continue;
        };
        // The name is a part of a longer name or path.
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '=')) {
            continue;
        }
        let end = rest.find(ENDS).unwrap_or(rest.len());
        let words: Vec<&str> = rest.get(..end).unwrap_or_default().split_whitespace().collect();
        if words.first().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '-')) {
            found.push(words);
        }
    }
    found
}

/// Code without comments and tests, with string literals joined over line ends; other texts unchanged.
fn readable(path: &Path, text: &str) -> String {
    if path.extension().is_none_or(|extension| extension != "rs") {
        return text.to_owned();
    }
    let code = crate::common::without_tests(text);
    let mut readable = String::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        match line.strip_suffix('\\') {
            Some(line) if readable.ends_with(char::is_whitespace) => readable.push_str(line.trim_start()),
            Some(line) => readable.push_str(line),
            None => {
                let line =
                    if readable.ends_with('\n') || readable.is_empty() { line } else { line.trim_start() };
                readable.push_str(line);
                readable.push('\n');
            }
        }
    }
    readable
}

fn mistakes(path: &Path, text: &str) -> Vec<String> {
    let (mut psyops, mut agent) = (Psyops::command(), Arguments::command());
    // After this, each command has the options that are valid for several commands.
    psyops.build();
    agent.build();
    let build_image = psyops.find_subcommand("build-image").cloned().unwrap_or_default();
    let mksecrets = psyops.find_subcommand("mksecrets").cloned().unwrap_or_default();
    let text = readable(path, text);
    let mut mistakes = Vec::new();
    for (name, command) in [
        ("psyops", &psyops),
        ("psyops-agent", &agent),
        ("build-image", &build_image),
        ("mksecrets", &mksecrets),
    ] {
        for words in mentions(&text, name) {
            if words
                .first()
                .is_some_and(|first| NOT_COMMANDS.contains(&first.trim_end_matches([':', '.', ','])))
            {
                continue;
            }
            let words: Vec<&str> = words.iter().map(|word| word.trim_end_matches(['.', ':', '\''])).collect();
            if let Some(problem) = problem(command, &words) {
                mistakes.push(format!("{}: {name} {}: {problem}", path.display(), words.join(" ")));
            }
        }
    }
    mistakes
}

#[test]
fn every_command_that_people_are_told_to_type_exists() -> Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
    let listing =
        Process::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(checkout).output()?;
    ensure!(listing.status.success(), "git ls-files failed");
    let (mut all, mut files) = (Vec::new(), 0);
    for name in String::from_utf8(listing.stdout)?.lines() {
        let path = Path::new(name);
        let is_text =
            ["rs", "md", "toml", "sh", "service"].iter().any(|end| name.ends_with(&format!(".{end}")));
        let is_told =
            !name.contains("/tests/") && !name.ends_with("tests.rs") && !name.starts_with("qemu-tests/");
        // The decisions mention commands that were rejected.
        if !is_text || !is_told || name.starts_with("docs/decisions/") || name.starts_with("fuzz/") {
            continue;
        }
        let Ok(text) = fs::read_to_string(checkout.join(path)) else { continue };
        files += 1;
        all.extend(mistakes(path, &text));
    }
    ensure!(files > 300, "only {files} files were looked at");
    ensure!(all.is_empty(), "these commands do not exist:\n{}", all.join("\n"));
    Ok(())
}

#[test]
fn mistakes_are_found_in_prose_code_and_help() {
    let text =
        "type `psyops flsh x` or psyops flash a.img --stie s; psyops-agent update, mksecrets --nod pi1\n";
    let found = mistakes(Path::new("x.md"), text);
    let problems: Vec<&str> = found.iter().filter_map(|line| line.rsplit(": ").next()).collect();
    let expected = [
        "psyops has no command flsh",
        "psyops flash has no option --stie",
        "psyops-agent has no command update",
        "mksecrets has no option --nod",
    ];
    assert_eq!(problems, expected, "{found:?}");
    let good =
        "psyops seal --site S --all: x. `psyops-agent pause-syslog -- ls --all` and `build-image --node=x`\n";
    assert!(mistakes(Path::new("x.md"), good).is_empty());
}
