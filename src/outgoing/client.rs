//! Requests and answers.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use prometheus::{HistogramVec, IntCounterVec};
use runtime::Metrics;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::{OutgoingError, OutgoingOptions, RootsError, connector::Connector, reach::Reach};

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);
/// The most connections to one server that are kept.
const IDLE_CONNECTIONS: usize = 8;
/// What this server calls itself.
const AGENT: &str = concat!("Cairn/", env!("CARGO_PKG_VERSION"));

/// A request to another server.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is for: the label of its metrics.
    pub purpose: &'static str,
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether `http://` is allowed: it goes to listed private networks only.
    pub plain_http: bool,
    /// How many redirects are followed.
    pub redirects: u8,
    /// How long everything may take.
    pub timeout: Duration,
    /// The most bytes of the answer's body.
    pub answer_limit: usize,
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Makes requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Outgoing {
    client: Client<Connector, Full<Bytes>>,
    /// For addresses that stand in the configuration. Its connections are its own, so that
    /// no other request goes over one of them.
    configured: Client<Connector, Full<Bytes>>,
    reach: Arc<Reach>,
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl Outgoing {
    /// A client that trusts the system's certificate authorities and those of `options`.
    ///
    /// # Errors
    /// [`RootsError`] if a file of `trusted_roots` cannot be used.
    pub fn new(options: &OutgoingOptions, metrics: &Metrics) -> Result<Self, RootsError> {
        let reach = Reach::new(options.private_networks.clone());
        let connector = Connector::new(reach, tls(options)?);
        Ok(Self {
            reach: connector.reach.clone(),
            configured: pool(connector.to_everywhere()),
            client: pool(connector),
            requests: metrics.counter_with(
                "cairn_outgoing_requests_total",
                "Requests to other servers, by what they are for and what came of them.",
                &["purpose", "outcome"],
            ),
            seconds: metrics.histogram_with(
                "cairn_outgoing_request_seconds",
                "How long requests to other servers took.",
                &["purpose"],
                &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0],
            ),
        })
    }

    /// Whether the configuration lists private networks, which may be reached without
    /// TLS too.
    pub fn reaches_private_networks(&self) -> bool {
        self.reach.has_private()
    }

    /// Sends a request and takes the whole answer, which may have any status.
    ///
    /// # Errors
    /// [`OutgoingError`] if there is no answer; then nobody knows whether the other
    /// server has acted on the request.
    pub async fn send(&self, request: Request) -> Result<Answer, OutgoingError> {
        self.measured(request, &self.client).await
    }

    /// Sends a request to an address that stands in the configuration, such as that of an
    /// application service: wherever that is, private networks and plain HTTP included.
    /// No redirect is followed.
    ///
    /// # Errors
    /// As [`Outgoing::send`].
    pub async fn send_configured(&self, mut request: Request) -> Result<Answer, OutgoingError> {
        request.plain_http = true;
        request.redirects = 0;
        self.measured(request, &self.configured).await
    }

    async fn measured(
        &self,
        request: Request,
        client: &Client<Connector, Full<Bytes>>,
    ) -> Result<Answer, OutgoingError> {
        let (purpose, begun) = (request.purpose, Instant::now());
        let answer = timeout(request.timeout, follow(client, request))
            .await
            .unwrap_or(Err(OutgoingError::Timeout));
        let outcome = match &answer {
            Ok(answer) => class(answer.status),
            Err(error) => error.name(),
        };
        self.requests.with_label_values(&[purpose, outcome]).inc();
        self.seconds
            .with_label_values(&[purpose])
            .observe(begun.elapsed().as_secs_f64());
        answer
    }
}

fn pool(connector: Connector) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector)
}

async fn follow(
    client: &Client<Connector, Full<Bytes>>,
    mut request: Request,
) -> Result<Answer, OutgoingError> {
    for _ in 0..=request.redirects {
        let response = ask(client, &request).await?;
        let Some(next) = redirect(&request, &response)? else {
            return whole(response, request.answer_limit).await;
        };
        redirected(&mut request, response.status(), next);
    }
    Err(OutgoingError::Redirect)
}

async fn ask(
    client: &Client<Connector, Full<Bytes>>,
    request: &Request,
) -> Result<http::Response<Incoming>, OutgoingError> {
    match request.url.scheme() {
        "https" => {}
        "http" if request.plain_http => {}
        "http" => return Err(OutgoingError::PlainHttp),
        _ => return Err(OutgoingError::Url),
    }
    let mut asked = http::Request::new(Full::new(request.body.clone()));
    *asked.method_mut() = request.method.clone();
    *asked.uri_mut() = request.url[..url::Position::AfterQuery]
        .parse()
        .map_err(|_| OutgoingError::Url)?;
    *asked.headers_mut() = request.headers.clone();
    let agent = header::HeaderValue::from_static(AGENT);
    asked.headers_mut().insert(header::USER_AGENT, agent);
    client.request(asked).await.map_err(failure)
}

/// The connector's own word for it, if it was the connector.
fn failure(error: hyper_util::client::legacy::Error) -> OutgoingError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(known) = inner.downcast_ref::<OutgoingError>() {
            return known.clone();
        }
        source = inner.source();
    }
    OutgoingError::Exchange(error.to_string())
}

/// The place to which an answer sends the client, if it does.
fn redirect(
    request: &Request,
    response: &http::Response<Incoming>,
) -> Result<Option<Url>, OutgoingError> {
    // A caller that follows none takes the answer as it is.
    let sends_on = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    if !sends_on || request.redirects == 0 {
        return Ok(None);
    }
    let place = response.headers().get(header::LOCATION);
    let place = place.and_then(|place| place.to_str().ok());
    let next = place.and_then(|place| request.url.join(place).ok());
    next.map(Some).ok_or(OutgoingError::Redirect)
}

/// Makes the request that follows a redirect (RFC 9110, section 15.4). Secrets do not
/// go to another server.
pub(crate) fn redirected(request: &mut Request, status: StatusCode, next: Url) {
    if status == StatusCode::SEE_OTHER {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.headers.remove(header::CONTENT_TYPE);
    }
    if next.origin() != request.url.origin() {
        request.headers.remove(header::AUTHORIZATION);
        request.headers.remove(header::COOKIE);
    }
    request.url = next;
}

async fn whole(response: http::Response<Incoming>, limit: usize) -> Result<Answer, OutgoingError> {
    let (parts, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| OutgoingError::Exchange(error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if body.len() + data.len() > limit {
            return Err(OutgoingError::TooLarge(limit));
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.freeze(),
    })
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

fn tls(options: &OutgoingOptions) -> Result<ClientConfig, RootsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for path in &options.trusted_roots {
        let failed = |reason: String| RootsError::File {
            path: path.clone(),
            reason,
        };
        let read = CertificateDer::pem_file_iter(path).and_then(|found| found.collect());
        let certificates: Vec<_> = read.map_err(|error| failed(error.to_string()))?;
        if certificates.is_empty() {
            return Err(failed("it has none".to_owned()));
        }
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        log::warn!(
            "this system has no certificate authorities: no other server can be reached over TLS"
        );
    }
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
