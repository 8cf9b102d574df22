//! What people have reported, as Synapse's tools read it.

use actions::{Actions, Report, ReportsQuery};
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

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, LIST, list)
        .plain(Method::GET, ONE, show)
        .plain(Method::DELETE, ONE, close)
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
}

/// `GET /_synapse/admin/v1/event_reports`: reports of events; those of rooms and people stand
/// in `cairn reports` and in the console.
async fn list(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let oldest_first = match wanted.dir.as_deref() {
        None | Some("b") => false,
        Some("f") => true,
        Some(_) => return Err(ApiError::invalid_param("A direction is f or b.")),
    };
    let query = ReportsQuery {
        events_only: true,
        reporter: wanted.user_id,
        room_id: wanted.room_id,
        sender: wanted.event_sender_user_id,
        oldest_first,
        from: wanted.from,
        limit: wanted.limit.unwrap_or(PAGE).min(LONGEST_PAGE),
    };
    let found = actions.reports(&caller.administrator(), query).await?;
    let reports: Vec<Value> = found.reports.iter().map(shown).collect();
    let next = wanted.from.saturating_add(reports.len());
    let mut told = json!({ "event_reports": reports, "total": found.total });
    if next < found.total && !found.reports.is_empty() {
        told["next_token"] = next.into();
    }
    Ok(answer(&told))
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
