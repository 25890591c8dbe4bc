//! `docs/reference/schemas/` and the programs agree: there is a schema for each output in JSON, and the real outputs
//! are valid.
//!
//! The outputs that need packages are checked in `json.rs`, which makes them. The agent has no such test: the SBOM of
//! an image would then list the validator as a dependency of the agent.

use crate::common::Fixture;
use crate::json::{SITE_RUNS, Said, commands_with_json, prepared_home, result, results};
use agent::seal::install::Outcome;
use anyhow::{Context as _, Result, ensure};
use builder::cli::run::RunOutput;
use builder::run::watch;
use clap::{CommandFactory as _, Parser as _};
use handoff::last_failure::LastFailure;
use handoff::marker;
use handoff::older::{Older, OlderKind};
use handoff::report::{BootReport, FaultReport, Step, StepKind};
use handoff::report_key::{self, ReportKey};
use handoff::slot::Slot;
use jsonschema::{Draft, Validator};
use keys::seal::header::Generation;
use medium::seal_slots::Installed;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ending of a schema's file name.
const EXTENSION: &str = ".schema.json";
/// Outputs that are not the result of a command.
const OTHERS: [&str; 3] = ["boot-report", "log-line", "progress"];
/// Lines on standard error, which have no format number.
const LINES: [&str; 2] = ["log-line", "progress"];
/// The base of the relative `$id`s in a test. It is never fetched: all schemas are given to the validator.
const BASE: &str = "https://schemas.invalid/";
/// The fields of an output that may be missing.
const OPTIONAL: [(&str, &str); 4] = [
    ("log-line", "took_ms"),
    ("build-image", "flashed"),
    ("inspect", "current"),
    ("inspect", "compared_with_site"),
];
/// The arguments for the test binary when it runs as `psyops-agent`, one word per line.
const AGENT_WORDS: &str = "PSYOPS_TEST_AGENT_WORDS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/schemas")
}

/// The schemas in the files, by name.
#[expect(clippy::disallowed_methods, reason = "the map sorts them")]
fn schemas() -> Result<BTreeMap<String, Value>> {
    let mut schemas = BTreeMap::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        let file = path.file_name().and_then(|name| name.to_str()).context("a name that is not text")?;
        let name =
            file.strip_suffix(EXTENSION).with_context(|| format!("{file} is not named as a schema"))?;
        let schema =
            serde_json::from_slice(&fs::read(&path)?).with_context(|| format!("{file} is not JSON"))?;
        schemas.insert(name.to_owned(), schema);
    }
    Ok(schemas)
}

/// A schema with an absolute `$id`, as the validator requires.
fn based(name: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["$id"] = format!("{BASE}{name}{EXTENSION}").into();
    schema
}

fn validator(schemas: &BTreeMap<String, Value>, name: &str) -> Result<Validator> {
    let schema = schemas.get(name).with_context(|| format!("there is no schema {name}"))?;
    let mut options = jsonschema::options();
    options.with_draft(Draft::Draft202012);
    for (other, schema) in schemas {
        options.with_document(format!("{BASE}{other}{EXTENSION}"), based(other, schema));
    }
    options.build(&based(name, schema)).map_err(|error| anyhow::anyhow!("the schema {name}: {error}"))
}

fn problems(validator: &Validator, output: &Value) -> Vec<String> {
    let Err(errors) = validator.validate(output) else { return Vec::new() };
    errors.map(|error| format!("{}: {error}", error.instance_path)).collect()
}

/// The name of a command's schema.
fn schema_of(command: &str) -> String {
    command.replace(' ', "-")
}

/// Checks that the output of a command is valid for its schema, and that it would not be with another format, with one
/// more field, or without one of its fields.
pub(crate) fn check(name: &str, output: &Value) -> Result<()> {
    let validator = validator(&schemas()?, name)?;
    let problems = problems(&validator, output);
    ensure!(problems.is_empty(), "the schema {name} refuses {output:#}\n{}", problems.join("\n"));
    let fields = output.as_object().with_context(|| format!("{name}: not an object"))?;
    let refused = |what: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut changed = fields.clone();
        change(&mut changed);
        ensure!(!validator.is_valid(&changed.into()), "the schema {name} takes an output {what}");
        Ok(())
    };
    refused("with a field too many", &|fields| {
        fields.insert("surplus".into(), true.into());
    })?;
    for field in fields.keys().filter(|field| !OPTIONAL.contains(&(name, field))) {
        refused(&format!("without {field}"), &|fields| {
            fields.remove(field);
        })?;
    }
    if !LINES.contains(&name) {
        refused("of format 2", &|fields| {
            fields.insert("format".into(), 2.into());
        })?;
    }
    Ok(())
}

/// The same for the output of a command of `psyops`, and for the progress that it printed.
pub(crate) fn check_command(command: &str, said: &Said) -> Result<()> {
    for output in results(&said.result) {
        check(&schema_of(command), &output)?;
    }
    let is_progress = |line: &&str| line.starts_with('{') && !line.starts_with(crate::logging::BEGINNING);
    for line in said.progress.lines().filter(is_progress) {
        check("progress", &serde_json::from_str(line)?)?;
    }
    Ok(())
}

/// What a schema lacks: in each object that it describes, and in each of its fields.
fn gaps(schema: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(list) = schema.as_array() {
        for (number, schema) in list.iter().enumerate() {
            gaps(schema, &format!("{at}/{number}"), found);
        }
    }
    let Some(schema) = schema.as_object() else { return };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            found.push(format!("{at} is not closed"));
        }
        let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if required.is_empty() {
            found.push(format!("{at} requires nothing"));
        }
        let unknown =
            required.iter().filter(|name| !name.as_str().is_some_and(|name| properties.contains_key(name)));
        found.extend(unknown.map(|name| format!("{at} requires {name}, which it does not describe")));
        for (name, property) in properties {
            let description = property["description"].as_str().unwrap_or_default();
            if !description.ends_with('.') || description.contains('\n') {
                found.push(format!("{at}/{name} has no description of one line"));
            }
        }
    }
    for (key, value) in schema {
        gaps(value, &format!("{at}/{key}"), found);
    }
}

/// The references in a schema without a target: the validator follows them only if an output needs them.
fn dead_references(schemas: &BTreeMap<String, Value>, root: &Value, schema: &Value, found: &mut Vec<String>) {
    let children: Vec<&Value> = match schema {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => return,
    };
    if let Some(reference) = schema["$ref"].as_str() {
        let is_alive = match reference.strip_prefix("#/$defs/") {
            Some(name) => root["$defs"][name].is_object(),
            None => reference.strip_suffix(EXTENSION).is_some_and(|name| schemas.contains_key(name)),
        };
        if !is_alive {
            found.push(reference.to_owned());
        }
    }
    for child in children {
        dead_references(schemas, root, child, found);
    }
}

/// The objects that an output can be: the schema itself, or the definitions that it allows.
fn alternatives(schema: &Value) -> Vec<&Value> {
    let Some(choices) = schema["oneOf"].as_array() else { return vec![schema] };
    let definition = |choice: &Value| choice["$ref"].as_str()?.strip_prefix("#/$defs/").map(str::to_owned);
    choices.iter().map(|choice| definition(choice).map_or(choice, |name| &schema["$defs"][name])).collect()
}

#[test]
fn every_schema_is_valid_and_describes_each_field() -> Result<()> {
    let schemas = schemas()?;
    for (name, schema) in &schemas {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["$id"], format!("{name}{EXTENSION}"), "{name}");
        for key in ["title", "description"] {
            ensure!(schema[key].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {key}");
        }
        let mut found = Vec::new();
        gaps(schema, name, &mut found);
        ensure!(found.is_empty(), "{}", found.join("\n"));
        dead_references(&schemas, schema, schema, &mut found);
        ensure!(found.is_empty(), "{name} refers to what is not there: {}", found.join(", "));
        for output in alternatives(schema).into_iter().filter(|_| !LINES.contains(&name.as_str())) {
            ensure!(
                output["properties"]["format"]["const"] == 1,
                "{name} does not say which format it is of"
            );
            let required =
                output["required"].as_array().is_some_and(|names| names.contains(&"format".into()));
            ensure!(required, "{name} does not require the format");
        }
        validator(&schemas, name)?;
    }
    Ok(())
}

#[test]
fn every_command_with_json_has_a_schema_and_no_schema_is_left_over() -> Result<()> {
    let mut wanted: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    let psyops = commands_with_json(&builder::cli::Psyops::command(), "");
    let agent = commands_with_json(&agent::cli::Arguments::command(), "psyops-agent");
    ensure!(psyops.len() > 15 && agent.len() > 2, "the commands were not found: {psyops:?} {agent:?}");
    wanted.extend(psyops.iter().chain(&agent).map(|command| schema_of(command)));
    assert_eq!(schemas()?.into_keys().collect::<BTreeSet<_>>(), wanted);
    Ok(())
}

#[test]
fn every_schema_is_linked_from_the_reference() -> Result<()> {
    let text = fs::read_to_string(folder().join("../json.md"))?;
    for name in schemas()?.keys() {
        ensure!(
            text.contains(&format!("(schemas/{name}{EXTENSION})")),
            "json.md has no link to the schema {name}"
        );
    }
    Ok(())
}

#[test]
fn a_schema_with_a_gap_is_found() {
    let closed = |mut schema: Value| {
        schema["type"] = "object".into();
        schema["additionalProperties"] = false.into();
        schema
    };
    let found = |schema: &Value| {
        let mut found = Vec::new();
        gaps(schema, "x", &mut found);
        found
    };
    let good = closed(json!({"properties": {"a": {"description": "A field."}}, "required": ["a"]}));
    assert_eq!(found(&json!({"$defs": {"b": good}})), Vec::<String>::new());
    for (schema, gap) in [
        (json!({"properties": {"a": {"description": "A field."}}, "required": ["a"]}), "x is not closed"),
        (closed(json!({"properties": {"a": {"description": "A field."}}})), "x requires nothing"),
        (closed(json!({"properties": {"a": {}}, "required": ["a"]})), "x/a has no description of one line"),
        (
            closed(json!({"properties": {"a": {"description": "A field."}}, "required": ["a", "b"]})),
            "x requires \"b\", which it does not describe",
        ),
    ] {
        assert_eq!(found(&schema), [gap]);
    }
    let mut dead = Vec::new();
    let schema =
        json!({"$defs": {"a": {}}, "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"$ref": "c"}]});
    dead_references(&BTreeMap::new(), &schema, &schema, &mut dead);
    assert_eq!(dead, ["#/$defs/b", "c"]);
}

#[test]
fn output_without_packages_matches_the_schemas() -> Result<()> {
    let home = prepared_home();
    for (command, words) in SITE_RUNS {
        check_command(command, &result(home.path(), words)).with_context(|| words.to_owned())?;
    }
    Ok(())
}

#[test]
fn output_about_problems_matches_the_schemas() -> Result<()> {
    let fixture = Fixture::new();
    let said = |words: &[&str]| -> Result<Value> {
        let output = fixture.psyops(words);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).with_context(|| format!("{words:?}: {complaint}"))
    };
    fixture.add_recipient();
    fixture.replace_signing_key();
    fs::write(fixture.at("site/trust.toml"), "changed")?;
    let trust = said(&["trust", "show", "--site", "site", "--json"])?;
    check("trust-show", &trust)?;
    let kinds: BTreeSet<_> =
        trust["differences"].as_array().into_iter().flatten().map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["admin", "not-signed", "signing-key"].map(Some).into());
    assert_eq!(trust["trust_toml"]["state"], "bad", "{trust:#}");
    fs::remove_file(fixture.at("site/trust.toml"))?;
    fs::remove_dir_all(fixture.at("config"))?;
    let trust = said(&["trust", "show", "--site", "site", "--json"])?;
    check("trust-show", &trust)?;
    assert_eq!((&trust["accepted"], &trust["trust_toml"]["state"]), (&Value::Null, &"missing".into()));

    let fixture = Fixture::new();
    let folder = fixture.at("config/psyops/lab");
    fs::remove_file(folder.join("signing.key"))?;
    fs::write(folder.join("admin.age.txt"), "no key")?;
    let output = fixture.psyops(&["keys", "status", "--site", "site", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout)?;
    check("keys-status", &status)?;
    assert_eq!(
        (&status["keys"][0]["state"], &status["keys"][1]["state"]),
        (&"unusable".into(), &"missing".into())
    );
    Ok(())
}

#[test]
fn what_a_headless_run_prints_is_as_the_schema_of_the_boot_report_says() -> Result<()> {
    let key = ReportKey::new([7; 32]);
    for report in [BootReport::default(), full_report()] {
        let line = format!("[    9.1] {}{}", marker::REPORT, report_key::line(&report.to_json(), Some(&key)));
        let seen = watch::parse(&line, Some(&key)).context("no report in the line")?;
        let printed = RunOutput::Report(Box::new(seen)).to_string();
        check("boot-report", &serde_json::from_str(&printed)?)?;
    }
    Ok(())
}

/// A report with an entry in each of its lists.
fn full_report() -> BootReport {
    let name = |name: &str| Some(name.to_owned());
    BootReport {
        node: name("pi1"),
        site: name("lab"),
        release: name("1"),
        security_epoch: Some(2),
        slot: name("a"),
        selected: name("first in order"),
        tries_left: Some(2),
        generation: Some(3),
        verified: 12,
        repaired: vec!["etc/hostname".into()],
        unknown: vec!["note".into()],
        memory_only: vec!["etc/motd".into()],
        missing: vec!["token".into()],
        older: [OlderKind::SealPlace, OlderKind::Generation, OlderKind::Release]
            .map(|what| Older { what, lower: 3, higher: 4, message: "3 < 4".into() })
            .into(),
        faults: vec![FaultReport { fault: "file-differs".into(), message: "etc/hostname".into() }],
        firmware_ms: Some(2750),
        selector_ms: Some(250),
        steps: [StepKind::Kernel, StepKind::Loader, StepKind::Wait, StepKind::Configure, StepKind::Service]
            .map(|kind| Step { name: "step".into(), kind, start_ms: 4045, took_ms: 310 })
            .into(),
        ..BootReport::default()
    }
}

#[test]
fn a_boot_report_matches_its_schema() -> Result<()> {
    for report in [BootReport::default(), full_report()] {
        check("boot-report", &serde_json::from_str(&report.to_json())?)?;
    }
    Ok(())
}

#[test]
fn the_agents_output_about_an_installed_seal_matches_its_schema() -> Result<()> {
    let generation = |number| Generation::new(number).context("no generation");
    for installed in [
        Installed::Written { slot: Slot::B, replaced: Some(generation(1)?) },
        Installed::Written { slot: Slot::A, replaced: None },
        Installed::AlreadyThere(Slot::B),
    ] {
        let printed = agent::cli::seal_install_to_json(&Outcome { generation: generation(2)?, installed });
        check("psyops-agent-seal-install", &serde_json::from_str(&printed)?)?;
    }
    Ok(())
}

/// A root with all files that `psyops-agent status` reads.
fn root_of_a_node(root: &Path) -> Result<()> {
    use agent::status::{Ending, RoleStatus, StageStatus, Status};
    use agent::syslog::{Dropped, Drops, PauseState, Places, Stage};
    use handoff::paths;
    let root = agent::root::Root::new(root);
    fs::create_dir_all(root.at(paths::RUN))?;
    fs::write(root.at(paths::BOOT_REPORT), full_report().to_json())?;
    let mut failed = RoleStatus::command("motd", Ending::Failed, Some(1), 3, Some("exit status 1".into()));
    failed.changed.push("/etc/motd".into());
    let mut stage = StageStatus::started(handoff::role_settings::Stage::Configure, 1, 2);
    stage.roles = vec![RoleStatus::done("files", "overlay", &[], 5), failed];
    stage.end(9);
    let mut status = Status { mark_good: Some("slot a is marked good".into()), ..Status::default() };
    status.set(stage);
    status.save(&root)?;
    let dropped = Dropped { messages: 2, bytes: 15 };
    let drops = Drops { users: [(65_534, dropped)].into(), ..Drops::default() };
    let pause = PauseState { format: 1, stage: Stage::Ended, replayed: 7, cut: 0, dropped: 2, drops };
    fs::write(Places::state(&root), serde_json::to_vec(&pause)?)?;
    let failure = LastFailure { slot: Some(Slot::B), step: "root".into(), ..LastFailure::default() };
    fs::write(root.at(paths::LAST_FAILURE), failure.to_json())?;
    Ok(())
}

/// The output of the agent: this test is run again in a process whose root is this folder.
fn agent_prints(root: &Path, words: &[&str]) -> Result<Value> {
    let root = root.to_str().context("a folder whose name is not text")?;
    let words: Vec<&str> =
        ["psyops-agent", "--root", root].into_iter().chain(words.iter().copied()).collect();
    let output = Command::new(env::current_exe()?)
        .args(["--exact", "schemas::the_agents_output_matches_its_schemas", "--nocapture"])
        .env(AGENT_WORDS, words.join("\n"))
        .output()?;
    let printed = String::from_utf8(output.stdout)?;
    let (_, json) = printed.split_once('{').with_context(|| format!("no JSON in {printed:?}"))?;
    let json = format!("{{{json}");
    let mut values = serde_json::Deserializer::from_str(&json).into_iter();
    Ok(values.next().context("nothing was printed")??)
}

#[test]
fn the_agents_output_matches_its_schemas() -> Result<()> {
    if let Ok(words) = env::var(AGENT_WORDS) {
        let _ = agent::cli::run(agent::cli::Arguments::parse_from(words.lines()));
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    root_of_a_node(root.path())?;
    let status = agent_prints(root.path(), &["status", "--json"])?;
    check("psyops-agent-status", &status)?;
    for part in ["report", "status", "syslog_pause", "last_failure"] {
        ensure!(status[part].is_object(), "{part} is missing: {status:#}");
        let mut changed = status.clone();
        changed[part]["surplus"] = true.into();
        let validator = validator(&schemas()?, "psyops-agent-status")?;
        ensure!(!validator.is_valid(&changed), "a surplus field of {part} is taken");
    }
    check("psyops-agent-reboot", &agent_prints(root.path(), &["reboot", "--json"])?)?;

    let bare = tempfile::tempdir()?;
    let report = agent::root::Root::new(bare.path()).at(handoff::paths::BOOT_REPORT);
    fs::create_dir_all(report.parent().context("a folder")?)?;
    fs::write(report, BootReport::default().to_json())?;
    check("psyops-agent-status", &agent_prints(bare.path(), &["status", "--json"])?)
}
