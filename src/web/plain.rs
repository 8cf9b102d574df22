//! Extractors for endpoints that ruma does not know. Unlike axum's own, they
//! refuse with Matrix errors, which pages turn into words.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::{header, request::Parts};
use serde::de::DeserializeOwned;

use crate::{
    ApiError,
    exchange::Exchange,
    requests::{self, Takes},
};

/// The JSON object in the body; an empty body counts as an empty object.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let exchange = Exchange::of(&parts)?;
        let bytes = requests::read_body(body, &exchange, Takes::Json).await?;
        let json = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        serde_json::from_slice(json).map(Self).map_err(|error| {
            ApiError::bad_json(format!(
                "The body is not what this endpoint takes: {error}."
            ))
        })
    }
}

/// The fields of a form as a page sends it (`application/x-www-form-urlencoded`), of
/// at most 16 KiB.
#[derive(Clone, Copy, Debug)]
pub struct FormBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for FormBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let exchange = Exchange::of(&parts)?;
        let bytes = requests::read_body(body, &exchange, Takes::Form).await?;
        serde_html_form::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| ApiError::invalid_param(format!("The form is wrong: {error}.")))
    }
}

/// A body of plain text, of at most `MOST` bytes.
#[derive(Clone, Debug)]
pub struct TextBody<const MOST: usize>(pub String);

impl<const MOST: usize, S: Send + Sync> FromRequest<S> for TextBody<MOST> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("text/plain") {
            requests::discard(body).await;
            return Err(ApiError::invalid_param("The body must be text/plain."));
        }
        let most = u64::try_from(MOST).unwrap_or(u64::MAX);
        let bytes = requests::collect(body, most).await?;
        String::from_utf8(bytes.to_vec())
            .map(Self)
            .map_err(|_| ApiError::invalid_param("The body is not UTF-8 text."))
    }
}

/// The query's fields.
#[derive(Clone, Copy, Debug)]
pub struct QueryOf<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        serde_html_form::from_str(parts.uri.query().unwrap_or_default())
            .map(Self)
            .map_err(|error| ApiError::invalid_param(format!("The query is wrong: {error}.")))
    }
}

/// The path's arguments: one value, a tuple, or a struct by their names.
#[derive(Clone, Copy, Debug)]
pub struct PathOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(arguments)| Self(arguments))
            .map_err(|error| ApiError::invalid_param(format!("The path is wrong: {error}.")))
    }
}
