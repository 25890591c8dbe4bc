//! The payload of a seal: a binary age file with a tar (POSIX.1-1988 ustar, pax for long paths) that has `manifest`
//! first, then `files/PATH` for every entry of the manifest.
//!
//! Manifest and contents must match exactly: no entry without its content, no content without its entry, every size and
//! digest right, every content valid for its kind.

use crate::identity::NodeIdentity;
use crate::kinds::{self, BadContent};
use crate::seal::age_file::{self, BadFile};
use handoff::hash::Sha256Digest;
use handoff::manifest::{BadManifest, Manifest, RelativePath};
use handoff::paths::AGE_KEY;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use zeroize::Zeroizing;

/// The name of the manifest in the tar.
pub const MANIFEST: &str = "manifest";
/// The folder of the contents in the tar.
pub const FILES: &str = "files/";
/// The name of the file that a repair writes before it is renamed; no entry may have it.
pub const TEMPORARY: &str = ".psyops-new";
/// The folder that mke2fs makes in every file system.
pub const LOST_AND_FOUND: &str = "lost+found";

/// Why a payload cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadPayload {
    /// Not an age file.
    #[error("it is not an age file")]
    NotAge,
    /// The age file is not encrypted to this key, although the header says so.
    #[error("it is not encrypted to this node's key")]
    NotForThisKey,
    /// Encrypted to this key, and damaged.
    #[error("its encryption is damaged")]
    Damaged,
    /// Not a tar, or not in the expected form.
    #[error("its tar is damaged")]
    BadTar,
    /// The tar does not begin with the manifest.
    #[error("its tar does not begin with the manifest")]
    NoManifest,
    /// The manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    /// An entry's path is used for something else.
    #[error("the manifest's path {path}: {problem}")]
    Path {
        /// The path of the entry.
        path: String,
        /// What is wrong with the path.
        problem: &'static str,
    },
    /// This name is in the tar but not in the manifest.
    #[error("its tar has {0:?}, which is not in its manifest")]
    Unknown(String),
    /// This file is in the tar twice.
    #[error("its tar has {0} twice")]
    Twice(RelativePath),
    /// This file is in the manifest but not in the tar.
    #[error("the content of {0} is missing")]
    Missing(RelativePath),
    /// A content does not have the size in its entry.
    #[error("the content of {path} has {found} bytes, its manifest entry {expected}")]
    Size {
        /// The path of the entry.
        path: RelativePath,
        /// The size in the manifest.
        expected: u64,
        /// The size in the tar.
        found: usize,
    },
    /// The content of this file does not have the digest in its entry.
    #[error("the SHA-256 of {0} is not that of its manifest entry")]
    Digest(RelativePath),
    /// A content that is not valid for its kind.
    #[error("{path} {problem}")]
    Content {
        /// The path of the entry.
        path: RelativePath,
        /// What is wrong with the content.
        problem: BadContent,
    },
}

/// A manifest and all its contents.
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    /// The whole tar; wiped when dropped.
    tar: Zeroizing<Vec<u8>>,
    /// The range of each content in the tar.
    places: BTreeMap<RelativePath, std::ops::Range<usize>>,
}

impl Contents {
    pub(crate) fn open(payload: &[u8], identity: &NodeIdentity) -> Result<Self, BadPayload> {
        Self::read(age_file::open(payload, identity).map_err(|bad| match bad {
            BadFile::NotAge => BadPayload::NotAge,
            BadFile::NotForThisKey => BadPayload::NotForThisKey,
            BadFile::Damaged => BadPayload::Damaged,
        })?)
    }

    pub(crate) fn of(&self, path: &RelativePath) -> Option<&[u8]> {
        self.tar.get(self.places.get(path)?.clone())
    }

    pub(crate) fn read(tar: Zeroizing<Vec<u8>>) -> Result<Self, BadPayload> {
        let (manifest, places) = index(&tar)?;
        let contents = Self { manifest, tar, places };
        contents.check()?;
        Ok(contents)
    }

    fn check(&self) -> Result<(), BadPayload> {
        check_paths(&self.manifest)?;
        let known: BTreeSet<&RelativePath> = self.manifest.entries.iter().map(|entry| &entry.path).collect();
        if let Some(path) = self.places.keys().find(|path| !known.contains(path)) {
            return Err(BadPayload::Unknown(format!("{FILES}{path}")));
        }
        for entry in &self.manifest.entries {
            let path = || entry.path.clone();
            let content = self.of(&entry.path).ok_or_else(|| BadPayload::Missing(path()))?;
            if u64::try_from(content.len()) != Ok(entry.size) {
                return Err(BadPayload::Size { path: path(), expected: entry.size, found: content.len() });
            }
            if Sha256Digest::of(content) != entry.digest {
                return Err(BadPayload::Digest(path()));
            }
            kinds::check(entry.attributes.kind, content)
                .map_err(|problem| BadPayload::Content { path: path(), problem })?;
        }
        Ok(())
    }
}

/// Checks that the manifest's paths do not conflict with each other and with what is on every secret partition.
pub(crate) fn check_paths(manifest: &Manifest) -> Result<(), BadPayload> {
    let bad = |path: &RelativePath, problem| Err(BadPayload::Path { path: path.to_string(), problem });
    let paths: BTreeSet<&str> = manifest.entries.iter().map(|entry| entry.path.as_str()).collect();
    for entry in &manifest.entries {
        let text = entry.path.as_str();
        if text == AGE_KEY || text.starts_with("age.key/") {
            return bad(&entry.path, "is reserved for the node's key");
        }
        if text.split('/').any(|part| part == TEMPORARY) {
            return bad(&entry.path, "is reserved for the temporary files of repairs");
        }
        if text.split('/').next() == Some(LOST_AND_FOUND) {
            return bad(&entry.path, "is reserved by the file system");
        }
        let folder = format!("{text}/");
        if paths.range(&*folder..).next().is_some_and(|next| next.starts_with(&folder)) {
            return bad(&entry.path, "is both a file and a folder");
        }
    }
    Ok(())
}

type Index = (Manifest, BTreeMap<RelativePath, std::ops::Range<usize>>);

/// Finds manifest and contents in the tar.
fn index(tar: &[u8]) -> Result<Index, BadPayload> {
    let mut manifest = None;
    let mut places = BTreeMap::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().map_err(|_| BadPayload::BadTar)? {
        let entry = entry.map_err(|_| BadPayload::BadTar)?;
        let name = entry.path_bytes().into_owned();
        let name = String::from_utf8(name).map_err(|_| BadPayload::BadTar)?;
        let (Ok(start), Ok(length)) =
            (usize::try_from(entry.raw_file_position()), usize::try_from(entry.size()))
        else {
            return Err(BadPayload::BadTar);
        };
        let place = start..start.saturating_add(length);
        let content = tar.get(place.clone()).ok_or(BadPayload::BadTar)?;
        if manifest.is_none() {
            let text = std::str::from_utf8(content).ok().filter(|_| name == MANIFEST);
            manifest = Some(Manifest::decode(text.ok_or(BadPayload::NoManifest)?)?);
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(BadPayload::Unknown(name));
        }
        let path = name.strip_prefix(FILES).and_then(RelativePath::new);
        let path = path.ok_or(BadPayload::Unknown(name))?;
        if places.insert(path.clone(), place).is_some() {
            return Err(BadPayload::Twice(path));
        }
    }
    Ok((manifest.ok_or(BadPayload::NoManifest)?, places))
}
