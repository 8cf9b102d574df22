//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, header};
use ruma_common::http_headers::ContentDisposition;
use runtime::Network;

use crate::{
    Conditions,
    conditions::Selected,
    file_form::{FileForm, boundary},
    files::disposition,
    json,
    proxies::{FORWARDED_FOR, client_address},
};

/// The body of a request, before anything of it is parsed.
pub fn body(bytes: &[u8]) {
    const DEEPEST: usize = 100;
    let is_object = json::check_object(bytes, DEEPEST).is_ok();
    let read = serde_json::from_slice::<serde_json::Value>(bytes);
    if let Ok(value) = read
        && is_object
    {
        assert!(value.is_object() && depth(&value) <= DEEPEST);
        // A limit means what it says.
        assert!(json::check_object(bytes, depth(&value) - 1).is_err());
    }
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What part of a file is wanted: a byte that says how long the file is, then a line each for
/// `Range`, `If-Range` and `If-None-Match`.
pub fn range(bytes: &[u8]) {
    let Some((length, lines)) = bytes.split_first() else {
        return;
    };
    let mut headers = HeaderMap::new();
    let names = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH];
    for (name, line) in names.into_iter().zip(lines.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line)
            && !line.is_empty()
        {
            headers.insert(name, value);
        }
    }
    let length = u64::from(*length);
    match Conditions::of(&headers).select(length, "\"tag\"") {
        Selected::Part(part) => {
            assert!(part.start < part.end && part.end <= length);
            assert!(headers.contains_key(header::RANGE));
        }
        Selected::Nothing => assert!(headers.contains_key(header::RANGE)),
        Selected::NotModified => assert!(headers.contains_key(header::IF_NONE_MATCH)),
        Selected::Whole => {}
    }
}

/// The name of a file, after a line with its content type.
pub fn file_name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (content_type, name) = text.split_once('\n').unwrap_or(("", &text));
    let written = disposition(content_type, Some(name.to_owned()));
    // No name ends the header, and none makes a page of a file.
    assert!(HeaderValue::from_str(&written).is_ok(), "{written:?}");
    let read = ContentDisposition::try_from(written.as_bytes());
    let Ok(read) = read else {
        unreachable!("{written:?} is not read again");
    };
    let is_page = content_type.to_ascii_lowercase().contains("html");
    assert!(!is_page || read.disposition_type.as_str() == "attachment");
    // What clients sent in this header is read with the same function.
    let _ = ContentDisposition::try_from(bytes);
}

/// Where a request says that it comes from, on its way over a proxy that is trusted.
pub fn forwarded(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(FORWARDED_FOR, value);
        }
    }
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let Ok(trusted) = "10.0.0.0/8".parse::<Network>() else {
        return;
    };
    // Who is not trusted is believed nothing.
    assert_eq!(client_address(proxy, &headers, &[]), proxy);
    let _ = client_address(proxy, &headers, &[trusted]);
    let text = String::from_utf8_lossy(bytes);
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse::<Network>().ok(), Some(network));
    }
}

/// A form with a file, between boundaries that are `xyz`.
pub fn file_form(bytes: &[u8]) {
    let Ok(form) = FileForm::parse(&bytes.to_vec().into(), "xyz") else {
        return;
    };
    let fields = form.fields.iter();
    let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    let file = form.file.map_or(0, |file| file.len());
    // Nothing is in it twice.
    assert!(fields + file <= bytes.len());
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value)]);
        let _ = boundary(&headers);
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("body", super::body);
        each("range", super::range);
        each("file_name", super::file_name);
        each("forwarded", super::forwarded);
        each("file_form", super::file_form);
    }
}
