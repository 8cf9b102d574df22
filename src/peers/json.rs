//! JSON of other servers, as it must be to verify their signatures.

/// The deepest nesting of what is read as a whole.
pub(crate) const MAX_DEPTH: usize = 110;
/// The deepest nesting of what another server sends or answers. Deeper than an event may be:
/// servers pass on what their users write, and an event that is too deep shall be refused by
/// itself, not with all that comes with it.
pub const DEEPEST_JSON: usize = 1_000;

/// Why a text has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCanonical {
    #[error("it is not JSON")]
    NotJson,
    #[error("it is nested too deeply")]
    TooDeep,
}

/// The canonical form of a JSON text (appendices, "Canonical JSON"): sorted keys, no
/// white space. Numbers stay as they were written: the content of a request may hold
/// some that canonical JSON does not have (in messages between devices, for instance),
/// and the sender has signed them in its own writing.
///
/// # Errors
/// [`NotCanonical`].
pub(crate) fn canonical(text: &[u8]) -> Result<String, NotCanonical> {
    let text = str::from_utf8(text).map_err(|_| NotCanonical::NotJson)?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEEPEST_JSON)?;
    reader.skip();
    if reader.at != text.len() {
        return Err(NotCanonical::NotJson);
    }
    let mut out = String::with_capacity(text.len());
    value.write(&mut out);
    Ok(out)
}

/// Whether a JSON text is nested at most [`DEEPEST_JSON`] deep.
pub(crate) fn is_shallow(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    text.iter().all(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= DEEPEST_JSON
    })
}

/// A JSON text as a value, numbers as written.
enum Node<'a> {
    Object(Vec<(String, Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// Read, to be written with as few escapes as can be.
    Text(String),
    /// A number, `true`, `false` or `null`.
    Word(&'a str),
}

impl Node<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Node::Object(entries) => {
                out.push('{');
                for (number, (key, value)) in entries.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    push_text(out, key);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Node::Array(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Node::Text(text) => push_text(out, text),
            Node::Word(word) => out.push_str(word),
        }
    }
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte, white space before it ignored, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        self.skip();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth_left: usize) -> Result<Node<'a>, NotCanonical> {
        self.skip();
        match self.peek().ok_or(NotCanonical::NotJson)? {
            b'{' | b'[' if depth_left == 0 => Err(NotCanonical::TooDeep),
            b'{' => self.object(depth_left - 1),
            b'[' => self.array(depth_left - 1),
            b'"' => self.string().map(Node::Text),
            _ => self.word().map(Node::Word),
        }
    }

    fn object(&mut self, depth_left: usize) -> Result<Node<'a>, NotCanonical> {
        self.at += 1;
        let mut entries = Vec::new();
        if !self.take(b'}') {
            loop {
                self.skip();
                let key = self.string()?;
                if !self.take(b':') {
                    return Err(NotCanonical::NotJson);
                }
                entries.push((key, self.value(depth_left)?));
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(NotCanonical::NotJson);
                }
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        // A key that stands twice has no canonical form: readers differ in which counts.
        let is_twice = entries.windows(2).any(|pair| pair[0].0 == pair[1].0);
        if is_twice {
            return Err(NotCanonical::NotJson);
        }
        Ok(Node::Object(entries))
    }

    fn array(&mut self, depth_left: usize) -> Result<Node<'a>, NotCanonical> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Node::Array(items));
        }
        loop {
            items.push(self.value(depth_left)?);
            if self.take(b']') {
                return Ok(Node::Array(items));
            }
            if !self.take(b',') {
                return Err(NotCanonical::NotJson);
            }
        }
    }

    fn string(&mut self) -> Result<String, NotCanonical> {
        let rest = &self.text[self.at..];
        let mut is_escaped = false;
        let end = rest.bytes().enumerate().skip(1).find(|(_, byte)| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        });
        let (end, _) = end.ok_or(NotCanonical::NotJson)?;
        self.at += end + 1;
        serde_json::from_str(&rest[..=end]).map_err(|_| NotCanonical::NotJson)
    }

    fn word(&mut self) -> Result<&'a str, NotCanonical> {
        let rest = &self.text[self.at..];
        let is_part =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let end = rest.bytes().take_while(is_part).count();
        let word = &rest[..end];
        self.at += end;
        serde_json::from_str::<serde::de::IgnoredAny>(word)
            .map(|_| word)
            .map_err(|_| NotCanonical::NotJson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (text, expected) in [
            (
                r#" { "b" : [ 1 , -2 ], "a" : {} } "#,
                r#"{"a":{},"b":[1,-2]}"#,
            ),
            (
                r#"{"é":"\u00e9\n\u0007/\/","a":null}"#,
                "{\"a\":null,\"é\":\"é\\n\\u0007//\"}",
            ),
            (r#"{"\u0061":1.50,"b":1E5}"#, r#"{"a":1.50,"b":1E5}"#),
            (
                r#"{"日":1,"本":2,"a":"\"\\"}"#,
                r#"{"a":"\"\\","日":1,"本":2}"#,
            ),
            ("[]", "[]"),
            ("true", "true"),
        ] {
            assert_eq!(
                canonical(text.as_bytes()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_has_none() {
        for text in [
            "",
            "{",
            "{}x",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,\"a\":2}",
            "nul",
            "01",
            "\"a",
            "\"\\x\"",
            "[1 2]",
            "{a:1}",
            "{\"a\":1,}",
        ] {
            assert_eq!(
                canonical(text.as_bytes()),
                Err(NotCanonical::NotJson),
                "{text}"
            );
        }
        assert_eq!(canonical(b"\"\xff\""), Err(NotCanonical::NotJson));
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(canonical(nested(DEEPEST_JSON).as_bytes()).is_ok());
        let deep = nested(DEEPEST_JSON + 1);
        assert_eq!(canonical(deep.as_bytes()), Err(NotCanonical::TooDeep));
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_shallow(nested(DEEPEST_JSON).as_bytes()));
        assert!(!is_shallow(nested(DEEPEST_JSON + 1).as_bytes()));
        let text = format!("[\"\\\"{}\"]", "[".repeat(10_000));
        assert!(is_shallow(text.as_bytes()));
    }
}
