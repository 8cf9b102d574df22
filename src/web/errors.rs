//! The one error that handlers answer with.

use std::{borrow::Cow, fmt, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use ruma_common::api::error::ErrorCode;
use serde_json::{Map, Value};

/// An error as a client sees it: a status, an error code, a sentence, and what
/// else its body holds (client-server API, "Standard error response").
///
/// The doors make it from the domain's errors with `?`; see `refusals.rs`.
#[derive(Clone)]
pub struct ApiError {
    status: StatusCode,
    /// None only for the first answer of a user-interactive authentication,
    /// which is an error by its status alone.
    errcode: Option<ErrorCode>,
    message: Cow<'static, str>,
    fields: Map<String, Value>,
    /// For the log, with the request's id; never sent.
    detail: Option<String>,
}

impl ApiError {
    /// An error with any status and code. Prefer the named ones.
    pub fn new(
        status: StatusCode,
        errcode: ErrorCode,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            errcode: Some(errcode),
            message: message.into(),
            fields: Map::new(),
            detail: None,
        }
    }

    /// 500 `M_UNKNOWN`. `detail` goes to the log, not to the client.
    pub fn internal(detail: impl fmt::Display) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Unknown,
            "The server failed to do this.",
        );
        error.detail = Some(detail.to_string());
        error
    }

    /// 503 `M_UNKNOWN`: nothing was done, later it may work. `detail` goes to the
    /// log, not to the client.
    pub fn unavailable(detail: impl fmt::Display) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unknown,
            "The server is too busy or stopping; try again.",
        );
        error.detail = Some(detail.to_string());
        error
    }

    /// 507 `M_RESOURCE_LIMIT_EXCEEDED`: the disk is nearly full, and nothing new is stored until
    /// there is room. The front adds whom to tell, `admin_contact`, which the specification
    /// asks for.
    pub fn disk_full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::ResourceLimitExceeded,
            "The server's disk is nearly full: nothing new is stored until its administrators make room.",
        )
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    /// 400 `M_BAD_JSON`: JSON, but not what this endpoint takes.
    pub fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadJson, message)
    }

    /// 400 `M_NOT_JSON`.
    pub fn not_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::NotJson, message)
    }

    /// 400 `M_INVALID_PARAM`: a wrong value, in the path or the query mostly.
    pub fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidParam, message)
    }

    /// 400 `M_MISSING_PARAM`.
    pub fn missing_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::MissingParam, message)
    }

    /// 413 `M_TOO_LARGE`: the body is longer than `limit` bytes.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::TooLarge,
            format!("The body is longer than {limit} bytes."),
        )
    }

    /// 408 `M_UNKNOWN`: the body did not arrive in time.
    pub fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            ErrorCode::Unknown,
            "The body did not arrive in time.",
        )
    }

    /// 404 `M_UNRECOGNIZED`: no such endpoint.
    pub fn unrecognized() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorCode::Unrecognized,
            "There is no such endpoint.",
        )
    }

    /// 405 `M_UNRECOGNIZED`: the endpoint exists, with other methods.
    pub fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unrecognized,
            "This endpoint does not know this method.",
        )
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::MissingToken,
            "This endpoint needs an access token.",
        )
    }

    /// 401 `M_UNKNOWN_TOKEN`. With `soft_logout` the client keeps its keys and
    /// may refresh the token or sign in again with the same device.
    pub fn unknown_token(soft_logout: bool) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::UnknownToken,
            "The access token is unknown or has expired.",
        )
        .with("soft_logout", soft_logout)
    }

    /// 429 `M_LIMIT_EXCEEDED`, with `retry_after_ms` and the `Retry-After` header.
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::LimitExceeded,
            "Too many requests; wait a little.",
        )
        .with("retry_after_ms", milliseconds)
    }

    /// 401: a step of a user-interactive authentication is missing; what was wrong
    /// with the one before, if there was one. The fields are still to be added.
    pub(crate) fn step(errcode: Option<ErrorCode>, message: String) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            errcode,
            message: message.into(),
            fields: Map::new(),
            detail: None,
        }
    }

    /// The same with one more field in its body.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The error code; none for the first answer of a user-interactive
    /// authentication.
    pub fn errcode(&self) -> Option<&ErrorCode> {
        self.errcode.as_ref()
    }

    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// One of the body's further fields: `retry_after_ms`, `soft_logout`, `session`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The body's bytes.
    fn body(&self) -> Vec<u8> {
        let mut object = self.fields.clone();
        if let Some(errcode) = &self.errcode {
            object.insert("errcode".to_owned(), errcode.as_str().into());
            object.insert("error".to_owned(), self.message.as_ref().into());
        }
        Value::Object(object).to_string().into_bytes()
    }

    /// Seconds for the `Retry-After` header, rounded up: a client that obeys it
    /// must not come too early.
    fn retry_after_seconds(&self) -> Option<u64> {
        let milliseconds = self.fields.get("retry_after_ms")?.as_u64()?;
        Some(milliseconds.div_ceil(1_000))
    }
}

/// The field that the front adds to an error that tells of exhausted resources.
const CONTACT: &str = "admin_contact";

/// An error that says whom to tell, once the front has added that; travels in its response.
#[derive(Clone)]
pub(crate) struct Exhausted(ApiError);

impl Exhausted {
    /// The answer with whom to tell.
    pub(crate) fn into_response(self, contact: &str) -> Response {
        self.0.with(CONTACT, contact).into_response()
    }
}

/// What the log should say of a failed request; travels in its response.
#[derive(Clone)]
pub(crate) struct Detail(pub(crate) String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(detail) = &self.detail {
            response.extensions_mut().insert(Detail(detail.clone()));
        }
        if self.errcode == Some(ErrorCode::ResourceLimitExceeded) && self.field(CONTACT).is_none() {
            response.extensions_mut().insert(Exhausted(self));
        }
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errcode = self.errcode.as_ref().map_or("", ErrorCode::as_str);
        write!(formatter, "{} {errcode}: {}", self.status, self.message)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiError")
            .field("status", &self.status.as_u16())
            .field("errcode", &self.errcode.as_ref().map(ErrorCode::as_str))
            .field("message", &self.message)
            .field("fields", &self.fields)
            .field("detail", &self.detail)
            .finish()
    }
}

impl std::error::Error for ApiError {}
