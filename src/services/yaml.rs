//! The small part of YAML that registration files are written in, as a tree: maps, lists
//! and texts. What a text means (a number, a truth value, nothing) is decided by whoever
//! knows which field it is, so that a token of digits stays a token.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::RegistrationError;

/// How deep maps and lists may stand in each other.
const MAX_DEPTH: usize = 16;

/// A part of a file, with the line on which it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// Anything that is not made of parts.
    Text {
        text: String,
        /// Whether it stands without quotes, so that it may mean something else.
        is_plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; no key comes twice.
    Map(Vec<(String, Node)>),
}

/// Reads a file that holds one document.
///
/// # Errors
/// If it is no YAML, holds more or less than one document, or uses what no registration
/// needs: references, keys that are not texts.
pub(crate) fn parse(text: &str) -> Result<Node, RegistrationError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let mut document = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(_), line) if document.is_some() => {
                return Err(RegistrationError::at(line, "there is a second document"));
            }
            (
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing,
                _,
            ) => {}
            (event, line) => document = Some(reader.node(event, line, 0)?),
        }
    }
    document.ok_or_else(|| RegistrationError::at(1, "the file is empty"))
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), RegistrationError> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line())),
            Some(Err(error)) => {
                let reason = format!("this is no YAML: {}", error.info());
                Err(RegistrationError::at(error.marker().line(), reason))
            }
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        line: usize,
        depth: usize,
    ) -> Result<Node, RegistrationError> {
        if depth > MAX_DEPTH {
            return Err(RegistrationError::at(line, "this is nested too deep"));
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => Value::Text {
                text: text.into_owned(),
                is_plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => {
                let reason = "references to other parts of the file are not understood";
                return Err(RegistrationError::at(line, reason));
            }
            _ => return Err(RegistrationError::at(line, "something ends here too early")),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, RegistrationError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, RegistrationError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(key, ..), line)
                    if entries.iter().any(|(known, _)| *known == key) =>
                {
                    return Err(RegistrationError::at(line, format!("`{key}` comes twice")));
                }
                (Event::Scalar(key, ..), _) => key.into_owned(),
                (_, line) => return Err(RegistrationError::at(line, "a key must be a text")),
            };
            let (event, line) = self.next()?;
            entries.push((key, self.node(event, line, depth + 1)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registrations_are_written_in_is_understood() {
        let node = parse("# a comment\na: 1\n'b': [x, \"y\"]\nc:\n- d: {}\n").unwrap();
        let Value::Map(entries) = node.value else {
            panic!("{node:?}");
        };
        let keys: Vec<_> = entries
            .iter()
            .map(|(key, node)| (key.as_str(), node.line))
            .collect();
        assert_eq!(keys, [("a", 2), ("b", 3), ("c", 5)]);
        let Value::List(items) = &entries[1].1.value else {
            panic!("{entries:?}");
        };
        let is_plain = |node: &Node| matches!(node.value, Value::Text { is_plain: true, .. });
        assert!(is_plain(&items[0]) && !is_plain(&items[1]));
    }

    #[test]
    fn what_no_registration_needs_is_refused_with_its_line() {
        let deep = "[".repeat(MAX_DEPTH + 2);
        for (text, line, expected) in [
            ("", 1, "the file is empty"),
            ("a: 1\na: 2\n", 2, "`a` comes twice"),
            ("a: 1\n---\nb: 1\n", 2, "a second document"),
            ("a: &x [1]\nb: *x\n", 2, "references"),
            ("? [a]\n: b\n", 1, "a key must be a text"),
            ("a: [1\nb: 2\n", 2, "no YAML"),
            (deep.as_str(), 1, "nested too deep"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
