//! `cairn register`: who was in which group.

use actions::Administration;
use runtime::Timestamp;
use serde_json::Value;

use super::{Answer, Failure, administer};
use crate::{
    command_line::{Common, RegisterVerb},
    config::Config,
};

/// Does a verb of `cairn register`.
pub(super) fn run(verb: RegisterVerb, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let (wish, is_csv) = match verb {
        RegisterVerb::Room { room, at, csv } => (Administration::RegisterOfRoom { room, at }, csv),
        RegisterVerb::Person { user, csv } => (Administration::RegisterOfPerson { user }, csv),
    };
    let mut json = administer::perform(&config, wish)?;
    let csv = json
        .as_object_mut()
        .and_then(|answer| answer.remove("csv"))
        .unwrap_or_default();
    let text = match (is_csv, json["room"].is_object()) {
        (true, _) => csv.as_str().unwrap_or_default().to_owned(),
        (false, true) => room_lines(&json["room"]),
        (false, false) => person_lines(&json),
    };
    Ok(Answer { text, json })
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn time(value: &Value) -> String {
    Timestamp(value.as_u64().unwrap_or_default()).to_string()
}

fn room_lines(room: &Value) -> String {
    let members = room["members"].as_array().map_or(&[][..], Vec::as_slice);
    let mut told = format!(
        "{} {:?} at {}: {} members and invited. Entry: {}, history: {}",
        word(room, "room_id"),
        word(room, "name"),
        time(&room["at"]),
        members.len(),
        word(room, "join_rule"),
        word(room, "history_visibility"),
    );
    for member in members {
        let power = match member["is_creator"] == true {
            true => "creator".to_owned(),
            false => format!("power {}", member["power"]),
        };
        told += &format!(
            "\n  {}  {}  {} since {}  {power}",
            word(member, "user_id"),
            word(member, "organisation"),
            word(member, "membership"),
            time(&member["since"]),
        );
        if !word(member, "invited_by").is_empty() {
            told += &format!("  invited by {}", word(member, "invited_by"));
        }
    }
    told
}

fn person_lines(answer: &Value) -> String {
    let stays = answer["stays"].as_array().map_or(&[][..], Vec::as_slice);
    let mut told = format!(
        "{}: {} times in rooms",
        word(answer, "user_id"),
        stays.len()
    );
    for stay in stays {
        let until = match stay["until"].is_u64() {
            true => time(&stay["until"]),
            false => "now".to_owned(),
        };
        told += &format!(
            "\n  {} {:?}  {} to {until}",
            word(stay, "room_id"),
            word(stay, "name"),
            time(&stay["since"]),
        );
        if !word(stay, "invited_by").is_empty() {
            told += &format!("  invited by {}", word(stay, "invited_by"));
        }
        if !word(stay, "ended_by").is_empty() {
            told += &format!(
                "  ended by {} ({})",
                word(stay, "ended_by"),
                word(stay, "ended_with")
            );
        }
    }
    told
}
