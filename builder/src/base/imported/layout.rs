//! A folder with images in it (OCI image specification, image-layout.md), as `skopeo copy`, `buildah push` and others
//! make it.

use super::error::ImportError;
use super::locked::LockedLayer;
use super::manifest::{Source, sha256};
use crate::input::read_limited;
use crate::limits;
use crate::site::{SiteEntryKind, SiteFolder};
use handoff::hash::Sha256Digest;
use oci_client::manifest::{ImageIndexEntry, OciImageIndex};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The annotation with an image's tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// One image of a folder.
#[derive(Debug)]
pub(super) struct Layout {
    folder: SiteFolder,
    index: Vec<u8>,
}

impl Layout {
    /// Finds the image with this tag, or the only one.
    pub(super) fn open(folder: SiteFolder, tag: Option<&str>) -> Result<Self, ImportError> {
        let bad = |problem: String| ImportError::Layout { folder: folder.path(), problem };
        let there = folder.kind("oci-layout");
        let there =
            there.map_err(|source| ImportError::Read { path: folder.path_of("oci-layout"), source })?;
        if there != Some(SiteEntryKind::File) {
            return Err(bad("not a folder of images (OCI layout): it has no file oci-layout".into()));
        }
        let bytes = read(&folder, "index.json")?;
        let mut index: OciImageIndex =
            serde_json::from_slice(&bytes).map_err(|error| bad(format!("its index.json: {error}")))?;
        let tags = tags(&index.manifests);
        match tag {
            // An image for several platforms may be listed once for each.
            Some(tag) => index.manifests.retain(|entry| tag_of(entry) == Some(tag)),
            None if index.manifests.len() > 1 => {
                return Err(bad(format!("it has several images; name one with its tag: {tags}")));
            }
            None => {}
        }
        if index.manifests.is_empty() {
            let tag = tag.map(|tag| format!(" with the tag {tag}")).unwrap_or_default();
            return Err(bad(format!("it has no image{tag}; its tags: {tags}")));
        }
        let index = match index.manifests.as_slice() {
            // The entry of a single image need not name its platform.
            [only] => {
                let digest = sha256(&only.digest).map_err(bad)?;
                let bytes = read(&folder, blob(&digest))?;
                super::manifest::checked("the manifest", bytes, &digest)?
            }
            _ => serde_json::to_vec(&index).map_err(|error| bad(format!("its index.json: {error}")))?,
        };
        Ok(Self { folder, index })
    }
}

impl Source for Layout {
    fn name(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn first(&self) -> Result<Vec<u8>, ImportError> {
        Ok(self.index.clone())
    }

    fn manifest(&self, digest: &Sha256Digest) -> Result<Vec<u8>, ImportError> {
        read(&self.folder, blob(digest))
    }

    fn config(&self, digest: &Sha256Digest) -> Result<Vec<u8>, ImportError> {
        read(&self.folder, blob(digest))
    }
}

/// Copies a layer from the folder.
pub(super) fn copy(folder: &SiteFolder, layer: &LockedLayer, place: &Path) -> Result<(), ImportError> {
    let name = blob(&layer.sha256);
    let copied = folder.file(&name).and_then(|mut file| io::copy(&mut file, &mut File::create(place)?));
    copied.map(drop).map_err(|source| ImportError::Read { path: folder.path_of(name), source })
}

fn blob(digest: &Sha256Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.to_string())
}

fn read(folder: &SiteFolder, name: impl AsRef<Path>) -> Result<Vec<u8>, ImportError> {
    let bytes = folder.file(&name).and_then(|file| read_limited(file, &limits::MANIFEST));
    bytes.map_err(|source| ImportError::Read { path: folder.path_of(name), source })
}

fn tag_of(entry: &ImageIndexEntry) -> Option<&str> {
    entry.annotations.as_ref()?.get(TAG).map(String::as_str)
}

fn tags(entries: &[ImageIndexEntry]) -> String {
    let mut tags: Vec<&str> = entries.iter().filter_map(tag_of).collect();
    tags.dedup();
    if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }
}
