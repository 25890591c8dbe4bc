//! `OpenPGP` signatures, verified by the program that the host's apt uses: gpgv, or sqv of newer systems.
//!
//! The clock does not count: a signature that was good when it was made remains good after its key has expired, because
//! an old lock must remain buildable. A signature by a revoked key or with a weak digest is refused.

use super::ClearSigned;
use crate::store::{Store, StoreError};
use crate::tools::{self, GPGV, SQV, Tool, ToolError};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Why an `OpenPGP` signature is not accepted for a text.
#[derive(Debug, thiserror::Error)]
pub enum BadOpenPgp {
    /// No verifier is installed, or it could not be started.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The verifier's input could not be written to the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// None of the signatures is a good one by a key of the keyring.
    #[error("no key of {keyring} signed it ({verifier})")]
    Refused {
        /// The path of the keyring.
        keyring: String,
        /// The name of the verifier, and what it found.
        verifier: String,
    },
}

/// Succeeds if a key of `keyring` signed the text.
pub(in crate::base) fn verify(signed: &ClearSigned, keyring: &Path, store: &Store) -> Result<(), BadOpenPgp> {
    let tool = match (GPGV.find(), SQV.find()) {
        (Err(_), Ok(_)) => SQV,
        _ => GPGV,
    };
    verify_with(tool, signed, keyring, store)
}

/// The same with the named verifier, so that tests can try each.
pub(super) fn verify_with(
    tool: Tool,
    signed: &ClearSigned,
    keyring: &Path,
    store: &Store,
) -> Result<(), BadOpenPgp> {
    let command = tool.command()?;
    let scratch = store.scratch()?;
    let put = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).map_err(|source| StoreError { path: path.clone(), source })?;
        Ok::<_, StoreError>(path)
    };
    let (text, signature) = (put("text", &signed.text)?, put("signature", &signed.signature)?);
    if tool == SQV {
        sqv(command, keyring, &signature, &text)
    } else {
        gpgv(command, keyring, &signature, &text)
    }
}

/// gpgv's exit status counts all signatures, and an archive also signs with keys that the keyring may not have yet:
/// gpgv's status lines tell which signatures are good (`doc/DETAILS` of `GnuPG`).
fn gpgv(
    mut command: std::process::Command,
    keyring: &Path,
    signature: &Path,
    text: &Path,
) -> Result<(), BadOpenPgp> {
    command.args(["--status-fd", "1", "--ignore-time-conflict", "--weak-digest", "SHA1"]);
    command.args(["--weak-digest", "RIPEMD160", "--keyring"]).arg(keyring).arg(signature).arg(text);
    let start = |source| ToolError::Start { program: GPGV.name.into(), source };
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(start)?;
    let status = String::from_utf8_lossy(&output.stdout);
    match check_status(&status) {
        Ok(()) => Ok(()),
        Err(found) => Err(BadOpenPgp::Refused {
            keyring: keyring.display().to_string(),
            verifier: format!("{}: {found}", GPGV.name),
        }),
    }
}

/// Checks gpgv's status lines: one signature must be good, and none may be wrong. The error is what was found instead.
fn check_status(status: &str) -> Result<(), &'static str> {
    let (mut good, mut vouched, mut found) = (false, false, "no signature");
    for line in status.lines() {
        let mut words = line.strip_prefix("[GNUPG:] ").unwrap_or_default().split(' ');
        match words.next().unwrap_or_default() {
            "NEWSIG" => good = false,
            "GOODSIG" | "EXPKEYSIG" => good = true,
            "VALIDSIG" => vouched |= good,
            "BADSIG" => return Err("the text was changed after it was signed"),
            "REVKEYSIG" => (good, found) = (false, "a revoked key"),
            "EXPSIG" => (good, found) = (false, "an expired signature"),
            "ERRSIG" => found = "a key that is not in the keyring",
            _ => {}
        }
    }
    if vouched { Ok(()) } else { Err(found) }
}

/// sqv succeeds if one signature is good. It checks a key as of the time of the signature.
fn sqv(
    mut command: std::process::Command,
    keyring: &Path,
    signature: &Path,
    text: &Path,
) -> Result<(), BadOpenPgp> {
    command.arg("--keyring").arg(keyring).arg(signature).arg(text);
    match tools::run(&mut command) {
        Ok(_) => Ok(()),
        Err(ToolError::Failed { complaint, .. }) => Err(BadOpenPgp::Refused {
            keyring: keyring.display().to_string(),
            verifier: format!("{}: {}", SQV.name, complaint.lines().next().unwrap_or("no good signature")),
        }),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_good_signature_is_enough_and_a_wrong_one_too_much() {
        let signature = |keyword: &str, valid: bool| {
            let valid = if valid { "[GNUPG:] VALIDSIG ABCD 2026-07-11 1 0\n" } else { "" };
            format!("[GNUPG:] NEWSIG\n[GNUPG:] {keyword} 0123 a name\n{valid}")
        };
        let (good, unknown) = (signature("GOODSIG", true), signature("ERRSIG", false));
        assert_eq!(check_status(&good), Ok(()));
        assert_eq!(check_status(&signature("EXPKEYSIG", true)), Ok(()));
        assert_eq!(check_status(&format!("{unknown}{good}{unknown}")), Ok(()));
        assert_eq!(check_status(""), Err("no signature"));
        assert_eq!(check_status(&unknown), Err("a key that is not in the keyring"));
        assert_eq!(check_status(&signature("REVKEYSIG", true)), Err("a revoked key"));
        assert_eq!(check_status(&signature("EXPSIG", true)), Err("an expired signature"));
        let wrong = signature("BADSIG", false);
        assert_eq!(check_status(&format!("{good}{wrong}")), Err("the text was changed after it was signed"));
        // The lines of one signature do not count for the next, nor does a name that looks like a status line.
        let mixed = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1 x\n[GNUPG:] NEWSIG\n[GNUPG:] REVKEYSIG 2 y\n[GNUPG:] VALIDSIG 2\n";
        assert_eq!(check_status(mixed), Err("a revoked key"));
        assert_eq!(check_status("VALIDSIG\nGOODSIG\n"), Err("no signature"));
    }
}
