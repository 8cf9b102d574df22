//! The summary by which clients name a room, and members loaded as they speak.

use std::collections::BTreeSet;

use model::{Membership, tables};
use rooms::{ClientEvent, EventReader, ReadError, StateAt};
use serde::Deserialize;
use store::{Read, Snapshot};

use crate::json::{Composer, strings};

/// How many members a room is named after (client-server API, `m.heroes`).
const HEROES: usize = 5;

/// `summary` of a joined room: heroes and counts.
pub(crate) fn summary(reader: &EventReader<'_, Snapshot>) -> Result<String, ReadError> {
    let head = reader
        .view
        .get(&tables::HEAD_BY_ROOM, &reader.room)?
        .unwrap_or_default();
    let mut summary = Composer::object();
    summary
        .field("m.heroes", &strings(&heroes(reader)?))
        .field("m.joined_member_count", &head.joined.to_string())
        .field("m.invited_member_count", &head.invited.to_string());
    Ok(summary.finish())
}

/// Whether the room has a name or an alias, and needs no heroes.
fn is_named(reader: &EventReader<'_, Snapshot>) -> Result<bool, ReadError> {
    #[derive(Deserialize)]
    struct Content {
        name: Option<String>,
        alias: Option<String>,
    }
    for event_type in ["m.room.name", "m.room.canonical_alias"] {
        let Some(serial) = StateAt::Current.get(reader, event_type, "")? else {
            continue;
        };
        let Some(event) = reader.load(serial)? else {
            continue;
        };
        let content: Option<Content> = serde_json::from_str(event.content_as_sent()?).ok();
        let is_named = content.is_some_and(|content| {
            let text = content.name.or(content.alias);
            text.is_some_and(|text| !text.is_empty())
        });
        if is_named && event.redacted_by.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The members that a room without a name is named after: others who are there, else
/// who were.
pub(crate) fn heroes(reader: &EventReader<'_, Snapshot>) -> Result<Vec<String>, ReadError> {
    if is_named(reader)? {
        return Ok(Vec::new());
    }
    hero_ids(reader)
}

/// The same whether or not the room has a name.
pub(crate) fn hero_ids(reader: &EventReader<'_, Snapshot>) -> Result<Vec<String>, ReadError> {
    let mut present = Vec::new();
    let mut gone = Vec::new();
    for row in reader.view.scan(&tables::MEMBER_BY_ROOM, &(reader.room,)) {
        let ((_, user), membership) = row?;
        if user == reader.viewer().user {
            continue;
        }
        let list = match membership {
            Membership::Join | Membership::Invite => &mut present,
            Membership::Leave | Membership::Ban => &mut gone,
            Membership::Knock => continue,
        };
        if list.len() < HEROES {
            list.push(user);
        }
        if present.len() == HEROES {
            break;
        }
    }
    let chosen = if present.is_empty() { gone } else { present };
    let mut heroes = Vec::new();
    for user in chosen {
        heroes.extend(reader.user_id(user)?);
    }
    Ok(heroes)
}

/// The senders of events.
pub(crate) fn senders<'a>(events: impl IntoIterator<Item = &'a ClientEvent>) -> BTreeSet<String> {
    let senders = events.into_iter().map(|event| event.sender().into_owned());
    senders.filter(|sender| !sender.is_empty()).collect()
}
