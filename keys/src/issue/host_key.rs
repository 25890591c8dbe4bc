//! OpenSSH host keys (PROTOCOL.key of OpenSSH): Ed25519, unencrypted, as `ssh-keygen` writes them.

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// A host key pair.
pub struct HostKey(PrivateKey);

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.fingerprint())
    }
}

/// Why a host key cannot be used or made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadHostKey {
    /// Making or writing the key failed; holds the error of the `ssh-key` crate.
    #[error("making an SSH host key failed: {0}")]
    Failed(String),
    /// Not an intact OpenSSH private key file.
    #[error("it is not a valid OpenSSH private key: {0}")]
    Malformed(String),
    /// Under a passphrase, which an SSH server cannot ask for at boot.
    #[error(
        "the host key is protected by a passphrase, which no node can enter; remove it (ssh-keygen -p -N '')"
    )]
    Encrypted,
}

impl HostKey {
    /// Makes a new Ed25519 key; `comment` is what the public line ends with.
    pub fn generate(comment: &str) -> Result<Self, BadHostKey> {
        let failed = |error: ssh_key::Error| BadHostKey::Failed(error.to_string());
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
        key.set_comment(comment);
        Ok(Self(key))
    }

    /// Reads a private key file.
    pub fn parse(file: &[u8]) -> Result<Self, BadHostKey> {
        let key = PrivateKey::from_openssh(file).map_err(|error| BadHostKey::Malformed(error.to_string()))?;
        if key.is_encrypted() { Err(BadHostKey::Encrypted) } else { Ok(Self(key)) }
    }

    /// The private key file, ended by one line end.
    pub fn private_text(&self) -> Result<Zeroizing<String>, BadHostKey> {
        let mut text =
            self.0.to_openssh(LineEnding::LF).map_err(|error| BadHostKey::Failed(error.to_string()))?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }

    /// The seed: the 32 bytes from which the key pair is derived (RFC 8032, section 5.1.5).
    #[must_use]
    pub fn seed(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.0.key_data().ed25519().map(|pair| Zeroizing::new(pair.private.to_bytes().to_vec()))
    }

    /// The line of the `.pub` file, with its line end.
    pub fn public_line(&self) -> Result<String, BadHostKey> {
        let line = self.0.public_key().to_openssh().map_err(|error| BadHostKey::Failed(error.to_string()))?;
        Ok(format!("{}\n", line.trim_end()))
    }

    /// The kind of key and the key, as [`public_words`] takes them from the line.
    pub fn public_words(&self) -> Result<String, BadHostKey> {
        let line = self.public_line()?;
        public_words(&line).ok_or_else(|| BadHostKey::Failed(format!("{line:?} is not a public key")))
    }

    /// The line for `known_hosts` (sshd(8)) that ties this key to `hosts`, with its line end.
    ///
    /// For a port other than 22 the caller writes a host as `[host]:port`.
    pub fn known_hosts_line(&self, hosts: &[&str]) -> Result<String, BadHostKey> {
        Ok(format!("{} {}\n", hosts.join(","), self.public_words()?))
    }

    /// The fingerprint, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// The kind of key and the key from the line of a `.pub` file, without its comment: if these are equal, the keys are
/// the same. `None` for all keys except Ed25519, because psyops makes no others.
#[must_use]
pub fn public_words(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (kind @ "ssh-ed25519", key) = (words.next()?, words.next()?) else { return None };
    let is_key = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    is_key.then(|| format!("{kind} {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use handoff::manifest::FileKind;

    #[test]
    fn the_file_is_read_back_and_well_formed() {
        let key = HostKey::generate("root@demo").unwrap();
        let text = key.private_text().unwrap();
        assert_eq!(kinds::check(FileKind::SshHostKey, text.as_bytes()), Ok(()));
        let read = HostKey::parse(text.as_bytes()).unwrap();
        assert_eq!(read.public_line(), key.public_line());
        let public = key.public_line().unwrap();
        assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" root@demo\n"), "{public}");
        let known = key.known_hosts_line(&["demo", "[localhost]:2222"]).unwrap();
        assert!(known.starts_with("demo,[localhost]:2222 ssh-ed25519 "), "{known}");
        assert!(!known.contains("root@demo"));
        assert_eq!(public_words(&public), Some(key.public_words().unwrap()));
        for line in ["", "ssh-ed25519", "ssh-rsa AAAA", "ssh-ed25519 AAAA\u{1b}[2J", "ssh-ed25519 <a>"] {
            assert_eq!(public_words(line), None, "{line:?}");
        }
    }

    #[test]
    fn damage_is_found() {
        let text = HostKey::generate("x").unwrap().private_text().unwrap();
        let cut = &text[..text.len() / 2];
        assert!(matches!(HostKey::parse(cut.as_bytes()), Err(BadHostKey::Malformed(_))));
    }
}
