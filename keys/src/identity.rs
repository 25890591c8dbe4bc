//! A node's or an admin's age identity and its public half (age-encryption.org/v1, X25519 recipients).
//!
//! The text is that of `age-keygen`: comments, then one line `AGE-SECRET-KEY-1...`. Other identity types (plugins,
//! post-quantum, SSH keys, files under a passphrase) are recognised only for the error message, and refused.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A public key, to which secrets are encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

/// A text that is not an age X25519 public key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not an age public key ({problem}); expected age1 and 58 more characters, as age-keygen -y prints it"
)]
pub struct BadRecipient {
    /// The text that was read.
    pub text: String,
    /// What is wrong with the text.
    pub problem: &'static str,
}

impl Recipient {
    #[cfg(feature = "issue")]
    pub(crate) fn as_age(&self) -> &age::x25519::Recipient {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = BadRecipient;

    fn from_str(text: &str) -> Result<Self, BadRecipient> {
        text.parse().map(Self).map_err(|problem| BadRecipient { text: text.to_owned(), problem })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a file is not a usable identity. No variant carries any part of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadIdentity {
    /// Only comments and empty lines.
    #[error("the file has no age identity: no line begins with AGE-SECRET-KEY-1")]
    Missing,
    /// Bytes that are not text.
    #[error("the file is not text, so it is not an age identity")]
    NotText,
    /// A public key in place of the secret one.
    #[error("line {line} is a public key; the secret key (AGE-SECRET-KEY-1...) is expected")]
    Public {
        /// The number of the line, from 1.
        line: usize,
    },
    /// An identity under a passphrase, or an encrypted escrow copy.
    #[error("the identity is itself encrypted; decrypt it first (age -d)")]
    Encrypted,
    /// An identity of another type.
    #[error("line {line} is {kind}; only X25519 identities (AGE-SECRET-KEY-1...) are supported")]
    OtherType {
        /// The number of the line, from 1.
        line: usize,
        /// The type that the line seems to have.
        kind: &'static str,
    },
    /// A line that is not of a known type, or a damaged key.
    #[error("line {line} is not a valid age identity: {problem}")]
    Malformed {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with the line.
        problem: &'static str,
    },
    /// A second identity: which one is the node's cannot be known.
    #[error("line {line} is a second identity; exactly one is expected")]
    MoreThanOne {
        /// The number of the second line, from 1.
        line: usize,
    },
}

/// The secret key of a node (or, on the workstation, of an admin). Wiped from memory when dropped.
#[derive(Clone)]
pub struct NodeIdentity(age::x25519::Identity);

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret never reaches a log; its public half identifies it.
        write!(f, "NodeIdentity({})", self.recipient())
    }
}

impl NodeIdentity {
    /// Reads an identity file.
    pub fn parse(file: &[u8]) -> Result<Self, BadIdentity> {
        let text = std::str::from_utf8(file).map_err(|_| BadIdentity::NotText)?;
        let mut found = None;
        for (content, line) in text.lines().zip(1_usize..) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let identity = Self::parse_line(content, line)?;
            if found.replace(identity).is_some() {
                return Err(BadIdentity::MoreThanOne { line });
            }
        }
        found.ok_or(BadIdentity::Missing)
    }

    fn parse_line(content: &str, line: usize) -> Result<Self, BadIdentity> {
        let other = |kind| Err(BadIdentity::OtherType { line, kind });
        if content.starts_with("age-encryption.org/") || content.starts_with("-----BEGIN AGE ENCRYPTED") {
            return Err(BadIdentity::Encrypted);
        }
        if content.starts_with("age1") {
            return Err(BadIdentity::Public { line });
        }
        if content.starts_with("AGE-SECRET-KEY-PQ-") {
            return other("a post-quantum age identity");
        }
        if content.starts_with("AGE-PLUGIN-") {
            return other("the identity of an age plugin");
        }
        if content.starts_with("-----BEGIN") || content.starts_with("ssh-") {
            return other("an SSH or PEM key");
        }
        content.parse().map(Self).map_err(|problem| BadIdentity::Malformed { line, problem })
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    pub(crate) fn as_age(&self) -> &age::x25519::Identity {
        &self.0
    }

    #[cfg(feature = "issue")]
    pub(crate) fn from_age(identity: age::x25519::Identity) -> Self {
        Self(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A key that was made for this test only, as age's own test suite does; nothing is encrypted to it.
    fn secret() -> (String, Recipient) {
        use age::secrecy::ExposeSecret as _;
        let identity = age::x25519::Identity::generate();
        (identity.to_string().expose_secret().to_owned(), Recipient(identity.to_public()))
    }

    #[test]
    fn the_file_of_age_keygen_is_read() {
        let (secret, public) = secret();
        let file = format!("# created: 2026-01-01T00:00:00Z\n# public key: {public}\n\n{secret}\n");
        let identity = NodeIdentity::parse(file.as_bytes()).unwrap();
        assert_eq!(identity.recipient(), public);
        assert_eq!(format!("{identity:?}"), format!("NodeIdentity({public})"));
        assert_eq!(public.to_string().parse(), Ok(public));
    }

    #[test]
    fn each_wrong_file_has_its_error() {
        let (secret, public) = secret();
        let parse = |text: &str| NodeIdentity::parse(text.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(parse(""), BadIdentity::Missing);
        assert_eq!(parse("# only a comment\n"), BadIdentity::Missing);
        assert_eq!(NodeIdentity::parse(&[0xff, 0xfe]).unwrap_err(), BadIdentity::NotText);
        assert_eq!(parse(&format!("#\n{public}\n")), BadIdentity::Public { line: 2 });
        assert_eq!(parse("age-encryption.org/v1\n"), BadIdentity::Encrypted);
        assert_eq!(parse("-----BEGIN AGE ENCRYPTED FILE-----\n"), BadIdentity::Encrypted);
        assert_eq!(parse(&format!("{secret}\n{secret}\n")), BadIdentity::MoreThanOne { line: 2 });
        assert!(matches!(parse("AGE-PLUGIN-YUBIKEY-1Q\n"), BadIdentity::OtherType { line: 1, .. }));
        assert!(matches!(parse("AGE-SECRET-KEY-PQ-1Q\n"), BadIdentity::OtherType { line: 1, .. }));
        assert!(matches!(
            parse("-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            BadIdentity::OtherType { line: 1, .. }
        ));
        assert!(matches!(parse("hello\n"), BadIdentity::Malformed { line: 1, .. }));
        let cut = &secret[..secret.len() - 1];
        assert!(matches!(parse(cut), BadIdentity::Malformed { line: 1, .. }));
    }

    #[test]
    fn a_recipient_with_a_typing_error_is_refused() {
        let (_, public) = secret();
        let text = public.to_string();
        let last = if text.ends_with('q') { 'p' } else { 'q' };
        let wrong = format!("{}{last}", &text[..text.len() - 1]);
        assert_eq!(wrong.parse::<Recipient>().unwrap_err().text, wrong);
    }
}
