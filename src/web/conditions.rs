//! What a client says about the part of a file that it wants, and about what it has
//! already (RFC 9110, "Conditional Requests" and "Range Requests").

use std::{convert::Infallible, ops::Range};

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header, request::Parts};

/// The conditions of a request for a file. An argument of handlers that answer with a
/// [`crate::FileAnswer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

/// What is to be sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing: no byte of what was asked for is there.
    Nothing,
    /// Nothing: the client has it.
    NotModified,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Conditions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
            if_none_match: text(header::IF_NONE_MATCH),
        }
    }

    /// Whether the file is most likely to be sent from its beginning.
    pub fn wants_beginning(&self) -> bool {
        self.range.is_none() && self.if_none_match.is_none()
    }

    /// What is to be sent of a file of `length` bytes whose entity tag, with its
    /// quotation marks, is `tag`.
    pub(crate) fn select(&self, length: u64, tag: &str) -> Selected {
        if let Some(tags) = &self.if_none_match
            && matches(tags, tag)
        {
            return Selected::NotModified;
        }
        let Some(range) = &self.range else {
            return Selected::Whole;
        };
        // Another file, or a date, which ours have none of.
        if self.if_range.as_deref().is_some_and(|wanted| wanted != tag) {
            return Selected::Whole;
        }
        match part(range, length) {
            None => Selected::Whole,
            Some(part) if part.is_empty() => Selected::Nothing,
            Some(part) => Selected::Part(part),
        }
    }
}

/// Whether one of `tags` is `tag`, by weak comparison.
fn matches(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|wanted| {
        wanted == "*" || wanted == tag || wanted.strip_prefix("W/").is_some_and(|w| w == tag)
    })
}

/// The bytes that a `Range` header asks for, empty if there are none of them. None if
/// it is not a single range of bytes: a server may ignore others.
fn part(header: &str, length: u64) -> Option<Range<u64>> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More than fits is more than there is.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first > last => None,
        (Some(first), Some(last)) => Some(first..last.saturating_add(1).min(length)),
        (Some(first), None) if last.trim().is_empty() => Some(first..length),
        (None, Some(count)) if first.trim().is_empty() => {
            Some(length.saturating_sub(count)..length)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn selected(range: &str, if_range: &str, if_none_match: &str, length: u64) -> Selected {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let conditions = Conditions {
            range: text(range),
            if_range: text(if_range),
            if_none_match: text(if_none_match),
        };
        conditions.select(length, TAG)
    }

    #[test]
    fn single_ranges_are_parts() {
        use Selected::{Nothing, Part, Whole};
        for (range, length, expected) in [
            ("", 10, Whole),
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=2-5", 10, Part(2..6)),
            ("bytes=2-", 10, Part(2..10)),
            ("bytes=0-", 10, Part(0..10)),
            ("bytes=-3", 10, Part(7..10)),
            ("bytes=-30", 10, Part(0..10)),
            ("bytes=5-5000", 10, Part(5..10)),
            ("bytes=5-99999999999999999999999", 10, Part(5..10)),
            ("BYTES= 2 - 5 ", 10, Part(2..6)),
            // No byte of it is there.
            ("bytes=10-", 10, Nothing),
            ("bytes=10-20", 10, Nothing),
            ("bytes=99999999999999999999999-", 10, Nothing),
            ("bytes=-0", 10, Nothing),
            ("bytes=0-", 0, Nothing),
            ("bytes=-5", 0, Nothing),
            // Not what this server knows.
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=5-2", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1-2x", 10, Whole),
            ("bytes", 10, Whole),
            ("lines=1-2", 10, Whole),
        ] {
            assert_eq!(
                selected(range, "", "", length),
                expected,
                "{range} of {length}"
            );
        }
    }

    #[test]
    fn a_range_of_another_file_is_no_range() {
        assert_eq!(selected("bytes=1-2", TAG, "", 10), Selected::Part(1..3));
        for other in ["\"abd\"", "W/\"abc\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(
                selected("bytes=1-2", other, "", 10),
                Selected::Whole,
                "{other}"
            );
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        for tags in [TAG, "*", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\""] {
            assert_eq!(selected("", "", tags, 10), Selected::NotModified, "{tags}");
            assert_eq!(selected("bytes=99-", "", tags, 10), Selected::NotModified);
        }
        for tags in ["\"x\"", "abc", "\"abcd\"", "W/\"x\""] {
            assert_eq!(selected("", "", tags, 10), Selected::Whole, "{tags}");
        }
    }
}
