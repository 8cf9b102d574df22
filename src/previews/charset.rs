//! Text of bytes, as browsers find out which letters they mean.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far into a page its own word for its letters is looked for, in bytes (HTML, "Determining
/// the character encoding").
const LOOKED_AT: usize = 1_024;

/// The text of a page. What its first bytes say counts most, then the header, then the page's
/// own word; without any, it is UTF-8 if it can be.
pub(crate) fn decode(bytes: &[u8], content_type: &str) -> String {
    let named = charset(content_type)
        .or_else(|| {
            charset(&String::from_utf8_lossy(
                &bytes[..bytes.len().min(LOOKED_AT)],
            ))
        })
        .and_then(|name| Encoding::for_label(name.as_bytes()));
    let encoding = named.unwrap_or_else(|| match is_utf8(bytes) {
        true => UTF_8,
        false => WINDOWS_1252,
    });
    // A byte order mark counts before all that.
    let (text, _, _) = encoding.decode(bytes);
    text.into_owned()
}

/// Whether it is UTF-8, perhaps cut off in the middle of a letter.
fn is_utf8(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// What stands behind `charset=`.
fn charset(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("charset")?;
    let rest = lower[at + "charset".len()..].trim_start();
    let rest = rest.strip_prefix('=')?.trim_start();
    let rest = rest.trim_start_matches(['"', '\'']);
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_:.+".contains(letter);
    let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
    (end > 0).then(|| rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_as_browsers_find_them() {
        for (bytes, content_type, expected) in [
            (&b"Gr\xc3\xbc\xc3\x9fe"[..], "text/html", "Grüße"),
            (b"Gr\xfc\xdfe", "text/html", "Grüße"),
            (b"Gr\xfc\xdfe", "text/html; charset=ISO-8859-1", "Grüße"),
            (b"Gr\xfc\xdfe", "text/html; charset=\"iso-8859-1\"", "Grüße"),
            // The header counts more than the page.
            (
                b"<meta charset=utf-8>\xfc",
                "text/html; charset=latin1",
                "<meta charset=utf-8>ü",
            ),
            (
                b"<meta charset='koi8-r'>\xd0",
                "text/html",
                "<meta charset='koi8-r'>п",
            ),
            (
                b"<meta content=\"text/html; charset=windows-1251\">\xef",
                "text/html",
                "<meta content=\"text/html; charset=windows-1251\">п",
            ),
            // Its first bytes count most.
            (b"\xef\xbb\xbf\xc3\xbc", "text/html; charset=latin1", "ü"),
            (b"\xff\xfea\0", "text/html", "a"),
            // Nonsense is no reason to give up.
            (b"\xc3\xbc", "text/html; charset=no-such", "ü"),
            (b"a\xc3", "text/html", "a\u{fffd}"),
        ] {
            assert_eq!(
                decode(bytes, content_type),
                expected,
                "{content_type} {bytes:?}"
            );
        }
    }
}
