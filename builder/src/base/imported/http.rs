//! GET requests to a registry. Every answer has a limit in bytes and in time. The limits also hold for the bodies of
//! errors and for redirects, because the server chooses these as well.
//!
//! HTTPS uses the certificates that this machine trusts. Plain HTTP is allowed only to this machine, also after a
//! redirect.

use super::error::ImportError;
use crate::input::over;
use crate::limits::{self, Limit};
use crate::site::ImageSource;
use crate::width::to_u64;
use oci_client::errors::{OciDistributionError, OciEnvelope, Result as OciResult};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// More redirects than this count as a loop: registries redirect a blob to a storage once, and that once more.
const MOST_REDIRECTS: usize = 5;
/// How long connecting to a registry may take, and how long the registry may send nothing.
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_mins(1);

/// How long a whole answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The time for any answer.
    pub(super) answer: Duration,
    /// A layer gets additional time: its size divided by this rate in bytes per second.
    pub(super) rate: u64,
}

impl Patience {
    /// With these, a manifest of 4 MiB takes half of the minutes over a modem.
    pub(super) const USUAL: Self = Self { answer: Duration::from_mins(10), rate: 16 << 10 };

    pub(super) fn for_bytes(self, size: u64) -> Duration {
        self.answer.saturating_add(Duration::from_secs(size / self.rate.max(1)))
    }
}

/// A client with one thread, which waits for each answer.
pub(super) struct Http {
    client: Client,
    runtime: Runtime,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) url: &'q str,
    pub(super) token: Option<&'q str>,
    pub(super) accept: &'q [&'q str],
    /// The time limit for the whole answer.
    pub(super) within: Duration,
}

impl Http {
    /// A client that has not sent a request yet.
    pub(super) fn new() -> Result<Self, ImportError> {
        // Another part of the process may have installed the same provider; a process has only one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(concat!("psyops/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(redirect));
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            client: client.build().map_err(|error| ImportError::Client(error.to_string()))?,
            runtime: runtime.map_err(|error| ImportError::Client(error.to_string()))?,
        })
    }

    /// The headers of an answer with any status. The body is not read.
    pub(super) fn headers(&self, question: Question<'_>) -> OciResult<HeaderMap> {
        self.run(question, async { Ok(self.send(question).await?.headers().clone()) })
    }

    /// The headers and the body of a successful answer.
    pub(super) fn whole(
        &self,
        question: Question<'_>,
        limit: &'static Limit,
    ) -> OciResult<(HeaderMap, Vec<u8>)> {
        self.run(question, async {
            let mut response = good(self.send(question).await?).await?;
            let (headers, mut bytes) = (response.headers().clone(), Vec::new());
            check(limit, response.content_length().unwrap_or(0))?;
            while let Some(piece) = response.chunk().await? {
                bytes.extend_from_slice(&piece);
                // How much arrives at once depends on the network; the message does not.
                check(limit, to_u64(bytes.len()).min(limit.most + 1))?;
            }
            Ok((headers, bytes))
        })
    }

    /// Writes the body of a successful answer, of at most `size` bytes.
    pub(super) fn stream(
        &self,
        question: Question<'_>,
        size: u64,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> OciResult<()> {
        let too_many = || OciDistributionError::SpecViolationError("more bytes than announced".into());
        self.run(question, async {
            let mut response = good(self.send(question).await?).await?;
            if response.content_length().is_some_and(|claimed| claimed > size) {
                return Err(too_many());
            }
            let mut left = size;
            while let Some(piece) = response.chunk().await? {
                let length = to_u64(piece.len());
                left = left.checked_sub(length).ok_or_else(too_many)?;
                take(&piece)?;
            }
            Ok(())
        })
    }

    async fn send(&self, question: Question<'_>) -> OciResult<Response> {
        let mut request = self.client.get(question.url).timeout(question.within);
        if !question.accept.is_empty() {
            request = request.header(ACCEPT, question.accept.join(", "));
        }
        if let Some(token) = question.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok(request.send().await?)
    }

    fn run<T>(&self, question: Question<'_>, answer: impl Future<Output = OciResult<T>>) -> OciResult<T> {
        self.runtime.block_on(answer).map_err(|error| match error {
            OciDistributionError::RequestError(error) => explained(error, question.within),
            other => other,
        })
    }
}

/// The body of an unsuccessful answer has the reason. Only its beginning is read.
async fn good(mut response: Response) -> OciResult<Response> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let (url, mut body) = (response.url().to_string(), Vec::new());
    while let Some(piece) = response.chunk().await? {
        let room = limits::REGISTRY_ERROR.in_memory() - body.len();
        body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if piece.len() >= room {
            break;
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(OciDistributionError::UnauthorizedError { url });
    }
    Err(match serde_json::from_slice::<OciEnvelope>(&body) {
        Ok(envelope) => OciDistributionError::RegistryError { envelope, url },
        Err(_) => OciDistributionError::ServerError {
            code: status.as_u16(),
            url,
            message: String::from_utf8_lossy(&body).into_owned(),
        },
    })
}

fn check(limit: &'static Limit, found: u64) -> io::Result<()> {
    limit.check(found).map(drop).map_err(over)
}

/// Whether a registry or its token server may be asked at this address.
pub(super) fn may_ask(url: &Url) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if url.host_str().is_some_and(ImageSource::is_local) => Ok(()),
        _ => Err("it leads to another machine without TLS"),
    }
}

fn redirect(attempt: Attempt<'_>) -> Action {
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error(format!("there are more than {MOST_REDIRECTS} redirects"));
    }
    match may_ask(attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(problem) => {
            let problem = format!("a redirect is refused: {problem}");
            attempt.error(problem)
        }
    }
}

/// Adds the reason, which is the last source of the client's own error.
fn explained(error: reqwest::Error, within: Duration) -> OciDistributionError {
    if error.is_timeout() {
        let problem = format!("there was no complete answer within {} s", within.as_secs());
        return io::Error::new(io::ErrorKind::TimedOut, problem).into();
    }
    if error.is_redirect() {
        let reason = error.source().map_or_else(String::new, |source| format!(": {source}"));
        return OciDistributionError::SpecViolationError(format!("{error}{reason}"));
    }
    error.into()
}
