//! From the name of an image to its layers (OCI image specification, manifest.md and image-index.md; Docker's older
//! media types are equivalent).

use super::error::ImportError;
use super::locked::{ImportedBase, LockedLayer};
use crate::base::locked_package::MOST_BYTES;
use crate::limits;
use crate::width::to_u64;
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest, OciManifest};
use serde::Deserialize;

/// An index may list indexes. Real images do not nest them deeper than this.
const DEEPEST: usize = 4;
/// The media types of the layers of a root.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// A source of manifests: a registry or a layout folder.
pub(super) trait Source {
    /// The image as the user names it.
    fn name(&self) -> String;
    /// The manifest or index that the name refers to now.
    fn first(&self) -> Result<Vec<u8>, ImportError>;
    /// The manifest or index with this digest.
    fn manifest(&self, digest: &Sha256Digest) -> Result<Vec<u8>, ImportError>;
    /// The configuration with this digest.
    fn config(&self, digest: &Sha256Digest) -> Result<Vec<u8>, ImportError>;
}

/// The fields of an image's configuration (config.md) that matter here.
#[derive(Deserialize)]
struct Configuration {
    architecture: String,
    os: String,
}

/// The image for Linux on this architecture that the source's name refers to now.
pub(super) fn resolve(
    source: &impl Source,
    architecture: &'static Architecture,
) -> Result<ImportedBase, ImportError> {
    let bad = |problem: String| ImportError::Manifest { image: source.name(), problem };
    let mut bytes = source.first()?;
    for _ in 0..DEEPEST {
        let parsed = serde_json::from_slice::<OciManifest>(&bytes);
        let digest = match parsed.map_err(|error| bad(format!("not a manifest: {error}")))? {
            OciManifest::Image(image) => {
                return locked(source, architecture, &image, Sha256Digest::of(&bytes));
            }
            OciManifest::ImageIndex(index) => for_platform(&index.manifests, architecture)
                .ok_or_else(|| bad(format!("it has nothing for linux/{}", architecture.oci)))?,
        };
        let digest = sha256(&digest).map_err(bad)?;
        bytes = checked("the manifest", source.manifest(&digest)?, &digest)?;
    }
    Err(bad("its index of images leads only to further indexes".into()))
}

/// The first image of an index that is for Linux on this architecture.
fn for_platform(entries: &[ImageIndexEntry], architecture: &Architecture) -> Option<String> {
    let fits = |entry: &&ImageIndexEntry| {
        entry.platform.as_ref().is_some_and(|platform| {
            (platform.os.to_string(), platform.architecture.to_string())
                == ("linux".to_owned(), architecture.oci.to_owned())
        })
    };
    entries.iter().find(fits).map(|entry| entry.digest.clone())
}

fn locked(
    source: &impl Source,
    architecture: &Architecture,
    image: &OciImageManifest,
    manifest: Sha256Digest,
) -> Result<ImportedBase, ImportError> {
    let bad = |problem: String| ImportError::Manifest { image: source.name(), problem };
    let digest = sha256(&image.config.digest).map_err(bad)?;
    let bytes = checked("the configuration", source.config(&digest)?, &digest)?;
    let config: Configuration = serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("its configuration is not valid: {error}")))?;
    if (config.os.as_str(), config.architecture.as_str()) != ("linux", architecture.oci) {
        return Err(bad(format!(
            "it is for {}/{}, and nodes are linux/{}",
            config.os, config.architecture, architecture.oci
        )));
    }
    limits::IMAGE_LAYERS.check(to_u64(image.layers.len())).map_err(|over| bad(over.to_string()))?;
    let layers =
        image.layers.iter().map(|layer| locked_layer(layer).map_err(bad)).collect::<Result<_, _>>()?;
    Ok(ImportedBase::Image { manifest, layers })
}

fn locked_layer(layer: &OciDescriptor) -> Result<LockedLayer, String> {
    if !LAYERS.contains(&layer.media_type.as_str()) {
        return Err(format!("a layer of the media type {:?} is not supported in a root", layer.media_type));
    }
    let size = u64::try_from(layer.size).ok().filter(|size| *size <= MOST_BYTES);
    let size = size.ok_or_else(|| format!("a layer cannot have {} bytes", layer.size))?;
    Ok(LockedLayer { sha256: sha256(&layer.digest)?, size })
}

/// Parses `sha256:` and 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<Sha256Digest, String> {
    let digest = text.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
    digest.ok_or_else(|| format!("{text:?} is not a digest of the form sha256:..."))
}

pub(super) fn checked(
    what: &'static str,
    bytes: Vec<u8>,
    expected: &Sha256Digest,
) -> Result<Vec<u8>, ImportError> {
    let found = Sha256Digest::of(&bytes);
    if found == *expected {
        return Ok(bytes);
    }
    Err(ImportError::WrongDigest { what, expected: *expected, found })
}

/// Parses the bytes as a manifest, an index and a configuration in turn, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    struct Same<'b>(&'b [u8]);

    impl Source for Same<'_> {
        fn name(&self) -> String {
            "image".into()
        }

        fn first(&self) -> Result<Vec<u8>, ImportError> {
            Ok(self.0.to_vec())
        }

        fn manifest(&self, _: &Sha256Digest) -> Result<Vec<u8>, ImportError> {
            Ok(self.0.to_vec())
        }

        fn config(&self, _: &Sha256Digest) -> Result<Vec<u8>, ImportError> {
            Ok(self.0.to_vec())
        }
    }

    let _ = resolve(&Same(bytes), Architecture::DEFAULT);
    if let Ok(OciManifest::Image(image)) = serde_json::from_slice(bytes) {
        let _: Vec<_> = image.layers.iter().map(locked_layer).collect();
    }
    let _ = serde_json::from_slice::<Configuration>(bytes);
}
