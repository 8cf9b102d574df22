//! A file for another server: two parts, of which the first is about the file
//! (server-server API, "Content Repository"; RFC 2046).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, header};
use hyper::body::{Frame, SizeHint};
use media::StoredFile;

use crate::{
    Answer, ApiError,
    files::{UNKNOWN_TYPE, body, disposition},
};

/// A stored file as an answer to another server.
pub struct MultipartFile(pub StoredFile);

impl Answer for MultipartFile {
    fn into_answer(self) -> Result<Response, ApiError> {
        let file = self.0;
        // Part of the hash of the file's bytes: no file can hold it.
        let boundary = format!("cairn-{}", file.tag);
        let content_type = match file.content_type.as_str() {
            "" => UNKNOWN_TYPE,
            given if HeaderValue::from_str(given).is_ok() => given,
            _ => UNKNOWN_TYPE,
        };
        let disposition = disposition(content_type, file.filename.clone());
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n\
             --{boundary}\r\nContent-Type: {content_type}\r\n\
             Content-Disposition: {disposition}\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = file.length + (head.len() + tail.len()) as u64;
        let whole = 0..file.length;
        let parts = Parts {
            head: Some(head.into()),
            file: body(file, whole),
            tail: Some(tail.into()),
            length,
        };
        let mut response = Response::new(Body::new(parts));
        let headers = response.headers_mut();
        let value = HeaderValue::from_str(&format!("multipart/mixed; boundary={boundary}"));
        headers.insert(header::CONTENT_TYPE, value.map_err(ApiError::internal)?);
        headers.insert(header::CONTENT_LENGTH, length.into());
        Ok(response)
    }
}

struct Parts {
    head: Option<Bytes>,
    file: Body,
    tail: Option<Bytes>,
    /// What was not sent yet.
    length: u64,
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let piece = match self.head.take() {
            Some(head) => Some(Ok(Frame::data(head))),
            None => match Pin::new(&mut self.file).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(piece)) => Some(piece),
                Poll::Ready(None) => self.tail.take().map(|tail| Ok(Frame::data(tail))),
            },
        };
        if let Some(Ok(frame)) = &piece {
            let sent = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.length = self.length.saturating_sub(sent);
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
