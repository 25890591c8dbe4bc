//! Lines of `authorized_keys` (sshd(8), "`AUTHORIZED_KEYS` FILE FORMAT"), as people write them into a site: the node's SSH
//! server passes silently over a line that it cannot read, and then no one can log in.

use ssh_key::{Algorithm, PublicKey};

/// Why a line lets no one log in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSshKey {
    /// The text has several lines, or none.
    #[error("expected one line, as in a file *.pub: the type, the key in base64, and a comment")]
    NotALine,
    /// A private key.
    #[error(
        "this is a private key, which must not be in a site: write the line in the file of the same name with .pub"
    )]
    Private,
    /// The options before the key do not end.
    #[error("a quotation mark in the options before the key is not closed")]
    OpenQuote,
    /// A type that OpenSSH no longer accepts (since 7.0, 2015).
    #[error("SSH servers no longer accept keys of the type ssh-dss; make one with: ssh-keygen -t ed25519")]
    Dsa,
    /// Type and key cannot be read, or do not belong together.
    #[error("not a public SSH key ({0}); copy the whole line from the file *.pub")]
    NotAKey(String),
}

impl BadSshKey {
    /// What may be shown of a text with this problem.
    pub(super) fn shown(&self, line: &str) -> String {
        match self {
            Self::Private => "-----BEGIN ... PRIVATE KEY-----...".into(),
            _ => line.into(),
        }
    }
}

/// Whether a site takes this line.
pub(crate) fn is_login_key(line: &str) -> bool {
    parse(line).is_ok()
}

/// Checks a line; returns it without spaces around it.
pub(super) fn parse(line: &str) -> Result<&str, BadSshKey> {
    let line = line.trim();
    if line.contains("PRIVATE KEY") {
        return Err(BadSshKey::Private);
    }
    if line.is_empty() || line.starts_with('#') || line.contains(['\n', '\r', '\0']) {
        return Err(BadSshKey::NotALine);
    }
    match check(line) {
        // As in sshd: what is not a key may begin with options.
        Err(BadSshKey::NotAKey(problem)) => match after_options(line)? {
            Some(key) => check(key),
            None => Err(BadSshKey::NotAKey(problem)),
        },
        checked => checked,
    }?;
    Ok(line)
}

fn check(key: &str) -> Result<(), BadSshKey> {
    match PublicKey::from_openssh(key) {
        Ok(key) if matches!(key.algorithm(), Algorithm::Dsa) => Err(BadSshKey::Dsa),
        Ok(_) => Ok(()),
        Err(problem) => Err(BadSshKey::NotAKey(problem.to_string())),
    }
}

/// What follows the first space that is not between quotation marks; `\"` does not end a quotation.
fn after_options(line: &str) -> Result<Option<&str>, BadSshKey> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' if !is_escaped => is_quoted = !is_quoted,
            b' ' | b'\t' if !is_quoted => return Ok(Some(line[at..].trim_start())),
            _ => {}
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    if is_quoted { Err(BadSshKey::OpenQuote) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    /// A line of each type that ssh-keygen makes.
    #[test]
    fn keys_of_each_type_are_accepted_with_options_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, bits) in [("ed25519", "0"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "521")] {
            let path = folder.path().join(format!("{kind}{bits}"));
            let mut keygen = std::process::Command::new("ssh-keygen");
            keygen.args(["-q", "-t", kind, "-N", "", "-C", "a comment of words", "-f"]).arg(&path);
            if bits != "0" {
                keygen.args(["-b", bits]);
            }
            assert!(keygen.status().unwrap().success());
            let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            assert_eq!(parse(&public), Ok(public.trim()), "{kind}");
            let private = std::fs::read_to_string(&path).unwrap();
            let problem = parse(&private).unwrap_err();
            assert_eq!(problem, BadSshKey::Private);
            assert!(!problem.shown(&private).contains(private.lines().nth(1).unwrap()));
        }
        for options in [
            "",
            "restrict ",
            "from=\"10.0.0.0/8\",no-pty ",
            "command=\"/usr/bin/backup --all\" ",
            "command=\"echo \\\"a b\\\"\"\t",
        ] {
            let line = format!("{options}{ED25519} anna@laptop");
            assert_eq!(parse(&line), Ok(line.as_str()));
        }
    }

    #[test]
    fn what_lets_no_one_log_in_is_refused_with_its_reason() {
        for (line, problem) in [
            ("", BadSshKey::NotALine),
            ("# a comment", BadSshKey::NotALine),
            (&format!("{ED25519}\n{ED25519}"), BadSshKey::NotALine),
            (&format!("command=\"x {ED25519}"), BadSshKey::OpenQuote),
        ] {
            assert_eq!(parse(line), Err(problem), "{line:?}");
        }
        for line in [
            "justone",
            "ssh-ed25519",
            "ssh-ed25519 AAAA... you@workstation",
            "ssh-ed25519 AAAA a",
            "my key",
            // Cut by an editor, and of another type than it says.
            &ED25519[..60],
            &ED25519.replace("ssh-ed25519", "ssh-rsa"),
            &format!("restrict restrict {ED25519}"),
        ] {
            let problem = parse(line).unwrap_err();
            assert!(matches!(problem, BadSshKey::NotAKey(_)), "{line:?}: {problem}");
        }
    }
}
