//! The schemas themselves: each is valid, describes each field, and has a place in the reference.

use super::{EXTENSION, LINES, OTHERS, folder, schema_of, schemas, validator};
use crate::json::commands_with_json;
use anyhow::{Result, ensure};
use clap::CommandFactory as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

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
