//! YAML as the specification uses it, read as JSON.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};

/// Reads a file's one document. Keys become texts, whatever they were (`200:`).
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let text = with_closing_brackets_inside(text);
    let mut reader = Reader {
        parser: Parser::new_from_str(&text),
        named: HashMap::new(),
    };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event if document.is_none() => document = Some(reader.value(event)?),
            _ => return Err("there is a second document".into()),
        }
    }
    document.ok_or_else(|| "there is nothing".into())
}

/// The text with lines of nothing but closing brackets moved to the right.
///
/// YAML wants the lines of `{ … }` to stand further right than the key before them, the
/// last one too. The specification's examples close at the key's own column.
fn with_closing_brackets_inside(text: &str) -> String {
    let is_closing = |line: &str| {
        let line = line.trim();
        line.starts_with(['}', ']']) && line.chars().all(|one| "}],".contains(one))
    };
    text.lines()
        .flat_map(|line| [if is_closing(line) { "  " } else { "" }, line, "\n"])
        .collect()
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What `&name` stood before, by the parser's number for the name.
    named: HashMap<usize, Value>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn value(&mut self, event: Event<'a>) -> Result<Value, String> {
        let (name, value) = match event {
            Event::Alias(name) => {
                let known = self.named.get(&name).cloned();
                return known.ok_or_else(|| "a reference to what does not stand before it".into());
            }
            Event::Scalar(text, ScalarStyle::Plain, name, _) => (name, plain(&text)),
            Event::Scalar(text, _, name, _) => (name, Value::String(text.into_owned())),
            Event::SequenceStart(name, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.value(event)?),
                    }
                }
                (name, Value::Array(items))
            }
            Event::MappingStart(name, _) => (name, Value::Object(self.members()?)),
            other => return Err(format!("{other:?} came too early")),
        };
        if name != 0 {
            self.named.insert(name, value.clone());
        }
        Ok(value)
    }

    fn members(&mut self) -> Result<Map<String, Value>, String> {
        let mut members = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(members),
                Event::Scalar(key, ..) => key.into_owned(),
                other => return Err(format!("{other:?} is no key")),
            };
            let event = self.next()?;
            let value = self.value(event)?;
            members.insert(key, value);
        }
    }
}

/// What a text without quotes means (YAML 1.2, core schema).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => {
            if let Ok(whole) = text.parse::<i64>() {
                return whole.into();
            }
            let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            let number = text.parse::<f64>().ok().filter(|_| is_number);
            number
                .and_then(Number::from_f64)
                .map_or_else(|| Value::String(text.to_owned()), Value::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_texts_quotes_lists_and_references_are_understood() {
        let text = "200:\n  a: &one {b: [1, -2.5, \"3\", x: y]}\n  c: *one\nd: true\ne:\nf: |-\n  g\n  h\n";
        let inner = json!({ "b": [1, -2.5, "3", { "x": "y" }] });
        assert_eq!(
            read(text).unwrap(),
            json!({ "200": { "a": inner, "c": inner }, "d": true, "e": null, "f": "g\nh" })
        );
        let example = "a:\n  b: {\n    \"c\": 1\n  }\n  d: 2\n";
        let inner = json!({ "b": { "c": 1 }, "d": 2 });
        assert_eq!(read(example).unwrap(), json!({ "a": inner }));
        assert!(read("a: b\n---\nc: d\n").is_err());
        assert!(read("a: *nothing\n").is_err());
    }
}
