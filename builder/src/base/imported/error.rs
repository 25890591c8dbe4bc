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

/// Why there is no tree of such a base.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ImportError {
    /// A file of the site, or of a layout folder, cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        r#source: io::Error,
    },
    /// The tar is another one than the lock says.
    #[error("{path} is not the tar that site.lock names (sha256 {locked}), but another one ({found})")]
    OtherTar {
        /// The tar.
        path: PathBuf,
        /// The digest in the lock.
        locked: Sha256Digest,
        /// Its digest.
        found: Sha256Digest,
    },
    /// Something has another digest than it is known by.
    #[error("{what} with sha256 {expected} has sha256 {found}")]
    WrongDigest {
        /// What it is.
        what: &'static str,
        /// The digest it should have.
        expected: Sha256Digest,
        /// The digest it has.
        found: Sha256Digest,
    },
    /// A layer in the store is not what it was any more.
    #[error("the layer {layer} was damaged in the store, and is removed from it")]
    DamagedLayer {
        /// The layer.
        layer: Sha256Digest,
    },
    /// A compressed file that breaks off or makes no sense.
    #[error("cannot unpack {path}: {}", chain(.source))]
    Unpack {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        r#source: io::Error,
    },
    /// A folder that is no OCI layout, or has not the image.
    #[error("{folder}: {problem}")]
    Layout {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A manifest that no root can be made of.
    #[error("{image}: {problem}")]
    Manifest {
        /// The image.
        image: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The registry did not give what it was asked for.
    #[error("cannot get {what} of {image}: {}", said(.source))]
    Registry {
        /// The image.
        image: String,
        /// What it was asked for.
        what: String,
        /// What came instead.
        r#source: Box<OciDistributionError>,
    },
    /// There is no async runtime or no client.
    #[error("cannot start a client for registries: {0}")]
    Client(String),
    /// No init that the builder knows.
    #[error(
        "{base} has no init: it needs systemd (usr/lib/systemd/systemd), or busybox as init or linuxrc beside a bin/sh"
    )]
    NoInit {
        /// The base.
        base: String,
    },
    /// An init that nodes cannot run.
    #[error("the init of the base, {path}, is not a program for {wanted}")]
    OtherMachine {
        /// The program.
        path: String,
        /// The architecture of the nodes.
        wanted: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tool of this machine.
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

    /// Whether what came is not what was asked for.
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

/// What a registry's client says. Only the errors of HTTP leave it to their sources to say what happened.
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
            Self::OtherTar { .. } => format!("take the tar as it is now with: {}", psyops("lock update")),
            Self::DamagedLayer { .. } => "build again: it is fetched anew".into(),
            Self::WrongDigest { .. } => "something between here and its source changed it; try again".into(),
            Self::Registry { source, .. } if Self::is_refused(source) => {
                "only what everybody may pull is pulled; copy the image into a folder (skopeo copy docker://IMAGE \
                 oci:FOLDER:TAG) and write base = \"oci:./FOLDER:TAG\""
                    .into()
            }
            Self::Registry { source, .. } if Self::is_absent(source) => format!(
                "check base in site.toml; for an image that the registry has no more, name another, and then: {}",
                psyops("lock update")
            ),
            Self::Registry { source, .. } if Self::is_false(source) => {
                "something between here and the registry changed it, or the registry itself is damaged".into()
            }
            Self::Registry { .. } => "check the network and base in site.toml".into(),
            Self::NoInit { .. } => {
                "most images for containers have none: install systemd-sysv or busybox in it, or start from an image \
                 of a whole system"
                    .into()
            }
            _ => return None,
        })
    }
}
