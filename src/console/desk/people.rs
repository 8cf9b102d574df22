//! The list of people, and new accounts.

use actions::{Administration, Person, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use model::PeopleList;
use runtime::Timestamp;
use web::{Part, Routes};

use super::{
    Desk,
    answers::Stop,
    layout::Sheet,
    parts::{self, Field, ROWS, badge, button, form, link, path, when_ever},
    people_import,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node, element},
    pages::in_query,
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/people";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, list)
        .plain(Method::POST, HERE, create)
}

fn which(text: &str) -> PeopleList {
    match text {
        "open" => PeopleList::Open,
        "roles" => PeopleList::WithRole,
        "restrained" => PeopleList::Restrained,
        "closed" => PeopleList::Closed,
        _ => PeopleList::Everybody,
    }
}

/// `GET /console/people`
async fn list(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    page(&desk, &clerk, &query, None).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.people;
    let wanted = (query.filled("q"), which(query.text("which")));
    let found = desk
        .actions
        .people_after(&clerk.by(), wanted, query.filled("after"), ROWS)
        .await?;
    let next = found.next.map(|after| {
        format!(
            "{HERE}?q={}&which={}&after={}",
            in_query(query.text("q")),
            in_query(query.text("which")),
            in_query(&after)
        )
    });
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let sheet = Sheet::new("people", words.title)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(search_form(query));
    let sheet = match found.rows.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(table(&found.rows)),
    };
    let sheet = sheet.has_all(parts::next_page(next));
    let sheet = sheet.has_all(people_import::way(clerk));
    let sheet = match clerk.may(Right::CreatePerson) {
        true => sheet.has(create_card(clerk)),
        false => sheet,
    };
    Ok(sheet.shown(desk, clerk))
}

fn search_form(query: &Fields) -> Element {
    let words = &WORDS.people;
    let choices = [
        ("", words.everybody),
        ("open", words.open),
        ("roles", words.with_role),
        ("restrained", words.restrained),
        ("closed", words.closed),
    ];
    let which = Field::new("which", words.which).value(query.text("which"));
    parts::query_form(HERE)
        .with("role", "search")
        .has(
            Field::new("q", words.search)
                .value(query.text("q"))
                .line(|input| input.with("maxlength", "255").with("autocomplete", "off")),
        )
        .has(which.choice(&choices))
        .has(button(WORDS.frame.search))
}

/// What stands out of an account.
pub(super) fn marks(person: &Person) -> Vec<Element> {
    let words = &WORDS.people;
    let account = &person.summary.account;
    let roles = account.roles.iter();
    let roles = roles.map(|role| badge("role", WORDS.roles.of(role)));
    let states = [
        (account.deactivated_at.is_some(), "bad", words.is_closed),
        (account.is_locked, "bad", words.is_locked),
        (person.is_suspended, "warn", words.is_suspended),
        (person.is_guest, "plain", words.is_guest),
    ];
    roles.chain(parts::marks(states)).collect()
}

fn table(people: &[Person]) -> Element {
    let words = &WORDS.people;
    let rows = people.iter().map(|person| {
        let summary = &person.summary;
        let user_id = summary.user_id.as_str();
        let name = summary.display_name.as_deref().unwrap_or_default();
        vec![
            link(&path("people", user_id, ""), "")
                .has(parts::id(user_id))
                .into(),
            Node::from(name),
            parts::badges(marks(person)),
            summary.devices.to_string().into(),
            when_ever(summary.last_seen_at),
        ]
    });
    let heads = [
        words.id,
        words.name,
        words.state,
        words.devices,
        words.last_seen,
    ];
    parts::table(words.title, &heads, rows.collect())
}

fn create_card(clerk: &Clerk) -> Element {
    let words = &WORDS.people;
    let form = form(clerk.form(), HERE)
        .has(
            Field::new("user", words.new_name)
                .hint(words.new_name_hint)
                .exact(),
        )
        .has(parts::reason("new-reason"))
        .has(button(words.create));
    parts::act(words.create, words.create_how, form, false)
}

/// `POST /console/people`: a new account with a password that is shown once.
async fn create(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let words = &WORDS.people;
    let by = clerk.because(fields.text("reason"));
    let wish = Administration::CreateUser {
        user: fields.text("user").to_owned(),
        password: None,
        administrator: false,
    };
    let note = match desk.actions.administer(&by, wish).await {
        Ok(made) => {
            let user = made["user_id"].as_str().unwrap_or_default();
            let password = made["password"].as_str().unwrap_or_default();
            let text = fill(words.created, &[("user", user)]);
            (StatusCode::OK, shown_once(&text, password))
        }
        Err(error) => refused(error)?,
    };
    page(&desk, &clerk, &Fields::default(), Some(note)).await
}

/// A sentence and a secret that is shown with it once.
pub(super) fn shown_once(text: &str, secret: &str) -> Element {
    element("div")
        .with("class", "note done")
        .with("role", "status")
        .has(element("p").has(text))
        .has(parts::secret("secret", secret))
        .has(parts::hint(WORDS.acts.once))
}

/// What somebody is told whose wish cannot be done as it is. What they may not do, and what
/// failed, stands on a page of its own.
pub(super) fn refused(error: actions::AdministrationError) -> Result<(StatusCode, Element), Stop> {
    let error = web::ApiError::from(error);
    let status = error.status();
    let is_theirs = status.is_client_error()
        && ![StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match is_theirs {
        true => Ok((status, parts::wrong(error.message()))),
        false => Err(error.into()),
    }
}

/// When an account was made, in words.
pub(super) fn made_at(person: &Person) -> String {
    crate::texts::moment(Timestamp(person.summary.account.created_at))
}
