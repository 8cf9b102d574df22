//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::{
    collections::HashSet,
    pin::pin,
    task::{Context, Poll, Waker},
};

use accounts::ImportedRow;
use ruma_common::{api::IncomingRequest as _, serde::Raw};
use ruma_federation_api::transactions::send_transaction_message;

use crate::{edus, files::in_pieces, people_table::people_table};

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

/// A table of people that an administrator has.
pub fn people_csv(bytes: &[u8]) {
    let Ok(table) = people_table(bytes) else {
        return;
    };
    let mut names = HashSet::new();
    for row in &table.rows {
        assert!(!row.localpart.is_empty());
        assert!(
            names.insert(row.localpart.to_lowercase()),
            "one person twice"
        );
    }
    // Every line is told once, as good or as bad.
    let good = table.rows.iter().map(|row| row.line);
    let mut lines: Vec<u64> = good.chain(table.bad.iter().map(|bad| bad.line)).collect();
    let told = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), told);
    // What a line says goes over the socket and comes out the same.
    let text = serde_json::to_string(&table.rows).unwrap_or_default();
    let again: Vec<ImportedRow> = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!(again, table.rows);
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
        each("people_csv", super::people_csv);
        each("transaction", super::transaction);
    }
}
