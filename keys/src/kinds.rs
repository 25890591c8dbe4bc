//! The checks for each kind of file ([`handoff::manifest::FileKind`]), when a seal is made and when it is opened.
//!
//! A key file without its last line end, or with two, has kept SSH servers from starting; such a file never gets into
//! a seal, and one that did is refused. The check of key files here is structural; with the feature `issue`, making
//! a seal parses them fully.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use handoff::manifest::FileKind;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why content is not valid for its kind. No variant carries content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadContent {
    /// Text that is not UTF-8.
    #[error("is not UTF-8 text")]
    NotText,
    /// Text whose last line has no line end.
    #[error("does not end with a newline")]
    NoLineEnd,
    /// Text with empty lines at its end.
    #[error("ends with more than one newline")]
    ExtraLineEnds,
    /// Text with carriage returns.
    #[error("has carriage returns; save it with Unix line ends")]
    CarriageReturn,
    /// Not a host name of RFC 1123.
    #[error("is not a host name (one line; labels of at most 63 letters, digits and '-', joined by dots)")]
    NotAHostname,
    /// Not an OpenSSH private key; holds what is wrong.
    #[error("is not an OpenSSH private key: {0}")]
    NotAHostKey(&'static str),
}

/// Checks that `content` is valid for `kind`.
pub fn check(kind: FileKind, content: &[u8]) -> Result<(), BadContent> {
    match kind {
        FileKind::Opaque => Ok(()),
        FileKind::Text => one_line_end(content).map(|_| ()),
        FileKind::Hostname => hostname(one_line_end(content)?),
        FileKind::SshHostKey => host_key(one_line_end(content)?),
    }
}

/// The text without the one line end at its end.
fn one_line_end(content: &[u8]) -> Result<&str, BadContent> {
    let text = std::str::from_utf8(content).map_err(|_| BadContent::NotText)?;
    if text.contains('\r') {
        return Err(BadContent::CarriageReturn);
    }
    let line = text.strip_suffix('\n').ok_or(BadContent::NoLineEnd)?;
    if line.is_empty() || line.ends_with('\n') {
        return Err(BadContent::ExtraLineEnds);
    }
    Ok(line)
}

fn hostname(name: &str) -> Result<(), BadContent> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The kernel accepts at most 64 bytes (`HOST_NAME_MAX`).
    if name.len() <= 64 && name.split('.').all(label) { Ok(()) } else { Err(BadContent::NotAHostname) }
}

fn host_key(text: &str) -> Result<(), BadContent> {
    let bad = |problem| Err(BadContent::NotAHostKey(problem));
    let Some(body) = text.strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----\n") else {
        return bad("its first line is not -----BEGIN OPENSSH PRIVATE KEY-----");
    };
    let Some(body) = body.strip_suffix("\n-----END OPENSSH PRIVATE KEY-----") else {
        return bad("its last line is not -----END OPENSSH PRIVATE KEY-----");
    };
    let base64: Zeroizing<String> = Zeroizing::new(body.split('\n').collect());
    let Ok(bytes) = BASE64_STANDARD.decode(base64.as_bytes()).map(Zeroizing::new) else {
        return bad("its lines are not valid base64");
    };
    if bytes.starts_with(b"openssh-key-v1\0") {
        Ok(())
    } else {
        bad("its content is not in the format openssh-key-v1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_with_one_line_end() {
        assert_eq!(check(FileKind::Text, b"a\nb\n"), Ok(()));
        assert_eq!(check(FileKind::Text, b"a\nb"), Err(BadContent::NoLineEnd));
        assert_eq!(check(FileKind::Text, b"a\nb\n\n"), Err(BadContent::ExtraLineEnds));
        assert_eq!(check(FileKind::Text, b"a\r\n"), Err(BadContent::CarriageReturn));
        assert_eq!(check(FileKind::Text, &[0xff, b'\n']), Err(BadContent::NotText));
        assert_eq!(check(FileKind::Opaque, &[0xff]), Ok(()));
    }

    #[test]
    fn host_names_are_those_of_rfc_1123() {
        assert_eq!(check(FileKind::Hostname, b"demo.lab-1\n"), Ok(()));
        for bad in ["-demo\n", "demo-\n", "de mo\n", "a..b\n", "a\nb\n", "d\u{e9}mo\n"] {
            assert_eq!(check(FileKind::Hostname, bad.as_bytes()), Err(BadContent::NotAHostname), "{bad:?}");
        }
        let long = format!("{}\n", "a".repeat(64));
        assert_eq!(check(FileKind::Hostname, long.as_bytes()), Err(BadContent::NotAHostname));
    }

    #[test]
    fn host_keys_need_their_first_and_last_line() {
        let body = BASE64_STANDARD.encode(b"openssh-key-v1\0rest");
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
        assert_eq!(check(FileKind::SshHostKey, key.as_bytes()), Ok(()));
        assert_eq!(check(FileKind::SshHostKey, key.trim_end().as_bytes()), Err(BadContent::NoLineEnd));
        assert_eq!(
            check(FileKind::SshHostKey, format!("{key}\n").as_bytes()),
            Err(BadContent::ExtraLineEnds)
        );
        for (from, to, problem) in [
            ("BEGIN OPENSSH", "BEGIN RSA", "its first line is not -----BEGIN OPENSSH PRIVATE KEY-----"),
            ("END OPENSSH", "END RSA", "its last line is not -----END OPENSSH PRIVATE KEY-----"),
            (&body[..4], "!!!!", "its lines are not valid base64"),
            (&body[..4], "AAAA", "its content is not in the format openssh-key-v1"),
        ] {
            let bad = key.replacen(from, to, 1);
            assert_eq!(check(FileKind::SshHostKey, bad.as_bytes()), Err(BadContent::NotAHostKey(problem)));
        }
    }
}
