//! What is wrong with a TOML file, in one line: `toml`'s own message has several, with the file's text in them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// What is wrong with a TOML file, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub struct TomlProblem {
    line: usize,
    message: String,
}

impl TomlProblem {
    /// From an error that the parser found in `text`.
    #[must_use]
    pub fn new(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        Self::at(text, error.span().unwrap_or_default(), message)
    }

    /// From a range of bytes in `text` and a message of one line.
    #[must_use]
    pub fn at(text: &str, span: Range<usize>, message: String) -> Self {
        let before = text.get(..span.start).unwrap_or_default();
        Self { line: before.matches('\n').count().saturating_add(1), message }
    }
}

impl fmt::Display for TomlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl core::error::Error for TomlProblem {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn a_problem_has_its_line_and_is_one_line() {
        let text = "a = 1\nb = = 2\n# error: forged\n";
        let error = toml::from_str::<toml::Table>(text).unwrap_err();
        assert!(error.to_string().lines().count() > 1, "toml's own message");
        let problem = TomlProblem::new(text, &error).to_string();
        assert!(problem.starts_with("line 2: ") && problem.lines().count() == 1, "{problem:?}");
    }
}
