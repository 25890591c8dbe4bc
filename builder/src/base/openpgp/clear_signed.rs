//! A text with its `OpenPGP` signature around it: the cleartext signature framework, RFC 9580 section 7, as an
//! archive's `InRelease` has it.
//!
//! The text and the signature are separated here, and the host's verifier gets each in its own file. So the text that
//! is parsed later is exactly the text that was verified, whichever parts of a file a verifier reads. Only the form
//! that archives write is accepted: one message, nothing before or after it, and no line that begins with a dash.

use std::fmt::Write as _;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";

/// The two parts of a signed text, both unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::base) struct ClearSigned {
    /// The signed text, without blanks at the ends of lines and without the last line end, which are not signed.
    pub(in crate::base) text: String,
    /// The armored signature.
    pub(in crate::base) signature: String,
}

impl ClearSigned {
    /// Splits a file into text and signature. The error says what is not valid in the file.
    pub(in crate::base) fn split(file: &str) -> Result<Self, &'static str> {
        let mut lines = file.lines();
        if lines.next() != Some(BEGIN) {
            return Err("it does not begin with the header of a signed message");
        }
        // Armor headers, which are not signed: only the name of the digest is accepted.
        loop {
            match lines.next() {
                Some("") => break,
                Some(line) if line.starts_with("Hash: ") => {}
                _ => return Err("it has a header that is not signed"),
            }
        }
        let (mut text, mut ended) = (String::new(), false);
        for line in lines.by_ref() {
            if line == BEGIN_SIGNATURE {
                ended = true;
                break;
            }
            if line.starts_with('-') {
                return Err("a line of it begins with a dash");
            }
            let _ = writeln!(text, "{}", line.trim_end_matches([' ', '\t', '\r']));
        }
        if !ended {
            return Err("it has no signature");
        }
        text.pop();
        let mut signature = format!("{BEGIN_SIGNATURE}\n");
        for line in lines.by_ref() {
            let _ = writeln!(signature, "{line}");
            if line == END_SIGNATURE {
                return match lines.next() {
                    None => Ok(Self { text, signature }),
                    Some(_) => Err("there is text after its signature"),
                };
            }
        }
        Err("its signature has no end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\na \nb\n\
        -----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn a_signed_text_is_taken_apart() {
        let halves = ClearSigned::split(SIGNED).unwrap();
        assert_eq!(halves.text, "a\nb");
        assert_eq!(halves.signature, "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n");
    }

    #[test]
    fn text_that_the_signature_does_not_cover_is_refused() {
        for (change, problem) in [
            (format!("Origin: x\n{SIGNED}"), "it does not begin with the header of a signed message"),
            (
                SIGNED.replace("Hash: SHA512\n", "Hash: SHA512\nSHA256:\n"),
                "it has a header that is not signed",
            ),
            (SIGNED.replace("a \n", "- a\n"), "a line of it begins with a dash"),
            (format!("{SIGNED}SHA256:\n"), "there is text after its signature"),
            (SIGNED.replace("-----END PGP SIGNATURE-----\n", ""), "its signature has no end"),
            (SIGNED.replace("-----BEGIN PGP SIGNATURE-----\n", ""), "a line of it begins with a dash"),
        ] {
            assert_eq!(ClearSigned::split(&change), Err(problem), "{change}");
        }
        let cut = SIGNED.split("-----BEGIN PGP SIGNATURE").next().unwrap();
        assert_eq!(ClearSigned::split(cut), Err("it has no signature"));
    }
}
