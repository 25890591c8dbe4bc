//! Text from outside in a form that is safe to show: on a terminal, on a console, in a log, in a picture.
//!
//! Control characters move the cursor and forge lines, bidirectional marks turn text around, invisible characters make
//! two names look alike. Each is written as an escape of JSON strings (RFC 8259, section 7): `\n`, `\r`, `\t`, else
//! `\u001b`, so that JSON text is still the same JSON. A byte that is not UTF-8 is `\x80`. A backslash is kept as it
//! is, so that text that was escaped before does not change.

use core::fmt::{self, Write as _};

/// What begins each line that another program printed, such as a tool or a role. No line of psyopsOS begins so.
pub const MARK: &str = "  | ";

/// A value whose text is from outside, as one line: everything that is not plain text is escaped, line ends too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping::line(f), "{}", self.0)
    }
}

/// Bytes from outside, such as a file name of Linux, as one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownBytes<'b>(pub &'b [u8]);

impl fmt::Display for ShownBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            Escaping::line(&mut *f).write_str(chunk.valid())?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// A value whose text has several lines: line ends and tabs are kept, everything else is escaped as in [`Shown`].
///
/// For text that this program composed, with each part from outside in [`Shown`], and for the output of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownLines<T>(pub T);

impl<T: fmt::Display> fmt::Display for ShownLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping::lines(f), "{}", self.0)
    }
}

/// A writer that escapes what passes through it.
#[derive(Debug)]
pub struct Escaping<W> {
    to: W,
    keeps_lines: bool,
}

impl<W: fmt::Write> Escaping<W> {
    /// A writer that escapes line ends, too.
    pub fn line(to: W) -> Self {
        Self { to, keeps_lines: false }
    }

    /// A writer that keeps line ends and tabs.
    pub fn lines(to: W) -> Self {
        Self { to, keeps_lines: true }
    }
}

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let keeps_lines = self.keeps_lines;
        let escaped = |c: char| must_be_escaped(c) && !(keeps_lines && matches!(c, '\n' | '\t'));
        let mut rest = text;
        while let Some((before, c, after)) = split_at_first(rest, escaped) {
            self.to.write_str(before)?;
            match c {
                '\n' => self.to.write_str("\\n")?,
                '\r' => self.to.write_str("\\r")?,
                '\t' => self.to.write_str("\\t")?,
                c => c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .try_for_each(|unit| write!(self.to, "\\u{unit:04x}"))?,
            }
            rest = after;
        }
        self.to.write_str(rest)
    }
}

/// The text before the first character for which `fits` is true, that character, and the text after it.
fn split_at_first(text: &str, fits: impl Fn(char) -> bool) -> Option<(&str, char, &str)> {
    let (place, c) = text.char_indices().find(|(_, c)| fits(*c))?;
    let (before, from) = text.split_at_checked(place)?;
    let mut rest = from.chars();
    rest.next();
    Some((before, c, rest.as_str()))
}

/// Whether a character is not plain text: C0, DEL and C1 controls, and Unicode's marks that are invisible or change the
/// direction or the line (Unicode 16: general categories Cc, Zl, Zp, and of Cf those outside of scripts).
#[must_use]
pub fn must_be_escaped(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString as _};

    #[test]
    fn each_kind_of_mark_has_its_escape() {
        for (text, shown) in [
            ("plain text, ü and 漢", "plain text, ü and 漢"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[2J\u{7}", "\\u001b[2J\\u0007"),
            ("\u{7f}\u{9b}31m\u{85}", "\\u007f\\u009b31m\\u0085"),
            ("a\u{202e}gpj.exe\u{2066}\u{2069}", "a\\u202egpj.exe\\u2066\\u2069"),
            ("\u{200e}\u{200f}\u{61c}\u{200b}\u{feff}", "\\u200e\\u200f\\u061c\\u200b\\ufeff"),
            ("a\u{2028}b\u{2029}c", "a\\u2028b\\u2029c"),
            ("\0\u{e0041}", "\\u0000\\udb40\\udc41"),
            ("C:\\n", "C:\\n"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
        }
    }

    #[test]
    fn escaping_twice_changes_nothing() {
        let all: String = (0..0x11_0000).filter_map(char::from_u32).collect();
        let once = Shown(&all).to_string();
        assert_eq!(Shown(&once).to_string(), once);
        assert!(!once.chars().any(must_be_escaped));
    }

    #[test]
    fn newlines_are_kept_on_request() {
        assert_eq!(ShownLines("a\n\tb\r\u{1b}c").to_string(), "a\n\tb\\r\\u001bc");
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_bytes() {
        assert_eq!(ShownBytes(b"a\xffb\n\xc3").to_string(), "a\\xffb\\n\\xc3");
        assert_eq!(ShownBytes("ü\u{202e}".as_bytes()).to_string(), "ü\\u202e");
    }

    #[test]
    fn a_value_that_writes_itself_in_parts_is_escaped_in_all_of_them() {
        let value = format_args!("{}{}", "a\n", "\u{1b}b");
        assert_eq!(format!("{}", Shown(value)), "a\\n\\u001bb");
    }
}
