//! The overview: how the server is, and what happened today.

use actions::{AuditSelection, Right, Totals};
use axum::response::Response;
use http::Method;
use serde_json::json;
use web::{Health, Part, Routes};

use super::{
    Desk,
    answers::{Stop, json as json_answer},
    audit,
    layout::Sheet,
    parts::{self, badge, link, size},
    session::{Clerk, PULSE},
};
use crate::{
    html::{Element, element},
    words::WORDS,
};

/// How many entries of today are shown.
const ENTRIES: usize = 12;
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, "/console/", show)
        .plain(Method::GET, PULSE, pulse)
}

/// `GET /console/`
async fn show(Part(desk): Part<Desk>, clerk: Clerk) -> Result<Response, Stop> {
    let words = &WORDS.overview;
    let by = clerk.by();
    let health = desk.oversight.health().await;
    let totals = desk.actions.totals(&by).await?;
    let sheet = Sheet::new("", words.title)
        .has(health_card(&health))
        .has(numbers(&desk, &clerk, &totals).await?)
        .has(chart());
    let sheet = match clerk.may(Right::ReadAudit) {
        true => sheet.has(today(&desk, &clerk).await?),
        false => sheet,
    };
    Ok(sheet.shown(&desk, &clerk))
}

fn health_card(health: &Health) -> Element {
    let words = &WORDS.overview;
    let (kind, text) = match (health.ready, health.degraded) {
        (true, false) => ("good", words.well),
        (true, true) => ("warn", words.look),
        (false, _) => ("bad", words.unwell),
    };
    let reasons = health
        .reasons
        .iter()
        .map(|reason| element("li").has(reason.as_str()));
    let reasons: Vec<Element> = reasons.collect();
    let list = (!reasons.is_empty()).then(|| element("ul").has_all(reasons));
    element("section")
        .with("class", "card health")
        .has(element("h2").has(words.health))
        .has(element("p").has(badge(kind, text)))
        .has_all(list)
}

fn number(to: Option<&str>, amount: &str, what: &str) -> Element {
    let amount = element("strong").has(amount);
    let inside = [amount, element("span").has(what)];
    match to {
        Some(to) => link(to, "").with("class", "number").has_all(inside),
        None => element("div").with("class", "number").has_all(inside),
    }
}

async fn numbers(desk: &Desk, clerk: &Clerk, totals: &Totals) -> Result<Element, Stop> {
    let words = &WORDS.overview;
    let counted = [
        (totals.people, "/console/people", words.people),
        (totals.rooms, "/console/rooms", words.rooms),
        (totals.reports, "/console/reports", words.reports),
    ];
    let mut shown: Vec<Element> = counted
        .iter()
        .filter_map(|(count, to, what)| Some(number(Some(to), &(*count)?.to_string(), what)))
        .collect();
    if clerk.may(Right::ShowFederation) {
        let silent = desk.actions.silent_servers(&clerk.by()).await?;
        let text = silent.to_string();
        shown.push(number(Some("/console/federation"), &text, words.silent));
    }
    let free = desk.oversight.free_disk();
    shown.push(number(None, &size(free), words.free));
    Ok(element("section")
        .with("class", "numbers")
        .with("aria-label", words.numbers)
        .has_all(shown))
}

/// Where our script draws what goes on.
fn chart() -> Element {
    let words = &WORDS.overview;
    parts::card(words.chart)
        .has(parts::hint(words.chart_how))
        .has(element("noscript").has(parts::hint(words.chart_script)))
        .has(
            element("div")
                .with("class", "chart")
                .with("data-pulse", PULSE)
                .with("data-written", words.written)
                .with("data-waiting", words.waiting),
        )
}

/// `GET /console/pulse`: what the chart is drawn from.
async fn pulse(Part(desk): Part<Desk>, _: Clerk) -> Response {
    let (written, waiting) = desk.oversight.pulse();
    json_answer(&json!({ "written": written, "waiting": waiting }))
}

async fn today(desk: &Desk, clerk: &Clerk) -> Result<Element, Stop> {
    let words = &WORDS.overview;
    let now = desk.now().0;
    let selection = AuditSelection {
        since: Some(now - now % DAY),
        limit: ENTRIES,
        ..AuditSelection::default()
    };
    let found = desk.actions.audit_entries(&clerk.by(), selection).await?;
    let card = parts::card(words.today);
    let all = link("/console/audit", words.all_entries);
    let all = element("p").has(all);
    Ok(match found.entries.is_empty() {
        true => card.has(parts::hint(words.nothing)).has(all),
        false => card
            .has(audit::entries_table(words.today, &found.entries))
            .has(all),
    })
}
