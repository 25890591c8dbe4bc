//! The site's encrypted values: `secrets/PATH.age`, armored age files for the admins only.
//!
//! The first line of the plain text has the site and the path, so that two swapped files are detected. A value that is
//! replaced stays beside the new one as `PATH.age.1`, `PATH.age.2` and so on, the highest number being the newest:
//! plain files that version control and people can read.

use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use crate::next_command::psyops;
use crate::site::{Site, SiteFolder};
use handoff::name::Name;
use keys::identity::{NodeIdentity, Recipient};
use keys::issue::encryption::{DecryptFailed, EncryptFailed, decrypt, encrypt_armored};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The start of the first line of a value's plain text.
const BINDING: &str = "psyops-secret 1";

/// A value of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secret {
    /// A node's age identity.
    NodeKey(Name),
    /// A node's SSH host key.
    HostKey(Name),
    /// A value that the site can give to nodes.
    Value(Name),
}

impl Secret {
    /// The path in the store, without the ending.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::NodeKey(node) => format!("nodes/{node}/age.key"),
            Self::HostKey(node) => format!("nodes/{node}/ssh_host_ed25519_key"),
            Self::Value(name) => name.to_string(),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// A value that is encrypted and not stored yet.
#[derive(Debug)]
pub struct EncryptedSecret {
    secret: Secret,
    file: String,
}

/// Why a value could not be read or stored.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum StoreError {
    /// The store does not have the value.
    #[error("the site has no secret {secret}: {path} does not exist")]
    Missing {
        /// The value's name.
        secret: Secret,
        /// Where its file would be.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The file could not be decrypted.
    #[error("cannot open {path}: {problem}")]
    Open {
        /// The path of the file.
        path: PathBuf,
        /// The error from decrypting it.
        problem: DecryptFailed,
    },
    /// The file has another value than its name says.
    #[error(
        "{path} begins with {found:?} instead of {expected:?}: the secret files of the site were exchanged"
    )]
    Mixed {
        /// The path of the file.
        path: PathBuf,
        /// The first line that it should have.
        expected: String,
        /// The first line that it has.
        found: String,
    },
    /// The value could not be encrypted.
    #[error("cannot encrypt {secret}: {problem}")]
    Encrypt {
        /// The value's name.
        secret: Secret,
        /// The error from encrypting it.
        problem: EncryptFailed,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for StoreError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Missing { .. } => Class::MissingInput,
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Open { .. } | Self::Mixed { .. } => Class::BadContent,
            Self::Encrypt { .. } => Class::Failure,
            Self::Write(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Missing { secret: Secret::NodeKey(node) | Secret::HostKey(node), .. } => Some(format!(
                "restore secrets/nodes/{node} from the site's history (git log); or remove recipient from nodes/{node}.toml and make new keys: {}",
                psyops(&format!("seal --node {node}"))
            )),
            Self::Open { problem: DecryptFailed::NotForThisKey(_), .. } => {
                Some("use the identity of an admin that it is encrypted to (--identity FILE)".into())
            }
            Self::Open { .. } | Self::Mixed { .. } => {
                Some("restore the file from the site's history (git log)".into())
            }
            _ => None,
        }
    }
}

/// The encrypted store of a site.
#[derive(Debug, Clone)]
pub struct Store {
    folder: SiteFolder,
    site: Name,
    admins: Vec<Recipient>,
}

impl Store {
    /// The store in a folder of `site`, for `admins`.
    #[must_use]
    pub fn new(folder: SiteFolder, site: Name, admins: Vec<Recipient>) -> Self {
        Self { folder, site, admins }
    }

    /// The store of a site, for reading names and public keys: nothing can be encrypted for it.
    #[must_use]
    pub fn without_admins(site: &Site) -> Self {
        Self::new(site.secrets_dir(), site.id.clone(), Vec::new())
    }

    /// The path of a value's file.
    #[must_use]
    pub fn file(&self, secret: &Secret) -> PathBuf {
        self.folder.path_of(file_name(secret))
    }

    /// The path of the public half of a node's SSH host key, in plain text.
    #[must_use]
    pub fn host_key_public(&self, node: &Name) -> PathBuf {
        self.folder.path_of(public_name(node))
    }

    /// The public half of a node's SSH host key; `None` if there is none.
    pub fn read_host_key_public(&self, node: &Name) -> io::Result<Option<String>> {
        match self.folder.text(public_name(node)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the public half of a node's SSH host key.
    pub fn write_host_key_public(&self, node: &Name, line: &str) -> Result<(), AtomicError> {
        self.folder.write(public_name(node), line.as_bytes(), 0o644)
    }

    /// Whether the store has a value.
    pub fn has(&self, secret: &Secret) -> Result<bool, StoreError> {
        let there = self.folder.kind(file_name(secret));
        let there = there.map_err(|source| StoreError::Read { path: self.file(secret), source })?;
        Ok(there.is_some())
    }

    /// The names of all values that the site can give to nodes, sorted.
    pub fn values(&self) -> Result<Vec<Name>, StoreError> {
        let entries = match self.folder.entries() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::Read { path: self.folder.path(), source }),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.name.to_str().and_then(|name| name.strip_suffix(".age"));
            names.extend(name.and_then(|name| name.parse::<Name>().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// Reads and decrypts a value.
    pub fn read(&self, secret: &Secret, identity: &NodeIdentity) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let path = self.file(secret);
        let file = match self.folder.read(file_name(secret)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { secret: secret.clone(), path });
            }
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        self.open(secret, &path, &file, identity)
    }

    fn open(
        &self,
        secret: &Secret,
        path: &Path,
        file: &[u8],
        identity: &NodeIdentity,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let mut plain =
            decrypt(identity, file).map_err(|problem| StoreError::Open { path: path.to_owned(), problem })?;
        let expected = self.binding(secret);
        if plain.starts_with(expected.as_bytes()) {
            plain.drain(..expected.len());
            return Ok(plain);
        }
        let first = plain.split(|&byte| byte == b'\n').next().unwrap_or_default();
        // Only a line with our start is shown; in other files the first line may be the secret itself.
        let ours = std::str::from_utf8(first).ok().filter(|line| line.starts_with(BINDING));
        Err(StoreError::Mixed {
            path: path.to_owned(),
            expected: expected.trim_end().to_owned(),
            found: ours.unwrap_or("something without a name").to_owned(),
        })
    }

    fn binding(&self, secret: &Secret) -> String {
        format!("{BINDING} {} {secret}\n", self.site)
    }

    /// Encrypts a value, and checks that `identity` can decrypt it. Nothing is written yet.
    pub fn encrypt(
        &self,
        secret: &Secret,
        content: &[u8],
        identity: &NodeIdentity,
    ) -> Result<EncryptedSecret, StoreError> {
        let path = self.file(secret);
        let mut plain = Zeroizing::new(self.binding(secret).into_bytes());
        // All memory is reserved first, so that growing leaves no copy of the secret in freed memory.
        plain.reserve_exact(content.len());
        plain.extend_from_slice(content);
        let file = encrypt_armored(&self.admins, &plain)
            .map_err(|problem| StoreError::Encrypt { secret: secret.clone(), problem })?;
        self.open(secret, &path, file.as_bytes(), identity)?;
        Ok(EncryptedSecret { secret: secret.clone(), file })
    }

    /// Stores a value, after checking that `identity` can decrypt it; the previous value is kept as history.
    pub fn write(&self, secret: &Secret, content: &[u8], identity: &NodeIdentity) -> Result<(), StoreError> {
        self.put(&self.encrypt(secret, content, identity)?)
    }

    /// Stores an encrypted value; the previous one is kept as history.
    pub fn put(&self, value: &EncryptedSecret) -> Result<(), StoreError> {
        let EncryptedSecret { secret, file } = value;
        // The old value is stored first: after an interruption it exists twice, and is never lost.
        match self.folder.read(file_name(secret)) {
            Ok(old) => self.folder.write(self.next_in_history(secret)?, &old, 0o644)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::Read { path: self.file(secret), source }),
        }
        Ok(self.folder.write(file_name(secret), file.as_bytes(), 0o644)?)
    }

    fn next_in_history(&self, secret: &Secret) -> Result<String, StoreError> {
        let numbered = |number: u32| format!("{}.{number}", file_name(secret));
        for name in (1..u32::MAX).map(numbered) {
            let there = self.folder.kind(&name);
            let path = || self.folder.path_of(&name);
            if there.map_err(|source| StoreError::Read { path: path(), source })?.is_none() {
                return Ok(name);
            }
        }
        Ok(numbered(u32::MAX))
    }
}

fn file_name(secret: &Secret) -> String {
    format!("{secret}.age")
}

fn public_name(node: &Name) -> String {
    format!("{}.pub", Secret::HostKey(node.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::issue::identity_file::generate;
    use std::fs;
    use tempfile::TempDir;

    fn store() -> (TempDir, Store, NodeIdentity) {
        let folder = tempfile::tempdir().unwrap();
        let admin = generate();
        let store = Store::new(
            SiteFolder::open(folder.path()).unwrap().folder("secrets"),
            "home".parse().unwrap(),
            vec![admin.recipient()],
        );
        (folder, store, admin)
    }

    fn value(name: &str) -> Secret {
        Secret::Value(name.parse().unwrap())
    }

    #[test]
    fn values_are_kept_with_their_history() {
        let (_folder, store, admin) = store();
        let wifi = value("wifi");
        assert!(matches!(store.read(&wifi, &admin), Err(StoreError::Missing { .. })));
        for content in ["one", "two", "three"] {
            store.write(&wifi, content.as_bytes(), &admin).unwrap();
        }
        assert_eq!(**store.read(&wifi, &admin).unwrap(), *b"three");
        for (number, content) in [(1, "one"), (2, "two")] {
            let old = fs::read(format!("{}.{number}", store.file(&wifi).display())).unwrap();
            let plain = decrypt(&admin, &old).unwrap();
            assert!(plain.ends_with(content.as_bytes()));
        }
        let text = fs::read_to_string(store.file(&wifi)).unwrap();
        assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    }

    #[test]
    fn swapped_files_are_detected() {
        let (_folder, store, admin) = store();
        store.write(&value("a"), b"one", &admin).unwrap();
        store.write(&value("b"), b"two", &admin).unwrap();
        fs::copy(store.file(&value("a")), store.file(&value("b"))).unwrap();
        match store.read(&value("b"), &admin).unwrap_err() {
            StoreError::Mixed { expected, found, .. } => {
                assert_eq!(expected, "psyops-secret 1 home b");
                assert_eq!(found, "psyops-secret 1 home a");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_foreign_file_is_not_quoted() {
        let (_folder, store, admin) = store();
        store.write(&value("a"), b"one", &admin).unwrap();
        let foreign = encrypt_armored(&[admin.recipient()], b"hunter2\n").unwrap();
        fs::write(store.file(&value("a")), foreign).unwrap();
        let error = store.read(&value("a"), &admin).unwrap_err();
        assert!(matches!(error, StoreError::Mixed { .. }) && !error.to_string().contains("hunter2"));
    }

    #[test]
    fn another_admin_is_named_and_nothing_is_written_that_does_not_open() {
        let (_folder, store, admin) = store();
        let other = generate();
        let a = value("a");
        assert!(matches!(store.write(&a, b"one", &other), Err(StoreError::Open { .. })));
        assert!(!store.has(&a).unwrap());
        store.write(&a, b"one", &admin).unwrap();
        let error = store.read(&a, &other).unwrap_err();
        assert!(matches!(
            &error,
            StoreError::Open { problem: DecryptFailed::NotForThisKey(found), .. } if *found == other.recipient()
        ));
        fs::write(store.file(&a), "hello").unwrap();
        let error = store.read(&a, &admin).unwrap_err();
        assert!(matches!(error, StoreError::Open { problem: DecryptFailed::NotAge, .. }), "{error}");
    }
}
