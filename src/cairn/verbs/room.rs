//! `cairn room`: what administrators do with rooms.

use std::time::Duration;

use actions::{Administration, RoomWish};
use backup::Progress as _;
use serde_json::Value;

use super::{Answer, Failure, administer};
use crate::{
    command_line::{Common, RoomVerb, Why},
    config::Config,
    progress::Teller,
    socket,
};

/// How often it is asked how far something is.
const LOOK: Duration = Duration::from_millis(500);

/// Does a verb of `cairn room`.
pub(super) fn run(verb: RoomVerb, common: &Common) -> Result<Answer, Failure> {
    let (wish, why, waits) = match verb {
        RoomVerb::List {
            search,
            limit,
            from,
        } => {
            let (from, limit) = (from as usize, limit as usize);
            let text = search;
            (RoomWish::List { text, from, limit }, None, false)
        }
        RoomVerb::Show { room } => (RoomWish::Show { room }, None, false),
        RoomVerb::Abandoned => (RoomWish::Abandoned { after: None }, None, false),
        RoomVerb::Close { room, empty, why } => (closing(room, true, empty), Some(why), empty),
        RoomVerb::Reopen { room, why } => (closing(room, false, false), Some(why), false),
        RoomVerb::Block { room, why } => (blocking(room, true), Some(why), false),
        RoomVerb::Unblock { room, why } => (blocking(room, false), Some(why), false),
        RoomVerb::Delete {
            room,
            confirm,
            block,
            with_files,
            new_room_by,
            message,
            no_wait,
            why,
        } => {
            if confirm != room {
                let text = "--confirm must name the same room: nothing was done";
                return Err(Failure::Other(text.to_owned()));
            }
            let wish = RoomWish::Delete {
                room,
                block,
                with_files,
                new_room_by,
                message,
            };
            (wish, Some(why), !no_wait)
        }
        RoomVerb::Shrink(shrink) => {
            let wish = RoomWish::Shrink {
                room: shrink.room,
                event: shrink.before_event,
                time: shrink.before,
                with_local: shrink.with_local,
            };
            (wish, Some(shrink.why), !shrink.no_wait)
        }
        RoomVerb::PurgeStatus { id: None } => (RoomWish::Tasks, None, false),
        RoomVerb::PurgeStatus { id: Some(id) } => (RoomWish::Task { id }, None, false),
        RoomVerb::HandOver { room, user, why } => {
            (RoomWish::HandOver { room, user }, Some(why), false)
        }
        RoomVerb::Add { room, user, why } => (RoomWish::AddMember { room, user }, Some(why), false),
        RoomVerb::Remove { room, user, why } => {
            (RoomWish::RemoveMember { room, user }, Some(why), false)
        }
        RoomVerb::Mark {
            room: Some(room),
            marking: Some(marking),
            put_out,
            lower,
            why,
        } => {
            let wish = RoomWish::Mark {
                room,
                marking,
                put_out,
                lower,
            };
            (wish, Some(why), false)
        }
        RoomVerb::Mark { .. } => (RoomWish::Markings, None, false),
    };
    done(wish, why, waits, common)
}

fn closing(room: String, closed: bool, empty: bool) -> RoomWish {
    RoomWish::Close {
        room,
        closed,
        empty,
    }
}

fn blocking(room: String, blocked: bool) -> RoomWish {
    RoomWish::Block { room, blocked }
}

/// Has a wish done, and waits for what it begins if a server runs that goes on with it.
pub(super) fn done(
    wish: RoomWish,
    why: Option<Why>,
    waits: bool,
    common: &Common,
) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let reason = why.map(administer::asked_for).transpose()?.flatten();
    let administration = Administration::Rooms { wish };
    let mut json = administer::perform_because(&config, administration, reason)?;
    let id = json["id"].as_str().map(str::to_owned);
    if let Some(id) = id.filter(|_| waits && json["state"].is_null()) {
        json = followed(&config, &id, common.json)?.unwrap_or(json);
    }
    let text = told(&json);
    if json["state"] == "failed" {
        return Err(Failure::Found { text, json });
    }
    Ok(Answer { text, json })
}

/// Waits until something has ended; none if no server runs, which goes on with it when it starts.
fn followed(config: &Config, id: &str, is_json: bool) -> Result<Option<Value>, Failure> {
    let path = config.data_dir.join(administer::SOCKET);
    let threads = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(error.to_string()))?;
    let mut teller = Teller::counting(is_json, "rows");
    teller.begin("rows");
    threads.block_on(async {
        let (mut told, mut expected) = (0, 0);
        loop {
            let wish = RoomWish::Task { id: id.to_owned() };
            let asked = socket::ask(&path, &Administration::Rooms { wish }).await?;
            let Some(task) = asked else {
                return Ok(None);
            };
            let number = |name: &str| task[name].as_u64().unwrap_or_default();
            teller.expect(number("expected").saturating_sub(expected));
            teller.done(number("done").saturating_sub(told));
            (told, expected) = (number("done"), number("expected"));
            if ["done", "failed"].contains(&task["state"].as_str().unwrap_or_default()) {
                return Ok(Some(task));
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What tells one item of a list.
type Line = fn(&Value) -> String;

/// An answer in words.
fn told(json: &Value) -> String {
    let lists: [(&str, Line); 4] = [
        ("rooms", room_line),
        ("tasks", task_line),
        ("markings", marking_line),
        ("lists", list_line),
    ];
    for (list, line) in lists {
        if let Some(items) = json[list].as_array() {
            let lines: Vec<String> = items.iter().map(line).collect();
            return match lines.is_empty() {
                true => "None".to_owned(),
                false => lines.join("\n"),
            };
        }
    }
    if json["state"].is_string() {
        return task_line(json);
    }
    if json["members"].is_array() {
        let members = json["members"].as_array().into_iter().flatten();
        let members = members.map(|member| format!("\n  {}", member.as_str().unwrap_or_default()));
        return room_line(json) + &members.collect::<String>();
    }
    if json["id"].is_string() {
        return format!(
            "Begun as {}: `cairn room purge-status {0}` says how far it is",
            word(json, "id")
        );
    }
    let of = |name: &str| match &json[name] {
        Value::String(text) => Some(format!("{name} {text}")),
        Value::Bool(is) => Some(format!("{name}: {is}")),
        _ => None,
    };
    let parts = [
        "room_id",
        "room",
        "user_id",
        "marking",
        "closed",
        "blocked",
        "was_heeded",
    ];
    let parts: Vec<String> = parts.into_iter().filter_map(of).collect();
    format!("Done: {}", parts.join(", "))
}

fn room_line(room: &Value) -> String {
    let mut line = format!(
        "{}  {:?}  {} in it",
        word(room, "room_id"),
        word(room, "name"),
        room["joined_members"]
    );
    if !word(room, "marking").is_empty() {
        line += &format!("  {}", word(room, "marking"));
    }
    for mark in ["encrypted", "published", "closed", "frozen", "blocked"] {
        if room[mark] == true {
            line += &format!("  {mark}");
        }
    }
    line
}

fn task_line(task: &Value) -> String {
    let about = ["room_id", "user_id"]
        .into_iter()
        .map(|name| word(task, name))
        .find(|name| !name.is_empty());
    let mut line = format!(
        "{}  {} {}  {}  {} of {}",
        word(task, "id"),
        word(task, "work"),
        about.unwrap_or_default(),
        word(task, "state"),
        task["done"],
        task["expected"],
    );
    if !word(task, "error").is_empty() {
        line += &format!("  {}", word(task, "error"));
    }
    line
}

fn marking_line(marking: &Value) -> String {
    let mut line = word(marking, "name").to_owned();
    for (field, words) in [
        ("federation", "nobody of other servers"),
        ("external_members", "no guests"),
        ("public", "not public"),
    ] {
        if marking[field] == false {
            line += &format!("  {words}");
        }
    }
    match word(marking, "encryption") {
        "required" => line + "  encrypted",
        "forbidden" => line + "  not encrypted",
        _ => line,
    }
}

fn list_line(list: &Value) -> String {
    let rules = list["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let mut line = format!("{}  {} rules", word(list, "room_id"), rules.len());
    for rule in rules {
        line += &format!(
            "\n  {} {}  {}",
            word(rule, "about"),
            word(rule, "entity").escape_debug(),
            word(rule, "reason").escape_debug()
        );
    }
    line
}
