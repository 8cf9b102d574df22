//! Writing answers: events are stored JSON, and pass through as they are.

/// A JSON object or array in the making, whose parts are JSON themselves.
pub(crate) struct Composer {
    text: String,
    close: char,
    is_empty: bool,
}

impl Composer {
    /// An empty object.
    pub(crate) fn object() -> Self {
        Self {
            text: "{".to_owned(),
            close: '}',
            is_empty: true,
        }
    }

    /// An empty array.
    pub(crate) fn array() -> Self {
        Self {
            text: "[".to_owned(),
            close: ']',
            is_empty: true,
        }
    }

    /// Whether nothing was put in.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn separate(&mut self) {
        if !self.is_empty {
            self.text.push(',');
        }
        self.is_empty = false;
    }

    /// Puts JSON under a name into an object.
    pub(crate) fn field(&mut self, name: &str, json: &str) -> &mut Self {
        self.separate();
        put_quoted(&mut self.text, name);
        self.text.push(':');
        self.text.push_str(json);
        self
    }

    /// Puts JSON into an array.
    pub(crate) fn item(&mut self, json: &str) -> &mut Self {
        self.separate();
        self.text.push_str(json);
        self
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        self.text.push(self.close);
        self.text
    }
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    put_quoted(&mut out, text);
    out
}

fn put_quoted(out: &mut String, text: &str) {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().any(is_special) {
        out.push_str(&serde_json::Value::from(text).to_string());
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// An array of strings.
pub(crate) fn strings<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let mut array = Composer::array();
    for text in texts {
        array.item(&quoted(text));
    }
    array.finish()
}

/// An array of JSON values.
pub(crate) fn values(items: &[String]) -> String {
    let mut array = Composer::array();
    for item in items {
        array.item(item);
    }
    array.finish()
}

/// `{"events":[…]}`
pub(crate) fn events(items: &[String]) -> String {
    let mut object = Composer::object();
    object.field("events", &values(items));
    object.finish()
}

/// An event that is no room event: `{"type":…,"content":…}`.
pub(crate) fn basic_event(event_type: &str, content: &str) -> String {
    let mut object = Composer::object();
    object
        .field("type", &quoted(event_type))
        .field("content", content);
    object.finish()
}
