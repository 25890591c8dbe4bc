//! The public SSH keys of the user who makes a site, so that this user can log in to its nodes.

use crate::error::{Class, Classified};
use crate::input::read_limited;
use crate::limits;
use crate::site::{is_login_key, open_anywhere};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A public key, and the file that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginKey {
    /// The path of the file.
    pub path: PathBuf,
    /// The line for `authorized_keys`.
    pub line: String,
}

/// A file that the user named is not a public key.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum LoginKeyError {
    /// The file cannot be read.
    #[error("cannot read the public key {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error from reading.
        r#source: io::Error,
    },
    /// Its first line is not a public key.
    #[error("{path} is not a public SSH key")]
    NotAKey {
        /// The path of the file.
        path: PathBuf,
    },
}

impl Classified for LoginKeyError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::NotAKey { .. } => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        Some("name a file that ssh-keygen made, with the ending .pub".into())
    }
}

/// The public keys in `.ssh` of the user's home folder, by file name; none if there is no such folder.
#[must_use]
pub fn own() -> Vec<LoginKey> {
    env::home_dir().map_or_else(Vec::new, |home| keys_in(&home.join(".ssh")))
}

#[expect(clippy::disallowed_methods, reason = "the paths are sorted")]
fn keys_in(folder: &Path) -> Vec<LoginKey> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_public = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".pub") && !name.ends_with("-cert.pub") && path.is_file()
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_public).collect();
    paths.sort();
    // Other programs may keep other things there; what is not a key is not for us.
    paths.into_iter().filter_map(|path| read(&path).ok()).collect()
}

/// The public key in a file.
pub fn read(path: &Path) -> Result<LoginKey, LoginKeyError> {
    let failed = |source| LoginKeyError::Read { path: path.to_owned(), source };
    // Only a plain file: reading a pipe would wait for its writer.
    let bytes =
        open_anywhere(path).and_then(|file| read_limited(file, &limits::SITE_TEXT)).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if !is_login_key(line) {
        return Err(LoginKeyError::NotAKey { path: path.to_owned() });
    }
    Ok(LoginKey { path: path.to_owned(), line: line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA anna@laptop";

    #[test]
    fn the_public_keys_of_a_folder_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("id_rsa.pub", "nonsense"),
            ("id_ed25519.pub", &format!("\n{KEY}\n")),
            ("backup.pub", KEY),
            ("id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----"),
            ("id_ed25519-cert.pub", KEY),
            ("known_hosts", "example.org ssh-ed25519 AAAA"),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        fs::create_dir(folder.path().join("folder.pub")).unwrap();
        let found = keys_in(folder.path());
        let names: Vec<_> = found.iter().filter_map(|key| key.path.file_name()?.to_str()).collect();
        assert_eq!(names, ["backup.pub", "id_ed25519.pub"]);
        assert!(found.iter().all(|key| key.line == KEY), "{found:?}");
        assert_eq!(keys_in(&folder.path().join("missing")), []);
    }

    #[test]
    fn a_file_that_was_named_must_be_a_public_key() {
        let folder = tempfile::tempdir().unwrap();
        let private = folder.path().join("id_ed25519");
        fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n").unwrap();
        let error = read(&private).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is not a public SSH key", private.display()));
        let error = read(&folder.path().join("missing.pub")).unwrap_err();
        assert_eq!(error.own_class(), Some(Class::MissingInput));
        let pipe = folder.path().join("pipe.pub");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read(&pipe).unwrap_err();
        let expected = format!("cannot read the public key {}: it is a pipe, not a file", pipe.display());
        assert_eq!(error.to_string(), expected);
    }
}
