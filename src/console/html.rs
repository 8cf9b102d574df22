//! HTML as a tree of elements. Names of elements and attributes are written in our
//! code; everything else is a text or an attribute's value, and escaped.

/// Elements without content and end tag.
const VOID: [&str; 4] = ["input", "link", "meta", "wbr"];

/// Something within an element.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Text; escaped when written.
    Text(String),
    /// An element.
    Element(Element),
    /// The content of `<style>`, which browsers do not unescape. Ours alone.
    Style(&'static str),
}

impl From<Element> for Node {
    fn from(element: Element) -> Self {
        Self::Element(element)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// An element with its attributes and content.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, Option<String>)>,
    content: Vec<Node>,
}

/// An empty element.
pub(crate) fn element(name: &'static str) -> Element {
    Element {
        name,
        attributes: Vec::new(),
        content: Vec::new(),
    }
}

impl Element {
    /// The same with an attribute.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, Some(value.into())));
        self
    }

    /// The same with an attribute that has no value, if `is_set`.
    #[must_use]
    pub(crate) fn flag(mut self, name: &'static str, is_set: bool) -> Self {
        if is_set {
            self.attributes.push((name, None));
        }
        self
    }

    /// The same with more content.
    #[must_use]
    pub(crate) fn has(mut self, content: impl Into<Node>) -> Self {
        self.content.push(content.into());
        self
    }

    /// The same with more content, as much as there is.
    #[must_use]
    pub(crate) fn has_all<T: Into<Node>>(mut self, content: impl IntoIterator<Item = T>) -> Self {
        self.content.extend(content.into_iter().map(Into::into));
        self
    }

    /// The element as text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        text.push('<');
        text.push_str(self.name);
        for (name, value) in &self.attributes {
            text.push(' ');
            text.push_str(name);
            if let Some(value) = value {
                text.push_str("=\"");
                escape(value, text);
                text.push('"');
            }
        }
        text.push('>');
        if VOID.contains(&self.name) {
            return;
        }
        for node in &self.content {
            match node {
                Node::Text(content) => escape(content, text),
                Node::Element(element) => element.write(text),
                Node::Style(style) => text.push_str(style),
            }
        }
        text.push_str("</");
        text.push_str(self.name);
        text.push('>');
    }
}

/// Writes what is neither markup in a text nor the end of a quoted attribute.
fn escape(raw: &str, text: &mut String) {
    for letter in raw.chars() {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            // Browsers replace it, wherever it stands.
            '\0' => text.push('\u{fffd}'),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_from_outside_is_escaped() {
        for (raw, expected) in [
            ("anna", "anna"),
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            ("\"><img src=x>", "&quot;&gt;&lt;img src=x&gt;"),
            ("' onfocus='x", "&#39; onfocus=&#39;x"),
            ("&lt;", "&amp;lt;"),
            ("a\0b", "a\u{fffd}b"),
            ("ümlaut 🙂", "ümlaut 🙂"),
        ] {
            let written = element("p").with("title", raw).has(raw).render();
            assert_eq!(written, format!("<p title=\"{expected}\">{expected}</p>"));
        }
    }

    #[test]
    fn elements_are_written_as_html_wants_them() {
        let form = element("form")
            .flag("novalidate", true)
            .flag("hidden", false)
            .has(element("input").with("name", "a").flag("required", true))
            .has_all(["b", "c"])
            .has_all(None::<Element>)
            .has(element("div"));
        assert_eq!(
            form.render(),
            "<form novalidate><input name=\"a\" required>bc<div></div></form>"
        );
    }

    #[test]
    fn a_style_is_written_as_it_is() {
        let style = element("style").has(Node::Style("a > b { }"));
        assert_eq!(style.render(), "<style>a > b { }</style>");
    }
}
