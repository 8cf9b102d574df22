//! The register of groups: who could read what was said in a room at a moment, and in which rooms
//! somebody was.

use actions::{Right, person_csv, room_csv};
use axum::response::Response;
use http::{Method, StatusCode};
use rooms::{PersonStay, RegisterPart, RoomThen};
use runtime::Timestamp;
use serde_json::json;
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, download},
    layout::Sheet,
    parts::{self, Field, ROWS, button, code, link, when, when_ever},
    people::refused,
    session::{Clerk, Fields},
};
use crate::{
    html::{Element, Node, element},
    pages::in_query,
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/register";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::GET, HERE, show)
}

/// `GET /console/register`
async fn show(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    clerk.must(Right::ReadRegister)?;
    let words = &WORDS.register;
    let by = clerk.by();
    let mut sheet = Sheet::new("register", words.title).lead(words.lead);
    let (room, person) = (query.filled("room"), query.filled("person"));
    let mut notes = Vec::new();
    let mut results = Vec::new();
    if let Some(room) = &room {
        match at(&query) {
            Err(()) => notes.push((StatusCode::BAD_REQUEST, parts::wrong(words.no_time))),
            Ok(at) => {
                let part = part(&query);
                let asked = desk.actions.register_of_room(&by, room, at, part);
                match asked.await {
                    Ok((then, next)) => {
                        if let Some(kept) = kept_room(&query, &then) {
                            return Ok(kept);
                        }
                        results.push(room_card(&then, next));
                    }
                    Err(error) => notes.push(refused(error)?),
                }
            }
        }
    }
    if let Some(person) = &person {
        let asked = desk.actions.register_of_person(&by, person, part(&query));
        match asked.await {
            Ok((user_id, stays, next)) => {
                if let Some(kept) = kept_person(&query, &user_id, &stays) {
                    return Ok(kept);
                }
                results.push(person_card(&user_id, &stays, next));
            }
            Err(error) => notes.push(refused(error)?),
        }
    }
    if let Some((status, _)) = notes.first() {
        sheet = sheet.status(*status);
    }
    let sheet = sheet
        .has_all(notes.into_iter().map(|(_, note)| note))
        .has(questions(&query))
        .has_all(results);
    Ok(sheet.shown(&desk, &clerk))
}

/// The moment that is asked for; now, if none is.
fn at(query: &Fields) -> Result<Option<u64>, ()> {
    match query.filled("at") {
        None => Ok(None),
        Some(text) => Timestamp::parse(&text).map(|at| Some(at.0)).ok_or(()),
    }
}

/// The part of the answer that a page shows; a table to be kept has all of it.
fn part(query: &Fields) -> RegisterPart {
    match query.text("as") {
        "csv" | "json" => RegisterPart::ALL,
        _ => RegisterPart {
            after: query.text("after").parse().ok(),
            limit: ROWS,
        },
    }
}

/// The way to the rest of the answer.
fn more(question: &str, next: Option<u64>) -> Option<Element> {
    parts::next_page(next.map(|after| format!("{HERE}?{question}&after={after}")))
}

fn questions(query: &Fields) -> Element {
    let words = &WORDS.register;
    let of_room = parts::query_form(HERE)
        .has(
            Field::new("room", words.room)
                .hint(words.room_hint)
                .value(query.text("room"))
                .exact(),
        )
        .has(
            Field::new("at", words.at)
                .hint(words.at_hint)
                .value(query.text("at"))
                .line(|input| input.with("maxlength", "25").with("autocomplete", "off")),
        )
        .has(button(words.ask_room));
    let of_person = parts::query_form(HERE)
        .has(
            Field::new("person", words.person)
                .hint(words.person_hint)
                .value(query.text("person"))
                .exact(),
        )
        .has(button(words.ask_person));
    element("div")
        .with("class", "two")
        .has(parts::card(words.room_question).has(of_room))
        .has(parts::card(words.person_question).has(of_person))
}

fn kept(query: &Fields, name: &str, csv: String, json: serde_json::Value) -> Option<Response> {
    match query.text("as") {
        "csv" => Some(download(
            &format!("{name}.csv"),
            "text/csv; charset=utf-8",
            csv,
        )),
        "json" => {
            let name = format!("{name}.json");
            Some(download(&name, "application/json", json.to_string()))
        }
        _ => None,
    }
}

fn kept_room(query: &Fields, then: &RoomThen) -> Option<Response> {
    let name = format!("register{}", then.room_id);
    kept(query, &name, room_csv(then), json!(then))
}

fn kept_person(query: &Fields, user_id: &str, stays: &[PersonStay]) -> Option<Response> {
    let name = format!("register{user_id}");
    let told = json!({ "user_id": user_id, "stays": stays });
    kept(query, &name, person_csv(stays), told)
}

/// The same as a file.
fn files(question: &str) -> Element {
    let words = &WORDS.register;
    let file = |kind: &str, text: &str| {
        let to = format!("{HERE}?{question}&as={kind}");
        link(&to, text).with("class", "button quiet")
    };
    element("p")
        .with("class", "files")
        .has(file("csv", words.csv))
        .has(file("json", words.json))
}

fn room_card(then: &RoomThen, next: Option<u64>) -> Element {
    let words = &WORDS.register;
    let rows = then.members.iter().map(|member| {
        let power = match (member.is_creator, member.power) {
            (true, _) => words.creator.to_owned(),
            (false, power) => power.unwrap_or_default().to_string(),
        };
        vec![
            Node::from(parts::id(&member.user_id)),
            member.organisation.clone().into(),
            member.membership.clone().into(),
            when(member.since).into(),
            power.into(),
            member.invited_by.clone().unwrap_or_default().into(),
        ]
    });
    let heads = [
        words.who,
        words.organisation,
        words.membership,
        words.since,
        words.power,
        words.invited_by,
    ];
    let name = then.name.as_deref().unwrap_or(&then.room_id);
    let heading = fill(words.room_answer, &[("room", name)]);
    let entry = then.join_rule.clone().unwrap_or_default();
    let readers = then.history_visibility.clone().unwrap_or_default();
    let facts = parts::facts([
        (words.moment, when(then.at).into()),
        (words.id, code(&then.room_id).into()),
        (words.join_rule, entry.into()),
        (words.visibility, readers.into()),
    ]);
    // The moment of the answer, so that the file has the same.
    let at = Timestamp(then.at).to_string();
    let question = format!("room={}&at={}", in_query(&then.room_id), in_query(&at));
    parts::card(&heading)
        .has(facts)
        .has(parts::table(&heading, &heads, rows.collect()))
        .has_all(more(&question, next))
        .has(files(&question))
}

fn person_card(user_id: &str, stays: &[PersonStay], next: Option<u64>) -> Element {
    let words = &WORDS.register;
    let rows = stays.iter().map(|stay| {
        let name = stay.name.as_deref().unwrap_or(&stay.room_id);
        let until: Node = match stay.until {
            Some(_) => when_ever(stay.until),
            None => words.still.into(),
        };
        vec![
            Node::from(name),
            when(stay.since).into(),
            until,
            stay.invited_by.clone().unwrap_or_default().into(),
            stay.ended_by.clone().unwrap_or_default().into(),
            stay.ended_with.clone().unwrap_or_default().into(),
        ]
    });
    let heads = [
        words.in_room,
        words.since,
        words.until,
        words.invited_by,
        words.ended_by,
        words.ended_with,
    ];
    let heading = fill(words.person_answer, &[("person", user_id)]);
    let question = format!("person={}", in_query(user_id));
    parts::card(&heading)
        .has(parts::table(&heading, &heads, rows.collect()))
        .has_all(more(&question, next))
        .has(files(&question))
}
