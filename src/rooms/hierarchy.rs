//! The rooms of a space (client-server API, "Discovering rooms within spaces").

use std::{collections::HashSet, fmt};

use model::{RoomSerial, UserSerial, tables};
use ruma_common::RoomId;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use store::Read;

use crate::{
    ReadError, Rooms, room_record, room_serial,
    summary::{current_content, is_accessible, summary},
    visibility::not_in_the_room,
};

/// The most rooms of one page.
const MAX_LIMIT: usize = 100;
/// How deep spaces are followed.
const MAX_DEPTH: u64 = 20;
/// The most rooms that are looked at for one page, from the first of the tree on.
const MAX_EXAMINED: usize = 5000;
/// The most children of one space.
const MAX_CHILDREN: usize = 1000;
/// The longest text by which children are ordered.
const MAX_ORDER: usize = 50;

/// Which part of a space's tree is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyRequest {
    /// Whether only children that are suggested are looked at.
    pub suggested_only: bool,
    /// How far to go into the space: 0 gives the space alone. At most 20.
    pub max_depth: Option<u64>,
    /// The most rooms wanted; at most 100 are given.
    pub limit: usize,
    /// The token of the page before.
    pub from: Option<String>,
}

/// A part of a space's tree.
#[derive(Clone, Debug)]
pub struct HierarchyPage {
    /// Rooms as JSON, a space before its children.
    pub rooms: Vec<String>,
    /// The token of the next page; none if there is nothing more.
    pub next: Option<String>,
}

/// What a token says: how many rooms were given, and what must not change meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    given: usize,
    max_depth: u64,
    suggested_only: bool,
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('h')?.split('_');
        let token = Self {
            given: parts.next()?.parse().ok()?,
            max_depth: parts.next()?.parse().ok()?,
            suggested_only: match parts.next()? {
                "0" => false,
                "1" => true,
                _ => return None,
            },
        };
        parts.next().is_none().then_some(token)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suggested = u8::from(self.suggested_only);
        write!(formatter, "h{}_{}_{suggested}", self.given, self.max_depth)
    }
}

/// A child of a space.
struct Child {
    room_id: String,
    /// Before those without order, by its text.
    order: Option<String>,
    sent_at: u64,
    suggested: bool,
    json: String,
}

impl Child {
    fn key(&self) -> (bool, &Option<String>, u64, &String) {
        (
            self.order.is_none(),
            &self.order,
            self.sent_at,
            &self.room_id,
        )
    }
}

impl Rooms {
    /// The rooms of a space that `user` may know of, depth first: `GET
    /// /rooms/{roomId}/hierarchy`.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] if the user may not know of the space;
    /// [`ReadError::Invalid`] for a token that is none, or one of another request.
    pub fn hierarchy(
        &self,
        view: &impl Read,
        room_id: &RoomId,
        user: UserSerial,
        request: &HierarchyRequest,
    ) -> Result<HierarchyPage, ReadError> {
        let max_depth = request.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let mut token = Token {
            given: 0,
            max_depth,
            suggested_only: request.suggested_only,
        };
        if let Some(from) = &request.from {
            let begun = Token::parse(from)
                .ok_or_else(|| ReadError::Invalid("the token is none of ours".to_owned()))?;
            token.given = begun.given;
            if token != begun {
                return Err(ReadError::Invalid(
                    "max_depth and suggested_only cannot change between pages".to_owned(),
                ));
            }
        }
        let limit = request.limit.clamp(1, MAX_LIMIT);
        let mut page = HierarchyPage {
            rooms: Vec::new(),
            next: None,
        };
        let mut met = 0;
        let mut seen = HashSet::new();
        let mut open = vec![(room_id.to_string(), 0)];
        for _ in 0..MAX_EXAMINED {
            let Some((next, depth)) = open.pop() else {
                break;
            };
            if !seen.insert(next.clone()) {
                continue;
            }
            let Some((json, children)) = entry(view, &next, user, request)? else {
                if depth == 0 {
                    return Err(not_in_the_room());
                }
                continue;
            };
            if page.rooms.len() == limit {
                token.given += limit;
                page.next = Some(token.to_string());
                break;
            }
            if met >= token.given {
                page.rooms.push(json);
            }
            met += 1;
            if depth < max_depth {
                let children = children.into_iter().rev();
                open.extend(children.map(|child| (child.room_id, depth + 1)));
            }
        }
        Ok(page)
    }
}

/// A room with its part of the answer and its children in their order; none if the user
/// may not know of it, or this server does not.
fn entry(
    view: &impl Read,
    room_id: &str,
    user: UserSerial,
    request: &HierarchyRequest,
) -> Result<Option<(String, Vec<Child>)>, ReadError> {
    let Some(room) = room_serial(view, room_id)? else {
        return Ok(None);
    };
    let (_, version) = room_record(view, room)?;
    if !is_accessible(view, room, version, user)? {
        return Ok(None);
    }
    let children = if is_space(view, room)? {
        children(view, room, request.suggested_only)?
    } else {
        Vec::new()
    };
    let shown: Vec<&str> = children.iter().map(|child| child.json.as_str()).collect();
    let summary = Value::Object(summary(view, room, room_id, version)?).to_string();
    // The summary always has fields: its closing brace makes room for one more.
    let json = format!(
        "{},\"children_state\":[{}]}}",
        summary.strip_suffix('}').unwrap_or(&summary),
        shown.join(",")
    );
    Ok(Some((json, children)))
}

fn is_space(view: &impl Read, room: RoomSerial) -> Result<bool, ReadError> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "type")]
        room_type: String,
    }
    let content: Option<Content> = current_content(view, room, "m.room.create")?;
    Ok(content.is_some_and(|content| content.room_type == "m.space"))
}

/// The children of a space, in their order.
fn children(
    view: &impl Read,
    room: RoomSerial,
    suggested_only: bool,
) -> Result<Vec<Child>, ReadError> {
    let prefix = (room, "m.space.child".to_owned());
    let mut children = Vec::new();
    for row in view
        .scan(&tables::STATE_BY_ROOM, &prefix)
        .take(MAX_CHILDREN)
    {
        let (_, serial) = row?;
        if view.contains(&tables::REDACTION_BY_EVENT, &serial)? {
            continue;
        }
        if let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &serial)?
            && let Some(child) = child(&stored.json)
            && (child.suggested || !suggested_only)
        {
            children.push(child);
        }
    }
    children.sort_by(|one, other| one.key().cmp(&other.key()));
    Ok(children)
}

/// The child that a stored `m.space.child` event names; none if it names none any more.
fn child(json: &[u8]) -> Option<Child> {
    #[derive(Deserialize)]
    struct Event<'a> {
        sender: String,
        state_key: String,
        origin_server_ts: u64,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Content {
        via: Vec<Value>,
        #[serde(default)]
        order: Value,
        #[serde(default)]
        suggested: Value,
    }
    let event: Event<'_> = serde_json::from_slice(json).ok()?;
    let content: Content = serde_json::from_str(event.content.get()).ok()?;
    if content.via.is_empty() {
        return None;
    }
    let is_valid = |order: &str| {
        order.len() <= MAX_ORDER && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
    };
    let order = content.order.as_str().filter(|order| is_valid(order));
    let json = format!(
        "{{\"type\":\"m.space.child\",\"state_key\":{},\"sender\":{},\"origin_server_ts\":{},\"content\":{}}}",
        Value::from(event.state_key.as_str()),
        Value::from(event.sender),
        event.origin_server_ts,
        event.content.get(),
    );
    Some(Child {
        order: order.map(str::to_owned),
        room_id: event.state_key,
        sent_at: event.origin_server_ts,
        suggested: content.suggested == Value::Bool(true),
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for token in [
            Token {
                given: 0,
                max_depth: 20,
                suggested_only: false,
            },
            Token {
                given: 17,
                max_depth: 0,
                suggested_only: true,
            },
        ] {
            assert_eq!(Token::parse(&token.to_string()), Some(token));
        }
        for text in [
            "", "h", "h1", "h1_2", "h1_2_3", "h1_2_0_0", "t1_2", "h-1_2_0",
        ] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }

    #[test]
    fn children_are_ordered_as_the_spec_says() {
        let event = |room: &str, at: u64, order: &str| {
            let json = format!(
                "{{\"sender\":\"@a:b\",\"state_key\":\"{room}\",\"origin_server_ts\":{at},\"content\":{{\"via\":[\"b\"],\"order\":{order}}}}}"
            );
            child(json.as_bytes()).unwrap()
        };
        let mut children = [
            event("!e", 1_640_641_000_000, "null"),
            event("!d", 1_640_741_000_000, "5"),
            event("!a", 1_640_141_000_000, "\"aaaa\""),
            event("!c", 1_640_841_000_000, "\"first\""),
            event("!f", 1_640_741_000_000, "\"\\u00e9\""),
            event("!b", 1_640_341_000_000, "\" \""),
        ];
        children.sort_by(|one, other| one.key().cmp(&other.key()));
        let ids: Vec<&str> = children
            .iter()
            .map(|child| child.room_id.as_str())
            .collect();
        assert_eq!(ids, ["!b", "!a", "!c", "!e", "!d", "!f"]);
        assert!(
            child(br#"{"sender":"@a:b","state_key":"!a","origin_server_ts":1,"content":{}}"#)
                .is_none()
        );
    }
}
