//! The parts of an error that have several lines, such as the messages of a tool or the end of a console.
//!
//! The message of an error is one line, because a line end in a name must not begin a line that looks like one of ours.
//! A text of several lines is the last cause of its error (`source`): [`crate::error::Error`] finds it there, whatever
//! errors are between, and shows each of its lines after a prefix.

use handoff::shown::Shown;
use std::fmt;
use std::ops::Deref;

pub use handoff::shown::MARK;

/// A text of several lines. As a cause in a message, only its last line is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    text: String,
    /// Whether it is a list, which the message does not show.
    is_list: bool,
}

impl Details {
    /// Details from text whose lines end with `\n`. The message of its error shows the last line.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_list: false }
    }

    /// Details from a list, with one line for each item, whatever characters it has.
    pub fn listed<T: fmt::Display>(items: &[T]) -> Self {
        let text = items.iter().map(|item| Shown(item).to_string()).collect::<Vec<_>>().join("\n");
        Self { text, is_list: true }
    }

    /// Whether the message of its error shows all of it, because it has one line.
    #[must_use]
    pub fn are_in_message(&self) -> bool {
        !self.is_list && self.lines().nth(1).is_none()
    }

    /// Each line after the prefix, with everything that is not plain text escaped.
    #[must_use]
    pub fn marked(&self) -> String {
        marked(&self.text)
    }
}

/// The lines of `text` as they are shown below a message.
#[must_use]
pub fn marked(text: &str) -> String {
    let line = |line: &str| format!("{MARK}{}", Shown(line.strip_suffix('\r').unwrap_or(line)));
    text.trim_end().split('\n').map(line).collect::<Vec<_>>().join("\n")
}

impl Deref for Details {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.text.lines().rfind(|line| !line.trim().is_empty());
        write!(f, "{}", Shown(last.unwrap_or_default().trim()))
    }
}

impl std::error::Error for Details {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_only_the_last_line_of_details() {
        let details = Details::new("Reading...\nerror: forged\u{1b}[2J\r\n\n");
        assert_eq!(details.to_string(), "error: forged\\u001b[2J");
        assert_eq!(Details::new("").to_string(), "");
    }

    #[test]
    fn each_line_of_details_has_the_mark() {
        let details = Details::new("one\r\n\n\terror: \u{202e}forged\rwhole\n");
        assert_eq!(details.marked(), "  | one\n  | \n  | \\terror: \\u202eforged\\rwhole");
        assert_eq!(Details::listed(&["a\nerror: b", "c"]).marked(), "  | a\\nerror: b\n  | c");
    }
}
