//! Writing JSON (RFC 8259) without a library: PID 1 writes JSON but never reads it.

use crate::shown::Shown;
use alloc::format;
use alloc::string::{String, ToString as _};

/// An object that is being written.
#[derive(Debug)]
pub struct Object {
    text: String,
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    /// An empty object.
    #[must_use]
    pub fn new() -> Self {
        Self { text: String::from("{") }
    }

    /// Adds a member whose value is JSON already.
    #[must_use]
    pub fn raw(mut self, key: &str, value: &str) -> Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push_str(&string(key));
        self.text.push(':');
        self.text.push_str(value);
        self
    }

    /// Adds a string.
    #[must_use]
    pub fn string(self, key: &str, value: &str) -> Self {
        let value = string(value);
        self.raw(key, &value)
    }

    /// Adds a string or null.
    #[must_use]
    pub fn optional(self, key: &str, value: Option<&str>) -> Self {
        let value = value.map_or_else(|| String::from("null"), string);
        self.raw(key, &value)
    }

    /// Adds a whole number.
    #[must_use]
    pub fn number(self, key: &str, value: u64) -> Self {
        self.raw(key, &format!("{value}"))
    }

    /// Adds true or false.
    #[must_use]
    pub fn boolean(self, key: &str, value: bool) -> Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// Adds milliseconds as seconds with three places.
    #[must_use]
    pub fn seconds(self, key: &str, milliseconds: u64) -> Self {
        let value = seconds(milliseconds);
        self.raw(key, &value)
    }

    /// Adds an array of values that are JSON already.
    #[must_use]
    pub fn array(self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let mut text = String::from("[");
        for (value, position) in values.into_iter().zip(0_usize..) {
            if position > 0 {
                text.push(',');
            }
            text.push_str(&value);
        }
        text.push(']');
        self.raw(key, &text)
    }

    /// Closes the object and returns its text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// Milliseconds as seconds with three places.
#[must_use]
pub fn seconds(milliseconds: u64) -> String {
    let (whole, rest) =
        (milliseconds.checked_div(1000).unwrap_or(0), milliseconds.checked_rem(1000).unwrap_or(0));
    format!("{whole}.{rest:03}")
}

/// `text` in quotes, escaped.
#[must_use]
pub fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    // The escapes of `Shown` are valid JSON, and it escapes more than JSON requires: the text goes to consoles.
    Shown(out).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_library_reads_what_is_written() {
        let nasty = "a\"b\\c\n\u{1}\u{7f}ü\t\r\u{9b}\u{202e}\u{2028}\u{e0041}";
        let text = Object::new()
            .string("s", nasty)
            .optional("n", None)
            .number("i", 7)
            .boolean("b", true)
            .seconds("t", 1045)
            .array("a", [string("x"), string("y")])
            .finish();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"s": nasty, "n": null, "i": 7, "b": true, "t": 1.045, "a": ["x", "y"]})
        );
        assert_eq!(Object::new().finish(), "{}");
        assert!(!text.chars().any(crate::shown::must_be_escaped), "{text}");
    }
}
