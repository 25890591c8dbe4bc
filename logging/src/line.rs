//! A line of the log as text and as JSON. Both are one line of plain text, whatever is in the values.

use handoff::shown::Shown;
use keys::timestamp::Timestamp;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use tracing::Level;
use tracing::field::{Field, Visit};

/// The field of an event that holds its message.
const MESSAGE: &str = "message";

/// An event, or the end of a span.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// The time since the beginning of 1970.
    pub(crate) time: Duration,
    pub(crate) level: Level,
    /// The module that recorded it.
    pub(crate) target: &'a str,
    pub(crate) message: String,
    pub(crate) fields: Fields,
    /// The spans around it, the innermost last. For the end of a span, this is the span itself.
    pub(crate) spans: Vec<SpanFields>,
    /// For the end of a span: the time since it began.
    pub(crate) took: Option<Duration>,
}

/// A span with its fields.
#[derive(Debug)]
pub(crate) struct SpanFields {
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
}

/// Named values in the order in which they were recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Removes the message and returns it.
    pub(crate) fn take_message(&mut self) -> String {
        let place = self.0.iter().position(|(name, _)| *name == MESSAGE);
        match place.map(|place| self.0.remove(place).1) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, known)) => *known = value,
            None => self.0.push((field.name(), value)),
        }
    }

    fn to_json(&self) -> Value {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>().into()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }
}

/// The fields as `name=value` with a space between them.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.0.iter().enumerate() {
            let space = if number > 0 { " " } else { "" };
            match value {
                Value::String(text) if is_word(text) => write!(f, "{space}{name}={text}")?,
                value => write!(f, "{space}{name}={value}")?,
            }
        }
        Ok(())
    }
}

/// Whether a value needs no quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '"', '=', '{', '}', '\\'])
}

impl Line<'_> {
    /// The line for people: time, level, module, spans, message, fields.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{} {:<5} {}:", rfc3339(self.time), self.level, self.target);
        for SpanFields { name, fields } in &self.spans {
            text.push_str(&format!(" {name}{{{fields}}}"));
        }
        for part in [self.message.clone(), self.fields.to_string()] {
            if !part.is_empty() {
                text.push(' ');
                text.push_str(&part);
            }
        }
        if let Some(took) = self.took {
            text.push_str(&format!(" after {} ms", took.as_millis()));
        }
        Shown(text).to_string()
    }

    /// The line for programs, a JSON object. Escapes are those of JSON strings, so what they stand for is the same.
    pub(crate) fn to_json(&self) -> String {
        let spans: Vec<Value> = self
            .spans
            .iter()
            .map(|span| json!({"name": span.name, "fields": span.fields.to_json()}))
            .collect();
        let mut entries: Vec<(&str, Value)> = vec![
            ("time", rfc3339(self.time).into()),
            ("level", self.level.as_str().to_ascii_lowercase().into()),
            ("target", self.target.into()),
            ("span", self.spans.last().map(|span| span.name).into()),
            ("message", self.message.clone().into()),
            ("fields", self.fields.to_json()),
            ("spans", spans.into()),
        ];
        if let Some(took) = self.took {
            entries.push(("took_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into()));
        }
        // A map would be in the order of the alphabet. The time comes first, as in a line of text.
        let entries: Vec<String> =
            entries.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        Shown(format!("{{{}}}", entries.join(","))).to_string()
    }
}

/// UTC with milliseconds, as in RFC 3339.
fn rfc3339(since_1970: Duration) -> String {
    let seconds = Timestamp::from_unix(since_1970.as_secs()).to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), since_1970.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: &str) -> Line<'static> {
        Line {
            time: Duration::new(1_767_225_600, 7_000_000),
            level: Level::INFO,
            target: "builder::engine",
            message: "looked".into(),
            fields: Fields(vec![("path", value.into()), ("count", 3.into())]),
            spans: vec![
                SpanFields { name: "build", fields: Fields::default() },
                SpanFields { name: "step", fields: Fields(vec![("step", "boot programs".into())]) },
            ],
            took: None,
        }
    }

    #[test]
    fn a_line_of_text_has_time_level_module_spans_message_and_fields() {
        assert_eq!(
            line("a").to_text(),
            "2026-01-01T00:00:00.007Z INFO  builder::engine: build{} step{step=\"boot programs\"} looked path=a count=3"
        );
        let end = Line { message: "ended".into(), took: Some(Duration::from_micros(12_900)), ..line("a") };
        assert!(end.to_text().ends_with(" ended path=a count=3 after 12 ms"), "{}", end.to_text());
    }

    #[test]
    fn a_line_of_json_has_the_same() {
        let end = Line { took: Some(Duration::from_micros(12_900)), ..line("a") };
        let read: Value = serde_json::from_str(&end.to_json()).unwrap();
        assert_eq!(
            read,
            json!({
                "time": "2026-01-01T00:00:00.007Z", "level": "info", "target": "builder::engine", "span": "step",
                "spans": [
                    {"name": "build", "fields": {}}, {"name": "step", "fields": {"step": "boot programs"}},
                ],
                "message": "looked", "fields": {"path": "a", "count": 3}, "took_ms": 12,
            })
        );
    }

    #[test]
    fn no_value_can_move_the_cursor_or_forge_a_line() {
        let hostile = "a\nerror: forged\u{1b}[2J\r\u{202e}\u{9b}\t\\u0041";
        for text in [line(hostile).to_text(), line(hostile).to_json()] {
            assert!(!text.chars().any(handoff::shown::must_be_escaped), "{text:?}");
        }
        let read: Value = serde_json::from_str(&line(hostile).to_json()).unwrap();
        assert_eq!(read["fields"]["path"], hostile, "a program gets the value as it was");
    }
}
