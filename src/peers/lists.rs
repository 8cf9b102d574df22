//! Long answers, read as they come: a JSON object whose lists are taken apart into their
//! elements, so that nobody ever holds the whole text.

use std::collections::BTreeMap;

use ruma_common::{
    ServerName,
    api::{OutgoingRequest, path_builder::SinglePath},
};
use serde_json::value::RawValue;

use crate::{
    Ask, PeerError, Peers,
    json::DEEPEST_JSON,
    requests::{unreachable, written},
};

/// The most bytes of all that is no element of a list: names, other values.
const REST_BYTES: usize = 2 * 1024 * 1024;
/// What a part counts beside its text, in bytes: the smallest takes room too.
const PART_BYTES: usize = 64;

/// What an object has beside its lists, by name.
pub type Rest = BTreeMap<String, Box<RawValue>>;

/// The lists of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// Their names.
    pub names: &'static [&'static str],
    /// The most bytes of one element.
    pub element_bytes: usize,
}

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotTaken {
    #[error("it is no JSON object")]
    NotJson,
    #[error("it is nested too deeply")]
    TooDeep,
    #[error("a part of it is too large")]
    TooLarge,
    #[error("it ends too early")]
    CutOff,
}

impl Peers {
    /// Asks a server something, signed, as ruma types it, and reads the answer as it comes:
    /// `take` gets each element of `lists` with its list's name, in their order. Gives what
    /// else the answer has.
    ///
    /// # Errors
    /// [`PeerError`]. What was taken until then is of no use.
    pub async fn ask_lists<R>(
        &self,
        server: &ServerName,
        request: R,
        ask: Ask,
        lists: Lists,
        mut take: impl FnMut(&'static str, Box<RawValue>) + Send,
    ) -> Result<Rest, PeerError>
    where
        R: OutgoingRequest<PathBuilder = SinglePath> + Send,
    {
        let (method, path, content) = written(request)?;
        let begun = self.begin_sending(server, method, &path, content.as_ref(), ask);
        let mut begun = begun.await?;
        let mut reader = ListReader::new(lists);
        let bad = |error: NotTaken| PeerError::BadAnswer(error.to_string());
        loop {
            match begun.body.next().await {
                Ok(Some(piece)) => reader.feed(&piece, &mut take).map_err(bad)?,
                Ok(None) => return reader.finish().map_err(bad),
                Err(error) => {
                    let error = unreachable(server, error);
                    self.note_failure(server, ask, error.clone()).await;
                    return Err(error);
                }
            }
        }
    }
}

/// What may come next.
#[derive(Clone, Copy)]
enum Expected {
    Object,
    Name {
        or_end: bool,
    },
    Colon,
    Value,
    Element {
        list: &'static str,
        or_end: bool,
    },
    AfterElement(&'static str),
    AfterValue,
    Nothing,
    /// More of a text that has begun.
    Text(Of),
}

/// What a text is.
#[derive(Clone, Copy)]
enum Of {
    Name,
    Value,
    Element(&'static str),
}

struct ListReader {
    lists: Lists,
    expected: Expected,
    text: Text,
    name: String,
    rest: Rest,
    rest_bytes: usize,
}

impl ListReader {
    fn new(lists: Lists) -> Self {
        Self {
            lists,
            expected: Expected::Object,
            text: Text::default(),
            name: String::new(),
            rest: Rest::new(),
            rest_bytes: 0,
        }
    }

    /// Reads on.
    fn feed(
        &mut self,
        piece: &[u8],
        take: &mut impl FnMut(&'static str, Box<RawValue>),
    ) -> Result<(), NotTaken> {
        piece.iter().try_for_each(|byte| self.byte(*byte, take))
    }

    /// What the object had beside its lists.
    fn finish(self) -> Result<Rest, NotTaken> {
        match self.expected {
            Expected::Nothing => Ok(self.rest),
            _ => Err(NotTaken::CutOff),
        }
    }

    fn byte(
        &mut self,
        byte: u8,
        take: &mut impl FnMut(&'static str, Box<RawValue>),
    ) -> Result<(), NotTaken> {
        if let Expected::Text(of) = self.expected {
            let most = match of {
                Of::Element(_) => self.lists.element_bytes,
                Of::Name | Of::Value => REST_BYTES.saturating_sub(self.rest_bytes),
            };
            match self.text.push(byte, most)? {
                Pushed::More => return Ok(()),
                Pushed::Last => return self.ended(of, take),
                Pushed::Not => self.ended(of, take)?,
            }
        }
        if is_space(byte) {
            return Ok(());
        }
        self.expected = match (self.expected, byte) {
            (Expected::Object, b'{') => Expected::Name { or_end: true },
            (Expected::Name { or_end: true }, b'}') => Expected::Nothing,
            (Expected::Name { .. }, b'"') => self.begin(byte, Of::Name),
            (Expected::Colon, b':') => Expected::Value,
            (Expected::Value | Expected::Element { .. }, b',' | b':' | b'}')
            | (Expected::Value, b']') => return Err(NotTaken::NotJson),
            (Expected::Value, b'[') => match self.list() {
                Some(list) => Expected::Element { list, or_end: true },
                None => self.begin(byte, Of::Value),
            },
            (Expected::Value, _) => self.begin(byte, Of::Value),
            (Expected::Element { or_end: true, .. }, b']') => Expected::AfterValue,
            (Expected::Element { list, .. }, _) => self.begin(byte, Of::Element(list)),
            (Expected::AfterElement(list), b',') => Expected::Element {
                list,
                or_end: false,
            },
            (Expected::AfterElement(_), b']') => Expected::AfterValue,
            (Expected::AfterValue, b',') => Expected::Name { or_end: false },
            (Expected::AfterValue, b'}') => Expected::Nothing,
            _ => return Err(NotTaken::NotJson),
        };
        Ok(())
    }

    /// The list that has the last name.
    fn list(&self) -> Option<&'static str> {
        let mut names = self.lists.names.iter();
        names.find(|name| **name == self.name).copied()
    }

    fn begin(&mut self, byte: u8, of: Of) -> Expected {
        self.text = Text::beginning(byte);
        Expected::Text(of)
    }

    /// A text is whole. It is JSON only now that it was looked at.
    fn ended(
        &mut self,
        of: Of,
        take: &mut impl FnMut(&'static str, Box<RawValue>),
    ) -> Result<(), NotTaken> {
        let bytes = std::mem::take(&mut self.text.bytes);
        let text = String::from_utf8(bytes).map_err(|_| NotTaken::NotJson)?;
        if !matches!(of, Of::Element(_)) {
            self.rest_bytes += text.len() + PART_BYTES;
        }
        let raw = |text: String| RawValue::from_string(text).map_err(|_| NotTaken::NotJson);
        self.expected = match of {
            Of::Name => {
                self.name = serde_json::from_str(&text).map_err(|_| NotTaken::NotJson)?;
                Expected::Colon
            }
            Of::Value => {
                self.rest.insert(std::mem::take(&mut self.name), raw(text)?);
                Expected::AfterValue
            }
            Of::Element(list) => {
                take(list, raw(text)?);
                Expected::AfterElement(list)
            }
        };
        Ok(())
    }
}

/// A value of which bytes are collected until it ends.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Whether it is a number or a word, which ends before what comes after it.
    is_word: bool,
}

enum Pushed {
    /// The text goes on.
    More,
    /// It ends with this byte.
    Last,
    /// It had ended before this byte.
    Not,
}

impl Text {
    fn beginning(byte: u8) -> Self {
        let is_nested = matches!(byte, b'{' | b'[');
        Self {
            bytes: vec![byte],
            depth: usize::from(is_nested),
            in_string: byte == b'"',
            is_escaped: false,
            is_word: !is_nested && byte != b'"',
        }
    }

    fn push(&mut self, byte: u8, most: usize) -> Result<Pushed, NotTaken> {
        if self.is_word && (matches!(byte, b',' | b']' | b'}') || is_space(byte)) {
            return Ok(Pushed::Not);
        }
        if self.bytes.len() >= most {
            return Err(NotTaken::TooLarge);
        }
        self.bytes.push(byte);
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_string => self.is_escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > DEEPEST_JSON {
            return Err(NotTaken::TooDeep);
        }
        let is_whole = !self.is_word && !self.in_string && self.depth == 0;
        Ok(if is_whole { Pushed::Last } else { Pushed::More })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LISTS: Lists = Lists {
        names: &["state", "chain"],
        element_bytes: 100,
    };

    type Read = (Vec<(&'static str, String)>, BTreeMap<String, String>);

    /// Reads a text that comes in pieces of this many bytes.
    fn read(text: &str, step: usize) -> Result<Read, NotTaken> {
        let mut reader = ListReader::new(LISTS);
        let mut elements = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            reader.feed(piece, &mut |list, element| {
                elements.push((list, element.get().to_owned()));
            })?;
        }
        let rest = reader.finish()?.into_iter();
        Ok((
            elements,
            rest.map(|(name, value)| (name, value.get().to_owned()))
                .collect(),
        ))
    }

    #[test]
    fn lists_are_taken_apart_wherever_the_pieces_end() {
        let text = r#" { "a\u0062" : [1, {"x": "]}"}] , "state":[ {"n":1},{"q\"]":[[]]} ,-2.5e3, "s\\",null],
            "n":7,"chain" : [ ] ,"last":true,"state":[{}]}  "#;
        for step in [1, 2, 3, 7, 1000] {
            let (elements, rest) = read(text, step).unwrap();
            let expected = [
                r#"{"n":1}"#,
                r#"{"q\"]":[[]]}"#,
                "-2.5e3",
                r#""s\\""#,
                "null",
                "{}",
            ];
            let expected = expected.map(|text| ("state", text.to_owned()));
            assert_eq!(elements, expected, "{step}");
            let expected = json!({ "ab": [1, { "x": "]}" }], "n": 7, "last": true });
            let rest: Value = rest
                .into_iter()
                .map(|(name, value)| (name, serde_json::from_str::<Value>(&value).unwrap()))
                .collect();
            assert_eq!(rest, expected);
        }
        let (elements, rest) = read("{}", 1).unwrap();
        assert!(elements.is_empty() && rest.is_empty());
        // A list of that name is one only if it is a list.
        assert_eq!(
            read(r#"{"state":{"a":[1]}}"#, 1).unwrap().1["state"],
            r#"{"a":[1]}"#
        );
    }

    #[test]
    fn what_is_no_object_is_not_taken() {
        for text in [
            "",
            " ",
            "[]",
            "7",
            "{",
            r#"{"a":1"#,
            r#"{"state":[1,2"#,
            r#"{"state":[1,2]"#,
            r#"{"a""#,
        ] {
            let refused = read(text, 1).unwrap_err();
            let expected = match text.trim_start().starts_with(['[', '7']) {
                true => NotTaken::NotJson,
                false => NotTaken::CutOff,
            };
            assert_eq!(refused, expected, "{text}");
        }
        for text in [
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"state":[,]}"#,
            r#"{"state":[1,]}"#,
            r#"{"state":[1 2]}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":[}]}"#,
            r#"{"state":[{]}]}"#,
            r#"{"a":tru}"#,
            r#"{a:1}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"\x":1}"#,
        ] {
            assert_eq!(read(text, 1), Err(NotTaken::NotJson), "{text}");
        }
        let mut reader = ListReader::new(LISTS);
        let read = reader.feed(b"{\"state\":[\"\xff\"]}", &mut |_, _| {});
        assert_eq!(read, Err(NotTaken::NotJson));
    }

    #[test]
    fn what_is_too_deep_or_too_large_is_not_taken() {
        let nested =
            |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(DEEPEST_JSON), 64).is_ok());
        assert_eq!(read(&nested(DEEPEST_JSON + 1), 64), Err(NotTaken::TooDeep));
        let element = |length: usize| format!(r#"{{"state":["{}"]}}"#, "x".repeat(length));
        assert!(read(&element(98), 64).is_ok());
        assert_eq!(read(&element(99), 64), Err(NotTaken::TooLarge));
        let rest = |length: usize| format!(r#"{{"a":"{}","b":"x"}}"#, "x".repeat(length));
        assert!(read(&rest(REST_BYTES / 2), 4096).is_ok());
        assert_eq!(read(&rest(REST_BYTES - 4), 4096), Err(NotTaken::TooLarge));
        // Many small parts are as large as few large ones.
        let many = "\"x\":0,".repeat(REST_BYTES / PART_BYTES);
        let many = read(&format!("{{{many}\"y\":0}}"), 4096);
        assert_eq!(many, Err(NotTaken::TooLarge));
    }
}
