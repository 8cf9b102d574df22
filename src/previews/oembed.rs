//! What a page's site says of it in oEmbed (<https://oembed.com>), to which the page links.

use serde_json::Value;

use crate::page::Facts;

/// Adds what an answer says and the page itself did not.
pub(crate) fn add(facts: &mut Facts, answer: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return;
    };
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    facts.offer("og:title", text("title"));
    facts.offer("og:site_name", text("provider_name"));
    facts.offer("og:description", text("description"));
    if facts.image.is_none() {
        let picture = match text("type") {
            "photo" => text("url"),
            _ => text("thumbnail_url"),
        };
        facts.offer_image(picture);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(answer: &str) -> Facts {
        let mut facts = Facts::default();
        facts.offer("og:title", "The page's");
        add(&mut facts, answer.as_bytes());
        facts
    }

    #[test]
    fn what_the_page_did_not_say_is_added() {
        let facts = added(
            r#"{"type":"video","title":"x","provider_name":"Site","thumbnail_url":"https://a.example/b.png","html":"<script>"}"#,
        );
        assert_eq!(facts.text("og:title"), Some("The page's"));
        assert_eq!(facts.text("og:site_name"), Some("Site"));
        assert_eq!(facts.image.as_deref(), Some("https://a.example/b.png"));
        let facts = added(r#"{"type":"photo","url":"https://a.example/c.png"}"#);
        assert_eq!(facts.image.as_deref(), Some("https://a.example/c.png"));
        for nonsense in ["", "[]", "{", r#"{"title":5,"thumbnail_url":{}}"#] {
            let facts = added(nonsense);
            assert_eq!(facts.image, None, "{nonsense}");
            assert_eq!(facts.text("og:title"), Some("The page's"));
        }
    }
}
