//! What the pages say.

use http::StatusCode;
use ruma_common::UserId;
use web::ApiError;

use crate::{
    ClientLink, Console, QrCode,
    html::{Element, element},
    joining::{JoinForm, Mistakes},
    page::Page,
    texts::{TEXTS, fill},
};

/// The longest user name that the form takes, in characters; ids end at 255 bytes.
const LONGEST_NAME: &str = "255";

/// The form of an invitation. `form` is what was typed before, without which it is
/// shown for the first time.
pub(crate) fn join(console: &Console, form: &JoinForm, mistakes: &Mistakes) -> Page {
    let texts = &TEXTS.form;
    let server = console.accounts.server_name().as_str();
    let minimum = console.accounts.password_min_length().to_string();
    let mut title = fill(texts.title, &[("server", server)]);
    let heading = element("h1").has(title.as_str());
    let status = if mistakes.is_empty() {
        StatusCode::OK
    } else {
        title.insert_str(0, texts.title_mistake);
        StatusCode::BAD_REQUEST
    };
    let hint = fill(texts.password_hint, &[("minimum", &minimum)]);
    let name = Field::new("name", texts.name, texts.name_hint, mistakes);
    let password = Field::new("password", texts.password, &hint, mistakes);
    let again = Field::new("again", texts.again, "", mistakes);
    let fields = [
        name.with_input(|input| name_input(input, &form.name)),
        password.with_input(secret_input),
        again.with_input(secret_input),
    ];
    let form = element("form")
        .with("method", "post")
        // The server says what is wrong, in its own words and beside the field.
        .flag("novalidate", true)
        .has_all(fields)
        .has(element("button").with("type", "submit").has(texts.button));
    let content = element("main")
        .has(heading)
        .has(paragraph("lead", texts.lead))
        .has_all(summary(mistakes))
        .has(form)
        .has(paragraph(
            "small",
            fill(texts.footer, &[("server", server)]),
        ));
    Page::new(status, title, content)
}

fn name_input(input: Element, typed: &str) -> Element {
    input
        .with("value", typed)
        .with("type", "text")
        .with("autocomplete", "username")
        .with("autocapitalize", "none")
        .with("autocorrect", "off")
        .with("spellcheck", "false")
        .with("maxlength", LONGEST_NAME)
}

pub(crate) fn secret_input(input: Element) -> Element {
    input
        .with("type", "password")
        .with("autocomplete", "new-password")
}

/// A field of the form: label, hint, mistake and input, tied together for screen
/// readers.
pub(crate) struct Field<'a> {
    id: &'static str,
    label: &'a str,
    hint: &'a str,
    mistake: Option<&'a str>,
    /// Whether it is the first with a mistake: there the person goes on.
    is_first: bool,
}

impl<'a> Field<'a> {
    pub(crate) fn new(
        id: &'static str,
        label: &'a str,
        hint: &'a str,
        mistakes: &'a Mistakes,
    ) -> Self {
        let mut listed = mistakes.of_fields();
        let first = mistakes.of_fields().next();
        Self {
            id,
            label,
            hint,
            mistake: listed.find_map(|(field, text)| (field == id).then_some(text)),
            is_first: first.is_some_and(|(field, _)| field == id),
        }
    }

    pub(crate) fn with_input(&self, complete: impl FnOnce(Element) -> Element) -> Element {
        let (id, mut described) = (self.id, Vec::new());
        let mut note = |what: &'static str, text: &str| {
            let id = format!("{id}-{what}");
            described.push(id.clone());
            paragraph(what, text).with("id", id)
        };
        let hint = (!self.hint.is_empty()).then(|| note("hint", self.hint));
        let mistake = self.mistake.map(|mistake| note("mistake", mistake));
        let mut input = element("input")
            .with("id", id)
            .with("name", id)
            .flag("required", true)
            .flag("autofocus", self.is_first);
        if !described.is_empty() {
            input = input.with("aria-describedby", described.join(" "));
        }
        let mut class = "field";
        if mistake.is_some() {
            input = input.with("aria-invalid", "true");
            class = "field wrong";
        }
        element("div")
            .with("class", class)
            .has(element("label").with("for", id).has(self.label))
            .has_all(hint)
            .has_all(mistake)
            .has(complete(input))
    }
}

/// What has to be corrected, above the form and read out at once.
pub(crate) fn summary(mistakes: &Mistakes) -> Option<Element> {
    if mistakes.is_empty() {
        return None;
    }
    let items = mistakes.of_fields().map(|(field, mistake)| {
        element("li").has(element("a").with("href", format!("#{field}")).has(mistake))
    });
    let items: Vec<Element> = items.collect();
    let list = (!items.is_empty()).then(|| element("ul").has_all(items));
    let summary = element("div")
        .with("class", "summary")
        .with("role", "alert")
        .has(element("h2").has(TEXTS.mistakes.summary))
        .has_all(
            mistakes
                .general
                .as_deref()
                .map(|text| element("p").has(text)),
        )
        .has_all(list);
    Some(summary)
}

/// How to sign in. Without `user_id` for somebody who has an account already.
pub(crate) fn joined(console: &Console, user_id: Option<&UserId>) -> Page {
    let texts = &TEXTS.joined;
    let server = console.accounts.server_name().as_str();
    let name = user_id.map_or("", UserId::localpart);
    let words = |with: &str, without: &str| {
        let text = if user_id.is_some() { with } else { without };
        fill(text, &[("server", server), ("name", name)])
    };
    let title = words(texts.title, texts.title_nameless);
    let shown_id = user_id.map_or_else(|| format!("@name:{server}"), ToString::to_string);
    let steps = element("ol")
        .has(install(&console.joining.clients))
        .has(step(
            texts.server,
            [
                paragraph("", texts.server_how),
                value("address", &console.address),
            ],
        ))
        .has(step(
            texts.sign_in,
            [
                paragraph("", words(texts.sign_in_how, texts.sign_in_how_nameless)),
                value("user-id", &shown_id),
            ],
        ));
    let recovery = element("section")
        .has(element("h2").has(texts.recovery))
        .has(paragraph("", texts.recovery_why));
    let content = element("main")
        .has(element("h1").has(title.as_str()))
        .has(paragraph("lead", words(texts.lead, texts.lead_nameless)))
        .has(steps)
        .has_all(button(console, user_id))
        .has(recovery)
        .has_all(other_device(console, user_id));
    Page::new(StatusCode::OK, title, content)
}

fn install(clients: &[ClientLink]) -> Element {
    let texts = &TEXTS.joined;
    if clients.is_empty() {
        return step(texts.install, [paragraph("", texts.install_any)]);
    }
    let links = clients.iter().map(|client| {
        let values = [
            ("client", client.name.as_str()),
            ("platform", client.platform.as_str()),
        ];
        let link = element("a")
            .with("href", client.address.as_str())
            .with("rel", "noopener noreferrer")
            .has(fill(texts.client, &values));
        element("li").has(link)
    });
    let list = element("ul").with("class", "clients").has_all(links);
    step(texts.install, [paragraph("", texts.install_these), list])
}

/// One of the steps: a heading and what to do.
fn step(heading: &str, content: impl IntoIterator<Item = Element>) -> Element {
    element("li")
        .has(element("h2").has(heading))
        .has_all(content)
}

/// Something to copy, whole at one click.
pub(crate) fn value(id: &'static str, text: &str) -> Element {
    element("p")
        .with("class", "value")
        .has(element("code").with("id", id).has(text))
}

/// The button of who is on the right device already, if the operator has a link for
/// it. The server's address alone leads to no page.
fn button(console: &Console, user_id: Option<&UserId>) -> Option<Element> {
    let link = sign_in_link(console, user_id).filter(|link| *link != *console.address)?;
    let button = element("a")
        .with("class", "button")
        .with("href", link)
        .with("rel", "noopener noreferrer")
        .has(TEXTS.joined.button);
    Some(button)
}

/// The QR code of the operator's link, or of this page.
fn other_device(console: &Console, user_id: Option<&UserId>) -> Option<Element> {
    let texts = &TEXTS.joined;
    let (link, how) = match sign_in_link(console, user_id) {
        Some(link) => (link, texts.code_link),
        None => (joined_address(&console.address, user_id), texts.code_page),
    };
    let label = fill(texts.code_label, &[("link", &link)]);
    let code = QrCode::of(&link)?.svg(&label);
    let section = element("section")
        .has(element("h2").has(texts.code))
        .has(paragraph("", how))
        .has(code);
    Some(section)
}

/// The operator's link for signing in, filled in; none if there is none.
fn sign_in_link(console: &Console, user_id: Option<&UserId>) -> Option<String> {
    let template = console.joining.sign_in_link.as_str();
    let user_id = user_id.map_or_else(String::new, |user_id| in_query(user_id.as_str()));
    let values = [
        ("address", &*console.address),
        ("server_name", console.accounts.server_name().as_str()),
        ("user_id", &user_id),
    ];
    (!template.is_empty()).then(|| fill(template, &values))
}

/// The address of the page after joining.
fn joined_address(address: &str, user_id: Option<&UserId>) -> String {
    match user_id {
        Some(user_id) => format!("{address}/joined?name={}", in_query(user_id.localpart())),
        None => format!("{address}/joined"),
    }
}

/// A text as a value in a query. `@` and `:` are allowed there, and clients that read
/// ids from links want to see them.
pub(crate) fn in_query(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'@' | b':' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The invitation cannot be used, for whatever reason: which, nobody needs to know
/// who tries tokens.
pub(crate) fn gone() -> Page {
    let texts = &TEXTS.refused;
    let how = element("p")
        .has(texts.gone_yours)
        .has(" ")
        .has(
            element("a")
                // Relative: a proxy may serve us below a path.
                .with("href", "../joined")
                .has(texts.gone_yours_link),
        )
        .has(".");
    let content = element("main")
        .has(element("h1").has(texts.gone))
        .has(paragraph("lead", texts.gone_why))
        .has(paragraph("", texts.gone_ask))
        .has(how);
    Page::new(StatusCode::NOT_FOUND, texts.gone.to_owned(), content)
}

/// Nobody can join this server.
pub(crate) fn closed(console: &Console) -> Page {
    let texts = &TEXTS.refused;
    let server = console.accounts.server_name().as_str();
    let why = fill(texts.closed_why, &[("server", server)]);
    notice(StatusCode::FORBIDDEN, texts.closed, &why)
}

/// The form was sent from another site.
pub(crate) fn elsewhere() -> Page {
    let texts = &TEXTS.refused;
    notice(StatusCode::FORBIDDEN, texts.elsewhere, texts.elsewhere_why)
}

/// Something failed, and there is no form to say it in.
pub(crate) fn failed(error: ApiError) -> Page {
    let why = failure(&error);
    notice(error.status(), TEXTS.refused.failed, &why).because(error)
}

/// What failed, in words for somebody who cannot do anything about it.
pub(crate) fn failure(error: &ApiError) -> String {
    let texts = &TEXTS.mistakes;
    let wait = error.field("retry_after_ms").and_then(|wait| wait.as_u64());
    match error.status() {
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = wait.unwrap_or(0).div_ceil(1_000).max(1).to_string();
            fill(texts.too_many, &[("seconds", &seconds)])
        }
        StatusCode::SERVICE_UNAVAILABLE => texts.busy.to_owned(),
        status if status.is_client_error() => texts.form_broken.to_owned(),
        _ => texts.failed.to_owned(),
    }
}

pub(crate) fn notice(status: StatusCode, heading: &str, text: &str) -> Page {
    let content = element("main")
        .has(element("h1").has(heading))
        .has(paragraph("lead", text));
    Page::new(status, heading.to_owned(), content)
}

pub(crate) fn paragraph(class: &str, text: impl Into<crate::html::Node>) -> Element {
    let paragraph = element("p");
    if class.is_empty() {
        paragraph.has(text)
    } else {
        paragraph.with("class", class).has(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_query_is_escaped() {
        for (text, expected) in [
            ("anna.berg-1_2", "anna.berg-1_2"),
            ("a/b+c=d", "a%2Fb%2Bc%3Dd"),
            ("@anna:council.example", "@anna:council.example"),
            ("é&#", "%C3%A9%26%23"),
        ] {
            assert_eq!(in_query(text), expected);
        }
    }

    #[test]
    fn failures_say_how_long_to_wait() {
        let wait = std::time::Duration::from_millis(2_100);
        assert!(failure(&ApiError::limit_exceeded(wait)).contains("3 seconds"));
        assert_eq!(
            failure(&ApiError::internal("secret")),
            TEXTS.mistakes.failed
        );
        assert_eq!(failure(&ApiError::unavailable("x")), TEXTS.mistakes.busy);
        assert_eq!(failure(&ApiError::too_large(1)), TEXTS.mistakes.form_broken);
    }
}
