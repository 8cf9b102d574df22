//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use crate::{charset, oembed, page, page_url};

/// The longest text of a preview, in characters.
const LONGEST: usize = 1_000;

/// A web page, after a line with its content type, and what its site says of it: the same
/// bytes, as if they were that.
pub fn page(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, content) = bytes.split_at(end.unwrap_or(0));
    let text = charset::decode(content, &String::from_utf8_lossy(line));
    let mut facts = page::read(&text);
    oembed::add(&mut facts, content);
    for (property, text) in facts.texts() {
        assert!(
            !text.is_empty() && text.chars().count() <= LONGEST,
            "{property}"
        );
        assert!(!text.chars().any(char::is_control), "{property}: {text:?}");
        assert!(property != "og:url" || text.starts_with("http"), "{text:?}");
    }
    let addresses = [facts.image, facts.oembed];
    for address in addresses.into_iter().flatten() {
        assert!(address.len() <= 2_048);
        let _ = page_url(&address);
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("page", super::page);
    }
}
