//! The highest generation and security epoch that a node has run with: a record that the node keeps on its `data`
//! partition ([`crate::paths::HIGHEST_SEEN`]), so that it notices when something older runs.
//!
//! Text, in this order and with nothing else in it: the line [`FORM`], `site: NAME`, `node: NAME`, `serial: NUMBER`,
//! `security-epoch: NUMBER`, and `sha256: DIGEST` of all lines before. The digest tells damage apart from a lower
//! number; it does not protect against a person who writes to the stick.

use crate::hash::Sha256Digest;
use crate::name::Name;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The first line of a record: format and version.
pub const FORM: &str = "psyops-highest-seen 1";
/// The most bytes of a record: two names of 63 characters, two numbers and a digest need fewer than 300.
pub const LONGEST: usize = 512;

/// The highest numbers that a node has run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HighestSeen {
    /// The site of the node that wrote the record.
    pub site: Name,
    /// The node that wrote the record: generations are counted per node.
    pub node: Name,
    /// The highest generation of a seal that it has run with.
    pub generation: u64,
    /// The highest security epoch of a release that it has run.
    pub security_epoch: u32,
}

/// Why a text is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadHighestSeen {
    /// Longer than any record.
    TooLong,
    /// Not in the form that this version reads.
    OtherForm,
    /// This line is missing, not valid or out of order.
    BadLine(&'static str),
    /// The digest does not match the lines before it.
    Damaged,
}

impl fmt::Display for BadHighestSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {LONGEST} bytes"),
            Self::OtherForm => write!(f, "it does not begin with {FORM:?}"),
            Self::BadLine(key) => write!(f, "its line {key:?} is missing or not valid"),
            Self::Damaged => f.write_str("its digest does not match its content"),
        }
    }
}

impl core::error::Error for BadHighestSeen {}

impl HighestSeen {
    /// The record's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let content = format!(
            "{FORM}\nsite: {}\nnode: {}\nserial: {}\nsecurity-epoch: {}\n",
            self.site, self.node, self.generation, self.security_epoch
        );
        let digest = Sha256Digest::of(content.as_bytes());
        format!("{content}sha256: {digest}\n")
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadHighestSeen> {
        if bytes.len() > LONGEST {
            return Err(BadHighestSeen::TooLong);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| BadHighestSeen::OtherForm)?;
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some(FORM) {
            return Err(BadHighestSeen::OtherForm);
        }
        let mut value = |key: &'static str| {
            let value = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(": "));
            value.ok_or(BadHighestSeen::BadLine(key))
        };
        let bad = BadHighestSeen::BadLine;
        let record = Self {
            site: value("site")?.parse().map_err(|_| bad("site"))?,
            node: value("node")?.parse().map_err(|_| bad("node"))?,
            generation: value("serial")?.parse().map_err(|_| bad("serial"))?,
            security_epoch: value("security-epoch")?.parse().map_err(|_| bad("security-epoch"))?,
        };
        value("sha256")?;
        // One value has one text, so this also refuses a second spelling of a number and what follows the record.
        if record.encode() == text { Ok(record) } else { Err(BadHighestSeen::Damaged) }
    }

    /// The higher of each number of this record and of what runs now.
    #[must_use]
    pub fn raised(&self, generation: u64, security_epoch: u32) -> Self {
        let generation = self.generation.max(generation);
        let security_epoch = self.security_epoch.max(security_epoch);
        Self { generation, security_epoch, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> HighestSeen {
        HighestSeen {
            site: "lab".parse().unwrap(),
            node: "pi1".parse().unwrap(),
            generation: u64::MAX,
            security_epoch: 3,
        }
    }

    #[test]
    fn a_written_value_is_read_back() {
        let text = record().encode();
        assert!(
            text.starts_with("psyops-highest-seen 1\nsite: lab\nnode: pi1\nserial: 18446744073709551615\n")
        );
        assert_eq!(HighestSeen::decode(text.as_bytes()), Ok(record()));
        let name = "n".repeat(63).parse::<Name>().unwrap();
        let longest = HighestSeen { site: name.clone(), node: name, security_epoch: u32::MAX, ..record() };
        assert!(longest.encode().len() < 300);
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let text = record().encode();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(HighestSeen::decode(&bytes).is_err(), "byte {at}");
            assert!(HighestSeen::decode(&text.as_bytes()[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn each_problem_has_its_own_error() {
        let text = record().encode();
        for (bytes, problem) in [
            (alloc::vec![b'a'; LONGEST + 1], BadHighestSeen::TooLong),
            (alloc::vec![0xff; 40], BadHighestSeen::OtherForm),
            (text.replace("seen 1", "seen 2").into_bytes(), BadHighestSeen::OtherForm),
            (text.replace("node: pi1", "node: ../x").into_bytes(), BadHighestSeen::BadLine("node")),
            (text.replace("serial: ", "serial: -").into_bytes(), BadHighestSeen::BadLine("serial")),
            (text.replace("epoch: 3", "epoch: 2").into_bytes(), BadHighestSeen::Damaged),
            (text.replace("epoch: 3", "epoch: 03").into_bytes(), BadHighestSeen::Damaged),
            ((text.clone() + "more\n").into_bytes(), BadHighestSeen::Damaged),
            (text.replace("sha256", "sha1").into_bytes(), BadHighestSeen::BadLine("sha256")),
        ] {
            assert_eq!(HighestSeen::decode(&bytes), Err(problem), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn each_number_rises_separately_and_never_decreases() {
        let seen = HighestSeen { generation: 5, ..record() };
        assert_eq!(seen.raised(4, 4), HighestSeen { generation: 5, security_epoch: 4, ..record() });
        assert_eq!(seen.raised(6, 2), HighestSeen { generation: 6, security_epoch: 3, ..record() });
    }
}
