//! Registries (OCI distribution specification). The requests are here; [`super::http`] sends them. The types of the
//! answers are those of the crate `oci-client`.

use super::error::ImportError;
use super::http::{Http, Patience, Question, may_ask};
use super::locked::LockedLayer;
use super::manifest::{Source, checked, sha256};
use crate::limits;
use crate::site::ImageSource;
use crate::store::StoreError;
use handoff::hash::Sha256Digest;
use http_auth::parser::ChallengeParser;
use oci_client::Reference;
use oci_client::errors::{OciDistributionError, Result as OciResult};
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
use std::cell::OnceCell;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// The media types that a name may refer to.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// The header with the digest of the body that the registry sent.
const DIGEST: &str = "docker-content-digest";

/// One image in a registry.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    http: Http,
    patience: Patience,
    token: OnceCell<Option<String>>,
}

/// The answer of a token server (Docker's token authentication specification).
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Registry<'a> {
    /// A registry that was not asked anything yet.
    pub(super) fn new(reference: &'a Reference) -> Result<Self, ImportError> {
        Self::patient(reference, Patience::USUAL)
    }

    /// The same with other time limits.
    pub(super) fn patient(reference: &'a Reference, patience: Patience) -> Result<Self, ImportError> {
        Ok(Self { reference, http: Http::new()?, patience, token: OnceCell::new() })
    }

    /// Downloads a layer to `place`; the caller, which stores it, compares the digest.
    pub(super) fn download(&self, layer: &LockedLayer, place: &Path) -> Result<(), ImportError> {
        let failed = |source| StoreError { path: place.to_owned(), source };
        let mut file = File::create(place).map_err(failed)?;
        let got = self.url(&format!("blobs/sha256:{}", layer.sha256)).and_then(|url| {
            let within = self.patience.for_bytes(layer.size);
            let question = Question { url: &url, token: self.token()?, accept: &[], within };
            self.http.stream(question, layer.size, &mut |bytes| file.write_all(bytes))
        });
        got.map_err(|source| match source {
            // An error with a number comes from the kernel, when the file was written.
            OciDistributionError::IoError(source) if source.raw_os_error().is_some() => failed(source).into(),
            source => self.error(format!("the layer {}", layer.sha256), source),
        })
    }

    fn base(&self) -> String {
        let host = self.reference.resolve_registry();
        let scheme = if ImageSource::is_local(host) { "http" } else { "https" };
        format!("{scheme}://{host}/v2/")
    }

    fn url(&self, rest: &str) -> OciResult<String> {
        let url = format!("{}{}/{rest}", self.base(), self.reference.repository());
        match Url::parse(&url) {
            Ok(_) => Ok(url),
            Err(error) => Err(OciDistributionError::UrlParseError(error.to_string())),
        }
    }

    fn whole(&self, rest: &str, accept: &[&str]) -> OciResult<(HeaderMap, Vec<u8>)> {
        let url = self.url(rest)?;
        let question = Question { url: &url, token: self.token()?, accept, within: self.patience.answer };
        self.http.whole(question, &limits::MANIFEST)
    }

    /// The token that lets anyone pull this image, where the registry requires one. Requested once.
    fn token(&self) -> OciResult<Option<&str>> {
        if self.token.get().is_none() {
            // No other thread can have set it: each thread has its own registry.
            let _ = self.token.set(self.new_token()?);
        }
        Ok(self.token.get().and_then(Option::as_deref))
    }

    fn new_token(&self) -> OciResult<Option<String>> {
        let url = self.base();
        let question = Question { url: &url, token: None, accept: &[], within: self.patience.answer };
        let headers = self.http.headers(question)?;
        let challenge = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some(mut url) = challenge.and_then(token_server).transpose()? else {
            return Ok(None);
        };
        let scope = format!("repository:{}:pull", self.reference.repository());
        url.query_pairs_mut().append_pair("scope", &scope);
        let question = Question { url: url.as_str(), ..question };
        let (_, bytes) = self.http.whole(question, &limits::REGISTRY_TOKEN).map_err(|error| match error {
            OciDistributionError::ServerError { message, .. } => {
                OciDistributionError::AuthenticationFailure(message)
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                OciDistributionError::AuthenticationFailure(envelope.to_string())
            }
            other => other,
        })?;
        let bad = |problem: String| OciDistributionError::RegistryTokenDecodeError(problem);
        let answer: TokenAnswer = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        let token = answer.token.or(answer.access_token).ok_or_else(|| bad("it has no token".into()))?;
        // The token becomes part of a header.
        if token.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Some(token))
        } else {
            Err(bad("the token has a character that no token may have".into()))
        }
    }

    fn pull(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let (headers, bytes) = self
            .whole(&format!("manifests/{name}"), &ACCEPTED)
            .map_err(|source| self.error("the manifest".to_owned(), source))?;
        let claimed = headers.get(DIGEST).and_then(|value| value.to_str().ok());
        match claimed.and_then(|claimed| sha256(claimed).ok()) {
            Some(claimed) => checked("the manifest", bytes, &claimed),
            None => Ok(bytes),
        }
    }

    fn error(&self, what: String, source: OciDistributionError) -> ImportError {
        ImportError::Registry { image: self.reference.to_string(), what, source: Box::new(source) }
    }
}

/// The address of the token server, from the first challenge of a known kind (RFC 9110, section 11.6.1).
fn token_server(challenge: &str) -> Option<OciResult<Url>> {
    let bearer = ChallengeParser::new(challenge)
        .filter_map(Result::ok)
        .find(|challenge| challenge.scheme.eq_ignore_ascii_case("Bearer"))?;
    let parameter = |name: &str| {
        let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = parameter("realm")?;
    let bad = |problem: &str| OciDistributionError::UrlParseError(format!("{realm}: {problem}"));
    Some(Url::parse(&realm).map_err(|error| bad(&error.to_string())).and_then(|mut url| {
        may_ask(&url).map_err(bad)?;
        if let Some(service) = parameter("service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        Ok(url)
    }))
}

impl Source for Registry<'_> {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn first(&self) -> Result<Vec<u8>, ImportError> {
        let by_digest = self.reference.digest();
        let bytes = self.pull(by_digest.or(self.reference.tag()).unwrap_or("latest"))?;
        match by_digest.map(sha256) {
            None => Ok(bytes),
            Some(Ok(digest)) => checked("the manifest", bytes, &digest),
            Some(Err(problem)) => Err(ImportError::Manifest { image: self.name(), problem }),
        }
    }

    fn manifest(&self, digest: &Sha256Digest) -> Result<Vec<u8>, ImportError> {
        self.pull(&format!("sha256:{digest}"))
    }

    fn config(&self, digest: &Sha256Digest) -> Result<Vec<u8>, ImportError> {
        let got = self.whole(&format!("blobs/sha256:{digest}"), &[]);
        got.map(|(_, bytes)| bytes).map_err(|source| self.error("the configuration".to_owned(), source))
    }
}
