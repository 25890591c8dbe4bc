//! `docs/reference/` and the program agree: keys of site files table by table, commands with `--json`, exit codes.

use anyhow::{Context as _, Result, bail, ensure};
use handoff::hardening::Hardening;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each table of a site file: its heading in the document, and the type that reads it.
const TABLES: [(&str, &str); 15] = [
    ("## `site.toml`", "RawSite"),
    ("### `[admin]`", "RawAdmin"),
    ("### `[signing]`", "RawSigning"),
    ("### `[packages]`", "RawPackages"),
    ("### `[sizes]`", "RawSizes"),
    ("### `[boot]`", "RawBoot"),
    ("### `[console]`", "RawConsole"),
    ("### `[rescue]`", "RawRescue"),
    ("### `[configure]`", "RawConfigure"),
    ("## `nodes/NAME.toml`", "RawNode"),
    ("### `[[network]]`", "RawCard"),
    ("### `[[file]]`", "RawFile"),
    ("## `roles/NAME/role.toml`", "RawRole"),
    ("## `overlays/NAME.toml`", "RawOverlay"),
    ("### `[paths.\"PATH\"]`", "RawOverlayPath"),
];

fn checkout() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above builder")?.to_owned())
}

type Keys = BTreeSet<String>;

/// The keys that each type reads, in the spelling of the files.
fn keys_of_types(source: &str) -> Result<BTreeMap<String, Keys>> {
    let mut types = BTreeMap::new();
    let mut open: Option<(String, Keys)> = None;
    // The key of the next field, where it is not the name of the field.
    let mut own_name = None;
    for line in source.lines().map(str::trim) {
        let line = line.strip_prefix("pub(super) ").unwrap_or(line);
        if let Some(rest) = line.strip_prefix("struct ") {
            let name = rest.split_whitespace().next().context("a struct without a name")?;
            open = Some((name.to_owned(), Keys::new()));
        } else if line == "}" {
            types.extend(open.take());
        } else if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
            let name =
                rest.strip_suffix("\")]").with_context(|| format!("this test does not read {line:?}"))?;
            own_name = Some(name.to_owned());
        } else if let (Some((field, _)), Some((_, keys))) = (line.split_once(": "), &mut open)
            && !line.starts_with(['#', '/'])
        {
            keys.insert(own_name.take().unwrap_or_else(|| field.replace('_', "-")));
        }
    }
    ensure!(own_name.is_none(), "a name without a field");
    Ok(types)
}

/// The keys in the table below each heading: the quoted words in the first cell of a row.
fn keys_of_document(text: &str) -> Result<BTreeMap<String, Keys>> {
    let mut tables: BTreeMap<String, Keys> = BTreeMap::new();
    let (mut heading, mut in_table) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with('#') {
            line.clone_into(&mut heading);
        }
        let Some(row) = line.strip_prefix('|') else {
            in_table = false;
            continue;
        };
        let first = row.split('|').next().unwrap_or_default().trim();
        if first == "key" {
            in_table = true;
            ensure!(!tables.contains_key(&heading), "two tables of keys below {heading:?}");
            tables.insert(heading.clone(), Keys::new());
        } else if in_table && first != "---" {
            let key = first.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            let Some(key) = key else { bail!("this row names no key: {line}") };
            let keys = tables.get_mut(&heading).context("a row before its table")?;
            ensure!(keys.insert(key.to_owned()), "{heading:?} has two rows for {key:?}");
        }
    }
    Ok(tables)
}

#[test]
fn every_key_of_a_site_file_is_in_its_table_and_no_other() -> Result<()> {
    let checkout = checkout()?;
    let mut types = keys_of_types(&fs::read_to_string(checkout.join("builder/src/site/raw.rs"))?)?;
    // The node reads this file with the same code.
    let role = keys_of_types(&fs::read_to_string(checkout.join("handoff/src/role_settings.rs"))?)?;
    types.extend(role.into_iter().filter(|(name, _)| name == "RawRole"));
    let mut tables = keys_of_document(&fs::read_to_string(checkout.join("docs/reference/site.md"))?)?;
    ensure!(types.values().map(Keys::len).sum::<usize>() > 80, "the types were not found: {types:?}");
    let mut known = BTreeSet::new();
    for (heading, name) in TABLES {
        known.insert(name);
        let keys = types.get(name).with_context(|| format!("there is no type {name}"))?;
        let listed = tables.remove(heading).with_context(|| format!("no table of keys below {heading:?}"))?;
        assert_eq!(&listed, keys, "the table below {heading:?} and {name}");
    }
    let hardening = tables.remove("### `[hardening]`").context("no table of [hardening]")?;
    assert_eq!(hardening, Hardening::KEYS.map(str::to_owned).into());
    let unknown: Vec<_> = types.keys().filter(|name| !known.contains(name.as_str())).collect();
    ensure!(unknown.is_empty(), "these types have no table in the document: {unknown:?}");
    ensure!(tables.is_empty(), "these tables belong to no type: {:?}", tables.keys());
    Ok(())
}

#[test]
fn every_fault_and_its_actions_are_in_the_reference() -> Result<()> {
    use handoff::fault::Fault;
    let text = fs::read_to_string(checkout()?.join("docs/reference/site.md"))?;
    let (_, table) = text.split_once("| fault | default |").context("no table of faults")?;
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    for fault in Fault::ALL {
        let quoted = format!("`{}`", fault.name());
        let row = rows.iter().find(|row| row.split('|').nth(1).is_some_and(|first| first.contains(&quoted)));
        let row = row.with_context(|| format!("the fault {fault} is not in the reference"))?;
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let default = format!("`\"{}\"`", fault.default_action());
        assert_eq!(cells.get(2), Some(&default.as_str()), "the default action for {fault}");
        let named: BTreeSet<String> = row.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        let actions = fault.actions().map(|action| action.to_string()).collect();
        assert_eq!(named, actions, "the actions for {fault}");
    }
    Ok(())
}

/// All commands with `--json`, as the user types them.
fn commands_with_json(command: &clap::Command, name: &str) -> BTreeSet<String> {
    let below = command.get_subcommands().flat_map(|command| {
        commands_with_json(command, format!("{name} {}", command.get_name()).trim_start())
    });
    let mut all: BTreeSet<String> = below.collect();
    if command.get_arguments().any(|argument| argument.get_long() == Some("json")) {
        all.insert(name.to_owned());
    }
    all
}

#[test]
fn every_command_with_json_is_in_the_reference() -> Result<()> {
    use clap::CommandFactory as _;
    let text = fs::read_to_string(checkout()?.join("docs/reference/json.md"))?;
    let commands = commands_with_json(&builder::cli::Psyops::command(), "");
    ensure!(commands.len() > 15, "the commands were not found: {commands:?}");
    let is_there = |command: &String| {
        let rows = [format!("| `psyops {command}`"), format!("| `{command}`")];
        text.lines().any(|line| rows.iter().any(|row| line.starts_with(row)))
    };
    let missing: Vec<_> = commands.iter().filter(|command| !is_there(command)).collect();
    ensure!(missing.is_empty(), "docs/reference/json.md has no row for: {missing:?}");
    Ok(())
}

#[test]
fn every_exit_code_is_in_the_reference() -> Result<()> {
    let checkout = checkout()?;
    let text = fs::read_to_string(checkout.join("docs/reference/exit-codes.md"))?;
    let mut codes = BTreeSet::new();
    for file in ["builder/src/error.rs", "builder/src/disks/refusal.rs"] {
        let source = fs::read_to_string(checkout.join(file))?;
        let numbers = source.lines().filter_map(|line| line.rsplit_once("=> ")?.1.strip_suffix(','));
        codes.extend(numbers.filter_map(|number| number.parse::<u8>().ok()));
    }
    ensure!(codes.len() > 15, "the codes were not found: {codes:?}");
    let missing: Vec<_> = codes.iter().filter(|code| !text.contains(&format!("\n| {code} |"))).collect();
    ensure!(missing.is_empty(), "docs/reference/exit-codes.md has no row for: {missing:?}");
    Ok(())
}

#[test]
fn a_missing_row_a_row_too_many_and_a_second_one_are_found() -> Result<()> {
    let source = "pub(super) struct RawX {\n    pub(super) one_key: u8,\n    #[serde(default)]\n    pub(super) two: u8,\n}\n";
    let wanted = Keys::from(["one-key", "two"].map(str::to_owned));
    assert_eq!(keys_of_types(source)?["RawX"], wanted);
    let table = |rows: &str| format!("## `x`\n\n| key | type |\n| --- | --- |\n{rows}");
    assert_eq!(keys_of_document(&table("| `one-key` | a |\n| `two` | b |\n"))?["## `x`"], wanted);
    assert_ne!(keys_of_document(&table("| `one-key` | a |\n"))?["## `x`"], wanted);
    assert_ne!(keys_of_document(&table("| `one-key` | |\n| `two` | |\n| `three` | |\n"))?["## `x`"], wanted);
    assert!(keys_of_document(&table("| `two` | |\n| `two` | |\n")).is_err());
    assert!(keys_of_types("#[serde(rename = \"x\")]").is_err());
    Ok(())
}
