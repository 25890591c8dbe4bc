//! The part of a lock about an imported base.

use crate::base::locked_package::MOST_BYTES;
use crate::limits;
use crate::store::Inputs;
use crate::width::to_u64;
use handoff::hash::Sha256Digest;
use serde::{Deserialize, Serialize};

/// The tar or the image that the lock names, by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportedBase {
    /// A tar archive.
    Tar {
        /// The digest of the file as it is, that is, compressed.
        sha256: Sha256Digest,
        /// The size of the file in bytes.
        size: u64,
    },
    /// An image for Linux on the architecture of the nodes.
    Image {
        /// The digest of its manifest.
        manifest: Sha256Digest,
        /// The layers of the image, the lowest first.
        layers: Vec<LockedLayer>,
    },
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedLayer {
    /// The digest of the layer's file as it is, that is, compressed.
    pub sha256: Sha256Digest,
    /// The size of that file in bytes.
    pub size: u64,
}

impl ImportedBase {
    /// The digest that identifies it: of the tar, or of the manifest.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        match self {
            Self::Tar { sha256, .. } => *sha256,
            Self::Image { manifest, .. } => *manifest,
        }
    }

    /// Adds it to the inputs of the step that makes the tree.
    pub(crate) fn add_to(&self, inputs: &mut Inputs) {
        match self {
            Self::Tar { sha256, .. } => inputs.add("tar", sha256),
            // The manifest is left out: other annotations, or the same layers under another tag, do not make another
            // tree.
            Self::Image { layers, .. } => {
                for (number, layer) in (1..).zip(layers) {
                    inputs.add(format!("layer {number:03}"), layer.sha256);
                }
            }
        }
    }

    /// Kind, digests and sizes, a line each, for the digest of the lock.
    pub(crate) fn lines(&self) -> String {
        match self {
            Self::Tar { sha256, .. } => format!("tar {sha256}\n"),
            Self::Image { manifest, layers } => {
                let layers: String = layers.iter().map(|layer| format!("layer {}\n", layer.sha256)).collect();
                format!("image {manifest}\n{layers}")
            }
        }
    }

    /// Makes it from the tables of a lock file.
    pub(in crate::base) fn decode(
        tar: Option<RawTar>,
        image: Option<RawImage>,
    ) -> Result<Option<Self>, String> {
        let digest = |what: &str, text: &str| text.parse().map_err(|problem| format!("{what}: {problem}"));
        match (tar, image) {
            (None, None) => Ok(None),
            (Some(RawTar { size, .. }), _) if size > MOST_BYTES => {
                Err(format!("a tar cannot have {size} bytes"))
            }
            (_, Some(RawImage { layer, .. })) if layer.iter().any(|layer| layer.size > MOST_BYTES) => {
                Err("a layer of an image is too large to be one".into())
            }
            (Some(RawTar { sha256, size }), None) => {
                Ok(Some(Self::Tar { sha256: digest("tar", &sha256)?, size }))
            }
            (None, Some(RawImage { manifest, layer })) => {
                let locked =
                    |raw: RawLayer| Ok(LockedLayer { sha256: digest("layer", &raw.sha256)?, size: raw.size });
                let count = to_u64(layer.len());
                limits::IMAGE_LAYERS.check(count).map_err(|over| over.to_string())?;
                let layers = layer.into_iter().map(locked).collect::<Result<_, String>>()?;
                Ok(Some(Self::Image { manifest: digest("image", &manifest)?, layers }))
            }
            (Some(_), Some(_)) => Err("a base is a tar or an image, not both".into()),
        }
    }
}

/// `[tar]` of a lock file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::base) struct RawTar {
    sha256: String,
    size: u64,
}

/// `[image]` of a lock file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::base) struct RawImage {
    manifest: String,
    layer: Vec<RawLayer>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLayer {
    sha256: String,
    size: u64,
}

impl RawTar {
    pub(in crate::base) fn of(imported: Option<&ImportedBase>) -> Option<Self> {
        match imported? {
            ImportedBase::Tar { sha256, size } => Some(Self { sha256: sha256.to_string(), size: *size }),
            ImportedBase::Image { .. } => None,
        }
    }
}

impl RawImage {
    pub(in crate::base) fn of(imported: Option<&ImportedBase>) -> Option<Self> {
        match imported? {
            ImportedBase::Tar { .. } => None,
            ImportedBase::Image { manifest, layers } => {
                let raw =
                    |layer: &LockedLayer| RawLayer { sha256: layer.sha256.to_string(), size: layer.size };
                Some(Self { manifest: manifest.to_string(), layer: layers.iter().map(raw).collect() })
            }
        }
    }
}
