//! The plain header of a seal: which node it is for, and how many bytes of payload follow.
//!
//! Lines `name: value` in a fixed order, ended by an empty line, at most 4 KiB. Nothing is optional and every value
//! has one spelling, so that two programs cannot read one header differently. See [`Header::encode`] for the order.

use crate::identity::Recipient;
use crate::timestamp::Timestamp;
use handoff::name::Name;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The first line of a seal: format and version.
pub const FIRST_LINE: &str = "psyops-seal 1";
/// The most bytes that a header may have, with its empty line.
pub const LONGEST: usize = 4096;

/// The number of a seal: each new one of a node has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    /// The generation of a node's first seal.
    pub const FIRST: Self = Self(1);

    /// The generation with this number; there is no generation 0.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The generation as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The next generation; `None` after the highest one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Generation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        text.parse().ok().and_then(Self::new).ok_or("not a number from 1")
    }
}

/// Which node a seal is for, and when it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The site that signed it.
    pub site: Name,
    /// The node that it describes.
    pub node: Name,
    /// The node's public key, to which the payload is encrypted.
    pub recipient: Recipient,
    /// The generation of the seal: of several seals, the highest one is used.
    pub generation: Generation,
    /// When it was made. Only for people; no decision depends on it.
    pub created: Timestamp,
    /// The lowest security epoch that a release must have to run with this seal.
    pub security_epoch: u32,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadHeader {
    /// It does not begin with [`FIRST_LINE`].
    #[error("this is not a seal: it does not begin with {FIRST_LINE:?}")]
    NotASeal,
    /// A seal of another format version.
    #[error("the seal has format version {0:?}, this program reads version 1")]
    OtherVersion(String),
    /// No empty line within [`LONGEST`] bytes.
    #[error("the header does not end within {LONGEST} bytes")]
    Endless,
    /// Bytes that are not text.
    #[error("the header is not UTF-8 text")]
    NotText,
    /// Another line is in the place of this field.
    #[error("header: {field:?} is expected, not {found:?}")]
    Missing {
        /// The name of the field.
        field: &'static str,
        /// The line in its place.
        found: String,
    },
    /// A value that is not valid.
    #[error("header, field {field:?}: {problem}")]
    Value {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A value that is not written in its only valid form.
    #[error("header, field {field:?}: {found:?} should be written as {expected:?}")]
    Spelling {
        /// The name of the field.
        field: &'static str,
        /// The value as it is written.
        found: String,
        /// The value as it should be written.
        expected: String,
    },
    /// There are more lines than a header has; holds the first one.
    #[error("header: unexpected line {0:?}")]
    Extra(String),
}

impl Header {
    /// The header's text for a payload of `payload` bytes, with its empty line.
    #[must_use]
    pub fn encode(&self, payload: usize) -> String {
        format!(
            "{FIRST_LINE}\nsite: {}\nnode: {}\nrecipient: {}\nserial: {}\ncreated: {}\nrelease-floor: {}\npayload: {payload}\n\n",
            self.site, self.node, self.recipient, self.generation, self.created, self.security_epoch,
        )
    }

    /// Reads the header at the start of `bytes`: the header, its length, and the length of the payload after it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize, usize), BadHeader> {
        let head = bytes.get(..LONGEST).unwrap_or(bytes);
        if !head.starts_with(b"psyops-seal ") {
            return Err(BadHeader::NotASeal);
        }
        let end = head.windows(2).position(|pair| pair == b"\n\n").ok_or(BadHeader::Endless)?;
        let text = head.get(..end).ok_or(BadHeader::Endless)?;
        let text = std::str::from_utf8(text).map_err(|_| BadHeader::NotText)?;
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        if first != FIRST_LINE {
            return Err(BadHeader::OtherVersion(first.trim_start_matches("psyops-seal ").to_owned()));
        }
        let header = Self {
            site: field(&mut lines, "site")?,
            node: field(&mut lines, "node")?,
            recipient: field(&mut lines, "recipient")?,
            generation: field(&mut lines, "serial")?,
            created: field(&mut lines, "created")?,
            security_epoch: field(&mut lines, "release-floor")?,
        };
        let payload = field(&mut lines, "payload")?;
        match lines.next() {
            Some(line) => Err(BadHeader::Extra(line.to_owned())),
            None => Ok((header, end.saturating_add(2), payload)),
        }
    }
}

/// Reads the next line, which must be `name: value` with the value in its only valid form.
fn field<'a, T>(lines: &mut impl Iterator<Item = &'a str>, name: &'static str) -> Result<T, BadHeader>
where
    T: FromStr + ToString,
    T::Err: ToString,
{
    let line = lines.next().unwrap_or_default();
    let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
    let value = value.ok_or_else(|| BadHeader::Missing { field: name, found: line.to_owned() })?;
    let parsed: T = value
        .parse()
        .map_err(|error: T::Err| BadHeader::Value { field: name, problem: error.to_string() })?;
    let expected = parsed.to_string();
    if expected == value {
        Ok(parsed)
    } else {
        Err(BadHeader::Spelling { field: name, found: value.to_owned(), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            site: "home".parse().unwrap(),
            node: "demo".parse().unwrap(),
            recipient: age::x25519::Identity::generate().to_public().to_string().parse().unwrap(),
            generation: Generation::new(7).unwrap(),
            created: Timestamp::from_unix(1_700_000_000),
            security_epoch: 3,
        }
    }

    #[test]
    fn a_written_value_is_read_back() {
        let text = header_text(&header());
        let (read, length, payload) = Header::decode(text.as_bytes()).unwrap();
        assert_eq!(read.encode(42), text);
        assert_eq!((length, payload), (text.len(), 42));
    }

    fn header_text(header: &Header) -> String {
        header.encode(42)
    }

    #[test]
    fn each_field_is_named_when_it_is_missing() {
        let text = header().encode(42);
        for name in ["site", "node", "recipient", "serial", "created", "release-floor", "payload"] {
            let without: String =
                text.split_inclusive('\n').filter(|line| !line.starts_with(&format!("{name}: "))).collect();
            match Header::decode(without.as_bytes()) {
                Err(BadHeader::Missing { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn each_wrong_value_is_named() {
        let text = header().encode(42);
        let recipient = header().recipient.to_string();
        let recipient_line = text.lines().find(|line| line.starts_with("recipient")).unwrap().to_owned();
        for (from, to, name) in [
            ("site: home", "site: ../home", "site"),
            ("node: demo", "node: ", "node"),
            (&*recipient_line, "recipient: age1nothing", "recipient"),
            ("serial: 7", "serial: 0", "serial"),
            ("created: 2023-11-14T22:13:20Z", "created: yesterday", "created"),
            ("release-floor: 3", "release-floor: -1", "release-floor"),
            ("payload: 42", "payload: many", "payload"),
        ] {
            match Header::decode(text.replace(from, to).as_bytes()) {
                Err(BadHeader::Value { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?} ({recipient})"),
            }
        }
    }

    #[test]
    fn each_value_has_one_spelling() {
        let text = header().encode(42);
        for (from, to, name) in [
            ("serial: 7", "serial: 07", "serial"),
            ("serial: 7", "serial: +7", "serial"),
            ("release-floor: 3", "release-floor: 003", "release-floor"),
            ("payload: 42", "payload: +42", "payload"),
        ] {
            match Header::decode(text.replace(from, to).as_bytes()) {
                Err(BadHeader::Spelling { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_frame_is_checked() {
        let text = header().encode(42);
        let decode = |text: &str| Header::decode(text.as_bytes()).unwrap_err();
        assert_eq!(decode("hello"), BadHeader::NotASeal);
        assert_eq!(
            decode(&text.replace("psyops-seal 1", "psyops-seal 2")),
            BadHeader::OtherVersion("2".into())
        );
        assert_eq!(decode(text.trim_end()), BadHeader::Endless);
        let long = text.replace("site: home", &format!("site: {}", "x".repeat(LONGEST)));
        assert_eq!(decode(&long), BadHeader::Endless);
        let extra = text.replace("payload: 42\n", "payload: 42\ncolour: red\n");
        assert_eq!(decode(&extra), BadHeader::Extra("colour: red".into()));
        let mut binary = text.into_bytes();
        binary[20] = 0xff;
        assert_eq!(Header::decode(&binary).unwrap_err(), BadHeader::NotText);
        let swapped = header().encode(42).replace("site: home\nnode: demo", "node: demo\nsite: home");
        assert!(matches!(decode(&swapped), BadHeader::Missing { field: "site", .. }));
    }
}
