//! From the bytes of a request to its type.

use std::time::Duration;

use accounts::Operation;
use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequestParts as _, RawPathParams, rejection::RawPathParamsRejection},
};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, request::Parts};
use http_body_util::BodyExt as _;
use peers::DEEPEST_JSON;
use ruma_common::api::{IncomingRequest, error::DeserializationError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{ApiError, SentFile, exchange::Exchange, files::deadline, json};

/// The longest form, in bytes: nobody types more.
const FORM_BYTES: u64 = 16 * 1_024;

/// The longest body of another server's request, in bytes: a transaction has up to 50
/// events of 64 KiB and 100 shorter messages.
const SERVER_BYTES: u64 = 12 * 1_024 * 1_024;

/// How much of an unwanted body is read and thrown away, in bytes.
const DISCARDED: u64 = 8 * 1_024 * 1_024;
/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(3);

/// What an endpoint takes as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing; what is sent nevertheless is ignored.
    Nothing,
    /// A JSON object. An empty body counts as an empty object, as many clients
    /// send none where every field is optional.
    Json,
    /// A JSON object that must be there: it is the content to be stored.
    Content,
    /// The fields of a page's form.
    Form,
}

impl Takes {
    pub(crate) fn by(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Nothing,
            Method::PUT => Self::Content,
            _ => Self::Json,
        }
    }
}

/// The last argument of a handler: what is asked. Every request type of ruma is
/// one, and [`Interactive`] and [`crate::Upload`] around it.
pub trait Asked: Sized + Send + 'static {
    /// The request type that tells method and paths.
    type Request: IncomingRequest;

    /// Whether the handler reads the body itself, while it comes.
    const IS_STREAMED: bool = false;

    /// Makes it of the typed request and of what it was parsed from.
    fn new(request: Self::Request, parts: &Parts, received: Received) -> Self;

    /// What becomes of a request of a client that is wrong.
    ///
    /// # Errors
    /// What is wrong with it, unless the handler wants to tell.
    fn wrong(wrong: Wrong) -> Result<Self, ApiError> {
        Err(wrong.error)
    }
}

/// A request that is not what its endpoint takes.
#[derive(Debug)]
pub struct Wrong {
    /// What is to be told of it.
    pub error: ApiError,
    /// The arguments of its path, decoded.
    pub arguments: Vec<String>,
}

impl Wrong {
    fn new(error: ApiError, arguments: &[&str]) -> Self {
        Self {
            error,
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
        }
    }
}

/// A request that may be wrong, for a handler that has something to say that matters
/// more: that the caller may not ask, or that it was done already.
#[derive(Debug)]
pub struct Tried<R>(pub Result<R, Wrong>);

impl<R: IncomingRequest + Send + 'static> Asked for Tried<R> {
    type Request = R;

    fn new(request: R, _: &Parts, _: Received) -> Self {
        Self(Ok(request))
    }

    fn wrong(wrong: Wrong) -> Result<Self, ApiError> {
        Ok(Self(Err(wrong)))
    }
}

/// The body of a request, as its handler gets it.
pub enum Received {
    /// Read and checked.
    Whole(Bytes),
    /// Still to come.
    Streamed(SentFile),
}

impl<R: IncomingRequest + Send + 'static> Asked for R {
    type Request = R;

    fn new(request: R, _: &Parts, _: Received) -> Self {
        request
    }
}

/// A request that needs a user-interactive authentication, which holds for this
/// very request only.
#[derive(Clone, Debug)]
pub struct Interactive<R> {
    /// What is asked.
    pub request: R,
    /// What the authentication is good for.
    pub operation: Operation,
}

impl<R: IncomingRequest + Send + 'static> Asked for Interactive<R> {
    type Request = R;

    fn new(request: R, parts: &Parts, received: Received) -> Self {
        // Streamed only where a handler asks for it, which this is not.
        let body = match received {
            Received::Whole(bytes) => bytes,
            Received::Streamed(_) => Bytes::new(),
        };
        let operation = Operation::new(parts.method.as_str(), parts.uri.path(), &body);
        Self { request, operation }
    }
}

/// A request with its JSON body as it came: for what clients may add to it.
#[derive(Clone, Debug)]
pub struct WithBody<R> {
    /// What is asked.
    pub request: R,
    /// A JSON object, within the limits.
    pub body: Bytes,
}

impl<R: IncomingRequest + Send + 'static> Asked for WithBody<R> {
    type Request = R;

    fn new(request: R, _: &Parts, received: Received) -> Self {
        let body = match received {
            Received::Whole(bytes) if !bytes.is_empty() => bytes,
            // Streamed only where a handler asks for it, which this is not.
            Received::Whole(_) | Received::Streamed(_) => Bytes::from_static(b"{}"),
        };
        Self { request, body }
    }
}

/// A request of which all is read but its type.
pub(crate) struct Untyped {
    parts: Parts,
    path: Option<RawPathParams>,
    /// Or what is wrong with it, of which its handler may say something else.
    received: Result<Received, ApiError>,
    /// The body, if it was read.
    body: Bytes,
}

/// Gives a request its type.
///
/// # Errors
/// What the specification says of bad input: `M_TOO_LARGE`, `M_NOT_JSON`,
/// `M_BAD_JSON`, `M_INVALID_PARAM`, `M_MISSING_PARAM`.
pub(crate) async fn typed<Q: Asked>(untyped: Untyped, takes: Takes) -> Result<Q, ApiError> {
    let (wrong, received) = match parse(untyped, takes) {
        Ok(request) => return Ok(request),
        Err(wrong) => *wrong,
    };
    if let Some(Received::Streamed(file)) = received {
        file.discard().await;
    }
    Q::wrong(wrong)
}

/// Reads what does not depend on the request's type.
///
/// # Errors
/// What is told whatever the handler would say.
pub(crate) async fn receive(
    mut parts: Parts,
    body: Body,
    exchange: &Exchange,
    takes: Takes,
    is_streamed: bool,
) -> Result<Untyped, ApiError> {
    if is_streamed && exchange.claim.get().is_some() {
        return Err(ApiError::internal("a streamed body cannot be verified"));
    }
    let received = if is_streamed {
        Received::Streamed(begin_file(body, exchange).await?)
    } else {
        match read_body(body, exchange, takes).await {
            Ok(bytes) => Received::Whole(bytes),
            // Nobody knows yet whether it comes from the server that it claims to be.
            Err(error) if exchange.claim.get().is_some() => return Err(error),
            Err(error) => {
                let path = path(&mut parts).await?;
                return Ok(Untyped {
                    parts,
                    path,
                    received: Err(error),
                    body: Bytes::new(),
                });
            }
        }
    };
    let body = match &received {
        Received::Whole(bytes) => bytes.clone(),
        Received::Streamed(_) => Bytes::new(),
    };
    verify(&parts, &body, exchange).await?;
    let path = path(&mut parts).await?;
    Ok(Untyped {
        parts,
        path,
        received: Ok(received),
        body,
    })
}

/// What is wrong with a request, and what is still to come of it.
type Unusable = Box<(Wrong, Option<Received>)>;

/// Gives a request its type, or says what is wrong with it.
fn parse<Q: Asked>(untyped: Untyped, takes: Takes) -> Result<Q, Unusable> {
    let Untyped {
        parts,
        path,
        received,
        body,
    } = untyped;
    let arguments = arguments(path.as_ref());
    let wrong = |error, received| Err(Box::new((Wrong::new(error, &arguments), received)));
    let received = match received {
        Ok(received) => received,
        Err(error) => return wrong(error, None),
    };
    // Some of ruma's requests read their body by hand and want the empty object.
    let json: &[u8] = if takes == Takes::Json && body.is_empty() {
        b"{}"
    } else {
        &body
    };
    let request = Request::from_parts(parts.clone(), json);
    match Q::Request::try_from_http_request_inner(request, &arguments) {
        Ok(request) => Ok(Q::new(request, &parts, received)),
        Err(error) => wrong(refusal(error), Some(received)),
    }
}

/// The path, decoded, if it has arguments.
async fn path(parts: &mut Parts) -> Result<Option<RawPathParams>, ApiError> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(path) => Ok(Some(path)),
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(None),
        Err(_) => Err(ApiError::invalid_param("The path is not UTF-8 text.")),
    }
}

fn arguments(path: Option<&RawPathParams>) -> Vec<&str> {
    let arguments = path.into_iter().flatten();
    arguments.map(|(_, argument)| argument).collect()
}

/// Verifies the signature of the server that says that it calls, if one does.
async fn verify(parts: &Parts, body: &[u8], exchange: &Exchange) -> Result<(), ApiError> {
    let Some((peers, claim)) = exchange.claim.get() else {
        return Ok(());
    };
    let uri = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    match claim.verify(parts.method.as_str(), uri, body) {
        Ok(origin) => {
            exchange.limits.count_server(origin.as_str())?;
            peers.heard_from(&origin).await;
            Ok(())
        }
        Err(error) => {
            exchange.limits.count_address(exchange.address)?;
            Err(error.into())
        }
    }
}

/// What is wrong with a request whose body is JSON.
fn refusal(error: DeserializationError) -> ApiError {
    match error {
        DeserializationError::Json(error) => ApiError::bad_json(format!(
            "The body is not what this endpoint takes: {error}."
        )),
        // Path arguments come with this variant too.
        DeserializationError::Query(error) => {
            let sentence = format!("The path or query is wrong: {error}.");
            // serde has no other way to tell that something is not there.
            if error.to_string().starts_with("missing field") {
                ApiError::missing_param(sentence)
            } else {
                ApiError::invalid_param(sentence)
            }
        }
        error => ApiError::invalid_param(format!("The request is wrong: {error}.")),
    }
}

/// A file that may be as long as files may be.
async fn begin_file(body: Body, exchange: &Exchange) -> Result<SentFile, ApiError> {
    let limit = exchange.limits.options().max_upload_bytes;
    if body.size_hint().lower() > limit {
        discard(body).await;
        return Err(ApiError::too_large(limit));
    }
    Ok(SentFile::new(body, limit))
}

/// Reads a body and checks that it is what the endpoint `takes`.
pub(crate) async fn read_body(
    body: Body,
    exchange: &Exchange,
    takes: Takes,
) -> Result<Bytes, ApiError> {
    let options = exchange.limits.options();
    let is_server = exchange.claim.get().is_some();
    let limit = match takes {
        Takes::Nothing => return Ok(Bytes::new()),
        Takes::Json | Takes::Content if is_server => options.max_body_bytes.max(SERVER_BYTES),
        Takes::Json | Takes::Content => options.max_body_bytes,
        Takes::Form => FORM_BYTES,
    };
    let bytes = collect(body, limit).await?;
    match takes {
        Takes::Nothing | Takes::Form => {}
        Takes::Json if bytes.is_empty() => {}
        Takes::Json | Takes::Content if is_server => {
            json::check_object(&bytes, options.json_depth().max(DEEPEST_JSON))?;
        }
        Takes::Json | Takes::Content => json::check_object(&bytes, options.json_depth())?,
    }
    Ok(bytes)
}

/// All of a body, at most `limit` bytes.
pub(crate) async fn collect(mut body: Body, limit: u64) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit {
        discard(body).await;
        return Err(ApiError::too_large(limit));
    }
    let begun = Instant::now();
    let mut collected = Collected::default();
    loop {
        if collected.length > limit {
            discard(body).await;
            return Err(ApiError::too_large(limit));
        }
        let frame = timeout_at(deadline(begun, collected.length), body.frame())
            .await
            .map_err(|_| ApiError::body_timeout())?;
        match frame {
            None => return Ok(collected.into_bytes()),
            Some(Err(_)) => return Err(ApiError::not_json("The body was cut off.")),
            Some(Ok(frame)) => collected.push(frame.into_data().unwrap_or_default()),
        }
    }
}

/// The pieces of a body; mostly one, which is then not copied.
#[derive(Default)]
struct Collected {
    length: u64,
    pieces: Vec<Bytes>,
}

impl Collected {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len() as u64;
            self.pieces.push(piece);
        }
    }

    fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() < 2 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(self.length).unwrap_or(0));
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }
}

/// Reads what a client still sends, within bounds, before it is refused. If the
/// connection were closed at once, the client would see it reset while sending
/// and never read the answer.
pub(crate) async fn discard(body: Body) {
    discard_up_to(body, DISCARDED).await;
}

/// The same, of so many bytes.
pub(crate) async fn discard_up_to(mut body: Body, most: u64) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len) as u64;
            if read > most {
                break;
            }
        }
    };
    let _ = timeout(DISCARD_TIME, reading).await;
}
