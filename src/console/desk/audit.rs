//! The audit trail: who did what, on whom and why.

use ::audit::Entry;
use actions::{Administration, AuditSelection, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use runtime::Timestamp;
use serde_json::Value;
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, download},
    layout::Sheet,
    parts::{self, Field, ROWS, badge, button, code, form, when},
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node, element},
    pages::in_query,
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/audit";
/// The fields of the question, besides times.
const NAMES: [&str; 4] = ["by", "on", "room", "verb"];

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, show)
        .plain(Method::POST, "/console/audit/verify", verify)
        .plain(Method::POST, "/console/audit/export", export)
}

/// `GET /console/audit`
async fn show(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    page(&desk, &clerk, &query, None).await
}

fn time(query: &Fields, name: &str) -> Result<Option<u64>, ()> {
    match query.filled(name) {
        None => Ok(None),
        Some(text) => Timestamp::parse(&text).map(|at| Some(at.0)).ok_or(()),
    }
}

fn selection(query: &Fields) -> Result<AuditSelection, ()> {
    Ok(AuditSelection {
        by: query.filled("by"),
        on: query.filled("on"),
        room: query.filled("room"),
        verb: query.filled("verb"),
        since: time(query, "since")?,
        until: time(query, "until")?,
        before: query.text("before").parse().ok(),
        limit: ROWS,
    })
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
    note: Option<Element>,
) -> Result<Response, Stop> {
    clerk.must(Right::ReadAudit)?;
    let words = &WORDS.audit;
    let (selection, status, note) = match selection(query) {
        Ok(selection) => (selection, StatusCode::OK, note),
        Err(()) => {
            let selection = AuditSelection {
                limit: ROWS,
                ..AuditSelection::default()
            };
            let note = parts::wrong(WORDS.register.no_time);
            (selection, StatusCode::BAD_REQUEST, Some(note))
        }
    };
    let found = desk.actions.audit_entries(&clerk.by(), selection).await?;
    let next = found.next.map(|before| {
        let pairs = NAMES
            .iter()
            .chain(["since", "until"].iter())
            .filter_map(|name| {
                let value = query.filled(name)?;
                Some(format!("{name}={}&", in_query(&value)))
            });
        format!("{HERE}?{}before={before}", pairs.collect::<String>())
    });
    let sheet = Sheet::new("audit", words.title)
        .lead(words.lead)
        .status(status)
        .has_all(note)
        .has(question(query));
    let sheet = match found.entries.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(entries_table(words.title, &found.entries)),
    };
    let sheet = sheet.has_all(parts::next_page(next)).has(proofs(clerk));
    Ok(sheet.shown(desk, clerk))
}

fn question(query: &Fields) -> Element {
    let words = &WORDS.audit;
    let fields = [
        ("by", words.by, words.by_hint),
        ("on", words.on, ""),
        ("room", words.room, ""),
        ("verb", words.verb, words.verb_hint),
        ("since", words.since, words.time_hint),
        ("until", words.until, words.time_hint),
    ];
    let fields = fields.iter().map(|(name, label, hint)| {
        Field::new(name, label)
            .hint(hint)
            .value(query.text(name))
            .line(|input| input.with("maxlength", "255").with("autocomplete", "off"))
    });
    let is_asked = NAMES
        .iter()
        .chain(["since", "until"].iter())
        .any(|name| !query.text(name).is_empty());
    let form = parts::query_form(HERE)
        .with("class", "query grid")
        .has_all(fields)
        .has(button(WORDS.frame.search));
    element("details")
        .with("class", "act")
        .flag("open", is_asked)
        .has(element("summary").has(words.filter))
        .has(form)
}

/// How long a state may be to be shown at once, in characters.
const SHORT: usize = 48;

/// What was there before and after; unfolded where it is long.
fn state(before: &Value, after: &Value) -> Node {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let states = match (before.is_null(), after.is_null()) {
        (true, true) => return "".into(),
        (true, false) => element("div").has(code(&shown(after))),
        (false, true) => element("div").has(code(&shown(before))),
        (false, false) => element("div")
            .has(code(&shown(before)))
            .has(" → ")
            .has(code(&shown(after))),
    };
    let length = shown(before).len() + shown(after).len();
    let states = states.with("class", "state");
    match length <= SHORT {
        true => states.into(),
        false => element("details")
            .has(element("summary").has(WORDS.audit.long))
            .has(states)
            .into(),
    }
}

/// Entries as a table.
pub(super) fn entries_table(caption: &str, entries: &[Entry]) -> Element {
    let words = &WORDS.audit;
    let rows = entries.iter().map(|entry| {
        let who = parts::id(&entry.by).has_all(
            entry
                .from
                .as_ref()
                .map(|from| element("small").has(format!(" {from}"))),
        );
        let on = [entry.on.as_deref(), entry.room.as_deref()];
        let on = on.into_iter().flatten();
        let on = on.map(|name| element("div").has(parts::id(name)));
        let what = element("span").with("class", "verb");
        let what = element("div")
            .with("class", "names")
            .has(what.has(entry.verb.as_str()))
            .has_all(on);
        vec![
            Node::from(entry.number.to_string()),
            when(entry.at).into(),
            who.into(),
            what.into(),
            state(&entry.before, &entry.after),
            entry.reason.clone().unwrap_or_default().into(),
        ]
    });
    let heads = [
        words.number,
        words.at,
        words.by,
        words.verb,
        words.what,
        words.why,
    ];
    parts::table(caption, &heads, rows.collect())
}

fn proofs(clerk: &Clerk) -> Element {
    let words = &WORDS.audit;
    let one = |action: &str, text: &str| {
        form(clerk.form(), action).has(button(text).with("class", "quiet"))
    };
    parts::card(words.proof)
        .has(parts::hint(words.proof_how))
        .has(
            element("div")
                .with("class", "files")
                .has(one("/console/audit/verify", words.verify))
                .has(one("/console/audit/export", words.export)),
        )
}

/// `POST /console/audit/verify`: goes through the whole trail.
async fn verify(Part(desk): Part<Desk>, Filled(clerk, _): Filled<Clerk>) -> Result<Response, Stop> {
    let words = &WORDS.audit;
    let wish = Administration::VerifyAudit { noted: None };
    let answer = desk.actions.administer(&clerk.by(), wish).await?;
    let (entries, hash) = (
        answer["entries"].to_string(),
        answer["hash"].as_str().unwrap_or_default(),
    );
    let note = match answer["broken"].is_null() {
        true => element("div")
            .with("class", "note done")
            .with("role", "status")
            .has(element("p").has(badge("good", words.whole)))
            .has(element("p").has(fill(words.verified, &[("entries", &entries)])))
            .has(element("p").has(code(hash))),
        false => {
            let broken = &answer["broken"];
            let number = broken["number"].to_string();
            let reason = broken["reason"].as_str().unwrap_or_default();
            let text = fill(words.broken, &[("number", &number), ("reason", reason)]);
            parts::wrong(&text)
        }
    };
    page(&desk, &clerk, &Fields::default(), Some(note)).await
}

/// `POST /console/audit/export`: the whole trail as it was written, signed.
async fn export(Part(desk): Part<Desk>, Filled(clerk, _): Filled<Clerk>) -> Result<Response, Stop> {
    let by = clerk.by();
    // Signed for where it ends now; what is written meanwhile is left out.
    let mut text = String::new();
    let mut after = 0;
    loop {
        let wish = Administration::ExportAudit { after };
        let part = desk.actions.administer(&by, wish).await?;
        for line in part["lines"].as_array().into_iter().flatten() {
            text.push_str(line.as_str().unwrap_or_default());
            text.push('\n');
        }
        match part["last"].as_u64() {
            Some(last) => after = last,
            None => break,
        }
    }
    let signed = desk
        .actions
        .administer(&by, Administration::SignAudit)
        .await?;
    let entries = signed["entries"].as_u64().unwrap_or_default();
    // Entries of others may have come between the last part and the signature.
    let lines = text.lines().count() as u64;
    if entries > lines {
        let wish = Administration::ExportAudit { after };
        let part = desk.actions.administer(&by, wish).await?;
        let missing = usize::try_from(entries - lines).unwrap_or_default();
        let rest = part["lines"].as_array().into_iter().flatten().take(missing);
        for line in rest {
            text.push_str(line.as_str().unwrap_or_default());
            text.push('\n');
        }
    }
    text.push_str(signed["statement"].as_str().unwrap_or_default());
    text.push('\n');
    let day = Timestamp(desk.now().0).to_string();
    let day: String = day.chars().take(10).collect();
    let name = format!("audit-{day}.jsonl");
    Ok(download(&name, "application/x-ndjson", text))
}
