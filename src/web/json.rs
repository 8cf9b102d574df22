//! Whether a body is a JSON object that may be parsed at all.

use serde::de::IgnoredAny;

use crate::ApiError;

/// Refuses what no endpoint takes: bytes that are not JSON in UTF-8, JSON nested
/// deeper than `deepest`, JSON that is not an object.
///
/// The depth is counted before anything is parsed. Going once over the whole
/// text also makes the difference between `M_NOT_JSON` and `M_BAD_JSON`
/// independent of what the endpoint looks at.
///
/// # Errors
/// 400 `M_NOT_JSON` or `M_BAD_JSON`.
pub(crate) fn check_object(bytes: &[u8], deepest: usize) -> Result<(), ApiError> {
    let text =
        str::from_utf8(bytes).map_err(|_| ApiError::not_json("The body is not UTF-8 text."))?;
    if depth(bytes) > deepest {
        return Err(ApiError::bad_json(format!(
            "The body is nested deeper than {deepest} levels."
        )));
    }
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| ApiError::not_json(format!("The body is not JSON: {error}.")))?;
    if text.trim_start().starts_with('{') {
        Ok(())
    } else {
        Err(ApiError::bad_json("The body must be a JSON object."))
    }
}

/// How deeply arrays and objects are nested, if `bytes` are JSON; any number
/// otherwise.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_of_bounded_depth_pass() {
        let nested =
            |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let brackets_in_text = format!(r#"{{"a":"{}\"{}"}}"#, "[".repeat(500), "{".repeat(500));
        let mixed = format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        for (text, expected) in [
            ("{}", "ok"),
            (" \n{\"a\": [1, null]}\t", "ok"),
            (&nested(100), "ok"),
            (&brackets_in_text, "ok"),
            (&nested(101), "M_BAD_JSON"),
            (&mixed, "M_BAD_JSON"),
            (&"[".repeat(1_000_000), "M_BAD_JSON"),
            ("[]", "M_BAD_JSON"),
            ("\"text\"", "M_BAD_JSON"),
            ("null", "M_BAD_JSON"),
            ("12", "M_BAD_JSON"),
            ("", "M_NOT_JSON"),
            ("  ", "M_NOT_JSON"),
            ("hello", "M_NOT_JSON"),
            ("{", "M_NOT_JSON"),
            ("{}}", "M_NOT_JSON"),
            ("{} {}", "M_NOT_JSON"),
            ("{\"a\":1,}", "M_NOT_JSON"),
            ("{'a':1}", "M_NOT_JSON"),
            ("{\"a\":\"\n\"}", "M_NOT_JSON"),
            ("a=b&c=d", "M_NOT_JSON"),
        ] {
            let found = match check_object(text.as_bytes(), 100) {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.errcode().unwrap().as_str().to_owned(),
            };
            assert_eq!(found, expected, "{text:.40}");
        }
        let error = check_object(b"{\"a\":\"\xff\"}", 100).unwrap_err();
        assert_eq!(error.errcode().unwrap().as_str(), "M_NOT_JSON");
    }
}
