//! A form with a file, as a page sends it (`multipart/form-data`, RFC 7578): read whole, within the
//! bounds that its page sets.

use std::collections::HashMap;

use axum::{body::HttpBody as _, extract::Request};
use bytes::Bytes;
use http::{HeaderMap, header};

use crate::{ApiError, requests};

/// The longest boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY: usize = 70;
/// The most parts of a form.
const MAX_PARTS: usize = 32;
/// The longest headers of a part, in bytes.
const MAX_HEADERS: usize = 4 * 1_024;
/// What may stand around the file, in bytes: boundaries, headers, the other fields.
const AROUND: usize = 64 * 1_024;
/// How many times as much as is taken is read before it is refused.
const READ_ON: u64 = 4;

/// A form with at most one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileForm {
    /// The fields that are no file.
    pub fields: HashMap<String, String>,
    /// The bytes of the file; none if none was chosen.
    pub file: Option<Bytes>,
}

impl FileForm {
    /// Reads the body of a request, with a file of at most `most` bytes.
    ///
    /// # Errors
    /// If it is no such form, or is larger.
    pub async fn read(request: Request, most: usize) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let Some(boundary) = boundary(&parts.headers) else {
            requests::discard(body).await;
            return Err(wrong("it has no boundary"));
        };
        let limit = u64::try_from(most.saturating_add(AROUND)).unwrap_or(u64::MAX);
        if body.size_hint().lower() > limit {
            // Whoever has chosen too large a file is to see why it is refused.
            requests::discard_up_to(body, limit.saturating_mul(READ_ON)).await;
            return Err(ApiError::too_large(limit));
        }
        let bytes = requests::collect(body, limit).await?;
        let form = Self::parse(&bytes, &boundary).map_err(wrong)?;
        match form.file.as_ref().is_some_and(|file| file.len() > most) {
            true => Err(ApiError::too_large(u64::try_from(most).unwrap_or(u64::MAX))),
            false => Ok(form),
        }
    }

    pub(crate) fn parse(bytes: &Bytes, boundary: &str) -> Result<Self, &'static str> {
        let first = format!("--{boundary}");
        let separator = format!("\r\n--{boundary}");
        let mut form = Self::default();
        let begin = match bytes.starts_with(first.as_bytes()) {
            true => first.len(),
            // Whatever stands before the first boundary counts for nothing.
            false => {
                find(bytes, separator.as_bytes()).ok_or("it does not begin")? + separator.len()
            }
        };
        let mut rest = bytes.slice(begin..);
        for _ in 0..MAX_PARTS {
            if rest.starts_with(b"--") {
                return Ok(form);
            }
            let skipped = rest.iter().take_while(|byte| b" \t".contains(byte)).count();
            rest = rest.slice(skipped..);
            if !rest.starts_with(b"\r\n") {
                return Err("a boundary has no end");
            }
            // A part without headers has no name either.
            let end = find(&rest, separator.as_bytes()).ok_or("a part has no end")?;
            form.part(&rest.slice(2..end.max(2)))?;
            rest = rest.slice(end + separator.len()..);
        }
        Err("it has too many parts")
    }

    fn part(&mut self, part: &Bytes) -> Result<(), &'static str> {
        let end = find(part, b"\r\n\r\n").ok_or("a part has no headers")?;
        if end > MAX_HEADERS {
            return Err("the headers of a part are too long");
        }
        let headers = std::str::from_utf8(&part[..end]).map_err(|_| "a header is not UTF-8")?;
        let disposition = headers.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim()
                .eq_ignore_ascii_case("content-disposition")
                .then_some(value)
        });
        let disposition = disposition.ok_or("a part has no disposition")?;
        let name = parameter(disposition, "name").ok_or("a part has no name")?;
        let content = part.slice(end + 4..);
        match parameter(disposition, "filename") {
            // Browsers send an empty file where none was chosen.
            Some(filename) if filename.is_empty() && content.is_empty() => Ok(()),
            Some(_) if self.file.is_some() => Err("it has more than one file"),
            Some(_) => {
                self.file = Some(content);
                Ok(())
            }
            None => {
                let text = String::from_utf8(content.to_vec());
                let text = text.map_err(|_| "a field is not UTF-8")?;
                self.fields.insert(name, text);
                Ok(())
            }
        }
    }
}

fn wrong(why: &str) -> ApiError {
    ApiError::invalid_param(format!("The form is wrong: {why}."))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(place) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        from += place;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

/// The boundary between the parts.
pub(crate) fn boundary(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(&format!(";{rest}"), "boundary")?;
    (1..=MAX_BOUNDARY)
        .contains(&boundary.len())
        .then_some(boundary)
}

/// A parameter of a header's value, with quotes around it or without.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = value.split_once(';')?;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (found, left) = match behind.strip_prefix('"') {
            Some(quoted) => {
                // What stands in a name or a file's name is escaped so that it holds no quote
                // (HTML, "Multipart form data"); older browsers put a backslash before it.
                let mut end = None;
                let mut escaped = false;
                for (at, character) in quoted.char_indices() {
                    match character {
                        '"' if !escaped => {
                            end = Some(at);
                            break;
                        }
                        _ => escaped = character == '\\' && !escaped,
                    }
                }
                let end = end?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => behind.split_at(behind.find(';').unwrap_or(behind.len())),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(found.trim().to_owned());
        }
        rest = left.split_once(';').map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileForm, &'static str> {
        FileForm::parse(&Bytes::from(text.to_owned()), "xyz")
    }

    #[test]
    fn fields_and_a_file_are_told_apart() {
        let form = parse(
            "--xyz\r\nContent-Disposition: form-data; name=\"form\"\r\n\r\nnumber\r\n\
             --xyz\r\ncontent-disposition: form-data; name=\"table\"; filename=\"a;b=\\\".csv\"\r\n\
             Content-Type: text/csv\r\n\r\nlocalpart\r\nann\u{e4}\r\n--xy\r\n\r\n--xyz--\r\n",
        )
        .unwrap();
        assert_eq!(form.fields["form"], "number");
        assert_eq!(form.fields.len(), 1);
        assert_eq!(
            form.file.as_deref(),
            Some("localpart\r\nann\u{e4}\r\n--xy\r\n".as_bytes())
        );
        // Nothing chosen.
        let none = parse(
            "before\r\n--xyz \r\nContent-Disposition: form-data; name=table; filename=\"\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n\r\n--xyz--",
        );
        assert_eq!(none, Ok(FileForm::default()));
        assert_eq!(parse("--xyz--"), Ok(FileForm::default()));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let file = "--xyz\r\nContent-Disposition: form-data; name=t; filename=f\r\n\r\na\r\n";
        for text in [
            String::new(),
            "--xy".to_owned(),
            "--xyz".to_owned(),
            "--xyz\r\n".to_owned(),
            "--xyz\r\n\r\n--xyz--".to_owned(),
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nb".to_owned(),
            "--xyz\r\nContent-Disposition: form-data\r\n\r\nb\r\n--xyz--".to_owned(),
            "--xyz\r\nContent-Type: text/plain\r\n\r\nb\r\n--xyz--".to_owned(),
            format!("{file}{file}--xyz--"),
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n".repeat(40) + "--xyz--",
            format!("--xyz\r\nX: {}\r\n\r\nb\r\n--xyz--", "y".repeat(5_000)),
        ] {
            assert!(parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn boundaries_are_read_as_browsers_write_them() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"",
                Some("a b"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/x-www-form-urlencoded", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(boundary(&headers).as_deref(), expected, "{content_type}");
        }
    }
}
