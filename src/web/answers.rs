//! What handlers answer with.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::response::IntoResponse;
use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use hyper::body::Frame;
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

/// 200 with JSON that is written piece by piece, each when the client has taken the
/// one before: for what may be too large to be in memory at once. An error in the
/// middle cuts the connection, so that nobody takes a part for the whole.
pub struct Pieces(Body);

impl Pieces {
    /// The pieces that `next` makes of `first`, each with what makes the one after it,
    /// until there are none.
    pub fn new<T, F, Making>(first: T, next: F) -> Self
    where
        T: Send + Unpin + 'static,
        F: FnMut(T) -> Making + Send + Unpin + 'static,
        Making: Future<Output = Result<Option<(String, T)>, ApiError>> + Send + 'static,
    {
        Self(Body::new(PiecesBody {
            next,
            rest: Some(first),
            making: None,
        }))
    }
}

impl Answer for Pieces {
    fn into_answer(self) -> Result<Response, ApiError> {
        let mut response = Response::new(self.0);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

struct PiecesBody<T, F, Making> {
    next: F,
    rest: Option<T>,
    making: Option<Pin<Box<Making>>>,
}

impl<T, F, Making> HttpBody for PiecesBody<T, F, Making>
where
    T: Unpin,
    F: FnMut(T) -> Making + Unpin,
    Making: Future<Output = Result<Option<(String, T)>, ApiError>>,
{
    type Data = Bytes;
    type Error = ApiError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ApiError>>> {
        let body = self.get_mut();
        let making = match (&mut body.making, body.rest.take()) {
            (Some(making), _) => making,
            (none, Some(rest)) => none.insert(Box::pin((body.next)(rest))),
            (None, None) => return Poll::Ready(None),
        };
        let made = ready!(making.as_mut().poll(context));
        body.making = None;
        Poll::Ready(match made {
            Ok(None) => None,
            Ok(Some((piece, rest))) => {
                body.rest = Some(rest);
                Some(Ok(Frame::data(Bytes::from(piece))))
            }
            Err(error) => Some(Err(error)),
        })
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Counts up from `first`, and fails at `end`.
    fn counting(first: u32, end: u32) -> Body {
        Pieces::new(first, move |number: u32| async move {
            match number {
                number if number == end => Err(ApiError::internal("the end")),
                5 => Ok(None),
                number => Ok(Some((format!("{number},"), number + 1))),
            }
        })
        .0
    }

    #[tokio::test]
    async fn pieces_come_in_their_order() {
        let whole = counting(1, 9).collect().await.unwrap().to_bytes();
        assert_eq!(whole, "1,2,3,4,");
        let none = counting(5, 9).collect().await.unwrap().to_bytes();
        assert!(none.is_empty());
    }

    #[tokio::test]
    async fn an_error_is_no_end() {
        let mut body = counting(1, 3);
        for expected in ["1,", "2,"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
