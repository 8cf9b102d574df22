//! Reading `multipart/mixed` as it comes: a part about the file, and the file or where it
//! lies (server-server API, "Content Repository"; RFC 2046).

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use outgoing::{AnswerBody, Begun};
use peers::PeerError;
use ruma_common::http_headers::ContentDisposition;

/// What may stand around the file, in bytes: boundaries, headers, the first part.
pub(super) const AROUND: usize = 64 * 1024;
/// The longest boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The part with the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FilePart {
    /// The file follows.
    Here {
        content_type: Option<String>,
        filename: Option<String>,
    },
    /// It lies at a URL.
    Elsewhere(String),
}

/// An answer of two parts.
pub(super) struct Multipart<S = AnswerBody> {
    source: S,
    /// What stands before each part but the first: a line break, two dashes, the boundary.
    separator: Vec<u8>,
    buffer: BytesMut,
    is_over: bool,
}

/// Where the bytes come from.
pub(super) trait Source {
    async fn piece(&mut self) -> Result<Option<Bytes>, PeerError>;
}

impl Source for AnswerBody {
    async fn piece(&mut self) -> Result<Option<Bytes>, PeerError> {
        let piece = self.next().await;
        piece.map_err(|error| PeerError::BadAnswer(error.to_string()))
    }
}

fn wrong(why: &str) -> PeerError {
    PeerError::BadAnswer(format!("the file is not sent as it should be: {why}"))
}

impl Multipart {
    pub(super) fn new(begun: Begun) -> Result<Self, PeerError> {
        let content_type = begun.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(boundary);
        let boundary = boundary.ok_or_else(|| wrong("it has no boundary"))?;
        Ok(Self::of(begun.body, &boundary))
    }
}

impl<S: Source> Multipart<S> {
    fn of(source: S, boundary: &str) -> Self {
        Self {
            source,
            separator: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary may be the very beginning.
            buffer: BytesMut::from(&b"\r\n"[..]),
            is_over: false,
        }
    }

    /// Skips the part about the file, and reads what the part with the file says of it.
    pub(super) async fn file(&mut self) -> Result<FilePart, PeerError> {
        for _ in 0..2 {
            let (separator, mut skipped) = (self.separator.clone(), 0);
            loop {
                if let Some(place) = find(&self.buffer, &separator) {
                    self.buffer.advance(place + separator.len());
                    break;
                }
                let kept = separator.len().min(self.buffer.len());
                skipped += self.buffer.len() - kept;
                if skipped > AROUND {
                    return Err(wrong("what stands before the file is too long"));
                }
                self.buffer.advance(self.buffer.len() - kept);
                self.more().await?;
            }
        }
        let end = loop {
            if let Some(place) = find(&self.buffer, b"\r\n\r\n") {
                break place;
            }
            if self.buffer.len() > AROUND {
                return Err(wrong("the headers of the file are too long"));
            }
            self.more().await?;
        };
        let headers = self.buffer.split_to(end);
        self.buffer.advance(4);
        let headers = headers_of(&headers);
        let place = headers.get(header::LOCATION);
        if let Some(place) = place.and_then(|place| place.to_str().ok()) {
            return Ok(FilePart::Elsewhere(place.to_owned()));
        }
        let (content_type, filename) = description(&headers);
        Ok(FilePart::Here {
            content_type,
            filename,
        })
    }

    /// The next bytes of the file; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            if let Some(place) = find(&self.buffer, &self.separator) {
                self.is_over = true;
                let last = self.buffer.split_to(place).freeze();
                return Ok(Some(last).filter(|last| !last.is_empty()));
            }
            // The beginning of a separator may be the end of what has come.
            let certain = self.buffer.len().saturating_sub(self.separator.len());
            if certain > 0 {
                return Ok(Some(self.buffer.split_to(certain).freeze()));
            }
            self.more().await?;
        }
    }

    /// Reads more.
    async fn more(&mut self) -> Result<(), PeerError> {
        match self.source.piece().await? {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece);
                Ok(())
            }
            None => Err(wrong("it was cut off")),
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(place) = text.get(from..)?.iter().position(|byte| *byte == first) {
        from += place;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

/// The boundary that a content type names.
fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let boundary = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"'))
    })?;
    (1..=MAX_BOUNDARY)
        .contains(&boundary.len())
        .then(|| boundary.to_owned())
}

fn headers_of(text: &[u8]) -> HeaderMap {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let headers = lines.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    headers.take(32).collect()
}

/// What headers say of a file: its type and its name.
pub(super) fn description(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let disposition = headers.get(header::CONTENT_DISPOSITION);
    let disposition =
        disposition.and_then(|value| ContentDisposition::try_from(value.as_bytes()).ok());
    let filename = disposition.and_then(|disposition| disposition.filename);
    (content_type.map(str::to_owned), filename)
}

/// Reads an answer of this content type that comes in pieces of so many bytes.
#[cfg(any(test, fuzzing))]
pub(crate) async fn in_pieces(
    content_type: &str,
    bytes: &[u8],
    length: usize,
) -> Result<(FilePart, Vec<u8>), PeerError> {
    struct InPieces<'a>(std::slice::Chunks<'a, u8>);

    impl Source for InPieces<'_> {
        async fn piece(&mut self) -> Result<Option<Bytes>, PeerError> {
            Ok(self.0.next().map(Bytes::copy_from_slice))
        }
    }

    let boundary = boundary(content_type).ok_or_else(|| wrong("it has no boundary"))?;
    let mut parts = Multipart::of(InPieces(bytes.chunks(length.max(1))), &boundary);
    let part = parts.file().await?;
    let mut file = Vec::new();
    if matches!(part, FilePart::Here { .. }) {
        while let Some(piece) = parts.next().await? {
            file.extend_from_slice(&piece);
        }
    }
    Ok((part, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str, length: usize) -> Result<(FilePart, Vec<u8>), PeerError> {
        in_pieces("multipart/mixed; boundary=b", text.as_bytes(), length).await
    }

    #[tokio::test]
    async fn files_come_in_any_pieces() {
        let about = "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n";
        let head = "Content-Type: image/png\r\ncontent-disposition: inline; filename=a.png\r\n\r\n";
        let file = "\r\n-- \r\n--a\r\n\r\n-\r\r\n--";
        for (before, after) in [
            ("", "\r\n--b--\r\n"),
            ("\r\n", "\r\n--b"),
            ("preamble\r\n", "\r\n--b--"),
        ] {
            let text = format!("{before}{about}{head}{file}{after}");
            for length in 1..=text.len() {
                let (part, bytes) = read(&text, length).await.unwrap();
                let expected = FilePart::Here {
                    content_type: Some("image/png".to_owned()),
                    filename: Some("a.png".to_owned()),
                };
                assert_eq!(part, expected);
                assert_eq!(String::from_utf8_lossy(&bytes), file, "{length}");
            }
        }
        let empty = format!("{about}{head}\r\n--b--");
        assert_eq!(read(&empty, 7).await.unwrap().1, b"");
        let place = format!("{about}Location: https://cdn.test/a\r\n\r\n\r\n--b--");
        let (part, _) = read(&place, 7).await.unwrap();
        assert_eq!(part, FilePart::Elsewhere("https://cdn.test/a".to_owned()));
    }

    #[tokio::test]
    async fn what_is_cut_off_is_no_file() {
        let text = "--b\r\n\r\n{}\r\n--b\r\n\r\nfile\r\n--b";
        for length in 0..text.len() {
            assert!(read(&text[..length], 3).await.is_err(), "{length}");
        }
        assert_eq!(read(text, 3).await.unwrap().1, b"file");
        let long = format!("--b\r\n\r\n{}", "x".repeat(2 * AROUND));
        assert!(read(&long, 1_000).await.is_err());
        let long = format!("--b\r\n\r\n\r\n--b\r\nA: {}", "x".repeat(2 * AROUND));
        assert!(read(&long, 1_000).await.is_err());
    }

    #[test]
    fn boundaries_are_found() {
        for (content_type, expected) in [
            ("multipart/mixed; boundary=abc", Some("abc")),
            ("Multipart/Mixed;charset=x; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data; boundary=abc", None),
            ("multipart/mixed", None),
            ("multipart/mixed; boundary=", None),
            (
                &format!("multipart/mixed; boundary={}", "x".repeat(71)),
                None,
            ),
        ] {
            assert_eq!(
                boundary(content_type).as_deref(),
                expected,
                "{content_type}"
            );
        }
    }
}
