//! What the configuration says, to be read alone.

use actions::Right;
use axum::response::Response;
use http::Method;
use serde_json::Value;
use web::{Part, Routes};

use super::{
    Desk,
    answers::Stop,
    layout::Sheet,
    parts::{self, code},
    session::Clerk,
};
use crate::{html::Node, words::WORDS};

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::GET, "/console/settings", show)
}

/// `GET /console/settings`
async fn show(Part(desk): Part<Desk>, clerk: Clerk) -> Result<Response, Stop> {
    clerk.must(Right::ShowDatabase)?;
    let words = &WORDS.settings;
    let settings = desk.oversight.settings();
    let mut general = Vec::new();
    let mut sections = Vec::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => sections.push((name.clone(), rows(value))),
            Value::Array(items) if items.iter().all(Value::is_object) => {
                for (index, item) in items.iter().enumerate() {
                    sections.push((format!("{name} {}", index + 1), rows(item)));
                }
            }
            _ => general.push(row(name, value)),
        }
    }
    let heads = [words.option, words.value];
    let mut sheet = Sheet::new("settings", words.title).lead(words.lead);
    sections.insert(0, (words.general.to_owned(), general));
    for (name, rows) in sections {
        if !rows.is_empty() {
            let card = parts::card(&name).has(parts::table(&name, &heads, rows));
            sheet = sheet.has(card);
        }
    }
    Ok(sheet.shown(&desk, &clerk))
}

fn rows(section: &Value) -> Vec<Vec<Node>> {
    let fields = section.as_object().into_iter().flatten();
    fields.map(|(name, value)| row(name, value)).collect()
}

fn row(name: &str, value: &Value) -> Vec<Node> {
    let shown = match value {
        Value::String(text) if text.is_empty() => WORDS.settings.unset.to_owned(),
        Value::Null => WORDS.settings.unset.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => WORDS.settings.unset.to_owned(),
        other => other.to_string(),
    };
    vec![code(name).into(), shown.into()]
}
