//! What pages are made of.

use runtime::Timestamp;

use super::session::FORM_FIELD;
use crate::{
    html::{Element, Node, element},
    pages::{in_query, paragraph},
    texts::{fill, moment},
    words::WORDS,
};

/// How many rows a page of a list has.
pub(super) const ROWS: usize = 50;

pub(super) fn link(to: &str, text: &str) -> Element {
    let link = element("a").with("href", to);
    if text.is_empty() {
        link
    } else {
        link.has(text)
    }
}

pub(super) fn lead(text: &str) -> Element {
    paragraph("lead", text)
}

pub(super) fn hint(text: &str) -> Element {
    paragraph("hint", text)
}

/// A part of a page with a heading of its own.
pub(super) fn card(heading: &str) -> Element {
    element("section")
        .with("class", "card")
        .has(element("h2").has(heading))
}

/// A path with an argument that may hold anything.
pub(super) fn path(before: &str, argument: &str, behind: &str) -> String {
    format!("/console/{before}/{}{behind}", in_query(argument))
}

/// A form that changes something, tied to whom it is shown to.
pub(super) fn form(number: &str, action: &str) -> Element {
    element("form")
        .with("method", "post")
        .with("action", action)
        .has(hidden(FORM_FIELD, number))
}

/// A form that asks for another view of a page.
pub(super) fn query_form(action: &str) -> Element {
    element("form")
        .with("method", "get")
        .with("action", action)
        .with("class", "query")
}

pub(super) fn hidden(name: &str, value: &str) -> Element {
    element("input")
        .with("type", "hidden")
        .with("name", name)
        .with("value", value)
}

/// Whose password a form asks for: not shown, for password managers alone.
pub(super) fn whose(user_id: &str) -> Element {
    element("input")
        .with("type", "text")
        .with("name", "whose")
        .with("value", user_id)
        .with("autocomplete", "username")
        .flag("readonly", true)
        .flag("hidden", true)
}

pub(super) fn button(text: &str) -> Element {
    element("button").with("type", "submit").has(text)
}

/// A field with its label and, if there is one, a hint; `id` must be the only one on the page.
pub(super) struct Field<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) hint: &'a str,
    pub(super) value: &'a str,
}

impl<'a> Field<'a> {
    pub(super) fn new(name: &'a str, label: &'a str) -> Self {
        Self {
            id: name,
            name,
            label,
            hint: "",
            value: "",
        }
    }

    pub(super) fn id(self, id: &'a str) -> Self {
        Self { id, ..self }
    }

    pub(super) fn hint(self, hint: &'a str) -> Self {
        Self { hint, ..self }
    }

    pub(super) fn value(self, value: &'a str) -> Self {
        Self { value, ..self }
    }

    fn around(&self, input: Element) -> Element {
        let input = input.with("id", self.id).with("name", self.name);
        let hint_id = format!("{}-hint", self.id);
        let (hint, input) = match self.hint.is_empty() {
            true => (None, input),
            false => (
                Some(hint(self.hint).with("id", hint_id.as_str())),
                input.with("aria-describedby", hint_id.as_str()),
            ),
        };
        element("div")
            .with("class", "field")
            .has(element("label").with("for", self.id).has(self.label))
            .has_all(hint)
            .has(input)
    }

    /// A line of text, completed by `complete`.
    pub(super) fn line(&self, complete: impl FnOnce(Element) -> Element) -> Element {
        let input = element("input")
            .with("type", "text")
            .with("value", self.value);
        self.around(complete(input))
    }

    /// A line of text that must be filled in.
    pub(super) fn required(&self) -> Element {
        self.line(|input| input.with("maxlength", "255").flag("required", true))
    }

    /// A name or a code, which no keyboard is to correct.
    pub(super) fn exact(&self) -> Element {
        self.line(|input| {
            input
                .with("maxlength", "255")
                .with("autocomplete", "off")
                .with("autocapitalize", "none")
                .with("spellcheck", "false")
                .flag("required", true)
        })
    }

    pub(super) fn password(&self) -> Element {
        let input = element("input")
            .with("type", "password")
            .with("autocomplete", "current-password")
            .flag("required", true);
        self.around(input)
    }

    /// One of several: each with its value and its text.
    pub(super) fn choice(&self, choices: &[(&str, &str)]) -> Element {
        let options = choices.iter().map(|(value, text)| {
            element("option")
                .with("value", *value)
                .flag("selected", *value == self.value)
                .has(*text)
        });
        self.around(element("select").has_all(options))
    }
}

/// A box to be ticked.
pub(super) fn tick(name: &str, text: &str, is_ticked: bool) -> Element {
    let input = element("input")
        .with("type", "checkbox")
        .with("name", name)
        .with("value", "1")
        .flag("checked", is_ticked);
    element("label").with("class", "check").has(input).has(text)
}

/// Why something is done to somebody.
pub(super) fn reason(id: &str) -> Element {
    Field::new("reason", WORDS.acts.reason)
        .id(id)
        .hint(WORDS.acts.reason_hint)
        .required()
}

/// The name of what is touched, which must be typed so that it is meant.
pub(super) fn typed_name(id: &str, name: &str) -> Element {
    let label = fill(WORDS.acts.type_name, &[("name", name)]);
    Field::new("typed", &label).id(id).exact()
}

/// Something that can be done: what it is, what follows from it, and the form for it.
pub(super) fn act(summary: &str, explanation: &str, form: Element, is_dangerous: bool) -> Element {
    let class = if is_dangerous { "act danger" } else { "act" };
    element("details")
        .with("class", class)
        .has(element("summary").has(summary))
        .has(element("div").has(hint(explanation)).has(form))
}

/// A table: its caption, the heads of its columns, its rows. The first cell of a row names it.
pub(super) fn table(caption: &str, heads: &[&str], rows: Vec<Vec<Node>>) -> Element {
    let head = heads
        .iter()
        .map(|head| element("th").with("scope", "col").has(*head));
    let rows = rows.into_iter().map(|cells| {
        let cells = cells.into_iter().enumerate().map(|(index, cell)| {
            let label = heads.get(index).copied().unwrap_or_default();
            match index {
                0 => element("th").with("scope", "row").has(cell),
                _ => element("td").with("data-label", label).has(
                    // So that a phone can put label and content side by side.
                    element("div").has(cell),
                ),
            }
        });
        element("tr").has_all(cells)
    });
    element("table")
        .has(element("caption").has(caption))
        .has(element("thead").has(element("tr").has_all(head)))
        .has(element("tbody").has_all(rows))
}

/// Names with what is said of each.
pub(super) fn facts(rows: impl IntoIterator<Item = (&'static str, Node)>) -> Element {
    let rows = rows.into_iter().map(|(name, fact)| {
        element("div")
            .has(element("dt").has(name))
            .has(element("dd").has(fact))
    });
    element("dl").with("class", "facts").has_all(rows)
}

/// A word that stands out.
pub(super) fn badge(kind: &str, text: &str) -> Element {
    element("span")
        .with("class", format!("badge {kind}"))
        .has(text)
}

/// The words that hold: whether each does, its kind and its text.
pub(super) fn marks<'a>(
    all: impl IntoIterator<Item = (bool, &'a str, &'a str)>,
) -> impl Iterator<Item = Element> {
    let all = all.into_iter().filter(|(holds, _, _)| *holds);
    all.map(|(_, kind, text)| badge(kind, text))
}

/// Words that stand out, side by side.
pub(super) fn badges(all: impl IntoIterator<Item = Element>) -> Node {
    element("span").with("class", "badges").has_all(all).into()
}

/// A moment in ms since the Unix epoch, for people and programs.
pub(super) fn when(at: u64) -> Element {
    element("time")
        .with("datetime", Timestamp(at).to_string())
        .has(moment(Timestamp(at)))
}

/// A moment that may not have come.
pub(super) fn when_ever(at: Option<u64>) -> Node {
    match at {
        Some(at) => when(at).into(),
        None => WORDS.frame.never.into(),
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= 1_000.0 && unit + 1 < UNITS.len() {
        amount /= 1_000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{amount:.1} {}", UNITS[unit]),
    }
}

/// Something that was done.
pub(super) fn done(text: &str) -> Element {
    paragraph("note done", text).with("role", "status")
}

/// Something that went wrong, told before all else.
pub(super) fn wrong(text: &str) -> Element {
    element("div")
        .with("class", "note wrong")
        .with("role", "alert")
        .has(element("h2").has(WORDS.acts.not_done))
        .has(element("p").has(text))
}

/// Where a list goes on.
pub(super) fn next_page(to: Option<String>) -> Option<Element> {
    let to = to?;
    let go_on = link(&to, WORDS.frame.next).with("class", "button quiet");
    Some(element("p").with("class", "pager").has(go_on))
}

/// A secret that is shown once, whole at one click.
pub(super) fn secret(id: &str, text: &str) -> Element {
    element("p")
        .with("class", "value")
        .has(element("code").with("id", id).has(text))
}

/// An id, which is not broken in the middle of a word where there is room.
pub(super) fn code(text: &str) -> Element {
    element("code").has(text)
}

/// The id of a person, a room or a server, which is best broken before its server.
pub(super) fn id(text: &str) -> Element {
    match text.split_once(':') {
        Some((local, server)) => element("span")
            .has(local)
            .has(":")
            .has(element("wbr"))
            .has(server),
        None => element("span").has(text),
    }
}

/// A field with a name to look for.
pub(super) fn search(action: &str, label: &str, hint: &str, value: &str) -> Element {
    let field = Field::new("q", label).hint(hint).value(value);
    query_form(action)
        .with("role", "search")
        .has(field.line(|input| input.with("maxlength", "255").with("autocomplete", "off")))
        .has(button(WORDS.frame.search))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_500, "1.5 KB"),
            (52_428_800, "52.4 MB"),
            (3_000_000_000_000_000, "3000.0 TB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn cells_name_their_column_for_narrow_screens() {
        let rows = vec![vec!["a".into(), "b".into()]];
        let written = table("c", &["x", "y"], rows).render();
        assert!(written.contains("<th scope=\"row\">a</th>"), "{written}");
        assert!(
            written.contains("<td data-label=\"y\"><div>b</div></td>"),
            "{written}"
        );
    }

    #[test]
    fn arguments_of_paths_are_escaped() {
        assert_eq!(
            path("rooms", "!a/b:c?d", "/members"),
            "/console/rooms/%21a%2Fb:c%3Fd/members"
        );
    }
}
