//! Signatures of requests (server-server API, "Request Authentication").

use graph::SigningKey;
use ruma_common::ServerName;

/// The longest `Authorization` header that is looked at, in bytes.
const MAX_HEADER_BYTES: usize = 4_096;

/// What a request says of its sender in `Authorization: X-Matrix …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct XMatrix {
    pub(crate) origin: String,
    pub(crate) destination: Option<String>,
    pub(crate) key: String,
    pub(crate) sig: String,
}

impl XMatrix {
    /// Reads a header. Values may be quoted or not, whatever is in them: servers have
    /// always sent both.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("X-Matrix") || header.len() > MAX_HEADER_BYTES {
            return None;
        }
        let (mut origin, mut destination, mut key, mut sig) = (None, None, None, None);
        let mut rest = rest.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after.trim_start())?;
            let place = match name.trim().to_ascii_lowercase().as_str() {
                "origin" => &mut origin,
                "destination" => &mut destination,
                "key" => &mut key,
                "sig" => &mut sig,
                // New ones may come.
                _ => &mut None,
            };
            if place.replace(value).is_some() {
                return None;
            }
            rest = after.trim_start();
        }
        Some(Self {
            origin: origin?,
            destination,
            key: key?,
            sig: sig?,
        })
    }

    pub(crate) fn header(&self) -> String {
        let destination = self.destination.as_deref().unwrap_or_default();
        format!(
            "X-Matrix origin=\"{}\",destination=\"{destination}\",key=\"{}\",sig=\"{}\"",
            self.origin, self.key, self.sig
        )
    }
}

/// One value, and what comes after its comma.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(',').unwrap_or((text, ""));
        return Some((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                let rest = quoted[at + 1..].trim_start();
                return match rest.strip_prefix(',') {
                    Some(rest) => Some((value, rest)),
                    None => rest.is_empty().then_some((value, "")),
                };
            }
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

/// What is signed of a request, with its content in canonical form.
pub(crate) fn signed_text(
    (method, uri): (&str, &str),
    (origin, destination): (&str, &str),
    content: Option<&str>,
) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    // In the order that canonical JSON has.
    let content = content.map_or_else(String::new, |content| format!("\"content\":{content},"));
    format!(
        "{{{content}\"destination\":{},\"method\":{},\"origin\":{},\"uri\":{}}}",
        text(destination),
        text(method),
        text(origin),
        text(uri)
    )
}

/// The `Authorization` of a request by this server, with its content in canonical form.
pub(crate) fn authorization(
    key: &SigningKey,
    request: (&str, &str),
    (origin, destination): (&ServerName, &ServerName),
    content: Option<&str>,
) -> String {
    let servers = (origin.as_str(), destination.as_str());
    let claim = XMatrix {
        origin: origin.to_string(),
        destination: Some(destination.to_string()),
        key: key.key_id().to_owned(),
        sig: key.sign_text(&signed_text(request, servers, content)),
    };
    claim.header()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(destination: Option<&str>) -> XMatrix {
        XMatrix {
            origin: "a.test:8448".to_owned(),
            destination: destination.map(str::to_owned),
            key: "ed25519:k".to_owned(),
            sig: "a/b+c=".to_owned(),
        }
    }

    #[test]
    fn headers_are_read_as_servers_write_them() {
        for (header, expected) in [
            (
                r#"X-Matrix origin="a.test:8448",destination="b.test",key="ed25519:k",sig="a/b+c=""#,
                Some(claim(Some("b.test"))),
            ),
            (
                "X-Matrix origin=a.test:8448,key=ed25519:k,sig=a/b+c=",
                Some(claim(None)),
            ),
            (
                r#"x-matrix  Origin = "a\.test:8448" , key="ed25519:k", new="1,2" ,sig=a/b+c="#,
                Some(claim(None)),
            ),
            (r#"X-Matrix origin="a",origin="b",key="k",sig="s""#, None),
            (r#"X-Matrix origin="a",key="k""#, None),
            (r#"X-Matrix origin="a,key="k",sig="s""#, None),
            (r#"Bearer origin="a",key="k",sig="s""#, None),
            ("X-Matrix", None),
            ("", None),
        ] {
            assert_eq!(XMatrix::parse(header), expected, "{header}");
        }
        let long = format!(
            "X-Matrix origin=a,key=k,sig={}",
            "s".repeat(MAX_HEADER_BYTES)
        );
        assert_eq!(XMatrix::parse(&long), None);
    }

    #[test]
    fn headers_come_back() {
        let claim = claim(Some("b.test"));
        assert_eq!(XMatrix::parse(&claim.header()), Some(claim));
    }

    #[test]
    fn what_is_signed_is_canonical() {
        let text = signed_text(("PUT", "/x?y=\"1\""), ("a", "b"), Some(r#"{"a":1.5}"#));
        assert_eq!(crate::json::canonical(text.as_bytes()).unwrap(), text);
        let text = signed_text(("GET", "/x"), ("a", "b"), None);
        assert_eq!(
            text,
            r#"{"destination":"b","method":"GET","origin":"a","uri":"/x"}"#
        );
    }
}
