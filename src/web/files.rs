//! Files as bodies: one that a client sends, and one that is sent to it. Neither is
//! ever in memory whole.

use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use media::{StorageError, StoredFile};
use ruma_common::{
    api::{IncomingRequest, error::ErrorCode},
    http_headers::{ContentDisposition, ContentDispositionType},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Answer, ApiError, Conditions,
    conditions::Selected,
    requests::{Asked, Received, discard},
};

/// The longest silence within a body.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// How long a body may take, whatever its length.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A body must arrive at least this fast, in bytes a second, once [`BODY_TIME`] is over.
const SLOWEST: u64 = 16 * 1_024;

/// How long a body of which `received` bytes came, since `begun`, may take for the next.
pub(crate) fn deadline(begun: Instant, received: u64) -> Instant {
    let by_rate = begun + BODY_TIME + Duration::from_secs(received / SLOWEST);
    by_rate.min(Instant::now() + BODY_SILENCE)
}

/// A request with a file as its body, which the handler takes piece by piece. The last
/// argument of a handler, in place of the request itself.
pub struct Upload<R> {
    /// What is asked, without the file.
    pub request: R,
    /// The file.
    pub file: SentFile,
}

impl<R: IncomingRequest + Send + 'static> Asked for Upload<R> {
    type Request = R;

    const IS_STREAMED: bool = true;

    fn new(request: R, _: &Parts, received: Received) -> Self {
        let file = match received {
            Received::Streamed(file) => file,
            Received::Whole(bytes) => SentFile::new(Body::from(bytes), u64::MAX),
        };
        Self { request, file }
    }
}

/// A file that a client is sending.
pub struct SentFile {
    body: Body,
    limit: u64,
    received: u64,
    begun: Instant,
}

impl SentFile {
    /// A file of at most `limit` bytes.
    pub(crate) fn new(body: Body, limit: u64) -> Self {
        Self {
            body,
            limit,
            received: 0,
            begun: Instant::now(),
        }
    }

    /// How many bytes it has, if the client says so. Never more than may be.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes; none at its end.
    ///
    /// # Errors
    /// 413 `M_TOO_LARGE`, 408 if it does not come in time, 400 if it was cut off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let deadline = deadline(self.begun, self.received);
            let frame = timeout_at(deadline, self.body.frame())
                .await
                .map_err(|_| ApiError::body_timeout())?;
            let data = match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(cut_off()),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            self.received += data.len() as u64;
            if self.received > self.limit {
                return Err(ApiError::too_large(self.limit));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Reads what still comes, within bounds, and throws it away: before a refusal,
    /// which a client that is still sending would not read.
    pub async fn discard(self) {
        discard(self.body).await;
    }
}

fn cut_off() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        ErrorCode::Unknown,
        "The file was cut off.",
    )
}

/// What may be shown in a browser's window (client-server API, "Serving inline
/// content"): nothing that runs anything.
const INLINE: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// As the specification recommends ("Content repository").
const CONTENT_SECURITY_POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; \
    plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";

/// What a file without a content type is.
pub(crate) const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Headers that every file has, whatever is sent of it.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "cross-origin",
    ),
    (header::ACCEPT_RANGES, "bytes"),
    // What a media id stands for never changes; who may see it may.
    (header::CACHE_CONTROL, "private, max-age=86400, immutable"),
];

/// A stored file as an answer: all of it, a part, or that the client has it already.
pub struct FileAnswer {
    file: StoredFile,
    conditions: Conditions,
}

impl FileAnswer {
    /// Answers `conditions` with `file`.
    pub fn new(file: StoredFile, conditions: Conditions) -> Self {
        Self { file, conditions }
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, filename: String) -> Self {
        self.file.filename = Some(filename);
        self
    }
}

impl Answer for FileAnswer {
    fn into_answer(self) -> Result<Response, ApiError> {
        let Self { file, conditions } = self;
        let length = file.length;
        let tag = format!("\"{}\"", file.tag);
        let selected = conditions.select(length, &tag);
        if selected == Selected::Nothing {
            return Ok(not_satisfiable(length));
        }
        let mut headers = http::HeaderMap::with_capacity(16);
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::ETAG, value(&tag)?);
        let content_type = match file.content_type.as_str() {
            "" => UNKNOWN_TYPE,
            content_type => content_type,
        };
        // What cannot be a header's value is of no known type.
        let type_value =
            HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(UNKNOWN_TYPE));
        headers.insert(header::CONTENT_TYPE, type_value);
        let disposition = disposition(content_type, file.filename.clone());
        headers.insert(header::CONTENT_DISPOSITION, value(&disposition)?);
        let (status, sent) = match selected {
            Selected::Whole => (StatusCode::OK, 0..length),
            Selected::Part(part) => {
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                headers.insert(header::CONTENT_RANGE, value(&range)?);
                (StatusCode::PARTIAL_CONTENT, part)
            }
            Selected::NotModified | Selected::Nothing => (StatusCode::NOT_MODIFIED, 0..0),
        };
        let body = if status == StatusCode::NOT_MODIFIED {
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_DISPOSITION);
            Body::empty()
        } else {
            headers.insert(header::CONTENT_LENGTH, (sent.end - sent.start).into());
            body(file, sent)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(ApiError::internal)
}

/// 416, with the length that there is.
fn not_satisfiable(length: u64) -> Response {
    let mut response = ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::InvalidParam,
        format!("The file has {length} bytes, and none of those asked for."),
    )
    .into_response();
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

/// The `Content-Disposition` of a file (RFC 6266): shown where that is harmless, saved
/// where it is not.
pub(crate) fn disposition(content_type: &str, filename: Option<String>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let disposition_type = if INLINE.contains(&essence.as_str()) {
        ContentDispositionType::Inline
    } else {
        ContentDispositionType::Attachment
    };
    let filename = filename.filter(|name| !name.is_empty());
    ContentDisposition::new(disposition_type)
        .with_filename(filename)
        .to_string()
}

/// A part of a file as a body.
pub(crate) fn body(file: StoredFile, part: Range<u64>) -> Body {
    match file.whole() {
        Some(bytes) if part == (0..file.length) => Body::from(bytes),
        _ => Body::new(FileBody {
            file: Arc::new(file),
            left: part,
            reading: None,
        }),
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, StorageError>> + Send>>;

/// Reads a file piece by piece, as the client takes them.
struct FileBody {
    file: Arc<StoredFile>,
    /// What was not sent yet.
    left: Range<u64>,
    reading: Option<Reading>,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let (file, left) = (self.file.clone(), self.left.clone());
        let reading = self
            .reading
            .get_or_insert_with(|| Box::pin(async move { file.read(left.start, left.end).await }));
        let piece = ready!(reading.as_mut().poll(context));
        self.reading = None;
        Poll::Ready(Some(match piece {
            Ok(piece) => {
                self.left.start += piece.len() as u64;
                Ok(Frame::data(piece))
            }
            Err(error) => {
                // The client sees a body that ends early.
                log::error!("a file was not sent whole: {error}");
                self.left = 0..0;
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end.saturating_sub(self.left.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_types_are_shown() {
        for shown in [
            "image/png",
            "IMAGE/PNG",
            "text/plain; charset=utf-8",
            "application/json",
            "audio/x-flac",
        ] {
            assert_eq!(disposition(shown, None), "inline", "{shown}");
        }
        for saved in [
            "",
            "text/html",
            "text/html; image/png",
            "image/svg+xml",
            "application/xhtml+xml",
            "application/pdf",
            "application/javascript",
            "application/octet-stream",
            "image/png, text/html",
            "image/png text/html",
            "image",
        ] {
            assert_eq!(disposition(saved, None), "attachment", "{saved}");
        }
    }

    #[test]
    fn names_are_written_as_the_rfc_has_it() {
        for (name, expected) in [
            ("picture.png", "inline; filename=picture.png"),
            (
                "War and Peace.pdf",
                "inline; filename=\"War and Peace.pdf\"",
            ),
            ("a\"b\\c.png", "inline; filename=\"a\\\"b\\\\c.png\""),
            (
                "Übersicht.png",
                "inline; filename*=utf-8''%C3%9Cbersicht.png",
            ),
            ("", "inline"),
        ] {
            assert_eq!(disposition("image/png", Some(name.to_owned())), expected);
        }
        for hostile in [
            "a\r\nSet-Cookie: b=c",
            "\0",
            "../../etc/passwd",
            "ü\r\nX: y",
            "a;b=\"c\"",
            "%0d%0a",
        ] {
            let written = disposition("image/png", Some(hostile.to_owned()));
            assert!(HeaderValue::from_str(&written).is_ok(), "{written:?}");
        }
    }
}
