//! The summary by which clients name a room, and members loaded as they speak.

use std::collections::BTreeSet;

use model::{Membership, tables};
use rooms::{ClientEvent, EventReader, ReadError};
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
        heroes.extend(model::user_id(reader.view, user)?);
    }
    let mut summary = Composer::object();
    summary
        .field("m.heroes", &strings(&heroes))
        .field("m.joined_member_count", &head.joined.to_string())
        .field("m.invited_member_count", &head.invited.to_string());
    Ok(summary.finish())
}

/// The senders of events.
pub(crate) fn senders<'a>(events: impl IntoIterator<Item = &'a ClientEvent>) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Header {
        sender: String,
    }
    events
        .into_iter()
        .filter_map(|event| serde_json::from_slice::<Header>(&event.stored.json).ok())
        .map(|header| header.sender)
        .collect()
}
