//! A folder with images in it (OCI image specification, image-layout.md), as `skopeo copy`, `buildah push` and others make it.

use super::error::GivenError;
use super::locked::LockedLayer;
use super::manifest::{Source, sha256};
use handoff::hash::Sha256Digest;
use oci_client::manifest::{ImageIndexEntry, OciImageIndex};
use std::fs;
use std::path::{Path, PathBuf};

/// The annotation with an image's tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// One image of a folder.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    index: Vec<u8>,
}

impl Layout {
    /// Finds the image with this tag, or the only one.
    pub(super) fn open(folder: &Path, tag: Option<&str>) -> Result<Self, GivenError> {
        let bad = |problem: String| GivenError::Layout { folder: folder.to_owned(), problem };
        if !folder.join("oci-layout").is_file() {
            return Err(bad("no folder of images (OCI layout): it has no file oci-layout".into()));
        }
        let bytes = read(&folder.join("index.json"))?;
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
            // The entry of a single image need not say for which platform it is.
            [only] => {
                let digest = sha256(&only.digest).map_err(bad)?;
                let bytes = read(&blob(folder, &digest))?;
                super::manifest::checked("the manifest", bytes, &digest)?
            }
            _ => serde_json::to_vec(&index).map_err(|error| bad(format!("its index.json: {error}")))?,
        };
        Ok(Self { folder: folder.to_owned(), index })
    }
}

impl Source for Layout {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn first(&self) -> Result<Vec<u8>, GivenError> {
        Ok(self.index.clone())
    }

    fn manifest(&self, digest: &Sha256Digest) -> Result<Vec<u8>, GivenError> {
        read(&blob(&self.folder, digest))
    }

    fn config(&self, digest: &Sha256Digest) -> Result<Vec<u8>, GivenError> {
        read(&blob(&self.folder, digest))
    }
}

/// Copies a layer out of the folder.
pub(super) fn copy(folder: &Path, layer: &LockedLayer, place: &Path) -> Result<(), GivenError> {
    let path = blob(folder, &layer.sha256);
    fs::copy(&path, place).map(drop).map_err(|source| GivenError::Read { path, source })
}

fn blob(folder: &Path, digest: &Sha256Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, GivenError> {
    fs::read(path).map_err(|source| GivenError::Read { path: path.to_owned(), source })
}

fn tag_of(entry: &ImageIndexEntry) -> Option<&str> {
    entry.annotations.as_ref()?.get(TAG).map(String::as_str)
}

fn tags(entries: &[ImageIndexEntry]) -> String {
    let mut tags: Vec<&str> = entries.iter().filter_map(tag_of).collect();
    tags.dedup();
    if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }
}
