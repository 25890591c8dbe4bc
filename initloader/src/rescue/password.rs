//! Whether a password matches the argon2id hash in the loader configuration.

use argon2::password_hash::{PasswordHash, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params};
use handoff::rescue::MOST_PASSWORD_MEMORY;

/// Checks a password; a hash that is not valid matches none.
pub(crate) fn fits(password: &[u8], hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    let modest = Params::try_from(&hash).is_ok_and(|params| params.m_cost() <= MOST_PASSWORD_MEMORY);
    let right_kind = hash.algorithm == Algorithm::Argon2id.ident();
    right_kind && modest && Argon2::default().verify_password(password, &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `echo -n 'correct horse' | argon2 saltsaltsalt -id -t 1 -k 64 -p 1 -e` (Debian's package argon2).
    const FOREIGN: &str =
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Kw3/ZjLNvvrvmWv7DSmJdvIaVuO5yzpUAyMmNiCnHLI";

    #[test]
    fn only_the_right_password_fits() {
        assert!(fits(b"correct horse", FOREIGN));
        for wrong in [&b"correct horsf"[..], b"", b"correct horse\n"] {
            assert!(!fits(wrong, FOREIGN));
        }
    }

    #[test]
    fn an_invalid_hash_accepts_no_password() {
        for bad in [
            String::new(),
            FOREIGN.replace("argon2id", "argon2i"),
            FOREIGN.replace("m=64", "m=4194304"),
            FOREIGN.rsplit_once('$').map(|(head, _)| head.to_owned()).unwrap_or_default(),
        ] {
            assert!(!fits(b"correct horse", &bad) && !fits(b"", &bad), "{bad}");
        }
    }
}
