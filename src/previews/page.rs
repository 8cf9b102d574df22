//! What a page says of itself: Open Graph, and what else there is where that is missing.
//!
//! The tags are read one by one, with the tokenizer that browsers agree on; no tree is built,
//! no script runs, and only so many tags are looked at.

use std::{cell::RefCell, collections::BTreeMap};

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};

/// The most tags that are looked at.
const MAX_TAGS: usize = 20_000;
/// How much is read at once, in bytes.
const PIECE: usize = 4_096;
/// How many pieces may go by within one tag: each of its attributes is compared with all
/// before it.
const MAX_PIECES_OF_A_TAG: usize = 8;
/// The longest title or other short text, in characters.
const MAX_TEXT: usize = 300;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 1_000;
/// The longest address, in bytes.
const MAX_ADDRESS: usize = 2_048;

/// The properties that are told. None of them is an address that a client would load.
const TOLD: [&str; 7] = [
    "og:title",
    "og:description",
    "og:site_name",
    "og:type",
    "og:url",
    "og:locale",
    "og:image:alt",
];

/// What a page says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    texts: BTreeMap<&'static str, String>,
    /// The address of its picture, as it stands there.
    pub(crate) image: Option<String>,
    /// The address of what its site says of it, as it stands there.
    pub(crate) oembed: Option<String>,
}

impl Facts {
    /// Takes a text for a property that has none yet.
    pub(crate) fn offer(&mut self, property: &str, text: &str) {
        let known = TOLD.into_iter().find(|known| *known == property);
        let Some(property) = known.filter(|known| !self.texts.contains_key(known)) else {
            return;
        };
        let longest = match property {
            "og:description" => MAX_DESCRIPTION,
            _ => MAX_TEXT,
        };
        let text = tidy(text, longest);
        let is_told = match property {
            "og:url" => text.starts_with("https://") || text.starts_with("http://"),
            _ => !text.is_empty(),
        };
        if is_told {
            self.texts.insert(property, text);
        }
    }

    /// Takes the address of a picture, if there is none yet.
    pub(crate) fn offer_image(&mut self, address: &str) {
        let address = address.trim();
        let fits = !address.is_empty() && address.len() <= MAX_ADDRESS;
        if self.image.is_none() && fits {
            self.image = Some(address.to_owned());
        }
    }

    /// The text of a property.
    pub(crate) fn text(&self, property: &str) -> Option<&str> {
        self.texts.get(property).map(String::as_str)
    }

    /// All texts by their properties.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.texts.iter().map(|(name, text)| (*name, text.as_str()))
    }
}

/// A text on one line, without what cannot be seen, cut where it gets too long.
fn tidy(text: &str, longest: usize) -> String {
    let is_visible = |letter: &char| !letter.is_control() && !is_invisible(*letter);
    let words = text.split_whitespace();
    let mut tidy = String::new();
    let mut count = 0;
    for word in words {
        let word: String = word.chars().filter(is_visible).collect();
        if word.is_empty() {
            continue;
        }
        let length = word.chars().count() + usize::from(count > 0);
        if count + length > longest {
            let left = longest.saturating_sub(count + 1 + usize::from(count > 0));
            if count > 0 && left > 0 {
                tidy.push(' ');
            }
            tidy.extend(word.chars().take(left));
            tidy.push('…');
            return tidy;
        }
        if count > 0 {
            tidy.push(' ');
        }
        tidy.push_str(&word);
        count += length;
    }
    tidy
}

/// Letters that turn around or hide others.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Reads a page.
pub(crate) fn read(text: &str) -> Facts {
    let sink = Sink::default();
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let (mut rest, mut within_a_tag, mut tokens) = (text, 0, 0);
    while !rest.is_empty() && within_a_tag < MAX_PIECES_OF_A_TAG {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE));
        rest = behind;
        let input = BufferQueue::default();
        input.push_back(StrTendril::from_slice(piece));
        // It pauses behind each script.
        while !input.is_empty() && !tokenizer.sink.0.borrow().is_full() {
            let _ = tokenizer.feed(&input);
        }
        let found = tokenizer.sink.0.borrow();
        if found.is_full() {
            break;
        }
        within_a_tag = if found.tokens == tokens {
            within_a_tag + 1
        } else {
            0
        };
        tokens = found.tokens;
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner().facts()
}

#[derive(Default)]
struct Sink(RefCell<Found>);

/// What was found so far.
#[derive(Default)]
struct Found {
    tags: usize,
    /// Tags, texts and comments.
    tokens: usize,
    graph: Facts,
    /// What `<meta name=…>` says: `twitter:title` and the like.
    twitter: Facts,
    description: String,
    title: String,
    heading: String,
    icon: Option<String>,
    /// Where the text goes that comes now.
    within: Within,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    Title,
    Heading,
}

impl Found {
    fn is_full(&self) -> bool {
        self.tags >= MAX_TAGS
    }

    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        self.tags += 1;
        if self.is_full() {
            return TokenSinkResult::Continue;
        }
        match &*tag.name {
            "meta" => self.meta(tag),
            "link" => self.link(tag),
            // Within <svg> there are other titles; the first of the page is its own.
            "title" => {
                if self.title.is_empty() {
                    self.within = Within::Title;
                }
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "h1" if self.heading.is_empty() => self.within = Within::Heading,
            "textarea" => return TokenSinkResult::RawData(RawKind::Rcdata),
            "script" => return TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => {
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "plaintext" => return TokenSinkResult::Plaintext,
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn meta(&mut self, tag: &Tag) {
        let content = attribute(tag, "content");
        // Some write one for the other.
        let names = [attribute(tag, "property"), attribute(tag, "name")];
        for name in names.into_iter().flatten() {
            let (name, content) = (
                name.trim().to_ascii_lowercase(),
                content.unwrap_or_default(),
            );
            match name.as_str() {
                "og:image" | "og:image:url" | "og:image:secure_url" => {
                    self.graph.offer_image(content);
                }
                "twitter:image" | "twitter:image:src" => self.twitter.offer_image(content),
                "description" if self.description.is_empty() => {
                    content.clone_into(&mut self.description)
                }
                "twitter:title" => self.twitter.offer("og:title", content),
                "twitter:description" => self.twitter.offer("og:description", content),
                "twitter:image:alt" => self.twitter.offer("og:image:alt", content),
                name => self.graph.offer(name, content),
            }
        }
    }

    fn link(&mut self, tag: &Tag) {
        let rel = attribute(tag, "rel")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let (kind, place) = (attribute(tag, "type"), attribute(tag, "href"));
        let Some(place) = place
            .map(str::trim)
            .filter(|place| place.len() <= MAX_ADDRESS)
        else {
            return;
        };
        let has = |word: &str| rel.split_ascii_whitespace().any(|one| one == word);
        if has("alternate") && kind == Some("application/json+oembed") {
            self.graph.oembed.get_or_insert_with(|| place.to_owned());
        }
        if has("image_src") {
            self.icon.get_or_insert_with(|| place.to_owned());
        }
    }

    fn take(&mut self, text: &str) {
        let (into, longest) = match self.within {
            Within::Nothing => return,
            Within::Title => (&mut self.title, MAX_TEXT),
            Within::Heading => (&mut self.heading, MAX_TEXT),
        };
        // More is cut off in the end; some of it may be spaces.
        if into.len() < longest * 8 {
            into.push_str(text);
        }
    }

    fn facts(self) -> Facts {
        let mut facts = self.graph;
        for (property, text) in self.twitter.texts() {
            facts.offer(property, text);
        }
        facts.offer("og:title", &self.title);
        facts.offer("og:title", &self.heading);
        facts.offer("og:description", &self.description);
        for image in [self.twitter.image, self.icon].into_iter().flatten() {
            facts.offer_image(&image);
        }
        facts
    }
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut found = self.0.borrow_mut();
        if !matches!(token, Token::ParseError(_)) {
            found.tokens += 1;
        }
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return found.open(&tag),
            Token::TagToken(tag) => {
                if matches!(&*tag.name, "title" | "h1") {
                    found.within = Within::Nothing;
                }
            }
            Token::CharacterTokens(text) => found.take(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    let mut attributes = tag.attrs.iter();
    attributes
        .find(|attribute| &*attribute.name.local == name)
        .map(|attribute| &*attribute.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(html: &str) -> Vec<(&'static str, String)> {
        let facts = read(html);
        facts
            .texts()
            .map(|(name, text)| (name, text.to_owned()))
            .collect()
    }

    #[test]
    fn open_graph_counts_most() {
        let html = r#"<!DOCTYPE html><html><head><title>Fallback</title>
            <meta property="og:title" content="The &amp; title">
            <meta property="og:title" content="Another">
            <meta property='og:description' content='First
                second'>
            <META NAME="og:site_name" CONTENT=Site>
            <meta property="og:image" content="/picture.png">
            <meta property="og:video" content="https://track.example/v.mp4">
            <meta name="description" content="Fallback">
            <link rel="alternate" type="application/json+oembed" href="https://a.example/oembed">
            </head>"#;
        assert_eq!(
            texts(html),
            [
                ("og:description", "First second".to_owned()),
                ("og:site_name", "Site".to_owned()),
                ("og:title", "The & title".to_owned()),
            ]
        );
        let facts = read(html);
        assert_eq!(facts.image.as_deref(), Some("/picture.png"));
        assert_eq!(facts.oembed.as_deref(), Some("https://a.example/oembed"));
    }

    #[test]
    fn other_words_do_where_there_is_no_open_graph() {
        for (html, title, description) in [
            ("<title>A <b> title</title>", Some("A <b> title"), None),
            (
                "<title></title><h1>A <b>heading</b></h1><p>x",
                Some("A heading"),
                None,
            ),
            (
                "<meta name=twitter:title content=T><meta name=twitter:description content=D><title>x</title>",
                Some("T"),
                Some("D"),
            ),
            ("<meta name=Description content=D>", None, Some("D")),
            ("<svg><title>icon</title></svg>", Some("icon"), None),
            ("", None, None),
            ("plain text", None, None),
        ] {
            let facts = read(html);
            assert_eq!(facts.text("og:title"), title, "{html}");
            assert_eq!(facts.text("og:description"), description, "{html}");
        }
    }

    #[test]
    fn what_stands_in_scripts_and_comments_is_no_tag() {
        for html in [
            "<script>var a = '<meta property=og:title content=no>';</script>",
            "<style><meta property=og:title content=no></style>",
            "<!-- <meta property=og:title content=no> -->",
            "<textarea><meta property=og:title content=no></textarea>",
            "<title><meta property=og:title content=no",
            "<script><!-- <script> </script> --><meta property=og:title content=no>",
        ] {
            let facts = read(&format!("{html}</title></script>"));
            assert_ne!(facts.text("og:title"), Some("no"), "{html}");
        }
        let html = "<script>if (a < b) {}</script><meta property=og:title content=yes>";
        assert_eq!(read(html).text("og:title"), Some("yes"));
    }

    #[test]
    fn hostile_pages_end() {
        let (long, shorter) = ("x".repeat(100_000), "x".repeat(20_000));
        let html = format!(
            "<title>{long}</title><meta property=og:description content='{shorter} y'>\
             <meta property=og:image content='{shorter}'>"
        );
        let facts = read(&html);
        assert_eq!(facts.text("og:title").unwrap().chars().count(), MAX_TEXT);
        assert!(facts.text("og:description").unwrap().chars().count() <= MAX_DESCRIPTION);
        assert_eq!(facts.image, None);
        let nested = "<div>".repeat(300_000) + "<meta property=og:title content=late>";
        assert_eq!(read(&nested).text("og:title"), None);
        for html in [
            "<",
            "<meta",
            "<meta property='",
            "&#x110000;<title>&#0;&notanentity",
            "</",
            "<!",
        ] {
            read(html);
        }
        // Each attribute is compared with all before it.
        let attributes: String = (0..200_000).map(|number| format!("a{number} ")).collect();
        let begun = std::time::Instant::now();
        read(&format!("<meta {attributes}><title>late</title>"));
        read(&format!("<meta {}>", "a=\">\" ".repeat(50_000)));
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        let late = format!(
            "<script>{}</script><title>late</title>",
            "a < b; ".repeat(20_000)
        );
        assert_eq!(read(&late).text("og:title"), Some("late"));
    }

    #[test]
    fn texts_stand_on_one_line() {
        for (text, expected) in [
            ("  a\n\t b  ", "a b"),
            ("a\u{202e}b\u{0}c", "abc"),
            ("\u{200f}", ""),
            ("a b c d e f", "a b c d e f"),
        ] {
            assert_eq!(tidy(text, 20), expected, "{text:?}");
        }
        assert_eq!(tidy("aaaa bbbb cccc", 10), "aaaa bbbb…");
        assert_eq!(tidy("aaaa bbbb cccc", 12), "aaaa bbbb c…");
        assert_eq!(tidy("aaaaaaaaaaaa", 5), "aaaa…");
    }
}
