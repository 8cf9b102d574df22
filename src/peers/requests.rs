//! Asking another server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use outgoing::{Answer, Begun, OutgoingError, Request};
use ruma_common::{
    CanonicalJsonObject, OwnedServerName, ServerName,
    api::{IncomingResponse, OutgoingBody as _, OutgoingRequest, path_builder::SinglePath},
};
use runtime::{Boxed, Timestamp};
use serde_json::Value;
use url::{Position, Url};

use crate::{
    DiscoveryError, Peers, Refused,
    discovery::{Destination, discover},
    json::{MAX_DEPTH, canonical, is_shallow},
    signing::authorization,
};

/// How long a place that was found is used. DNS and `.well-known` have lifetimes of their
/// own, which are kept where they are asked.
const PLACE: Duration = Duration::from_secs(60);
/// The most places that are remembered.
const MOST_PLACES: usize = 10_000;
/// A request that waits shorter says nothing about its server when it waited in vain.
const PATIENT: Duration = Duration::from_secs(10);
/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The longest part of an error's text that is kept, in characters.
const ERROR_CHARACTERS: usize = 300;

/// The bounds of a request.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What it is for: the label of its metrics.
    pub purpose: &'static str,
    /// How long everything may take, the search for the server included.
    pub timeout: Duration,
    /// The most bytes of the answer.
    pub answer_limit: usize,
    /// Whether a server is asked that is left alone for now because it did not answer.
    pub even_if_failing: bool,
}

impl Ask {
    /// Half a minute and a megabyte: enough for what is no room.
    pub const fn new(purpose: &'static str) -> Self {
        Self {
            purpose,
            timeout: Duration::from_secs(30),
            answer_limit: 1024 * 1024,
            even_if_failing: false,
        }
    }

    /// The same for what somebody waits for: it is tried though the server did not answer lately.
    #[must_use]
    pub const fn regardless(self) -> Self {
        Self {
            even_if_failing: true,
            ..self
        }
    }

    /// The same with another time.
    #[must_use]
    pub const fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same with another size of the answer.
    #[must_use]
    pub const fn up_to(self, answer_limit: usize) -> Self {
        Self {
            answer_limit,
            ..self
        }
    }
}

/// Why another server gave no answer, or none that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// This server does not speak to that one.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It did not answer before, and is left alone for a while.
    #[error("{server} does not answer; it is tried again at {until}")]
    LeftAlone {
        /// The server.
        server: OwnedServerName,
        /// When it is tried again.
        until: Timestamp,
    },
    /// It says that it is nowhere.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// It could not be reached.
    #[error("{server} could not be reached: {error}")]
    Unreachable {
        /// The server.
        server: OwnedServerName,
        /// What happened.
        error: OutgoingError,
    },
    /// It answered with an error.
    #[error("the other server answered {status}{}: {message}", errcode.as_deref().map(|code| format!(" {code}")).unwrap_or_default())]
    Status {
        /// The status.
        status: StatusCode,
        /// The error code.
        errcode: Option<String>,
        /// Its sentence, cut.
        message: String,
    },
    /// What it answered is not what was asked for.
    #[error("the other server's answer cannot be used: {0}")]
    BadAnswer(String),
    /// The request cannot be written, which is a mistake in our code or in its content.
    #[error("the request cannot be sent: {0}")]
    BadRequest(String),
}

impl Peers {
    /// Asks a server something, signed, as ruma types it.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn ask<R>(
        &self,
        server: &ServerName,
        request: R,
        ask: Ask,
    ) -> Result<R::IncomingResponse, PeerError>
    where
        R: OutgoingRequest<PathBuilder = SinglePath> + Send,
    {
        let (method, path, content) = written(request)?;
        let answer = self
            .ask_json(server, method, &path, content.as_ref(), ask)
            .await?;
        R::IncomingResponse::try_from_http_response_inner(http::Response::new(&answer[..]))
            .map_err(|error| PeerError::BadAnswer(error.to_string()))
    }

    /// Asks a server something, signed: `path` with its query, and the content if there is
    /// one. Gives the JSON of an answer with status 200.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn ask_json(
        &self,
        server: &ServerName,
        method: Method,
        path: &str,
        content: Option<&CanonicalJsonObject>,
        ask: Ask,
    ) -> Result<Bytes, PeerError> {
        let content = content.map(graph::canonical_text).transpose();
        let content = content.map_err(|error| PeerError::BadRequest(error.to_string()))?;
        self.exchange(server, method, path, content, ask).await
    }

    /// Sends a server content that was written before, signed: any JSON, whose numbers
    /// stay as they were written. Gives the JSON of an answer with status 200.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn put_text(
        &self,
        server: &ServerName,
        path: &str,
        content: &[u8],
        ask: Ask,
    ) -> Result<Bytes, PeerError> {
        self.send_text(server, Method::PUT, path, content, ask)
            .await
    }

    /// [`Peers::put_text`] as a `POST`.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn post_text(
        &self,
        server: &ServerName,
        path: &str,
        content: &[u8],
        ask: Ask,
    ) -> Result<Bytes, PeerError> {
        self.send_text(server, Method::POST, path, content, ask)
            .await
    }

    async fn send_text(
        &self,
        server: &ServerName,
        method: Method,
        path: &str,
        content: &[u8],
        ask: Ask,
    ) -> Result<Bytes, PeerError> {
        let content = canonical(content);
        let content = content.map_err(|error| PeerError::BadRequest(error.to_string()))?;
        self.exchange(server, method, path, Some(content), ask)
            .await
    }

    /// One question with its answer; the content is in canonical form.
    fn exchange<'a>(
        &'a self,
        server: &'a ServerName,
        method: Method,
        path: &'a str,
        content: Option<String>,
        ask: Ask,
    ) -> Boxed<'a, Result<Bytes, PeerError>> {
        Box::pin(async move {
            let sending = async {
                let request = self.signed(server, method, path, content, ask).await?;
                self.send(server, request).await
            };
            let answer = self.within(server, ask, sending).await?;
            good(&answer)?;
            Ok(answer.body)
        })
    }

    /// Asks a server for a file, signed, and gives the beginning of its answer, with
    /// status 200.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn begin(
        &self,
        server: &ServerName,
        path: &str,
        ask: Ask,
    ) -> Result<Begun, PeerError> {
        self.begin_sending(server, Method::GET, path, None, ask)
            .await
    }

    /// [`Peers::begin`] of any request.
    pub(crate) async fn begin_sending(
        &self,
        server: &ServerName,
        method: Method,
        path: &str,
        content: Option<&CanonicalJsonObject>,
        ask: Ask,
    ) -> Result<Begun, PeerError> {
        let content = content.map(graph::canonical_text).transpose();
        let content = content.map_err(|error| PeerError::BadRequest(error.to_string()))?;
        let sending = async {
            let request = self.signed(server, method, path, content, ask).await?;
            self.0
                .outgoing
                .begin(request)
                .await
                .map_err(|error| unreachable(server, error))
        };
        let mut begun = self.within(server, ask, sending).await?;
        if begun.status == StatusCode::OK {
            return Ok(begun);
        }
        let body = begun.body.next().await.ok().flatten();
        Err(refusal(begun.status, &body.unwrap_or_default()))
    }

    /// Fetches a file from where a server says that it lies: a URL of a store of its own,
    /// which need not be that server's and learns nothing from us.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn begin_elsewhere(
        &self,
        server: &ServerName,
        place: &str,
        ask: Ask,
    ) -> Result<Begun, PeerError> {
        let url = Url::parse(place).map_err(|error| PeerError::BadAnswer(error.to_string()))?;
        let request = Request {
            purpose: ask.purpose,
            method: Method::GET,
            url,
            route: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            plain_http: false,
            redirects: 3,
            timeout: ask.timeout,
            answer_limit: ask.answer_limit,
        };
        let begun = self.0.outgoing.begin(request).await;
        let begun = begun.map_err(|error| unreachable(server, error))?;
        if begun.status == StatusCode::OK {
            Ok(begun)
        } else {
            Err(refusal(begun.status, b""))
        }
    }

    /// Asks a server something that needs no signature.
    pub(crate) async fn ask_unsigned(
        &self,
        server: &ServerName,
        path: &str,
        ask: Ask,
    ) -> Result<Answer, PeerError> {
        let sending = async {
            let (destination, url) = self.place(server, path).await?;
            let request = request(ask, Method::GET, url, &destination)?;
            self.send(server, request).await
        };
        self.within(server, ask, sending).await
    }

    async fn send(&self, server: &ServerName, request: Request) -> Result<Answer, PeerError> {
        let answer = self.0.outgoing.send(request).await;
        answer.map_err(|error| unreachable(server, error))
    }

    /// Runs an exchange if the server may be asked at all, and remembers whether it
    /// answered.
    async fn within<T: HasStatus>(
        &self,
        server: &ServerName,
        ask: Ask,
        exchange: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        self.may_speak_to(server)?;
        if !ask.even_if_failing
            && let Some(until) = self.left_alone_until(server)
        {
            return Err(PeerError::LeftAlone {
                server: server.to_owned(),
                until,
            });
        }
        let answer = tokio::time::timeout(ask.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(unreachable(server, OutgoingError::Timeout)));
        self.note(server, ask, &answer).await;
        answer
    }

    /// Remembers that an answer broke off.
    pub(crate) async fn note_failure(&self, server: &ServerName, ask: Ask, error: PeerError) {
        self.note::<Begun>(server, ask, &Err(error)).await;
    }

    async fn note<T: HasStatus>(
        &self,
        server: &ServerName,
        ask: Ask,
        answer: &Result<T, PeerError>,
    ) {
        let back_off = &self.0.back_off;
        match answer {
            Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
                back_off.pause(server, answer.pause()).await;
            }
            Ok(answer) if answer.is_failure() => {
                let reason = format!("it answered {}", answer.status());
                back_off.failed(server, &reason).await;
            }
            // It is there, whatever else it says.
            Ok(_)
            | Err(PeerError::Unreachable {
                error: OutgoingError::TooLarge(_),
                ..
            }) => back_off.heard_from(server).await,
            Err(PeerError::Unreachable {
                error: OutgoingError::Timeout,
                ..
            }) if ask.timeout < PATIENT => {}
            Err(PeerError::Unreachable { error, .. }) => {
                self.0.destinations.lock().remove(server);
                back_off.failed(server, &error.to_string()).await;
            }
            Err(PeerError::Discovery(error)) => back_off.failed(server, &error.to_string()).await,
            Err(_) => {}
        }
    }

    async fn signed(
        &self,
        server: &ServerName,
        method: Method,
        path: &str,
        content: Option<String>,
        ask: Ask,
    ) -> Result<Request, PeerError> {
        let (destination, url) = self.place(server, path).await?;
        let authorization = authorization(
            self.signing_key(),
            (
                method.as_str(),
                &url[Position::BeforePath..Position::AfterQuery],
            ),
            (self.server_name(), server),
            content.as_deref(),
        );
        let mut request = request(ask, method, url, &destination)?;
        let authorization = HeaderValue::from_str(&authorization)
            .map_err(|error| PeerError::BadRequest(error.to_string()))?;
        request.headers.insert(header::AUTHORIZATION, authorization);
        if let Some(content) = content {
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(header::CONTENT_TYPE, json);
            request.body = content.into();
        }
        Ok(request)
    }

    /// Where a server is, and the URL of a path there.
    async fn place(
        &self,
        server: &ServerName,
        path: &str,
    ) -> Result<(Arc<Destination>, Url), PeerError> {
        let destination = self.destination(server).await?;
        let url = format!("https://{}{path}", destination.host);
        let url = Url::parse(&url).map_err(|error| PeerError::BadRequest(error.to_string()))?;
        Ok((destination, url))
    }

    /// Where a server is.
    pub(crate) async fn destination(
        &self,
        server: &ServerName,
    ) -> Result<Arc<Destination>, DiscoveryError> {
        let now = self.clock().now();
        if let Some((found, until)) = self.0.destinations.lock().get(server)
            && *until > now
        {
            return Ok(found.clone());
        }
        let listed = self.0.listed.server(server);
        let place = match self.0.overrides.get(server) {
            Some(place) => Some(("the configuration", *place)),
            None => listed
                .as_ref()
                .and_then(|listed| Some(("the list of servers", listed.address?))),
        };
        let mut found = discover(server, place, self, &self.0.random).await?;
        if let Some(pem) = listed.and_then(|listed| listed.certificate_authority) {
            found.route.authorities = Some(pem.into());
            let step = "the list of servers names its certificate authority";
            found.steps.push(step.to_owned());
        }
        let found = Arc::new(found);
        let mut destinations = self.0.destinations.lock();
        if destinations.len() >= MOST_PLACES {
            destinations.retain(|_, (_, until)| *until > now);
        }
        if destinations.len() < MOST_PLACES {
            destinations.insert(server.to_owned(), (found.clone(), now.plus(PLACE)));
        }
        Ok(found)
    }
}

/// The method, the path with its query and the content of a request that ruma types.
pub(crate) fn written<R>(
    request: R,
) -> Result<(Method, String, Option<CanonicalJsonObject>), PeerError>
where
    R: OutgoingRequest<PathBuilder = SinglePath>,
{
    let wrong = |error: &dyn std::fmt::Display| PeerError::BadRequest(error.to_string());
    let request = request
        .try_into_http_request_inner("https://server", ())
        .map_err(|error| wrong(&error))?;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body: Vec<u8> = body.try_into_buf().map_err(|error| wrong(&error.into()))?;
    let content = (!body.is_empty())
        .then(|| graph::canonical(&body, MAX_DEPTH))
        .transpose()
        .map_err(|error| wrong(&error))?;
    Ok((parts.method, path.to_owned(), content))
}

fn request(
    ask: Ask,
    method: Method,
    url: Url,
    destination: &Destination,
) -> Result<Request, PeerError> {
    let host = HeaderValue::from_str(&destination.host)
        .map_err(|error| PeerError::BadRequest(error.to_string()))?;
    Ok(Request {
        purpose: ask.purpose,
        method,
        url,
        route: Some(destination.route.clone()),
        headers: HeaderMap::from_iter([(header::HOST, host)]),
        body: Bytes::new(),
        plain_http: false,
        redirects: 0,
        timeout: ask.timeout,
        answer_limit: ask.answer_limit,
    })
}

pub(crate) fn unreachable(server: &ServerName, error: OutgoingError) -> PeerError {
    PeerError::Unreachable {
        server: server.to_owned(),
        error,
    }
}

/// Refuses an answer that is an error, or JSON that nobody should parse.
fn good(answer: &Answer) -> Result<(), PeerError> {
    if answer.status != StatusCode::OK {
        return Err(refusal(answer.status, &answer.body));
    }
    if is_shallow(&answer.body) {
        Ok(())
    } else {
        Err(PeerError::BadAnswer("it is nested too deeply".to_owned()))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> PeerError {
    let body = is_shallow(body).then(|| serde_json::from_slice::<Value>(body).ok());
    let body = body.flatten().unwrap_or_default();
    let text = |name: &str| {
        let text = body[name].as_str()?;
        Some(text.chars().take(ERROR_CHARACTERS).collect::<String>())
    };
    PeerError::Status {
        status,
        errcode: text("errcode"),
        message: text("error").unwrap_or_else(|| "it says nothing more".to_owned()),
    }
}

/// An answer, as far as it tells whether a server is there.
trait HasStatus {
    fn status(&self) -> StatusCode;

    /// Whether the server, or what stands before it, cannot answer at all for now.
    fn is_failure(&self) -> bool;

    /// How long a server that answers 429 wants to be left alone.
    fn pause(&self) -> Duration;
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

impl HasStatus for Answer {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn is_failure(&self) -> bool {
        self.status.is_server_error()
    }

    fn pause(&self) -> Duration {
        let body = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        let milliseconds = body["retry_after_ms"].as_u64().map(Duration::from_millis);
        let pause = milliseconds.or_else(|| retry_after(&self.headers));
        pause.unwrap_or(Duration::from_secs(1)).min(LONGEST_PAUSE)
    }
}

impl HasStatus for Begun {
    fn status(&self) -> StatusCode {
        self.status
    }

    /// 504 also says of a file that it has not been uploaded yet.
    fn is_failure(&self) -> bool {
        self.status.is_server_error() && self.status != StatusCode::GATEWAY_TIMEOUT
    }

    fn pause(&self) -> Duration {
        let pause = retry_after(&self.headers);
        pause.unwrap_or(Duration::from_secs(1)).min(LONGEST_PAUSE)
    }
}
