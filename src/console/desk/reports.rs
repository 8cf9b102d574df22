//! What people have reported.

use actions::{Report, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;
use web::{Part, PathOf, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, ROWS, button, code, form, link, path, when},
    people::refused,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node, element},
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/reports";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, list)
        .plain(Method::GET, "/console/reports/{report}", show)
        .plain(Method::POST, "/console/reports/{report}/close", close)
}

/// `GET /console/reports`
async fn list(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    let words = &WORDS.reports;
    let before = query.text("before").parse().ok();
    let found = desk
        .actions
        .reports_before(&clerk.by(), before, ROWS)
        .await?;
    let next = found
        .get(ROWS - 1)
        .map(|last| format!("{HERE}?before={}", last.id));
    let rows = found.iter().map(|report| {
        let to = format!("{HERE}/{}", report.id);
        vec![
            link(
                &to,
                &fill(words.number, &[("number", &report.id.to_string())]),
            )
            .into(),
            when(report.at).into(),
            Node::from(report.reporter.clone().unwrap_or_default()),
            about(report).into(),
            report.reason.clone().into(),
        ]
    });
    let heads = [
        words.report,
        words.at,
        words.reporter,
        words.about,
        words.reason,
    ];
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    let sheet = Sheet::new("reports", words.title)
        .lead(words.lead)
        .has_all(note);
    let sheet = match found.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(parts::table(words.title, &heads, rows.collect())),
    };
    Ok(sheet.has_all(parts::next_page(next)).shown(&desk, &clerk))
}

/// Whom or what a report is about, in words.
fn about(report: &Report) -> String {
    let words = &WORDS.reports;
    let room = report.room_name.as_ref().or(report.room_id.as_ref());
    let room = room.map(String::as_str).unwrap_or_default();
    let (text, user) = match (&report.user_id, &report.sender) {
        (Some(user), _) => (words.of_person, user.as_str()),
        (None, Some(sender)) => (words.of_event, sender.as_str()),
        (None, None) => (words.of_room, ""),
    };
    fill(text, &[("person", user), ("room", room)])
}

/// `GET /console/reports/{report}`
async fn show(
    Part(desk): Part<Desk>,
    clerk: Clerk,
    PathOf(id): PathOf<u64>,
) -> Result<Response, Stop> {
    page(&desk, &clerk, id, None).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    id: u64,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.reports;
    let report = desk.actions.report(&clerk.by(), id).await?;
    let title = fill(words.number, &[("number", &id.to_string())]);
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let person = report.user_id.as_ref().or(report.sender.as_ref());
    let mut rows: Vec<(&'static str, Node)> = vec![
        (words.at, when(report.at).into()),
        (words.reporter, linked("people", report.reporter.as_deref())),
        (words.reason, report.reason.clone().into()),
    ];
    if person.is_some() {
        rows.push((words.person, linked("people", person.map(String::as_str))));
    }
    if report.room_id.is_some() {
        rows.push((words.room, linked("rooms", report.room_id.as_deref())));
    }
    let text = said(&report);
    if let Some(event_id) = &report.event_id {
        rows.push((words.event, code(event_id).into()));
    }
    let said = text.map(|text| parts::card(words.said).has(element("blockquote").has(text)));
    let mut sheet = Sheet::new("reports", title)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(parts::card(words.report).has(parts::facts(rows)))
        .has_all(said);
    if clerk.may(Right::CloseReports) {
        let form = form(clerk.form(), &format!("{HERE}/{id}/close"))
            .has(parts::reason("close-reason"))
            .has(button(words.close));
        sheet = sheet.has(parts::act(words.close, words.close_how, form, false));
    }
    Ok(sheet.shown(desk, clerk))
}

fn linked(place: &str, id: Option<&str>) -> Node {
    let id = id.unwrap_or_default();
    link(&path(place, id, ""), id).into()
}

/// What the event says, if it is plain text.
fn said(report: &Report) -> Option<String> {
    let content = &report.event.as_ref()?["content"];
    let text = match content["body"].as_str() {
        Some(body) => body.to_owned(),
        None if content["ciphertext"] != Value::Null => WORDS.reports.sealed.to_owned(),
        None => return None,
    };
    Some(text)
}

/// `POST /console/reports/{report}/close`
async fn close(
    Part(desk): Part<Desk>,
    PathOf(id): PathOf<u64>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    if fields.text("reason").is_empty() {
        let note = (StatusCode::BAD_REQUEST, parts::wrong(WORDS.acts.no_reason));
        return page(&desk, &clerk, id, Some(note)).await;
    }
    let by = clerk.because(fields.text("reason"));
    match desk.actions.close_report(&by, id).await {
        Ok(()) => Ok(see_other("/console/reports?done=1")),
        Err(error) => {
            let note = refused(error)?;
            page(&desk, &clerk, id, Some(note)).await
        }
    }
}
