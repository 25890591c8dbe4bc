//! The last guard before something leaves the workstation: no file that goes into a root or a seal may hold a private key
//! of the site.
//!
//! Private keys are found in two ways. By what they are: an age identity or a signing key is read and its public half compared
//! with the site's, an SSH host key is recognised by the public half that it contains. And by their secret bytes, bare, in
//! hexadecimal or in base64: of the two keys that are open, of the key files themselves where they are under a passphrase,
//! and of each node whose keys open with this admin's identity. A private key in plain text that is none of the site's, and
//! any file under a passphrase as identities are, is refused in files of the site; among its encrypted values it is a secret
//! like others, and in a base it is the business of those who made the base.
//!
//! Looked through are the site's own files (roles, overlays, `source`), all that a seal is made of, the base's files, and what
//! the site writes into the UKI. Not looked through is what the builder brings. Files are read in pieces of bounded size.

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

/// How an age identity begins, and its length (age-encryption.org/v1, Bech32 of 32 bytes).
const AGE: &[u8] = b"AGE-SECRET-KEY-1";
const AGE_LENGTH: usize = 74;
/// How minisign's secret keys begin in base64, without and with a passphrase, and their length.
const MINISIGN: [&[u8]; 2] = [b"RWQAAEIy", b"RWRTY0Iy"];
const MINISIGN_LENGTH: usize = 212;
/// The bytes of a minisign key that are its secret half.
const MINISIGN_SEED: std::ops::Range<usize> = 62..94;
/// Around an OpenSSH private key.
const OPENSSH: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
const OPENSSH_END: &[u8] = b"-----END";
/// How an age file under a passphrase begins, bare and in base64 (age-encryption.org/v1, scrypt recipient stanza).
const LOCKED: [&[u8]; 2] =
    [b"age-encryption.org/v1\n-> scrypt ", b"YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdC"];
/// The characters of Bech32 by their values (BIP 173).
const BECH32: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A plain file of the site, where no private key belongs.
    Plain,
    /// A value that the site keeps encrypted.
    Secret,
    /// A file of the base, which may bring keys of others: for its own tests, say.
    Base,
}

/// What is looked for. Made once for a command, because every node's keys are opened for it.
pub struct KeyGuard {
    needles: Needles,
    starts: Starts,
    /// Public age keys and signing keys, and whose they are.
    owners: BTreeMap<String, String>,
    /// The keys in the public halves of SSH host keys, and whose they are.
    hosts: Vec<(Vec<u8>, String)>,
}

impl fmt::Debug for KeyGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyGuard").finish_non_exhaustive()
    }
}

/// A file that must not leave the workstation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, classified::Cause)]
#[error("{path} holds {key}: it is not put into an image")]
pub struct KeyInFile {
    /// The file.
    pub path: PathBuf,
    /// Which key.
    pub key: String,
}

impl Classified for KeyInFile {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Refused)
    }

    fn own_advice(&self) -> Option<String> {
        Some(
            "remove the key from there; what a node needs is kept as a secret: psyops secret set --help"
                .into(),
        )
    }
}

/// Why files were not looked through, or not let through.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum GuardError {
    /// A key is in one.
    #[error(transparent)]
    Key(#[from] KeyInFile),
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
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
    /// Looks for the keys of a site, and for those that are open now; `at` says where their files are.
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
        let signers = site.signing_keys.iter().map(|key| (key.clone(), signing_key(key)));
        let nodes = site.nodes().filter_map(|node| Some((node.recipient.clone()?, node_key(&node.name))));
        let store = Store::without_admins(site);
        let hosts = site.nodes().filter_map(|node| {
            // A node whose public key cannot be read has none that could be compared.
            let public = store.read_host_key_public(&node.name).ok().flatten();
            Some((public_bytes(&public?)?, host_key(&node.name)))
        });
        let markers = [AGE, MINISIGN[0], MINISIGN[1], OPENSSH, LOCKED[0], LOCKED[1]];
        Self {
            starts: needles.starts(&markers),
            needles,
            // An admin's name wins over a node's.
            owners: nodes.chain(signers).chain(admins).collect(),
            hosts: hosts.collect(),
        }
    }

    /// Looks through what an image has of the site itself: its settings, of which the UKI is given some, its roles and overlays.
    pub fn check_site(&self, site: &Site) -> Result<(), GuardError> {
        let path = site.folder.path_of(SITE_FILE);
        let text = site.folder.read(SITE_FILE);
        let text = text.map_err(|source| GuardError::Read { path: path.clone(), source })?;
        self.check(text.as_slice(), &path, Origin::Plain)?;
        let roles = site.roles.values().map(|role| &role.dir);
        let overlays = site.overlays.iter().map(|overlay| &overlay.dir);
        roles.chain(overlays).try_for_each(|folder| self.check_folder(folder))
    }

    /// Looks through a base's files, which are a tar archive of this builder's.
    pub fn check_base(&self, tar: &Path) -> Result<(), GuardError> {
        let read = |source| GuardError::Read { path: tar.to_owned(), source };
        let found = self.find(File::open(tar).map_err(read)?, Origin::Base).map_err(read)?;
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
                        self.check(file, &folder.path_of(&path), Origin::Plain)?;
                    }
                    // Others are refused where the tree is made.
                    SiteEntryKind::Link | SiteEntryKind::Other(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Looks through one file.
    pub fn check(&self, file: impl Read, path: &Path, origin: Origin) -> Result<(), GuardError> {
        match self.find(file, origin) {
            Ok(None) => Ok(()),
            Ok(Some((_, key))) => Err(KeyInFile { path: path.to_owned(), key }.into()),
            Err(source) => Err(GuardError::Read { path: path.to_owned(), source }),
        }
    }

    /// The first key in a file, and where it begins.
    fn find(&self, file: impl Read, origin: Origin) -> io::Result<Option<(u64, String)>> {
        needles::find(file, &self.starts, |bytes| self.at(bytes, origin))
    }

    /// The key with which these bytes begin.
    fn at(&self, bytes: &[u8], origin: Origin) -> Option<String> {
        if let Some(key) = self.needles.at(bytes) {
            return Some(key.to_owned());
        }
        let other = |what: &str| (origin == Origin::Plain).then(|| what.to_owned());
        if LOCKED.iter().any(|start| bytes.starts_with(start)) {
            return other("an age file under a passphrase, as a locked identity is");
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

    /// Whose SSH host key it is.
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

/// The secret bytes of all nodes' keys that this admin's identity opens.
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

/// The name of the entry of a tar archive in which a byte is.
fn entry_at(tar: &Path, place: u64) -> io::Result<Option<PathBuf>> {
    for entry in tar::Archive::new(File::open(tar)?).entries_with_seek()? {
        let entry = entry?;
        if entry.raw_file_position().saturating_add(entry.size()) > place {
            return Ok(Some(entry.path()?.into_owned()));
        }
    }
    Ok(None)
}

/// The key in a line of an OpenSSH public key, in the form in which private keys have it, too.
fn public_bytes(line: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(line.split_whitespace().nth(1)?).ok().filter(|bytes| bytes.len() >= 32)
}

fn identity_bytes(identity: &NodeIdentity) -> Option<Zeroizing<Vec<u8>>> {
    identity_file::text(identity, Timestamp::from_unix(0)).lines().find_map(age_bytes)
}

/// The bytes of an age identity, without the checksum.
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
