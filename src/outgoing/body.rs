//! The body of an answer, as it comes.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::OutgoingError;

/// The body of an answer, within the size and the time that its request named.
pub struct AnswerBody {
    incoming: Incoming,
    limit: usize,
    taken: usize,
    end: Instant,
}

impl AnswerBody {
    pub(crate) fn new(incoming: Incoming, limit: usize, end: Instant) -> Self {
        Self {
            incoming,
            limit,
            taken: 0,
            end,
        }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`OutgoingError`] if it is too long, too slow, or cut off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OutgoingError> {
        loop {
            let frame = timeout_at(self.end, self.incoming.frame())
                .await
                .map_err(|_| OutgoingError::Timeout)?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| OutgoingError::Exchange(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.taken += data.len();
            if self.taken > self.limit {
                return Err(OutgoingError::TooLarge(self.limit));
            }
            return Ok(Some(data));
        }
    }

    /// All of it.
    pub(crate) async fn whole(mut self) -> Result<Bytes, OutgoingError> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }
}
