//! What can go wrong with an imported base.

use crate::error::{Class, Classified, chain};
use crate::limits::OverLimit;
use crate::next_command::psyops;
use crate::store::StoreError;
use crate::tools::ToolError;
use handoff::hash::Sha256Digest;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use std::io;
use std::path::PathBuf;

/// Why an imported base could not be resolved, fetched or unpacked.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ImportError {
    /// A file of the site, or of a layout folder, could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// The tar has another digest than the one in the lock.
    #[error("{path} is not the tar in site.lock: its SHA-256 is {found}, site.lock has {locked}")]
    OtherTar {
        /// The path of the tar.
        path: PathBuf,
        /// The digest in the lock.
        locked: Sha256Digest,
        /// The digest of the file.
        found: Sha256Digest,
    },
    /// A manifest, a configuration or a layer has another digest than the expected one.
    #[error("{what} has the SHA-256 {found} instead of {expected}")]
    WrongDigest {
        /// What has the digest, as a noun for the message.
        what: &'static str,
        /// The expected digest.
        expected: Sha256Digest,
        /// The digest of the bytes.
        found: Sha256Digest,
    },
    /// The digest of a layer in the store is not right any more.
    #[error("the layer {layer} was damaged in the store and has been removed from it")]
    DamagedLayer {
        /// The digest in the lock.
        layer: Sha256Digest,
    },
    /// A compressed file is truncated or not valid.
    #[error("cannot unpack {path}: {}", chain(.source))]
    Unpack {
        /// The path of the file.
        path: PathBuf,
        /// The error from the decoder, or from writing what it unpacked.
        r#source: io::Error,
    },
    /// A folder is not an OCI layout, or does not have the image.
    #[error("{folder}: {problem}")]
    Layout {
        /// The path of the folder.
        folder: PathBuf,
        /// What is wrong with it, in one line.
        problem: String,
    },
    /// The manifest is not one of a root file system for the nodes.
    #[error("{image}: {problem}")]
    Manifest {
        /// The image as `site.toml` names it.
        image: String,
        /// What is wrong with the manifest, in one line.
        problem: String,
    },
    /// The registry could not be reached, or did not send what was asked for.
    #[error("cannot get {what} of {image}: {}", said(.source))]
    Registry {
        /// The image as `site.toml` names it.
        image: String,
        /// What was requested, as a noun for the message.
        what: String,
        /// The error from the registry's client.
        r#source: Box<OciDistributionError>,
    },
    /// The async runtime or the HTTP client could not be created.
    #[error("cannot start a client for registries: {0}")]
    Client(String),
    /// The tree has no init that the builder knows.
    #[error(
        "{base} has no init: it needs systemd (usr/lib/systemd/systemd), or busybox as init or linuxrc beside a bin/sh"
    )]
    NoInit {
        /// The base as `site.toml` names it.
        base: String,
    },
    /// The init is a program for another architecture.
    #[error("the init of the base, {path}, is not a program for {wanted}")]
    OtherMachine {
        /// The path of the init in the tree.
        path: String,
        /// The architecture of the nodes.
        wanted: &'static str,
    },
    /// Reading or writing a file of the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tool of this machine could not be run, or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl ImportError {
    fn is_refused(source: &OciDistributionError) -> bool {
        use OciDistributionError::{AuthenticationFailure, ServerError, UnauthorizedError};
        match source {
            AuthenticationFailure(_) | UnauthorizedError { .. } | ServerError { code: 401 | 403, .. } => true,
            source => {
                codes(source).any(|code| matches!(code, OciErrorCode::Denied | OciErrorCode::Unauthorized))
            }
        }
    }

    /// Whether the answer is not what was asked for.
    fn is_false(source: &OciDistributionError) -> bool {
        match source {
            OciDistributionError::DigestError(_) | OciDistributionError::SpecViolationError(_) => true,
            OciDistributionError::IoError(error) => {
                error.get_ref().and_then(|cause| cause.downcast_ref::<OverLimit>()).is_some()
            }
            _ => false,
        }
    }

    fn is_absent(source: &OciDistributionError) -> bool {
        use OciDistributionError::{ImageManifestNotFoundError, ServerError};
        use OciErrorCode::{BlobUnknown, ManifestUnknown, NameUnknown, NotFound};
        match source {
            ImageManifestNotFoundError(_) | ServerError { code: 404, .. } => true,
            source => codes(source)
                .any(|code| matches!(code, BlobUnknown | ManifestUnknown | NameUnknown | NotFound)),
        }
    }
}

fn codes(source: &OciDistributionError) -> impl Iterator<Item = &OciErrorCode> {
    let errors = match source {
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.as_slice(),
        _ => &[],
    };
    errors.iter().map(|error| &error.code)
}

/// The message of a registry's client. Only the errors of HTTP leave the reason to their sources.
fn said(error: &OciDistributionError) -> String {
    match error {
        OciDistributionError::RequestError(error) => chain(error),
        error => error.to_string(),
    }
}

impl Classified for ImportError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::OtherTar { .. }
            | Self::WrongDigest { .. }
            | Self::Unpack { .. }
            | Self::Manifest { .. }
            | Self::Layout { .. }
            | Self::NoInit { .. }
            | Self::OtherMachine { .. } => Class::BadContent,
            Self::DamagedLayer { .. } => Class::Io,
            Self::Registry { source, .. } if Self::is_absent(source) => Class::MissingInput,
            Self::Registry { source, .. } if Self::is_false(source) => Class::BadContent,
            Self::Registry { .. } | Self::Client(_) => Class::Unavailable,
            Self::Store(_) | Self::Tool(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        Some(match self {
            Self::OtherTar { .. } => format!("to take the tar as it is now: {}", psyops("lock update")),
            Self::DamagedLayer { .. } => "build again: the builder then fetches it again".into(),
            Self::WrongDigest { .. } => "it was changed on the way from its source; build again".into(),
            Self::Registry { source, .. } if Self::is_refused(source) => {
                "only public images are pulled; copy the image into a folder (skopeo copy docker://IMAGE \
                 oci:FOLDER:TAG) and write base = \"oci:./FOLDER:TAG\""
                    .into()
            }
            Self::Registry { source, .. } if Self::is_absent(source) => format!(
                "check base in site.toml; if the registry no longer has the image, choose another one, then: {}",
                psyops("lock update")
            ),
            Self::Registry { source, .. } if Self::is_false(source) => {
                "it was changed on the way from the registry, or the registry is damaged; build again".into()
            }
            Self::Registry { .. } => "check the network and base in site.toml".into(),
            Self::NoInit { .. } => {
                "most container images have no init: install systemd-sysv or busybox in it, or start from an image of a whole system"
                    .into()
            }
            _ => return None,
        })
    }
}
