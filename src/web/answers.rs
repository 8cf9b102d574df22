//! What handlers answer with.

use axum::response::IntoResponse;
use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use ruma_common::api::{OutgoingResponse, OutgoingResponseExt as _};

use crate::ApiError;

/// What a handler returns: an [`Answer`] or an error.
///
/// `Reply<typing::v3::Response>`, or `Reply<RawJson>` where the bytes exist.
pub type Reply<T> = Result<T, ApiError>;

/// Anything that can be sent to a client: every response type of ruma,
/// [`RawJson`], [`crate::FileAnswer`], [`Whole`].
pub trait Answer: Send {
    /// The response to send.
    ///
    /// # Errors
    /// 500 if the answer cannot be written, which is a mistake in our code.
    fn into_answer(self) -> Result<Response, ApiError>;
}

impl<T: OutgoingResponse + Send> Answer for T {
    fn into_answer(self) -> Result<Response, ApiError> {
        let response = self.try_into_http_response::<BytesMut>().map_err(|error| {
            ApiError::internal(format_args!("an answer cannot be sent: {error}"))
        })?;
        Ok(response.map(|bytes| Body::from(bytes.freeze())))
    }
}

/// 200 with JSON that has been written already: for answers that many wait for,
/// and for stored JSON that is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawJson(pub Bytes);

impl Answer for RawJson {
    fn into_answer(self) -> Result<Response, ApiError> {
        let mut response = Response::new(Body::from(self.0));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

/// A whole response, for what is not JSON.
#[derive(Debug)]
pub struct Whole(pub Response);

impl Answer for Whole {
    fn into_answer(self) -> Result<Response, ApiError> {
        Ok(self.0)
    }
}

/// For handlers of [`crate::Routes::plain`], which axum answers for.
impl IntoResponse for RawJson {
    fn into_response(self) -> Response {
        self.into_answer()
            .unwrap_or_else(IntoResponse::into_response)
    }
}
