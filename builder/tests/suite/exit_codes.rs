//! `docs/reference/exit-codes.md` and the help of every command have the same exit codes and meanings.

use agent::cli::Arguments;
use anyhow::{Context as _, Result, ensure};
use builder::cli::{Psyops, exit_codes};
use clap::{Command, CommandFactory as _};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

type Codes = BTreeMap<String, String>;

/// The codes of each command, and those of a table without commands under its heading.
fn documented(text: &str) -> Result<BTreeMap<String, Codes>> {
    let mut found: BTreeMap<String, Codes> = BTreeMap::new();
    let (mut heading, mut commands) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
            commands.clear();
        }
        let Some(row) = line.strip_prefix("| ").and_then(|rest| rest.strip_suffix(" |")) else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (names, code, meaning) = match cells[..] {
            [code, meaning] => (vec![heading.clone()], code, meaning),
            [names, code, meaning] => {
                if !names.is_empty() {
                    commands = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
                }
                (commands.clone(), code, meaning)
            }
            _ => (Vec::new(), "code", ""),
        };
        if matches!(code, "code" | "---") {
            continue;
        }
        for name in names {
            let former = found.entry(name.clone()).or_default().insert(code.to_owned(), meaning.to_owned());
            ensure!(former.is_none(), "{name} has the code {code} twice");
        }
    }
    Ok(found)
}

/// The codes at the end of a help text.
fn in_help(command: &Command) -> Codes {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (_, codes) = help.split_once("Exit codes:\n").unwrap_or_default();
    let pairs = codes.lines().filter_map(|line| line.trim().split_once("  "));
    pairs.map(|(code, meaning)| (code.to_owned(), meaning.trim().to_owned())).collect()
}

/// Each command without commands below it, with its path.
fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
    let below: Vec<&Command> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if below.is_empty() {
        return vec![(path.to_owned(), command.clone())];
    }
    below.into_iter().flat_map(|below| leaves(below, &format!("{path} {}", below.get_name()))).collect()
}

#[test]
fn the_reference_and_the_help_of_each_command_list_the_same_exit_codes() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/exit-codes.md");
    let mut documented = documented(&fs::read_to_string(path)?)?;
    let common = documented.remove("All commands of the workstation").context("no common codes")?;
    let disk = documented.remove("Commands that write disks").context("no codes of disks")?;
    for (path, command) in leaves(&exit_codes::add(Psyops::command()), "psyops") {
        let mut expected = common.clone();
        if ["psyops flash", "psyops build-image", "psyops mksecrets"].contains(&path.as_str()) {
            expected.extend(disk.clone());
        }
        expected.extend(documented.remove(&path).unwrap_or_default());
        assert_eq!(in_help(&command), expected, "{path}");
    }
    for (path, command) in leaves(&Arguments::command(), "psyops-agent") {
        assert_eq!(in_help(&command), documented.remove(&path).unwrap_or_default(), "{path}");
    }
    ensure!(documented.is_empty(), "these commands do not exist: {:?}", documented.keys());
    Ok(())
}

#[test]
fn a_code_that_is_listed_twice_is_an_error() {
    let row = "| `psyops x` | 1 | one |\n| | 1 | again |\n";
    assert!(
        documented(&format!("## x\n\n| command | code | meaning |\n| --- | --- | --- |\n{row}")).is_err()
    );
}

#[test]
fn programs_with_names_of_their_own_have_the_codes_of_the_command() {
    let program = exit_codes::add(Command::new("mksecrets"));
    assert_eq!(in_help(&program).get("90").map(String::as_str), Some("the serial number is not confirmed"));
}
