//! The power levels of a room that is replaced (client-server API, "Room Upgrades").

use graph::{Event, PowerLevel, PowerLevels, Version};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use serde::Deserialize;

use crate::create::{CREATOR_LEVEL, level};

/// The least level of those who may still speak in a room that was replaced.
const MODERATOR_LEVEL: i64 = 50;
/// The level that ending a room needs, where otherwise everybody who may set state could.
const TOMBSTONE_LEVEL: i64 = 150;

/// Whether a list of levels names one of a room's creators, who stand above all levels in
/// the room versions in which they are privileged.
pub(crate) fn names_creator(levels: &CanonicalJsonObject, create: &Event) -> bool {
    #[derive(Deserialize, Default)]
    struct Content {
        #[serde(default)]
        additional_creators: Vec<String>,
    }
    let Some(CanonicalJsonValue::Object(users)) = levels.get("users") else {
        return false;
    };
    let content: Content = create.content_as().unwrap_or_default();
    let mut additional = content.additional_creators.iter();
    create.version().creators_are_privileged()
        && (users.contains_key(create.sender().as_str())
            || additional.any(|creator| users.contains_key(creator)))
}

/// The content of a power levels event as a room of `version` with these creators can
/// begin with it. `levels` are what `content` means in the old room.
pub(crate) fn moved(
    content: &CanonicalJsonObject,
    levels: &PowerLevels,
    version: Version,
    creators: &[OwnedUserId],
) -> CanonicalJsonObject {
    let mut content = numbers(content);
    let mut users = match content.remove("users") {
        Some(CanonicalJsonValue::Object(users)) => users,
        _ => CanonicalJsonObject::new(),
    };
    if version.creators_are_privileged() {
        // They stand above all levels, and a list that names them is refused.
        users.retain(|user_id, _| !creators.iter().any(|creator| creator == user_id));
        guard_tombstone(&mut content, levels);
    } else {
        // Whose power came from having made the old room keeps it as a number.
        let old_creators: Vec<_> = levels.creators().map(ToOwned::to_owned).collect();
        for creator in old_creators.iter().chain(creators.first()) {
            if levels.user(creator) == PowerLevel::Infinite {
                let highest = highest(&content).max(CREATOR_LEVEL);
                users.insert(creator.to_string(), level(highest));
            }
        }
    }
    content.insert("users".to_owned(), users.into());
    content
}

/// The content of a power levels event with which only moderators speak and invite; none
/// if it is so already.
pub(crate) fn quiet(
    content: &CanonicalJsonObject,
    levels: &PowerLevels,
) -> Option<CanonicalJsonObject> {
    let users_default = integer(content.get("users_default")).unwrap_or_default();
    let least = MODERATOR_LEVEL.max(users_default.saturating_add(1));
    let mut quiet = numbers(content);
    for (name, now) in [
        ("events_default", levels.to_send_message("")),
        ("invite", levels.to_invite()),
    ] {
        if now < least {
            quiet.insert(name.to_owned(), level(least));
        }
    }
    if let Some(CanonicalJsonValue::Object(events)) = quiet.get_mut("events") {
        for needed in events.values_mut() {
            if integer(Some(needed)).is_some_and(|now| now < least) {
                *needed = level(least);
            }
        }
    }
    (quiet != *content).then_some(quiet)
}

/// Of a room whose creators stand above all, not everybody who sets state may end it.
fn guard_tombstone(content: &mut CanonicalJsonObject, levels: &PowerLevels) {
    let state_default = levels.to_send_state("");
    if levels.to_send_state("m.room.tombstone") > state_default {
        return;
    }
    let needed = TOMBSTONE_LEVEL.max(state_default.saturating_add(1));
    let events = content
        .entry("events".to_owned())
        .or_insert_with(|| CanonicalJsonObject::new().into());
    if let CanonicalJsonValue::Object(events) = events {
        events.insert("m.room.tombstone".to_owned(), level(needed));
    }
}

/// The highest level that anything needs.
fn highest(content: &CanonicalJsonObject) -> i64 {
    let events = match content.get("events") {
        Some(CanonicalJsonValue::Object(events)) => Some(events.values()),
        _ => None,
    };
    content
        .values()
        .chain(events.into_iter().flatten())
        .filter_map(|value| integer(Some(value)))
        .max()
        .unwrap_or_default()
}

/// Levels that are numbers in text, as they may be before version 10, as numbers.
fn numbers(content: &CanonicalJsonObject) -> CanonicalJsonObject {
    let number = |value: &CanonicalJsonValue| match value {
        CanonicalJsonValue::String(_) => integer(Some(value)).map_or(value.clone(), level),
        CanonicalJsonValue::Object(inner) => numbers(inner).into(),
        other => other.clone(),
    };
    content
        .iter()
        .map(|(name, value)| (name.clone(), number(value)))
        .collect()
}

fn integer(value: Option<&CanonicalJsonValue>) -> Option<i64> {
    match value? {
        CanonicalJsonValue::Integer(number) => Some((*number).into()),
        CanonicalJsonValue::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use graph::canonical;
    use serde_json::json;

    use super::*;

    fn content(value: &serde_json::Value) -> CanonicalJsonObject {
        canonical(value.to_string().as_bytes(), 10).unwrap()
    }

    #[test]
    fn numbers_in_text_become_numbers() {
        let before = content(&json!({
            "ban": "50", "users": { "@a:b": " 100 " }, "events": { "m.room.name": 30 }, "note": "x",
        }));
        let after = content(&json!({
            "ban": 50, "users": { "@a:b": 100 }, "events": { "m.room.name": 30 }, "note": "x",
        }));
        assert_eq!(numbers(&before), after);
        assert_eq!(highest(&after), 50);
    }
}
