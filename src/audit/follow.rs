//! Memberships and power levels, from the log into the trail.

use std::{collections::HashMap, time::Duration};

use model::{
    EventSerial, EventStatus, LogEntry, RoomSerial, StoredEvent,
    tables::{EVENT_BY_SERIAL, EVENT_META_BY_SERIAL, ROOM_BY_SERIAL},
};
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Stop};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{
    Consumer, Position, Read, Snapshot, Store, StoreError, Value as _, has_consumed, records_after,
};

use crate::{Act, Deed, Verb, record};

/// The consumer's name in the log.
const NAME: &str = "audit";
/// Records of the log that are looked at in one go.
const RECORDS: usize = 1_024;
/// After how many records without anything to tell the place in the log is stored.
const STORE_EVERY: u64 = 4_096;
/// How long records are let come together.
const GATHER: Duration = Duration::from_millis(250);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// The most power levels of which one entry tells that they changed.
const MOST_LEVELS: usize = 100;

/// Begins to follow the log: what is committed from then on is told. To be called before anybody
/// can join a room.
///
/// # Errors
/// If the database fails.
pub async fn begin(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    consumer(store, clock).await.map(drop)
}

/// Follows the log until the server stops. An entry and the place in the log are one commit: after
/// a crash none is missing and none is there twice.
pub async fn follow(store: Store, server_name: OwnedServerName, clock: Clock, stop: Stop) {
    while !stop.is_stopping() {
        match run(&store, &server_name, &clock, &stop).await {
            Ok(()) => return,
            Err(error) => log::error!("the audit trail falls behind, and tries again: {error}"),
        }
        tokio::select! {
            () = stop.stopped() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Whether everything up to `position` that is for the trail to tell stands in it, if somebody
/// follows the log at all: what it tells of must not be removed before.
///
/// # Errors
/// If the database fails.
pub fn has_followed(view: &Snapshot, position: Position) -> Result<bool, StoreError> {
    has_consumed(view, NAME, position)
}

async fn run(
    store: &Store,
    server_name: &ServerName,
    clock: &Clock,
    stop: &Stop,
) -> Result<(), StoreError> {
    let mut consumer = consumer(store, clock).await?;
    let mut stored = consumer.position();
    while !stop.is_stopping() {
        let (from, own) = (consumer.position(), server_name.to_owned());
        let read = move |view: &Snapshot| gather(view, from, &own);
        let gathered: Gathered = store.read(read).await?;
        let Some(position) = gathered.position else {
            if consumer.position() > stored {
                // Who waits for the trail to have come so far need not wait for more to tell.
                consumer.store().await?;
                stored = consumer.position();
            }
            tokio::select! {
                () = stop.stopped() => {}
                () = consumer.changed() => tokio::time::sleep(GATHER).await,
            }
            continue;
        };
        if gathered.deeds.is_empty() {
            consumer.pass(position);
            if position.0.saturating_sub(stored.0) < STORE_EVERY {
                continue;
            }
            consumer.store().await?;
        } else {
            let (deeds, now) = (gathered.deeds, clock.now().0);
            let rows = move |latest: &store::Latest, batch: &mut store::Batch| {
                record(latest, batch, now, &deeds)
            };
            consumer.advance_later_with(position, rows).await?;
        }
        stored = position;
    }
    consumer.store().await
}

/// The consumer of the log. Where the log does not reach back so far, the trail says so.
async fn consumer(store: &Store, clock: &Clock) -> Result<Consumer, StoreError> {
    match Consumer::open(store, NAME).await {
        Err(StoreError::Trimmed(position)) => {
            log::warn!("the audit trail misses what the log had behind {position}");
            let now = store.snapshot().position();
            let mut consumer = Consumer::restart(store, NAME, now).await?;
            let at = clock.now().0;
            let deed = Act::server().did(Verb::AuditInterrupted);
            let rows = move |latest: &store::Latest, batch: &mut store::Batch| {
                record(latest, batch, at, &[deed])
            };
            consumer.advance_with(now, rows).await?;
            Ok(consumer)
        }
        other => other,
    }
}

/// What some records of the log ask for.
#[derive(Default)]
struct Gathered {
    deeds: Vec<Deed>,
    /// The last of the records; none if there was none.
    position: Option<Position>,
}

fn gather(view: &Snapshot, from: Position, own: &ServerName) -> Result<Gathered, StoreError> {
    let mut gathered = Gathered::default();
    let mut rooms = HashMap::new();
    for record in records_after(view, from, RECORDS)? {
        gathered.position = Some(record.position);
        for entry in &record.entries {
            let Ok(LogEntry::Governed { room, event }) = LogEntry::decode(entry) else {
                continue;
            };
            let reader = Reader { view, own, room };
            let deed = reader.deed(event, &mut rooms)?;
            gathered
                .deeds
                .extend(deed.map(|deed| deed.at(record.written_at)));
        }
    }
    Ok(gathered)
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: String,
    sender: String,
    #[serde(default)]
    state_key: String,
    #[serde(default)]
    content: Map<String, Value>,
}

impl Event {
    fn read(stored: &StoredEvent) -> Option<Self> {
        serde_json::from_slice(&stored.json).ok()
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.content.get(field)?.as_str()
    }
}

/// A room, and whether it was made on this server.
struct Room {
    room_id: String,
    is_own: bool,
}

struct Reader<'a> {
    view: &'a Snapshot,
    own: &'a ServerName,
    room: RoomSerial,
}

impl Reader<'_> {
    /// What the trail tells of an event: nothing of strangers in rooms of other servers.
    fn deed(
        &self,
        serial: EventSerial,
        rooms: &mut HashMap<RoomSerial, Room>,
    ) -> Result<Option<Deed>, StoreError> {
        let Some(event) = self.event(serial)? else {
            return Ok(None);
        };
        let Some(meta) = self.view.get(&EVENT_META_BY_SERIAL, &serial)? else {
            return Ok(None);
        };
        if matches!(meta.status, EventStatus::Rejected | EventStatus::SoftFailed) {
            return Ok(None);
        }
        if !rooms.contains_key(&self.room)
            && let Some(room) = self.describe()?
        {
            rooms.insert(self.room, room);
        }
        let Some(room) = rooms.get(&self.room) else {
            return Ok(None);
        };
        if !room.is_own && !self.is_own(&event.sender) && !self.is_own(&event.state_key) {
            return Ok(None);
        }
        let before = match meta.replaces {
            Some(before) => self.event(before)?,
            None => None,
        };
        let deed = match event.event_type.as_str() {
            "m.room.create" => Some(created(&event)),
            "m.room.member" => membership(&event, before.as_ref()),
            "m.room.power_levels" => power(&event, before.as_ref()),
            _ => None,
        };
        Ok(deed.map(|deed| deed.within(room.room_id.clone())))
    }

    fn event(&self, serial: EventSerial) -> Result<Option<Event>, StoreError> {
        let stored = self.view.get(&EVENT_BY_SERIAL, &serial)?;
        Ok(stored.as_ref().and_then(Event::read))
    }

    fn is_own(&self, user_id: &str) -> bool {
        user_id
            .split_once(':')
            .is_some_and(|(_, server)| server == self.own)
    }

    fn describe(&self) -> Result<Option<Room>, StoreError> {
        let Some(record) = self.view.get(&ROOM_BY_SERIAL, &self.room)? else {
            return Ok(None);
        };
        let is_own = match record.room_id.split_once(':') {
            Some((_, server)) => server == self.own,
            // The id of a newer room is a hash and names no server.
            None => self
                .event(record.create_event)?
                .is_some_and(|event| self.is_own(&event.sender)),
        };
        Ok(Some(Room {
            room_id: record.room_id,
            is_own,
        }))
    }
}

fn act(event: &Event) -> Act {
    let reason = event.text("reason").map(str::to_owned);
    Act::person(event.sender.clone(), None).because(reason)
}

fn created(event: &Event) -> Deed {
    let mut after = Map::new();
    for field in ["type", "room_version", "m.federate"] {
        if let Some(value) = event.content.get(field) {
            after.insert(field.to_owned(), value.clone());
        }
    }
    act(event).did(Verb::RoomCreated).after(after.into())
}

/// A membership, if it is another one: a new name or picture is none.
fn membership(event: &Event, before: Option<&Event>) -> Option<Deed> {
    let now = event.text("membership")?;
    let was = before.and_then(|before| before.text("membership"));
    if was == Some(now) {
        return None;
    }
    let deed = act(event)
        .did(Verb::MembershipChanged)
        .on(event.state_key.clone())
        .after(now.into());
    Some(match was {
        Some(was) => deed.before(was.into()),
        None => deed,
    })
}

/// The levels that changed.
fn power(event: &Event, before: Option<&Event>) -> Option<Deed> {
    let now = levels(event);
    let was = before.map(levels).unwrap_or_default();
    let names = was
        .keys()
        .chain(now.keys().filter(|name| !was.contains_key(*name)));
    let changed: Vec<&String> = names
        .filter(|name| was.get(*name) != now.get(*name))
        .collect();
    if changed.is_empty() {
        return None;
    }
    let part = |of: &Map<String, Value>| -> Value {
        let mut part: Map<String, Value> = changed
            .iter()
            .take(MOST_LEVELS)
            .filter_map(|name| Some(((*name).clone(), of.get(*name)?.clone())))
            .collect();
        if changed.len() > MOST_LEVELS {
            part.insert("others".to_owned(), json!(changed.len() - MOST_LEVELS));
        }
        part.into()
    };
    let deed = act(event).did(Verb::PowerChanged);
    Some(deed.before(part(&was)).after(part(&now)))
}

/// All levels of an event, each by its path.
fn levels(event: &Event) -> Map<String, Value> {
    let mut levels = Map::new();
    for (name, value) in &event.content {
        match value {
            Value::Object(inner) => {
                let inner = inner.iter();
                levels.extend(inner.map(|(key, level)| (format!("{name} {key}"), level.clone())));
            }
            level => {
                levels.insert(name.clone(), level.clone());
            }
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str, content: Value) -> Event {
        let event = json!({
            "type": event_type, "sender": "@a:b", "state_key": "@c:b", "content": content,
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn a_new_name_is_no_membership() {
        let joined = event("m.room.member", json!({ "membership": "join" }));
        let renamed = event(
            "m.room.member",
            json!({ "membership": "join", "displayname": "C" }),
        );
        assert!(membership(&renamed, Some(&joined)).is_none());
        let first = membership(&joined, None).unwrap();
        assert_eq!(
            (first.on.as_deref(), first.before.is_null()),
            (Some("@c:b"), true)
        );
        let kick = json!({ "membership": "leave", "reason": "spam" });
        let kicked = membership(&event("m.room.member", kick), Some(&joined)).unwrap();
        assert_eq!(
            (kicked.before, kicked.after),
            (json!("join"), json!("leave"))
        );
        assert_eq!(kicked.act.reason.as_deref(), Some("spam"));
    }

    #[test]
    fn of_power_levels_the_changed_ones_are_told() {
        let levels = |content| event("m.room.power_levels", content);
        let was = levels(json!({ "users": { "@a:b": 100, "@c:b": 50 }, "ban": 50 }));
        let now = levels(json!({ "users": { "@a:b": 100, "@d:b": 50 }, "ban": 60 }));
        let deed = power(&now, Some(&was)).unwrap();
        assert_eq!(deed.before, json!({ "users @c:b": 50, "ban": 50 }));
        assert_eq!(deed.after, json!({ "users @d:b": 50, "ban": 60 }));
        assert!(power(&was, Some(&was)).is_none());
    }
}
