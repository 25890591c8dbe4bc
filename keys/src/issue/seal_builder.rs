//! Making a seal: manifest and contents into a tar, the tar into an age file, a header before and a signature behind.
//!
//! The tar is the same for the same content; the age file is not (its keys are new each time). That is why a seal is
//! kept, and made again only when something in it changes.

use crate::identity::{NodeIdentity, Recipient};
use crate::issue::encryption::{EncryptFailed, encrypt};
use crate::issue::host_key::{BadHostKey, HostKey};
use crate::issue::signing::{SigningFailed, SigningKey};
use crate::kinds::{self, BadContent};
use crate::seal::header::Header;
use crate::seal::payload::{BadPayload, FILES, MANIFEST, check_paths};
use crate::seal::{SealError, UnverifiedSeal};
use handoff::fault::Policy;
use handoff::hash::Sha256Digest;
use handoff::manifest::{Entry, FileAttributes, FileKind, Manifest, RelativePath};
use std::collections::BTreeMap;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a seal could not be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Two files have the same path.
    #[error("the node has two files with the path {0}")]
    Twice(RelativePath),
    /// Content that is not valid for the file's kind.
    #[error("{path} {problem}")]
    Content {
        /// The path of the file.
        path: RelativePath,
        /// What is wrong with its content.
        problem: BadContent,
    },
    /// A host key that an SSH server would refuse.
    #[error("{path}: {problem}")]
    HostKey {
        /// The path of the file.
        path: RelativePath,
        /// What is wrong with the key.
        problem: BadHostKey,
    },
    /// A path, mode or install path that a manifest cannot have.
    #[error(transparent)]
    Manifest(#[from] BadPayload),
    /// Two files have the same install path.
    #[error("{first} and {second} are both installed to {install}")]
    SamePlace {
        /// The install path.
        install: String,
        /// The path of the first file.
        first: RelativePath,
        /// The path of the second file.
        second: RelativePath,
    },
    /// Encrypting failed.
    #[error(transparent)]
    Encrypt(#[from] EncryptFailed),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SigningFailed),
    /// Writing the tar in memory failed.
    #[error("the tar of the payload could not be made: {0}")]
    Tar(std::io::Error),
    /// The new seal does not open again.
    #[error("the seal that was made does not open: {0}")]
    Unusable(SealError),
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> Self {
        Self::Tar(error)
    }
}

impl From<SealError> for BuildError {
    fn from(error: SealError) -> Self {
        Self::Unusable(error)
    }
}

/// The files of a node, collected before they are sealed.
#[derive(Default)]
pub struct SealBuilder {
    policy: Policy,
    remove_unknown: bool,
    files: BTreeMap<RelativePath, (FileAttributes, Zeroizing<Vec<u8>>)>,
}

impl SealBuilder {
    /// Starts with no files.
    #[must_use]
    pub fn new(policy: Policy, remove_unknown: bool) -> Self {
        Self { policy, remove_unknown, files: BTreeMap::new() }
    }

    /// Adds a file; its content must be valid for its kind.
    pub fn add(
        &mut self,
        path: RelativePath,
        file: FileAttributes,
        content: Zeroizing<Vec<u8>>,
    ) -> Result<(), BuildError> {
        if let Err(problem) = kinds::check(file.kind, &content) {
            return Err(BuildError::Content { path, problem });
        }
        if file.kind == FileKind::SshHostKey
            && let Err(problem) = HostKey::parse(&content)
        {
            return Err(BuildError::HostKey { path, problem });
        }
        if self.files.contains_key(&path) {
            return Err(BuildError::Twice(path));
        }
        self.files.insert(path, (file, content));
        Ok(())
    }

    /// The manifest of the files that were added.
    pub fn manifest(&self) -> Result<Manifest, BuildError> {
        let mut places: BTreeMap<&str, &RelativePath> = BTreeMap::new();
        let mut entries = Vec::new();
        for (path, (file, content)) in &self.files {
            if let Some(install) = &file.install
                && let Some(first) = places.insert(install, path)
            {
                return Err(BuildError::SamePlace {
                    install: install.clone(),
                    first: first.clone(),
                    second: path.clone(),
                });
            }
            entries.push(Entry {
                path: path.clone(),
                attributes: file.clone(),
                size: u64::try_from(content.len()).unwrap_or(u64::MAX),
                digest: Sha256Digest::of(content),
            });
        }
        let manifest = Manifest { entries, policy: self.policy.clone(), remove_unknown: self.remove_unknown };
        check_paths(&manifest)?;
        // A value that the reader would refuse (an install path that is not absolute, a mode out of range) is refused
        // here.
        Manifest::decode(&manifest.encode()).map_err(BadPayload::Manifest)?;
        Ok(manifest)
    }

    /// The content that was added for `path`.
    #[must_use]
    pub fn content(&self, path: &RelativePath) -> Option<&[u8]> {
        self.files.get(path).map(|(_, content)| &***content)
    }

    /// Seals everything for the node that `header` names and for the admins.
    pub fn build(
        &self,
        header: &Header,
        admins: &[Recipient],
        key: &SigningKey,
    ) -> Result<Vec<u8>, BuildError> {
        let tar = self.tar()?;
        let recipients = all_recipients(&header.recipient, admins);
        let payload = encrypt(&recipients, &tar)?;
        let mut seal = header.encode(payload.len()).into_bytes();
        seal.extend_from_slice(&payload);
        seal.extend_from_slice(key.sign(&seal, &comment(header, admins))?.as_bytes());
        if seal.last() != Some(&b'\n') {
            seal.push(b'\n');
        }
        let trusted = std::slice::from_ref(key.public());
        UnverifiedSeal::parse(&seal)?.verify(trusted, &header.site)?;
        Ok(seal)
    }

    fn tar(&self) -> Result<Zeroizing<Vec<u8>>, BuildError> {
        let manifest = self.manifest()?.encode();
        let contents: usize =
            self.files.values().map(|(_, content)| content.len().saturating_add(4096)).sum();
        let room = manifest.len().saturating_add(contents).saturating_add(16 * 1024);
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        let mut tar = tar::Builder::new(&mut *out);
        append(&mut tar, MANIFEST, manifest.as_bytes())?;
        for (path, (_, content)) in &self.files {
            append(&mut tar, &format!("{FILES}{path}"), content)?;
        }
        tar.into_inner()?;
        Ok(out)
    }
}

/// The trusted comment of a seal: what it is, and a digest of all public keys that it is encrypted to.
///
/// age does not show who can open a file; without the digest it could not be seen that a seal was made for former
/// admins.
#[must_use]
pub fn comment(header: &Header, admins: &[Recipient]) -> String {
    let mut keys: Vec<String> =
        all_recipients(&header.recipient, admins).iter().map(ToString::to_string).collect();
    keys.sort();
    let digest = Sha256Digest::of(keys.join("\n").as_bytes());
    let Header { site, node, generation, .. } = header;
    format!("psyops-seal site:{site} node:{node} serial:{generation} recipients:{digest}")
}

/// The node and the admins, each key once.
fn all_recipients(node: &Recipient, admins: &[Recipient]) -> Vec<Recipient> {
    let mut all = vec![node.clone()];
    for admin in admins {
        if !all.contains(admin) {
            all.push(admin.clone());
        }
    }
    all
}

/// Adds a file without data of this machine in its header: the real modes and owners are in the manifest.
fn append(tar: &mut tar::Builder<&mut Vec<u8>>, name: &str, content: &[u8]) -> Result<(), std::io::Error> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, name, content)
}

/// Opens a seal for an admin: what [`UnverifiedSeal`] and its successors do, in one call.
pub fn open_as_admin(
    seal: &[u8],
    trusted: &[crate::signature::PublicKey],
    site: &handoff::name::Name,
    admin: &NodeIdentity,
) -> Result<crate::seal::OpenedSeal, SealError> {
    UnverifiedSeal::parse(seal)?.verify(trusted, site)?.open_as_admin(admin)
}
