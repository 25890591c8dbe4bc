//! Names of sites, nodes and releases: short, plain, safe in a path, on a command line and on a console.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// The longest name, in bytes: a host name label (RFC 1123, section 2.1; RFC 1035, section 2.3.4).
pub const LONGEST: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadName {
    /// The text is empty.
    Empty,
    /// More than [`LONGEST`] bytes; holds their number.
    TooLong(usize),
    /// A character that is not allowed in names.
    BadCharacter(char),
    /// It starts or ends with a character that is not a letter or digit.
    BadEdge,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name cannot be empty"),
            Self::TooLong(length) => {
                write!(f, "a name has at most {LONGEST} characters, this one has {length}")
            }
            Self::BadCharacter(c) => {
                write!(f, "a name has letters a-z, digits, '-', '.' and '_', not {c:?}")
            }
            Self::BadEdge => f.write_str("a name starts and ends with a letter or a digit"),
        }
    }
}

impl core::error::Error for BadName {}

/// A name of a site, a node, a role or a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > LONGEST {
            return Err(BadName::TooLong(text.len()));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if let Some(c) = text.chars().find(|&c| !plain(c) && !matches!(c, '-' | '.' | '_')) {
            return Err(BadName::BadCharacter(c));
        }
        if !text.starts_with(plain) || !text.ends_with(plain) {
            return Err(BadName::BadEdge);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["demo", "a", "node-1.lab", "2026.11_r1"] {
            assert_eq!(good.parse::<Name>().map(|n| n.as_str() == good), Ok(true));
        }
        assert_eq!("".parse::<Name>(), Err(BadName::Empty));
        assert_eq!("a b".parse::<Name>(), Err(BadName::BadCharacter(' ')));
        assert_eq!("../up".parse::<Name>(), Err(BadName::BadCharacter('/')));
        assert_eq!(".hidden".parse::<Name>(), Err(BadName::BadEdge));
        assert_eq!("Demo".parse::<Name>(), Err(BadName::BadCharacter('D')));
        assert_eq!("a".repeat(64).parse::<Name>(), Err(BadName::TooLong(64)));
    }
}
