//! Extractors for endpoints that ruma does not know. Unlike axum's own, they
//! refuse with Matrix errors, which pages turn into words.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::request::Parts;
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
