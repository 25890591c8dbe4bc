//! What a console offers after a boot: `[console]` of a site, and of `node.toml`.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// Who can log in on a console.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConsoleLogin {
    /// No user.
    #[default]
    Off,
    /// Users with a password; that of root has this hash.
    Password(CryptHash),
    /// Everyone at the console: a root shell without a password. For demonstrations and tests.
    Shell,
}

/// A password hash as crypt(5) writes it, for the second field of shadow(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptHash(String);

/// A text that is not a [`CryptHash`]: too short, without the leading `$`, or with a character that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCryptHash;

/// Why a word and a hash do not make a [`ConsoleLogin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadConsoleLogin {
    /// The word is not one of [`ConsoleLogin::WORDS`].
    Word,
    /// `password` needs a hash.
    MissingHash,
    /// Only `password` takes a hash.
    UnusedHash,
}

impl ConsoleLogin {
    /// The words for logins in files.
    pub const WORDS: [&'static str; 3] = ["off", "password", "shell"];

    /// The login that a word and perhaps a hash describe.
    pub fn new(word: &str, hash: Option<CryptHash>) -> Result<Self, BadConsoleLogin> {
        match (word, hash) {
            ("off", None) => Ok(Self::Off),
            ("shell", None) => Ok(Self::Shell),
            ("password", Some(hash)) => Ok(Self::Password(hash)),
            ("password", None) => Err(BadConsoleLogin::MissingHash),
            ("off" | "shell", Some(_)) => Err(BadConsoleLogin::UnusedHash),
            _ => Err(BadConsoleLogin::Word),
        }
    }

    /// This login's word in files.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Password(_) => "password",
            Self::Shell => "shell",
        }
    }

    /// The hash of root's password, if there is one.
    #[must_use]
    pub fn hash(&self) -> Option<&CryptHash> {
        match self {
            Self::Password(hash) => Some(hash),
            Self::Off | Self::Shell => None,
        }
    }
}

impl CryptHash {
    /// The hash as text, as shadow(5) has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CryptHash {
    type Err = BadCryptHash;

    /// Accepts a text that begins with `$` and has no character with a meaning in shadow(5) or TOML.
    fn from_str(text: &str) -> Result<Self, BadCryptHash> {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | '"' | '\\');
        let good = text.starts_with('$') && text.len() > 12 && text.chars().all(plain);
        if good { Ok(Self(text.to_owned())) } else { Err(BadCryptHash) }
    }
}

impl fmt::Display for BadCryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hash as `mkpasswd` prints it ($6$...)")
    }
}

impl fmt::Display for BadConsoleLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word => {
                let [off, password, shell] = ConsoleLogin::WORDS;
                write!(f, "the login of a console is \"{off}\", \"{password}\" or \"{shell}\"")
            }
            Self::MissingHash => f.write_str("login = \"password\" needs a password-hash"),
            Self::UnusedHash => {
                f.write_str("a password-hash is only used together with login = \"password\"")
            }
        }
    }
}

impl core::error::Error for BadCryptHash {}
impl core::error::Error for BadConsoleLogin {}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$6$salt$0123456789abcdef./";

    #[test]
    fn hashes_fit_into_shadow() {
        assert_eq!(HASH.parse::<CryptHash>().unwrap().as_str(), HASH);
        for bad in [
            "",
            "secret-password",
            "$6$short",
            "$6$a:b$0123456789",
            "$6$a b$0123456789",
            "$6$a\n$0123456789ab",
            "$6$ä$0123456789ab",
        ] {
            assert_eq!(bad.parse::<CryptHash>(), Err(BadCryptHash), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_needs_the_login_password() {
        let hash: CryptHash = HASH.parse().unwrap();
        for login in [ConsoleLogin::Off, ConsoleLogin::Shell, ConsoleLogin::Password(hash.clone())] {
            assert!(ConsoleLogin::WORDS.contains(&login.word()));
            assert_eq!(ConsoleLogin::new(login.word(), login.hash().cloned()), Ok(login));
        }
        assert_eq!(ConsoleLogin::new("password", None), Err(BadConsoleLogin::MissingHash));
        assert_eq!(ConsoleLogin::new("shell", Some(hash.clone())), Err(BadConsoleLogin::UnusedHash));
        assert_eq!(ConsoleLogin::new("open", Some(hash)), Err(BadConsoleLogin::Word));
    }
}
