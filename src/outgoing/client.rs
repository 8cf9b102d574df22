//! Requests and answers.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus::{HistogramVec, IntCounterVec};
use runtime::{Metrics, OpenFiles};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::{
    OutgoingError, OutgoingOptions, RootsError, Service,
    body::AnswerBody,
    connector::{Connector, Reached, Route},
    names::Names,
    reach::Reach,
    routes::{Client, Routes},
};

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
    /// Where it goes, if not to the URL's host. Only with TLS.
    pub route: Option<Route>,
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
    /// The version of HTTP that was spoken.
    pub version: Version,
    /// The address that answered.
    pub address: Option<SocketAddr>,
}

/// The beginning of an answer, whatever its status; its body comes piece by piece.
pub struct Begun {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
    /// Where it came from, after all redirects.
    pub url: Url,
}

/// Makes requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Outgoing {
    client: Client,
    /// For addresses that stand in the configuration. Its connections are its own, so that
    /// no other request goes over one of them.
    configured: Client,
    /// For pages of the web, which may come without TLS from public addresses too.
    public: Client,
    routes: Arc<Routes>,
    names: Arc<Names>,
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
        let most = OpenFiles::of_this_process().outgoing();
        let connector = Connector::new(reach, Names::of_the_system(), tls(options)?, most);
        Ok(Self {
            reach: connector.reach.clone(),
            names: connector.names.clone(),
            configured: crate::routes::client(connector.to_everywhere()),
            public: crate::routes::client(connector.without_tls()),
            client: crate::routes::client(connector.clone()),
            routes: Arc::new(Routes::new(connector)),
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

    /// The places of a service, `_matrix-fed._tcp.council.example` for instance; none if
    /// there is no such record.
    ///
    /// # Errors
    /// [`OutgoingError::Name`] if nobody could say.
    pub async fn services(&self, name: &str) -> Result<Vec<Service>, OutgoingError> {
        self.names.services(name).await
    }

    /// The addresses of a host that stands in the configuration, wherever they are; of an
    /// address, itself.
    ///
    /// # Errors
    /// [`OutgoingError::NoName`] if it has none, [`OutgoingError::Name`] if nobody could say.
    pub async fn configured_addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutgoingError> {
        self.names.addresses(host).await
    }

    /// Sends a request and takes the whole answer, which may have any status.
    ///
    /// # Errors
    /// [`OutgoingError`] if there is no answer; then nobody knows whether the other
    /// server has acted on the request.
    pub async fn send(&self, request: Request) -> Result<Answer, OutgoingError> {
        self.whole(request, &self.client).await
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
        self.whole(request, &self.configured).await
    }

    /// Sends a request over connections of `client` and takes the whole answer.
    async fn whole(&self, request: Request, client: &Client) -> Result<Answer, OutgoingError> {
        let (purpose, time) = (request.purpose, request.timeout);
        let whole = async {
            let (limit, end) = (request.answer_limit, Instant::now() + request.timeout);
            let (response, _) = self.follow(client, request).await?;
            let address = response
                .extensions()
                .get::<Reached>()
                .map(|reached| reached.0);
            let (parts, body) = response.into_parts();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: AnswerBody::new(body, limit, end).whole().await?,
                version: parts.version,
                address,
            })
        };
        self.measured(purpose, time, whole, |answer| answer.status)
            .await
    }

    /// Sends a request and takes the beginning of the answer, which may have any status.
    /// The time and size of the request hold for the whole answer.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn begin(&self, request: Request) -> Result<Begun, OutgoingError> {
        self.beginning(request, &self.client).await
    }

    /// As [`begin`](Self::begin), for a page of the web: plain HTTP may be asked for, from
    /// public addresses too. Private ones are refused as everywhere.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn begin_page(&self, mut request: Request) -> Result<Begun, OutgoingError> {
        request.plain_http = true;
        self.beginning(request, &self.public).await
    }

    async fn beginning(&self, request: Request, client: &Client) -> Result<Begun, OutgoingError> {
        let (purpose, time) = (request.purpose, request.timeout);
        let begin = async {
            let (limit, end) = (request.answer_limit, Instant::now() + request.timeout);
            let (response, url) = self.follow(client, request).await?;
            let (parts, body) = response.into_parts();
            Ok(Begun {
                status: parts.status,
                headers: parts.headers,
                body: AnswerBody::new(body, limit, end),
                url,
            })
        };
        self.measured(purpose, time, begin, |begun| begun.status)
            .await
    }

    /// Waits for an answer within the time of its request, and counts what came of it.
    async fn measured<T>(
        &self,
        purpose: &'static str,
        time: Duration,
        asking: impl Future<Output = Result<T, OutgoingError>>,
        status: impl FnOnce(&T) -> StatusCode,
    ) -> Result<T, OutgoingError> {
        let begun = Instant::now();
        let answer = timeout(time, asking)
            .await
            .unwrap_or(Err(OutgoingError::Timeout));
        let outcome = match &answer {
            Ok(answer) => class(status(answer)),
            Err(error) => error.name(),
        };
        self.requests.with_label_values(&[purpose, outcome]).inc();
        self.seconds
            .with_label_values(&[purpose])
            .observe(begun.elapsed().as_secs_f64());
        answer
    }

    async fn follow(
        &self,
        client: &Client,
        mut request: Request,
    ) -> Result<(http::Response<Incoming>, Url), OutgoingError> {
        for _ in 0..=request.redirects {
            let response = self.ask(client, &request).await?;
            let Some(next) = redirect(&request, &response)? else {
                return Ok((response, request.url));
            };
            redirected(&mut request, response.status(), next);
        }
        Err(OutgoingError::Redirect)
    }

    async fn ask(
        &self,
        client: &Client,
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
        let client = match &request.route {
            Some(route) => &self.routes.client(route),
            None => client,
        };
        client.request(asked).await.map_err(failure)
    }
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
    // Both were for the place before.
    request.headers.remove(header::HOST);
    request.route = None;
    request.url = next;
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// The certificate authorities that this server trusts: the system's and those of
/// `trusted_roots`.
///
/// # Errors
/// [`RootsError`] if a file of `trusted_roots` cannot be used.
pub fn trusted_roots(
    options: &OutgoingOptions,
) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
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
        for certificate in &certificates {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| failed(error.to_string()))?;
        }
        roots.extend(certificates);
    }
    Ok(roots)
}

fn tls(options: &OutgoingOptions) -> Result<ClientConfig, RootsError> {
    let mut roots = RootCertStore::empty();
    // The system may have some that cannot be used; those of the options can.
    roots.add_parsable_certificates(trusted_roots(options)?);
    if roots.is_empty() {
        log::warn!(
            "this system has no certificate authorities: no other server can be reached over TLS"
        );
    }
    Ok(client_config(roots)?)
}

/// A configuration that trusts these authorities.
pub(crate) fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
