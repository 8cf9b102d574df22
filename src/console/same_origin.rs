//! Whether a form was sent from one of our own pages.
//!
//! A form that another site makes a browser send could do nothing here that the
//! site's owner cannot do without the browser: it needs an invitation's token, there
//! is no cookie or session that the browser would add, and who joins is not signed
//! in. Refusing it nevertheless keeps strangers from trying tokens out of their
//! visitors' browsers, each with an address and limits of its own.
//!
//! Browsers say where a request comes from in `Sec-Fetch-Site`, which no page can
//! forge, but only on HTTPS and on this machine. Elsewhere, and from older ones,
//! there is `Origin`, which must be this server's address: the one that the request
//! was sent to, or the one that is configured, for proxies that change the former.
//! Programs send neither, and are no danger: nobody can make them send anything.

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};

use crate::{Console, page::Page, pages};

/// The request was made by one of our own pages, or not by a page at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SameOrigin(());

impl FromRequestParts<Console> for SameOrigin {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Page> {
        // HTTP/2 has no Host header.
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        if is_same(&parts.headers, authority, &console.address) {
            Ok(Self(()))
        } else {
            Err(pages::elsewhere())
        }
    }
}

/// `authority` is the host and port of the request's own address, `configured` the
/// server's address.
pub(crate) fn is_same(headers: &HeaderMap, authority: Option<&str>, configured: &str) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        // "none": a person did it, not a page.
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let Some(from) = authority_of(origin) else {
        return false;
    };
    let asked = authority.or_else(|| text(header::HOST));
    [asked, authority_of(configured)]
        .into_iter()
        .flatten()
        .any(|own| own.eq_ignore_ascii_case(from))
}

/// Host and port of an address.
fn authority_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    rest.split('/').next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_our_own_pages_and_programs_send_our_forms() {
        let own = "https://chat.example";
        for (headers, expected) in [
            (&[][..], true),
            (&[("host", "chat.example")], true),
            // What browsers say on HTTPS.
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "")], false),
            // It counts more than the origin, which a proxy may not know.
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://other.example"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "cross-site"), ("origin", own)], false),
            // On plain HTTP, and from old browsers.
            (
                &[
                    ("origin", "http://10.0.0.5:8008"),
                    ("host", "10.0.0.5:8008"),
                ],
                true,
            ),
            (
                &[
                    ("origin", "http://10.0.0.5:8009"),
                    ("host", "10.0.0.5:8008"),
                ],
                false,
            ),
            (
                &[("origin", "http://CHAT.example"), ("host", "chat.EXAMPLE")],
                true,
            ),
            // Behind a proxy that asks with a name of its own.
            (&[("origin", own), ("host", "127.0.0.1:8008")], true),
            (
                &[
                    ("origin", "https://evil.example"),
                    ("host", "127.0.0.1:8008"),
                ],
                false,
            ),
            (
                &[
                    ("origin", "https://chat.example.evil"),
                    ("host", "chat.example"),
                ],
                false,
            ),
            // A page without an origin: a frame in a sandbox, a file.
            (&[("origin", "null"), ("host", "chat.example")], false),
            (&[("origin", ""), ("host", "chat.example")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            assert_eq!(is_same(&map, None, own), expected, "{headers:?}");
        }
        // HTTP/2.
        let mut map = HeaderMap::new();
        map.insert(
            header::ORIGIN,
            HeaderValue::from_static("https://a.example"),
        );
        assert!(is_same(&map, Some("a.example"), own));
        assert!(!is_same(&map, Some("b.example"), own));
    }
}
