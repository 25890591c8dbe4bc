//! Registries (OCI distribution specification), through the crate `oci-client`. All that is async is here: each question
//! waits for its answer on a runtime of this thread.
//!
//! HTTPS with the certificates that this machine trusts; plain HTTP with registries on this machine only.

use super::error::GivenError;
use super::locked::LockedLayer;
use super::manifest::{Source, checked, sha256};
use crate::site::ImageSource;
use crate::store::StoreError;
use futures_util::StreamExt as _;
use handoff::hash::Sha256Digest;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, Result as OciResult};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What a name may stand for.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// How long a registry may be silent.
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_mins(1);

/// One image in a registry.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    client: Client,
    runtime: Runtime,
}

impl<'a> Registry<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(reference: &'a Reference) -> Result<Self, GivenError> {
        // Somebody else may have chosen the same; there is one choice a process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let local = ImageSource::is_local(reference.registry());
        let config = ClientConfig {
            protocol: if local { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("psyops/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            reference,
            client: Client::try_from(config).map_err(|error| GivenError::Client(error.to_string()))?,
            runtime: runtime.map_err(|error| GivenError::Client(error.to_string()))?,
        })
    }

    /// Writes a layer to `place`; whoever stores it compares it with its digest.
    pub(super) fn download(&self, layer: &LockedLayer, place: &Path) -> Result<(), GivenError> {
        let failed = |source| StoreError { path: place.to_owned(), source };
        let mut file = File::create(place).map_err(failed)?;
        let size = i64::try_from(layer.size).unwrap_or(i64::MAX);
        self.stream(&layer.sha256, size, &mut |bytes| file.write_all(bytes)).map_err(|source| match source {
            // What has a number is the system's answer to writing.
            OciDistributionError::IoError(source) if source.raw_os_error().is_some() => failed(source).into(),
            source => self.error(format!("the layer {}", layer.sha256), source),
        })
    }

    fn stream(
        &self,
        digest: &Sha256Digest,
        size: i64,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> OciResult<()> {
        let digest = format!("sha256:{digest}");
        let layer = OciDescriptor { digest, size, ..OciDescriptor::default() };
        self.runtime.block_on(async {
            self.client.auth(self.reference, &RegistryAuth::Anonymous, RegistryOperation::Pull).await?;
            let mut stream = self.client.pull_blob_stream(self.reference, &layer).await?;
            let mut left = u64::try_from(size).unwrap_or(0);
            while let Some(bytes) = stream.next().await {
                let bytes = bytes?;
                left = left.checked_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).ok_or_else(|| {
                    OciDistributionError::SpecViolationError("more bytes than announced".into())
                })?;
                take(&bytes)?;
            }
            Ok(())
        })
    }

    fn pull(&self, reference: &Reference) -> Result<Vec<u8>, GivenError> {
        let answer = self.client.pull_manifest_raw(reference, &RegistryAuth::Anonymous, &ACCEPTED);
        match self.runtime.block_on(answer) {
            Ok((bytes, _)) => Ok(bytes.to_vec()),
            Err(source) => Err(self.error("the manifest".to_owned(), source)),
        }
    }

    fn error(&self, what: String, source: OciDistributionError) -> GivenError {
        GivenError::Registry { image: self.reference.to_string(), what, source: Box::new(source) }
    }
}

/// No configuration of an image is larger.
const MOST_CONFIGURATION: i64 = 8 << 20;

impl Source for Registry<'_> {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn first(&self) -> Result<Vec<u8>, GivenError> {
        let bytes = self.pull(self.reference)?;
        match self.reference.digest().map(sha256) {
            None => Ok(bytes),
            Some(Ok(digest)) => checked("the manifest", bytes, &digest),
            Some(Err(problem)) => Err(GivenError::Manifest { image: self.name(), problem }),
        }
    }

    fn manifest(&self, digest: &Sha256Digest) -> Result<Vec<u8>, GivenError> {
        self.pull(&self.reference.clone_with_digest(format!("sha256:{digest}")))
    }

    fn config(&self, digest: &Sha256Digest) -> Result<Vec<u8>, GivenError> {
        let mut bytes = Vec::new();
        let mut take = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok(())
        };
        self.stream(digest, MOST_CONFIGURATION, &mut take)
            .map_err(|source| self.error("the configuration".to_owned(), source))?;
        Ok(bytes)
    }
}
