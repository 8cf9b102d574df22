//! The rooms of a space (client-server API, "Discovering rooms within spaces").

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use model::{EventSerial, Membership, RoomSerial, UserSerial, tables};
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use store::{Read, StoreError};

use crate::{
    ReadError, Rooms, room_record, room_serial, summary::Told, visibility::not_in_the_room,
};

/// The most rooms of one page.
const MAX_LIMIT: usize = 100;
/// How deep spaces are followed.
const MAX_DEPTH: u64 = 20;
/// The most rooms that are looked at for one page, from the first of the tree on.
const MAX_EXAMINED: usize = 5000;
/// The most children of one space.
const MAX_CHILDREN: usize = 1000;
/// The most servers of a child that are asked about it.
const MAX_VIA: usize = 5;
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
    /// Rooms of this part of the tree that this server is not in and does not know of, with
    /// servers to ask: without them the page may have holes.
    pub unknown: Vec<(OwnedRoomId, Vec<OwnedServerName>)>,
}

/// Rooms that this server is not in, as other servers tell of them; none for those that
/// nobody tells of.
pub type OtherRooms = HashMap<OwnedRoomId, Option<OtherRoom>>;

/// A room as another server tells of it (server-server API, `GET /hierarchy/{roomId}`).
pub struct OtherRoom {
    fields: Map<String, Value>,
    /// Its children, if the server told them.
    children: Option<Vec<Child>>,
}

impl OtherRoom {
    /// Reads what another server tells of a room; none if that is not usable. Without
    /// `children_state` its children are not known.
    pub fn parse(told: Value) -> Option<(OwnedRoomId, Self)> {
        let Value::Object(mut fields) = told else {
            return None;
        };
        let room_id = OwnedRoomId::try_from(fields.get("room_id")?.as_str()?).ok()?;
        fields.get("num_joined_members")?.as_u64()?;
        let children = match fields.remove("children_state") {
            Some(Value::Array(children)) => Some(
                children
                    .iter()
                    .take(MAX_CHILDREN)
                    .filter_map(|child| self::child(child.to_string().as_bytes()))
                    .collect(),
            ),
            _ => None,
        };
        Some((room_id, Self { fields, children }))
    }

    /// What the room is and what `user` is in it, as JSON; none if the user may not know of
    /// it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn summary(&self, view: &impl Read, user: UserSerial) -> Result<Option<String>, ReadError> {
        if !self.is_accessible(view, user)? {
            return Ok(None);
        }
        let membership = match room_serial(view, self.text("room_id").unwrap_or_default())? {
            Some(room) => view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?,
            None => None,
        };
        let membership = membership.map_or(Membership::Leave, |record| record.membership);
        let mut fields = self.fields.clone();
        fields.insert("membership".to_owned(), membership.name().into());
        Ok(Some(Value::Object(fields).to_string()))
    }

    /// Nobody tells its children.
    pub fn has_no_children(&mut self) {
        self.children.get_or_insert_default();
    }

    fn is_space(&self) -> bool {
        self.text("room_type") == Some("m.space")
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// Whether `user` may know of the room, which the other server has told to this server,
    /// not to its users.
    fn is_accessible(&self, view: &impl Read, user: UserSerial) -> Result<bool, ReadError> {
        let world = self.fields.get("world_readable") == Some(&Value::Bool(true));
        let rule = self.text("join_rule").unwrap_or("public");
        if world || matches!(rule, "public" | "knock" | "knock_restricted") {
            return Ok(true);
        }
        let is_in = |room_id: &str, counting: &[Membership]| -> Result<bool, ReadError> {
            let Some(room) = room_serial(view, room_id)? else {
                return Ok(false);
            };
            let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
            Ok(record.is_some_and(|record| counting.contains(&record.membership)))
        };
        let room_id = self.text("room_id").unwrap_or_default();
        if is_in(room_id, &[Membership::Join, Membership::Invite])? {
            return Ok(true);
        }
        let allowed = self
            .fields
            .get("allowed_room_ids")
            .and_then(Value::as_array);
        for room_id in allowed.into_iter().flatten().filter_map(Value::as_str) {
            if is_in(room_id, &[Membership::Join])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn json(&self, children: &[&Child]) -> String {
        let fields = Value::Object(self.fields.clone()).to_string();
        with_children(&fields, children.iter().copied())
    }
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
pub(crate) struct Child {
    pub(crate) room_id: String,
    /// Before those without order, by its text.
    order: Option<String>,
    sent_at: u64,
    suggested: bool,
    via: Vec<OwnedServerName>,
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
    /// /rooms/{roomId}/hierarchy`. `others` are rooms that this server is not in.
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
        others: &OtherRooms,
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
            unknown: Vec::new(),
        };
        let mut met = 0;
        let mut seen = HashSet::new();
        let home = room_id.server_name().map(ToOwned::to_owned);
        let mut open = vec![(room_id.to_string(), home.into_iter().collect(), 0)];
        for _ in 0..MAX_EXAMINED {
            let Some((next, via, depth)) = open.pop() else {
                break;
            };
            if !seen.insert(next.clone()) {
                continue;
            }
            let wanted = Wanted {
                suggested_only: request.suggested_only,
                children: depth < max_depth,
                json: met >= token.given && page.rooms.len() < limit,
            };
            let (json, children) = match entry(view, &next, user, wanted, others)? {
                Entry::Shown(json, children) => (json, children),
                Entry::Unknown => {
                    if let Ok(room_id) = OwnedRoomId::try_from(next) {
                        page.unknown.push((room_id, via));
                    }
                    continue;
                }
                Entry::Hidden if depth == 0 => return Err(not_in_the_room()),
                Entry::Hidden => continue,
            };
            if page.rooms.len() == limit {
                token.given += limit;
                page.next = Some(token.to_string());
                break;
            }
            page.rooms.extend(json);
            met += 1;
            if wanted.children {
                let children = children.into_iter().rev();
                open.extend(children.map(|(room_id, via)| (room_id, via, depth + 1)));
            }
        }
        Ok(page)
    }
}

/// A child's room, and servers that know it.
type Known = (String, Vec<OwnedServerName>);

/// What is found under a room id.
enum Entry {
    /// The room's part of the answer, if it was wanted, and its children in their order.
    Shown(Option<String>, Vec<Known>),
    /// The user may not know of it, or nobody does.
    Hidden,
    /// Another server must be asked.
    Unknown,
}

/// What is needed of a room. Of those that earlier pages have given, and of the one after
/// the page, only what is below them.
#[derive(Clone, Copy)]
struct Wanted {
    suggested_only: bool,
    /// The walk goes on to its children.
    children: bool,
    /// It is part of the answer.
    json: bool,
}

/// What is found under a room id.
fn entry(
    view: &impl Read,
    room_id: &str,
    user: UserSerial,
    wanted: Wanted,
    others: &OtherRooms,
) -> Result<Entry, ReadError> {
    let known = match room_serial(view, room_id)? {
        Some(room) if view.contains(&tables::HEAD_BY_ROOM, &room)? => room,
        _ => return other_entry(view, room_id, user, wanted, others),
    };
    let (_, version) = room_record(view, known)?;
    let told = Told::read(view, known, version)?;
    if !told.is_accessible(view, user)? {
        return Ok(Entry::Hidden);
    }
    let children = if (wanted.children || wanted.json) && told.is_space() {
        children(view, known, wanted.suggested_only)?
    } else {
        Vec::new()
    };
    let mut json = None;
    if wanted.json {
        let summary = Value::Object(told.summary(view, room_id)?).to_string();
        json = Some(with_children(&summary, &children));
    }
    Ok(Entry::Shown(json, known_children(children)))
}

/// The same of a room that this server is not in.
fn other_entry(
    view: &impl Read,
    room_id: &str,
    user: UserSerial,
    wanted: Wanted,
    others: &OtherRooms,
) -> Result<Entry, ReadError> {
    let Ok(room_id) = <&RoomId>::try_from(room_id) else {
        return Ok(Entry::Hidden);
    };
    let other = match others.get(room_id) {
        None => return Ok(Entry::Unknown),
        Some(None) => return Ok(Entry::Hidden),
        Some(Some(other)) => other,
    };
    if !other.is_accessible(view, user)? {
        return Ok(Entry::Hidden);
    }
    if wanted.children && other.is_space() && other.children.is_none() {
        return Ok(Entry::Unknown);
    }
    let children = other.children.iter().flatten();
    let mut children: Vec<&Child> = children
        .filter(|child| child.suggested || !wanted.suggested_only)
        .collect();
    children.sort_by(|one, other| one.key().cmp(&other.key()));
    let json = wanted.json.then(|| other.json(&children));
    let known = children
        .iter()
        .map(|child| (child.room_id.clone(), child.via.clone()));
    Ok(Entry::Shown(json, known.collect()))
}

fn known_children(children: Vec<Child>) -> Vec<Known> {
    let known = |child: Child| (child.room_id, child.via);
    children.into_iter().map(known).collect()
}

/// A summary with the room's children. The summary always has fields: its closing brace
/// makes room for one more.
pub(crate) fn with_children<'a>(
    summary: &str,
    children: impl IntoIterator<Item = &'a Child>,
) -> String {
    let shown: Vec<&str> = children
        .into_iter()
        .map(|child| child.json.as_str())
        .collect();
    format!(
        "{},\"children_state\":[{}]}}",
        summary.strip_suffix('}').unwrap_or(summary),
        shown.join(",")
    )
}

/// The children of a space, in their order.
pub(crate) fn children(
    view: &impl Read,
    room: RoomSerial,
    suggested_only: bool,
) -> Result<Vec<Child>, ReadError> {
    let prefix = (room, "m.space.child".to_owned());
    let rows = view
        .scan(&tables::STATE_BY_ROOM, &prefix)
        .take(MAX_CHILDREN);
    let serials: Vec<EventSerial> = rows
        .map(|row| Ok(row?.1))
        .collect::<Result<_, StoreError>>()?;
    let redactions = view.get_many(&tables::REDACTION_BY_EVENT, &serials)?;
    let stored = view.get_many(&tables::EVENT_BY_SERIAL, &serials)?;
    let left = stored.into_iter().zip(redactions);
    let left = left.filter_map(|(stored, redaction)| stored.filter(|_| redaction.is_none()));
    let mut children: Vec<Child> = left.filter_map(|stored| child(&stored.json)).collect();
    children.retain(|child| child.suggested || !suggested_only);
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
    let via = content.via.iter().filter_map(Value::as_str);
    let via = via.filter_map(|via| OwnedServerName::try_from(via).ok());
    Some(Child {
        via: via.take(MAX_VIA).collect(),
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
