//! What people have reported, as Synapse's tools read it.

use actions::{Actions, AdministrationError, Administrator, Report, ReportsOf, ReportsQuery};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{Admin, ApiError, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty},
};

/// How many reports a page has, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

const LIST: &str = "/_synapse/admin/v1/event_reports";
const ONE: &str = "/_synapse/admin/v1/event_reports/{report_id}";

const PEOPLE: &str = "/_synapse/admin/v1/user_reports";
const OF_PERSON: &str = "/_synapse/admin/v1/user_reports/{report_id}";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, LIST, list)
        .plain(Method::GET, ONE, show)
        .plain(Method::DELETE, ONE, close)
        .plain(Method::GET, PEOPLE, list_of_people)
        .plain(Method::GET, OF_PERSON, show_of_person)
        .plain(Method::DELETE, OF_PERSON, close_of_person)
}

fn shown(report: &Report) -> Value {
    json!({
        "id": report.id,
        "received_ts": report.at,
        "room_id": report.room_id,
        "name": report.room_name,
        "canonical_alias": report.canonical_alias,
        "event_id": report.event_id,
        "user_id": report.reporter,
        "reason": report.reason,
        "score": report.score,
        "sender": report.sender,
    })
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
    dir: Option<String>,
    user_id: Option<String>,
    room_id: Option<String>,
    event_sender_user_id: Option<String>,
    target_user_id: Option<String>,
}

/// A page of reports of one kind, in a field of this name.
async fn page(
    actions: &Actions,
    by: &Administrator,
    (of, name): (ReportsOf, &str),
    wanted: Wanted,
    shown: fn(&Report) -> Value,
) -> Result<RawJson, ApiError> {
    let oldest_first = match wanted.dir.as_deref() {
        None | Some("b") => false,
        Some("f") => true,
        Some(_) => return Err(ApiError::invalid_param("A direction is f or b.")),
    };
    let query = ReportsQuery {
        of,
        reporter: wanted.user_id,
        room_id: wanted.room_id,
        sender: wanted.event_sender_user_id,
        user_id: wanted.target_user_id,
        oldest_first,
        from: wanted.from,
        limit: wanted.limit.unwrap_or(PAGE).min(LONGEST_PAGE),
    };
    let found = actions.reports(by, query).await?;
    let reports: Vec<Value> = found.reports.iter().map(shown).collect();
    let next = wanted.from.saturating_add(reports.len());
    let mut told = json!({ name: reports, "total": found.total });
    if next < found.total && !found.reports.is_empty() {
        told["next_token"] = next.into();
    }
    Ok(answer(&told))
}

/// `GET /_synapse/admin/v1/event_reports`: reports of events; those of rooms stand in `cairn
/// reports` and in the console.
async fn list(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let of = (ReportsOf::Events, "event_reports");
    page(&actions, &caller.administrator(), of, wanted, shown).await
}

/// `GET /_synapse/admin/v1/event_reports/{reportId}`
async fn show(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<u64>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let report = actions.report(&caller.administrator(), id).await?;
    let mut told = shown(&report);
    told["event_json"] = report.event.unwrap_or(Value::Null);
    Ok(answer(&told))
}

/// `DELETE /_synapse/admin/v1/event_reports/{reportId}`
async fn close(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<u64>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    actions.close_report(&caller.administrator(), id).await?;
    Ok(empty())
}

fn shown_of_person(report: &Report) -> Value {
    json!({
        "id": report.id,
        "received_ts": report.at,
        "user_id": report.reporter,
        "target_user_id": report.user_id,
        "reason": report.reason,
    })
}

/// `GET /_synapse/admin/v1/user_reports`
async fn list_of_people(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let of = (ReportsOf::People, "user_reports");
    page(
        &actions,
        &caller.administrator(),
        of,
        wanted,
        shown_of_person,
    )
    .await
}

/// `GET /_synapse/admin/v1/user_reports/{reportId}`
async fn show_of_person(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<u64>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let report = of_person(&actions, &caller.administrator(), id).await?;
    Ok(answer(&shown_of_person(&report)))
}

/// `DELETE /_synapse/admin/v1/user_reports/{reportId}`
async fn close_of_person(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<u64>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    of_person(&actions, &by, id).await?;
    actions.close_report(&by, id).await?;
    Ok(empty())
}

/// A report, if it is of a person: all have numbers of one row.
async fn of_person(actions: &Actions, by: &Administrator, id: u64) -> Result<Report, ApiError> {
    let report = actions.report(by, id).await?;
    match report.user_id {
        Some(_) => Ok(report),
        None => Err(AdministrationError::UnknownReport(id).into()),
    }
}
