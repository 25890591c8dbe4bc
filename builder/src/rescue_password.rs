//! The password of the rescue shell: only its argon2id hash (RFC 9106) is stored, in the PHC string format.

use argon2::password_hash::{self, PasswordHash, PasswordHasher as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use handoff::rescue::MOST_PASSWORD_MEMORY;
use zeroize::Zeroizing;

/// The least number of characters: shorter passwords can be guessed at a console.
pub const SHORTEST: usize = 8;

/// Why a text is not a hash that a node can check.
#[derive(Debug, thiserror::Error)]
pub enum BadHash {
    /// The text does not have the string format, or a field of it is not valid.
    #[error("not an argon2id hash ({0}); make one with: psyops rescue-password")]
    Format(password_hash::Error),
    /// The hash is of another algorithm, or of an old version: which one.
    #[error("the hash is of {0}; it must be argon2id, version 19; make one with: psyops rescue-password")]
    Algorithm(String),
    /// Checking the hash needs more memory than a node may have: how many KiB.
    #[error(
        "checking it takes {0} KiB of memory; the limit is {MOST_PASSWORD_MEMORY}, because a node may have little; make one with: psyops rescue-password"
    )]
    Memory(u32),
}

/// Checks that a node can verify passwords with this hash.
pub fn check_hash(text: &str) -> Result<(), BadHash> {
    let hash = PasswordHash::new(text).map_err(BadHash::Format)?;
    if hash.algorithm != Algorithm::Argon2id.ident() || hash.version != Some(Version::V0x13.into()) {
        let version = hash.version.map_or_else(String::new, |version| format!(", version {version}"));
        return Err(BadHash::Algorithm(format!("{}{version}", hash.algorithm)));
    }
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(BadHash::Format(password_hash::Error::PhcStringField));
    }
    let params = Params::try_from(&hash).map_err(BadHash::Format)?;
    if params.m_cost() > MOST_PASSWORD_MEMORY { Err(BadHash::Memory(params.m_cost())) } else { Ok(()) }
}

/// Why a password is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BadPassword {
    /// The password is too short: how many characters it has.
    #[error("the password has {0} characters; at least {SHORTEST} are needed")]
    Short(usize),
    /// The password has characters that cannot be typed on a console.
    #[error("the password has a control character, which cannot be typed on a console")]
    Control,
    /// The hash could not be made.
    #[error("cannot hash the password: {0}")]
    Hash(password_hash::Error),
}

/// The hash of a password with this salt.
pub fn hash(password: &Zeroizing<String>, salt: [u8; 16]) -> Result<String, BadPassword> {
    let length = password.chars().count();
    if length < SHORTEST {
        return Err(BadPassword::Short(length));
    }
    if password.chars().any(char::is_control) {
        return Err(BadPassword::Control);
    }
    let salt = SaltString::encode_b64(&salt).map_err(BadPassword::Hash)?;
    let hashed = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(BadPassword::Hash)?;
    Ok(hashed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_one_that_a_node_can_check() {
        let text = hash(&Zeroizing::new("correct horse".into()), [7; 16]).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        check_hash(&text).unwrap();
    }

    #[test]
    fn short_and_untypable_passwords_are_refused() {
        let refused = |text: &str| hash(&Zeroizing::new(text.into()), [7; 16]).unwrap_err();
        assert!(matches!(refused("seven77"), BadPassword::Short(7)));
        assert!(matches!(refused("control\u{3}character"), BadPassword::Control));
    }

    #[test]
    fn each_unusable_hash_has_its_reason() {
        let good = hash(&Zeroizing::new("correct horse".into()), [7; 16]).unwrap();
        for (bad, word) in [
            ("$6$salt$hash".to_owned(), "rescue-password"),
            (good.replace("argon2id", "argon2i"), "argon2i,"),
            (good.replace("v=19", "v=16"), "version 16"),
            (good.replace("m=19456", "m=1048576"), "1048576 KiB"),
            (good.rsplit_once('$').unwrap().0.to_owned(), "not an argon2id hash"),
        ] {
            let error = check_hash(&bad).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
