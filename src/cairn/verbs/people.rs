//! `cairn user expire`, `cairn user deactivate`, `cairn partner`, `cairn department` and their
//! like: what is done about people beyond their accounts.

use actions::{Administration, LimitChanges, PeopleWish};
use model::PersonKind;
use serde_json::Value;

use super::{
    Answer, Failure,
    administer::{asked_for, lines, perform_because, word},
    import,
};
use crate::{
    command_line::{
        Common, DepartmentVerb, PartnerVerb, PeopleVerb, UserDeactivate, UserExpire, UserLimit,
    },
    config::Config,
};

/// Does a verb of `cairn user` that is about more than an account.
pub(super) fn user(verb: PeopleVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        PeopleVerb::Import(import) => import::run(import, common),
        PeopleVerb::Expire(expire) => self::expire(expire, common),
        PeopleVerb::Renew { user, why } => {
            let reason = asked_for(why)?;
            asked(PeopleWish::Renew { user }, reason, common, about_person)
        }
        PeopleVerb::Limit(limit) => self::limit(limit, common),
        PeopleVerb::Handover { user, to } => {
            let wish = PeopleWish::PlanClosing { user, to };
            asked(wish, None, common, |answer| {
                handovers(&answer["rooms"], "would be handed over")
            })
        }
    }
}

fn expire(expire: UserExpire, common: &Common) -> Result<Answer, Failure> {
    let reason = asked_for(expire.why)?;
    let wish = PeopleWish::SetEnd {
        user: expire.user,
        expires_at: expire.at,
        is_renewable: expire.renewable,
    };
    asked(wish, reason, common, about_person)
}

fn limit(limit: UserLimit, common: &Common) -> Result<Answer, Failure> {
    let reason = asked_for(limit.why)?;
    let wish = PeopleWish::ChangeLimits {
        user: limit.user,
        changes: LimitChanges {
            reset: limit.reset,
            requests_per_second: limit.requests_per_second,
            burst: limit.burst,
            media_bytes: limit.media_bytes,
            devices: limit.devices,
        },
    };
    asked(wish, reason, common, about_person)
}

/// Does `cairn user deactivate`.
pub(super) fn deactivate(deactivate: UserDeactivate, common: &Common) -> Result<Answer, Failure> {
    let (user, to) = (deactivate.user, deactivate.to);
    if deactivate.dry_run {
        let wish = PeopleWish::PlanClosing { user, to };
        return asked(wish, None, common, |answer| {
            handovers(&answer["rooms"], "would be handed over")
        });
    }
    let reason = asked_for(deactivate.why)?;
    let wish = PeopleWish::Close {
        user,
        erase: deactivate.erase,
        hands_over: !deactivate.no_handover,
        to,
    };
    asked(wish, reason, common, |answer| {
        let told = format!("Deactivated {}", word(answer, "user_id"));
        match answer["rooms"].as_array().is_none_or(Vec::is_empty) {
            true => told,
            false => format!("{told}\n{}", handovers(&answer["rooms"], "handed over")),
        }
    })
}

/// Does a verb of `cairn partner`.
pub(super) fn partner(verb: PartnerVerb, common: &Common) -> Result<Answer, Failure> {
    let (wish, reason) = match verb {
        PartnerVerb::Add {
            user,
            organisation,
            why,
        } => {
            let kind = PersonKind::Partner;
            let wish = PeopleWish::SetKind {
                user,
                kind,
                organisation,
            };
            (wish, asked_for(why)?)
        }
        PartnerVerb::Remove { user, why } => {
            let kind = PersonKind::Member;
            let wish = PeopleWish::SetKind {
                user,
                kind,
                organisation: None,
            };
            (wish, asked_for(why)?)
        }
        PartnerVerb::Open { room } => return open(room, true, common),
        PartnerVerb::Close { room } => return open(room, false, common),
        PartnerVerb::Rooms => {
            return asked(PeopleWish::ListOpenRooms, None, common, |answer| {
                lines(&answer["rooms"], |room| {
                    format!(
                        "{}  {}",
                        word(room, "room_id"),
                        word(room, "name").escape_debug()
                    )
                })
            });
        }
    };
    asked(wish, reason, common, about_person)
}

fn open(room: String, is_open: bool, common: &Common) -> Result<Answer, Failure> {
    let wish = PeopleWish::OpenRoom { room, is_open };
    asked(wish, None, common, |answer| {
        let now = match is_open {
            true => "is open to partners now",
            false => "takes no more partners; those who are in it stay",
        };
        format!("{} {now}", word(answer, "room_id"))
    })
}

/// Does a verb of `cairn department`.
pub(super) fn department(verb: DepartmentVerb, common: &Common) -> Result<Answer, Failure> {
    match verb {
        DepartmentVerb::Create { name } => {
            let wish = PeopleWish::CreateDepartment { name };
            asked(wish, None, common, |answer| {
                format!("Created {}", word(answer, "department"))
            })
        }
        DepartmentVerb::Delete { name } => {
            let wish = PeopleWish::DeleteDepartment { name };
            asked(wish, None, common, |answer| {
                format!(
                    "Deleted {}; its people stay in its rooms",
                    word(answer, "department")
                )
            })
        }
        DepartmentVerb::List => list(common),
        DepartmentVerb::Show { name } => show(&name, common),
        DepartmentVerb::AddRoom { name, room } => room_of(name, room, true, common),
        DepartmentVerb::RemoveRoom { name, room } => room_of(name, room, false, common),
        DepartmentVerb::Add { name, user, why } => member_of(name, user, true, why, common),
        DepartmentVerb::Remove { name, user, why } => member_of(name, user, false, why, common),
    }
}

fn room_of(name: String, room: String, belongs: bool, common: &Common) -> Result<Answer, Failure> {
    let wish = PeopleWish::DepartmentRoom {
        name,
        room,
        belongs,
    };
    asked(wish, None, common, |answer| {
        let what = match (answer["changed"] == true, belongs) {
            (false, _) => "Nothing changed",
            (true, true) => "Added; the people of the department come in now",
            (true, false) => "Removed; those go who belong there for no other department",
        };
        format!("{what}: {}", word(answer, "room_id"))
    })
}

fn member_of(
    name: String,
    user: String,
    belongs: bool,
    why: crate::command_line::Why,
    common: &Common,
) -> Result<Answer, Failure> {
    let reason = asked_for(why)?;
    let wish = PeopleWish::DepartmentMember {
        name,
        user,
        belongs,
    };
    asked(wish, reason, common, |answer| {
        let what = match (answer["changed"] == true, belongs) {
            (false, _) => "Nothing changed",
            (true, true) => "Added; they come into its rooms now",
            (true, false) => "Removed; they go out of its rooms now",
        };
        what.to_owned()
    })
}

/// All departments, page after page.
fn list(common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let mut answer = ask(&config, PeopleWish::ListDepartments { after }, None)?;
        all.extend(
            answer["departments"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
        after = serde_json::from_value(answer["next"].take()).unwrap_or(None);
        if after.is_none() {
            break;
        }
    }
    let json = serde_json::json!({ "departments": all });
    let text = lines(&json["departments"], |one| {
        format!(
            "{}  {} people, {} rooms",
            word(one, "department"),
            one["people"],
            one["rooms"]
        )
    });
    Ok(Answer { text, json })
}

/// One department with all its people, page after page.
fn show(name: &str, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let (mut shown, mut members, mut after) = (Value::Null, Vec::new(), None);
    loop {
        let name = name.to_owned();
        let mut answer = ask(&config, PeopleWish::ShowDepartment { name, after }, None)?;
        members.extend(answer["members"].as_array().cloned().unwrap_or_default());
        after = answer["next"].as_u64();
        if shown.is_null() {
            shown = answer.take();
        }
        if after.is_none() {
            break;
        }
    }
    shown["members"] = members.into();
    shown["next"] = Value::Null;
    let texts = |list: &Value| {
        lines(list, |one| {
            format!("  {}", one.as_str().unwrap_or_default())
        })
    };
    let waiting = lines(&shown["waiting"], |one| {
        let way = match one["comes"] == true {
            true => "into",
            false => "out of",
        };
        let why = word(one, "failure");
        format!(
            "  {} {way} {}  {why}",
            word(one, "user_id"),
            word(one, "room_id")
        )
    });
    let text = format!(
        "{}\nRooms:\n{}\nPeople ({}):\n{}\nOn their way:\n{waiting}",
        word(&shown, "department"),
        texts(&shown["rooms"]),
        shown["people"],
        texts(&shown["members"]),
    );
    Ok(Answer { text, json: shown })
}

/// Has a wish about people done.
pub(super) fn ask(
    config: &Config,
    about: PeopleWish,
    reason: Option<String>,
) -> Result<Value, Failure> {
    perform_because(config, Administration::People { about }, reason)
}

fn asked(
    wish: PeopleWish,
    reason: Option<String>,
    common: &Common,
    told: impl Fn(&Value) -> String,
) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let json = ask(&config, wish, reason)?;
    Ok(Answer {
        text: told(&json),
        json,
    })
}

/// What is known of a person, in lines.
fn about_person(about: &Value) -> String {
    let mut told = format!("{}  {}", word(about, "user_id"), word(about, "kind"));
    if let Some(organisation) = about["organisation"].as_str() {
        told += &format!(" of {}", organisation.escape_debug());
    }
    let end = match about["expires"].as_str() {
        None => "no end".to_owned(),
        Some(end) if about["renewable"] == true => format!("ends at {end}, can be renewed"),
        Some(end) => format!("ends at {end}"),
    };
    told += &format!("\n  {end}");
    for (name, value) in about["limits"].as_object().into_iter().flatten() {
        if !value.is_null() {
            told += &format!("\n  {}: {value}", name.replace('_', " "));
        }
    }
    told
}

/// Rooms that somebody alone runs, and who follows.
fn handovers(rooms: &Value, done: &str) -> String {
    let list = lines(rooms, |room| {
        let name = word(room, "name").escape_debug().to_string();
        let to = match room["to"].as_str() {
            Some(to) => format!("{done} to {to}"),
            None => "nobody here could run it".to_owned(),
        };
        let others = &room["others"];
        format!("{}  {name}  {others} others: {to}", word(room, "room_id"))
    });
    match list.as_str() {
        "None" => "No room is run by this user alone".to_owned(),
        _ => list,
    }
}
