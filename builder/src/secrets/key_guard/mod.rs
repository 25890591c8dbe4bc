//! The last check before anything leaves the workstation: a file that goes into a root or a seal must not have a
//! private key of the site.
//!
//! Private keys are found in two ways. By their form: the public half of an age identity or a signing key is computed
//! and compared with the site's, and an SSH host key is recognised by the public half that it contains. And by their
//! secret bytes, as they are, in hexadecimal or in base64: those of the two open keys, of the key files themselves if
//! they are locked, and of each node whose keys this admin's identity decrypts. Files of the site must also not have
//! any other private key in plain text, or any file that is locked like an identity. Such a key is allowed among the
//! site's encrypted values, where it is a secret like others, and in a base, for which its makers are responsible.
//!
//! The check reads the site's own files (roles, overlays, `source`), everything that a seal is made of, the base's
//! files, and what the site writes into the UKI. It does not read files that come with the builder. Files are read in
//! pieces of bounded size.

mod needles;

use crate::error::{Class, Classified};
use crate::parallel;
use crate::secrets::credentials::{Credentials, Locations};
use crate::secrets::key_file;
use crate::secrets::node_keys;
use crate::secrets::store::{Secret, Store};
use crate::site::{SITE_FILE, Site, SiteEntryKind, SiteFolder};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use handoff::name::Name;
use keys::identity::NodeIdentity;
use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use keys::timestamp::Timestamp;
use needles::{Needles, OVERLAP, Starts};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The start of an age identity, and its length (age-encryption.org/v1, Bech32 of 32 bytes).
const AGE: &[u8] = b"AGE-SECRET-KEY-1";
const AGE_LENGTH: usize = 74;
/// The start of minisign's secret keys in base64, without and with a passphrase, and their length.
const MINISIGN: [&[u8]; 2] = [b"RWQAAEIy", b"RWRTY0Iy"];
const MINISIGN_LENGTH: usize = 212;
/// The bytes of a minisign key that are the secret half.
const MINISIGN_SEED: std::ops::Range<usize> = 62..94;
/// The lines around an OpenSSH private key.
const OPENSSH: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
const OPENSSH_END: &[u8] = b"-----END";
/// The start of an age file with a passphrase, as it is and in base64 (age-encryption.org/v1, scrypt recipient stanza).
const LOCKED: [&[u8]; 2] =
    [b"age-encryption.org/v1\n-> scrypt ", b"YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdC"];
/// The characters of Bech32, in the order of their values (BIP 173).
const BECH32: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOrigin {
    /// A plain file of the site, where no private key is allowed.
    Plain,
    /// A value that the site stores encrypted.
    Secret,
    /// A file of the base, which may have keys of other people, for example for its own tests.
    Base,
}

/// The keys to search for. Made once per command, because every node's keys are decrypted for it.
pub struct KeyGuard {
    needles: Needles,
    starts: Starts,
    /// Public age keys and signing keys, each with the description of its key.
    owners: BTreeMap<String, String>,
    /// The keys in the public halves of SSH host keys, each with a description.
    hosts: Vec<(Vec<u8>, String)>,
}

impl fmt::Debug for KeyGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyGuard").finish_non_exhaustive()
    }
}

/// A file with a private key, which must not leave the workstation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, classified::Cause)]
#[error("{path} contains {key}, which must not be in an image")]
pub struct KeyInFile {
    /// The path of the file.
    pub path: PathBuf,
    /// A description of the key.
    pub key: String,
}

impl Classified for KeyInFile {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Refused)
    }

    fn own_advice(&self) -> Option<String> {
        Some(
            "remove the key from there; store what a node needs as a secret: psyops secret set --help".into(),
        )
    }
}

/// Why files could not be checked, or are refused.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum GuardError {
    /// A file has a private key.
    #[error(transparent)]
    Key(#[from] KeyInFile),
    /// A file or folder could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file or folder.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
}

impl Classified for GuardError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Key(_) => return None,
        })
    }
}

impl KeyGuard {
    /// A guard for the keys of a site, including those that are open now; `at` has the paths of their files.
    #[must_use]
    pub fn new(site: &Site, at: &Locations, credentials: &Credentials) -> Self {
        let admin = admin_key(&credentials.identity.recipient().to_string());
        let signing = signing_key(credentials.signing.public().as_str());
        let mut needles = Needles::default();
        if let Some(bytes) = identity_bytes(&credentials.identity) {
            needles.add(&bytes, &admin);
        }
        if let Some(bytes) = signing_bytes(&credentials.signing) {
            needles.add(&bytes, &signing);
        }
        for (file, key) in key_file::of_site(site, at).into_iter().flatten().zip([&admin, &signing]) {
            for part in file.locked_bytes() {
                needles.add(&part, key);
            }
        }
        for (bytes, key) in node_bytes(site, &credentials.identity) {
            needles.add(&bytes, &key);
        }
        let admins = site.admin_recipients.iter().map(|key| (key.clone(), admin_key(key)));
        let signers =
            site.signing_keys.iter().map(|key| (key.as_str().to_owned(), signing_key(key.as_str())));
        let nodes = site.nodes().filter_map(|node| Some((node.recipient.clone()?, node_key(&node.name))));
        let store = Store::without_admins(site);
        let hosts = site.nodes().filter_map(|node| {
            // If the public key of a node cannot be read, it cannot be compared.
            let public = store.read_host_key_public(&node.name).ok().flatten();
            Some((public_bytes(&public?)?, host_key(&node.name)))
        });
        let markers = [AGE, MINISIGN[0], MINISIGN[1], OPENSSH, LOCKED[0], LOCKED[1]];
        Self {
            starts: needles.starts(&markers),
            needles,
            // If an admin and a node have the same key, the admin is named.
            owners: nodes.chain(signers).chain(admins).collect(),
            hosts: hosts.collect(),
        }
    }

    /// Checks the files of the site that go into an image: its settings, some of which are in the UKI, its roles and
    /// overlays.
    pub fn check_site(&self, site: &Site) -> Result<(), GuardError> {
        let path = site.folder.path_of(SITE_FILE);
        let text = site.folder.read(SITE_FILE);
        let text = text.map_err(|source| GuardError::Read { path: path.clone(), source })?;
        self.check(text.as_slice(), &path, FileOrigin::Plain)?;
        let roles = site.roles.values().map(|role| &role.dir);
        let overlays = site.overlays.iter().map(|overlay| &overlay.dir);
        roles.chain(overlays).try_for_each(|folder| self.check_folder(folder))
    }

    /// Checks a base's files, in a tar archive made by this builder.
    pub fn check_base(&self, tar: &Path) -> Result<(), GuardError> {
        let read = |source| GuardError::Read { path: tar.to_owned(), source };
        let found = self.find(File::open(tar).map_err(read)?, FileOrigin::Base).map_err(read)?;
        let Some((place, key)) = found else { return Ok(()) };
        let name = entry_at(tar, place).map_err(read)?;
        let path = name.map_or_else(|| tar.to_owned(), |name| Path::new("/").join(name));
        Err(KeyInFile { path, key }.into())
    }

    fn check_folder(&self, folder: &SiteFolder) -> Result<(), GuardError> {
        let read = |path: &Path| {
            let path = folder.path_of(path);
            move |source| GuardError::Read { path, source }
        };
        let data = folder.data().map_err(read(Path::new("")))?;
        let mut todo = vec![PathBuf::new()];
        while let Some(here) = todo.pop() {
            for entry in data.entries(&here).map_err(read(&here))? {
                let path = here.join(&entry.name);
                match entry.kind {
                    SiteEntryKind::Folder => todo.push(path),
                    SiteEntryKind::File => {
                        let file = data.file(&path).map_err(read(&path))?;
                        self.check(file, &folder.path_of(&path), FileOrigin::Plain)?;
                    }
                    // Other kinds of files are refused when the tree is made.
                    SiteEntryKind::Link | SiteEntryKind::Other(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Checks one file.
    pub fn check(&self, file: impl Read, path: &Path, origin: FileOrigin) -> Result<(), GuardError> {
        match self.find(file, origin) {
            Ok(None) => Ok(()),
            Ok(Some((_, key))) => Err(KeyInFile { path: path.to_owned(), key }.into()),
            Err(source) => Err(GuardError::Read { path: path.to_owned(), source }),
        }
    }

    /// The first key in a file, and its offset.
    fn find(&self, file: impl Read, origin: FileOrigin) -> io::Result<Option<(u64, String)>> {
        needles::find(file, &self.starts, |bytes| self.at(bytes, origin))
    }

    /// The key that these bytes begin with.
    fn at(&self, bytes: &[u8], origin: FileOrigin) -> Option<String> {
        if let Some(key) = self.needles.at(bytes) {
            return Some(key.to_owned());
        }
        let other = |what: &str| (origin == FileOrigin::Plain).then(|| what.to_owned());
        if LOCKED.iter().any(|start| bytes.starts_with(start)) {
            return other("an age file protected by a passphrase, as a locked identity is");
        }
        if bytes.starts_with(AGE) {
            let identity = NodeIdentity::parse(bytes.get(..AGE_LENGTH)?).ok()?;
            let known = self.owners.get(&identity.recipient().to_string()).cloned();
            return known.or_else(|| other("an age identity"));
        }
        if MINISIGN.iter().any(|start| bytes.starts_with(start)) {
            let line = std::str::from_utf8(bytes.get(..MINISIGN_LENGTH)?).ok()?;
            BASE64_STANDARD.decode(line).ok()?;
            let file = Zeroizing::new(format!("untrusted comment:\n{line}\n"));
            let public = SigningKey::parse(file.as_bytes()).ok().map(|key| key.public().as_str().to_owned());
            let known = public.and_then(|public| self.owners.get(&public).cloned());
            return known.or_else(|| other("a minisign secret key"));
        }
        if bytes.starts_with(OPENSSH) {
            let body = bytes.get(OPENSSH.len()..bytes.len().min(OVERLAP))?;
            let end = body.windows(OPENSSH_END.len()).position(|part| part == OPENSSH_END)?;
            let text: Vec<u8> =
                body.get(..end)?.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let content = Zeroizing::new(BASE64_STANDARD.decode(Zeroizing::new(text)).ok()?);
            return self.host(&content);
        }
        None
    }

    /// A description of the SSH host key that these bytes contain.
    fn host(&self, content: &[u8]) -> Option<String> {
        let holds = |public: &[u8]| content.windows(public.len()).any(|part| part == public);
        self.hosts.iter().find(|(public, _)| holds(public)).map(|(_, key)| key.clone())
    }
}

fn admin_key(recipient: &str) -> String {
    format!("the key of the admin {recipient}")
}

fn signing_key(public: &str) -> String {
    format!("the signing key {public}")
}

fn node_key(node: &Name) -> String {
    format!("the key of node {node}")
}

fn host_key(node: &Name) -> String {
    format!("the SSH host key of node {node}")
}

/// The secret bytes of all nodes' keys that this admin's identity decrypts.
fn node_bytes(site: &Site, admin: &NodeIdentity) -> Vec<(Zeroizing<Vec<u8>>, String)> {
    let (store, nodes) = (Store::without_admins(site), site.nodes().collect::<Vec<_>>());
    let opened = parallel::each(&nodes, |node| {
        let text = store.read(&Secret::NodeKey(node.name.clone()), admin).ok();
        let identity = text.and_then(|text| NodeIdentity::parse(&text).ok());
        let identity = identity.and_then(|identity| identity_bytes(&identity));
        let host = node_keys::host_key(&store, &node.name, admin).ok().and_then(|key| key.seed());
        let named = |bytes: Option<Zeroizing<Vec<u8>>>, name| bytes.map(|bytes| (bytes, name));
        Ok::<_, Infallible>([named(identity, node_key(&node.name)), named(host, host_key(&node.name))])
    });
    opened.into_iter().flatten().flatten().flatten().collect()
}

/// The name of the entry of a tar archive that contains the byte at `place`.
fn entry_at(tar: &Path, place: u64) -> io::Result<Option<PathBuf>> {
    for entry in tar::Archive::new(File::open(tar)?).entries_with_seek()? {
        let entry = entry?;
        if entry.raw_file_position().saturating_add(entry.size()) > place {
            return Ok(Some(entry.path()?.into_owned()));
        }
    }
    Ok(None)
}

/// The key in a line of an OpenSSH public key, as private keys contain it, too.
fn public_bytes(line: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(line.split_whitespace().nth(1)?).ok().filter(|bytes| bytes.len() >= 32)
}

fn identity_bytes(identity: &NodeIdentity) -> Option<Zeroizing<Vec<u8>>> {
    identity_file::text(identity, Timestamp::from_unix(0)).lines().find_map(age_bytes)
}

/// The bytes of an age identity without the checksum.
fn age_bytes(line: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = line.strip_prefix("AGE-SECRET-KEY-1")?.to_ascii_lowercase();
    let digits = text.as_bytes().get(..text.len().checked_sub(6)?)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let (mut value, mut bits) = (0_u32, 0);
    for digit in digits {
        let five = u32::try_from(BECH32.iter().position(|known| known == digit)?).ok()?;
        value = (value << 5 | five) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(value >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn signing_bytes(key: &SigningKey) -> Option<Zeroizing<Vec<u8>>> {
    let text = key.text().ok()?;
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.lines().nth(1)?).ok()?);
    bytes.get(MINISIGN_SEED).map(|seed| Zeroizing::new(seed.to_vec()))
}

#[cfg(test)]
mod tests;
