//! What is around every page: the way to the others, and who is there.

use axum::response::Response;
use http::StatusCode;

use super::{
    Desk, PLACES,
    answers::document,
    parts::{self, link},
    session::Clerk,
};
use crate::{
    html::{Element, element},
    words::WORDS,
};

/// A page of the console.
pub(super) struct Sheet {
    /// Its place in the navigation.
    here: &'static str,
    title: String,
    lead: Option<String>,
    status: StatusCode,
    content: Vec<Element>,
}

impl Sheet {
    /// A page at a place of the navigation.
    pub(super) fn new(here: &'static str, title: impl Into<String>) -> Self {
        Self {
            here,
            title: title.into(),
            lead: None,
            status: StatusCode::OK,
            content: Vec::new(),
        }
    }

    /// The same with a sentence below its title.
    #[must_use]
    pub(super) fn lead(mut self, text: impl Into<String>) -> Self {
        self.lead = Some(text.into());
        self
    }

    /// The same with more on it.
    #[must_use]
    pub(super) fn has(mut self, content: impl Into<Element>) -> Self {
        self.content.push(content.into());
        self
    }

    /// The same with more on it, as much as there is.
    #[must_use]
    pub(super) fn has_all(mut self, content: impl IntoIterator<Item = Element>) -> Self {
        self.content.extend(content);
        self
    }

    /// The same as an answer to something that was not done.
    #[must_use]
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The page as somebody sees it.
    pub(super) fn shown(self, desk: &Desk, clerk: &Clerk) -> Response {
        let main = element("main")
            .with("id", "content")
            .with("tabindex", "-1")
            .has(element("h1").has(self.title.as_str()))
            .has_all(self.lead.map(|lead| parts::lead(&lead)))
            .has_all(self.content);
        let body = [
            skip(),
            top(desk, clerk, self.here),
            element("div")
                .with("class", "frame")
                .has(navigation(clerk, self.here).with("class", "side"))
                .has(main),
        ];
        document(desk, self.status, &self.title, body)
    }
}

fn skip() -> Element {
    link("#content", WORDS.frame.skip).with("class", "skip")
}

fn top(desk: &Desk, clerk: &Clerk, here: &str) -> Element {
    let server = desk.accounts.server_name().as_str();
    let menu = element("details")
        .with("class", "menu")
        .has(element("summary").has(WORDS.frame.menu))
        .has(navigation(clerk, here));
    let own = link("/console/account", clerk.user_id()).with("class", "who");
    let own = match here == "account" {
        true => own.with("aria-current", "page"),
        false => own,
    };
    let out = parts::form(clerk.form(), "/console/sign-out")
        .has(parts::button(WORDS.frame.sign_out).with("class", "quiet"));
    element("header")
        .with("class", "top")
        .has(
            link("/console/", "")
                .with("class", "brand")
                .has(element("span").has(server))
                .has(element("small").has(WORDS.frame.brand)),
        )
        .has(element("div").with("class", "self").has(own).has(out))
        .has(menu)
}

fn navigation(clerk: &Clerk, here: &str) -> Element {
    let items = PLACES
        .iter()
        .filter(|place| place.right.is_none_or(|right| clerk.may(right)))
        .map(|place| {
            let one = link(&format!("/console/{}", place.path), place.title);
            let one = match place.path == here {
                true => one.with("aria-current", "page"),
                false => one,
            };
            element("li").has(one)
        });
    element("nav")
        .with("aria-label", WORDS.frame.navigation)
        .has(element("ul").has_all(items))
}

/// A page for somebody who is not at the desk yet: one column, nothing around it.
pub(super) fn alone(
    desk: &Desk,
    status: StatusCode,
    title: &str,
    content: impl IntoIterator<Item = Element>,
) -> Response {
    let server = desk.accounts.server_name().as_str();
    let main = element("main")
        .with("id", "content")
        .with("class", "alone")
        .has(element("p").with("class", "where").has(server))
        .has(element("h1").has(title))
        .has_all(content);
    document(desk, status, title, [main])
}
