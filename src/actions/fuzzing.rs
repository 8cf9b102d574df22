//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use ruma_common::{api::IncomingRequest as _, serde::Raw};
use ruma_federation_api::transactions::send_transaction_message;

use crate::{edus, files::in_pieces};

/// A file of another server, after a line with the content type of the answer, in pieces whose
/// length the first byte says.
pub fn multipart(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else {
        return;
    };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (line, answer) = rest.split_at(end);
    let content_type = String::from_utf8_lossy(line);
    let answer = answer.get(1..).unwrap_or_default();
    let read = |length: usize| {
        let reading = pin!(in_pieces(&content_type, answer, length));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read.ok(),
            Poll::Pending => unreachable!("nothing has to be waited for"),
        }
    };
    // In whichever pieces it comes, it is the same file.
    let (whole, pieces) = (read(answer.len()), read(usize::from(*length)));
    assert_eq!(whole, pieces);
    assert!(whole.is_none_or(|(_, file)| file.len() <= answer.len()));
}

/// A transaction of another server.
pub fn transaction(bytes: &[u8]) {
    let request = http::Request::builder().uri("/_matrix/federation/v1/send/1");
    let Ok(request) = request.body(bytes) else {
        return;
    };
    let read = send_transaction_message::v1::Request::try_from_http_request_inner(request, &["1"]);
    if let Ok(transaction) = read {
        for edu in &transaction.edus {
            let _ = edus::read(edu);
        }
    }
    // The same as one message.
    if let Ok(edu) = serde_json::from_slice(bytes) {
        let _ = edus::read(&Raw::from_json(edu));
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("multipart", super::multipart);
        each("transaction", super::transaction);
    }
}
