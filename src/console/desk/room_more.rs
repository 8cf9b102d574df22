//! What can be done with a room beside its members: marking, opening it to partners, closing,
//! shrinking and deleting it.

use actions::{Administration, PeopleWish, Right, RoomWish};
use rooms::RoomOverview;
use runtime::Timestamp;

use super::{
    Desk,
    answers::Stop,
    parts::{self, Field, badge, button, form, path},
    session::{Clerk, Fields},
};
use crate::{
    html::{Element, Node},
    words::WORDS,
};

/// Its facts.
pub(super) fn facts(overview: &RoomOverview) -> Vec<(&'static str, Node)> {
    let words = &WORDS.room;
    let mut rows: Vec<(&'static str, Node)> = Vec::new();
    if let Some(marking) = &overview.marking {
        rows.push((words.marking, badge("warn", marking).into()));
    }
    let states = [
        (overview.is_blocked, "bad", WORDS.rooms.blocked),
        (overview.is_closed, "bad", words.closed),
        (overview.is_frozen, "warn", words.frozen),
        (overview.is_open_to_partners, "plain", words.is_open),
    ];
    let states: Vec<Element> = parts::marks(states).collect();
    if !states.is_empty() {
        rows.push((words.state, parts::badges(states)));
    }
    rows
}

/// What can be done with it: forms of the room's page.
pub(super) fn acts(
    desk: &Desk,
    clerk: &Clerk,
    overview: &RoomOverview,
) -> Result<Vec<Element>, Stop> {
    let words = &WORDS.room;
    let room = overview.room_id.as_str();
    let act = |verb: &str, fields: Vec<Element>, text: &str, how: &str, is_dangerous: bool| {
        let form = form(clerk.form(), &path("rooms", room, &format!("/{verb}")))
            .has_all(fields)
            .has(parts::reason(&format!("{verb}-why")))
            .has(button(text));
        parts::act(text, how, form, is_dangerous)
    };
    let mut acts = Vec::new();
    if clerk.may(Right::MarkRoom) {
        let fields = marking_fields(desk, clerk, overview)?;
        if !fields.is_empty() {
            acts.push(act("mark", fields, words.mark, words.mark_how, false));
        }
    }
    if clerk.may(Right::OpenRoom) {
        let (verb, text, how) = match overview.is_open_to_partners {
            false => ("open", words.open, words.open_how),
            true => ("unopen", words.unopen, words.unopen_how),
        };
        acts.push(act(verb, Vec::new(), text, how, false));
    }
    if clerk.may(Right::CloseRoom) {
        let (verb, text, how) = match overview.is_closed {
            false => ("close", words.close, words.close_how),
            true => ("reopen", words.reopen, words.reopen_how),
        };
        acts.push(act(verb, Vec::new(), text, how, !overview.is_closed));
    }
    if clerk.may(Right::ShrinkHistory) {
        let before = Field::new("before", words.before).hint(words.before_hint);
        let fields = vec![
            before.exact(),
            parts::tick("local", words.with_local, true),
            parts::typed_name("shrink-typed", room),
        ];
        acts.push(act("shrink", fields, words.shrink, words.shrink_how, true));
    }
    if clerk.may(Right::DeleteRoom) {
        let fields = vec![
            parts::tick("files", words.with_files, false),
            parts::typed_name("delete-typed", room),
        ];
        acts.push(act("delete", fields, words.delete, words.delete_how, true));
    }
    Ok(acts)
}

/// The markings to choose from; nothing where the configuration has none.
fn marking_fields(
    desk: &Desk,
    clerk: &Clerk,
    overview: &RoomOverview,
) -> Result<Vec<Element>, Stop> {
    let words = &WORDS.room;
    let markings = desk.actions.markings(&clerk.by())?;
    let names = markings.iter().map(|marking| marking.name.as_str());
    let names: Vec<(&str, &str)> = names.map(|name| (name, name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let present = overview.marking.as_deref().unwrap_or_default();
    let field = Field::new("marking", words.marking).value(present);
    let lower = clerk.may(Right::LowerMarking);
    let lower = lower.then(|| parts::tick("lower", words.lower, false));
    let mut fields = vec![field.choice(&names)];
    fields.push(parts::tick("put-out", words.put_out, false));
    fields.extend(lower);
    Ok(fields)
}

/// Whether the room's id must have been typed for something.
pub(super) fn is_typed(verb: &str) -> bool {
    ["shrink", "delete"].contains(&verb)
}

/// Whether something goes on in the background when it was begun.
pub(super) fn is_long(verb: &str) -> bool {
    is_typed(verb)
}

/// What a form about it wants; none if it is about something else, and what is wrong with it if
/// it cannot be read.
pub(super) fn wish(
    verb: &str,
    room: &str,
    fields: &Fields,
) -> Result<Option<Administration>, &'static str> {
    let room = room.to_owned();
    let ticked = |name: &str| fields.text(name) == "1";
    let wish = match verb {
        "open" | "unopen" => {
            let is_open = verb == "open";
            let about = PeopleWish::OpenRoom { room, is_open };
            return Ok(Some(Administration::People { about }));
        }
        "mark" => RoomWish::Mark {
            room,
            marking: fields.text("marking").to_owned(),
            put_out: ticked("put-out"),
            lower: ticked("lower"),
        },
        "close" | "reopen" => RoomWish::Close {
            room,
            closed: verb == "close",
            empty: false,
        },
        "shrink" => {
            let before = Timestamp::parse(fields.text("before"));
            RoomWish::Shrink {
                room,
                event: None,
                time: Some(before.ok_or(WORDS.register.no_time)?.0),
                with_local: ticked("local"),
            }
        }
        "delete" => RoomWish::Delete {
            room,
            block: true,
            with_files: ticked("files"),
            new_room_by: None,
            message: None,
        },
        _ => return Ok(None),
    };
    Ok(Some(Administration::Rooms { wish }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_shrunk_before_a_moment_alone() {
        let wish = |query: &str| wish("shrink", "!a:b", &Fields::of_query(query));
        let wanted = wish("before=2026-03-03&local=1").unwrap();
        let Some(Administration::Rooms {
            wish: RoomWish::Shrink {
                time, with_local, ..
            },
        }) = wanted
        else {
            panic!("{wanted:?}");
        };
        assert_eq!((time, with_local), (Some(1_772_496_000_000), true));
        // Never everything, because nothing was typed.
        for query in ["", "before=", "before=soon", "before=2026-02-30"] {
            assert_eq!(wish(query).unwrap_err(), WORDS.register.no_time, "{query}");
        }
    }
}
