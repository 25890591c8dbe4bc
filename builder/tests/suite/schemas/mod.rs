//! `docs/reference/schemas/` and the programs agree: there is a schema for each output in JSON, and the real outputs
//! are valid.
//!
//! The outputs that need packages are checked in `json.rs`, which makes them. The agent has no such test: the SBOM of
//! an image would then list the validator as a dependency of the agent.

mod agent;
mod documents;

use crate::common::Fixture;
use crate::json::{SITE_RUNS, Said, prepared_home, result, results};
use anyhow::{Context as _, Result, ensure};
use builder::cli::run::RunOutput;
use builder::run::watch;
use handoff::older::{Older, OlderKind};
use handoff::report::{BootReport, FaultReport, Step, StepKind};
use handoff::report_key::ReportKey;
use handoff::{marker, report_key};
use jsonschema::{Draft, Validator};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

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
