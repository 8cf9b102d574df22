//! What is sent to a push gateway (push gateway API, `POST /_matrix/push/v1/notify`).

use accounts::Pusher;
use model::{PushedEvent, UserSerial};
use rooms::{EventReader, PushSubject, ReadError, StateAt, Viewer, member_name};
use serde_json::{Map, Value, json};
use store::Snapshot;

use super::{Push, router::may_be_told};

/// The notification about an event, as its user sees it now; none if there is nothing to
/// be told any more.
pub(super) fn of_event(
    push: &Push,
    view: &Snapshot,
    user: UserSerial,
    pusher: &Pusher,
    pushed: &PushedEvent,
    unread: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let viewer = Viewer { user, device: None };
    let secret = push.store().secret();
    let reader = EventReader::new(view, pushed.room, secret, viewer, push.now())?;
    let Some(event) = reader.load(pushed.event)? else {
        return Ok(None);
    };
    let subject = PushSubject::new(&reader, event)?;
    let is_read = push
        .rooms()
        .has_read(view, pushed.room, user, subject.event())?;
    if is_read || !may_be_told(&reader, &subject)? {
        return Ok(None);
    }
    let tweaks = serde_json::from_slice(&pushed.tweaks).unwrap_or_default();
    let mut told = json!({
        "event_id": subject.json()["event_id"],
        "room_id": subject.json()["room_id"],
        "prio": if pushed.is_urgent { "high" } else { "low" },
        "counts": counts(unread),
        "devices": [device(pusher, Some(tweaks))],
    });
    if !pusher.wants_id_only() {
        describe(&reader, &subject, &mut told)?;
    }
    Ok(Some(written(told)))
}

/// The notification that tells the count alone.
pub(super) fn of_count(pusher: &Pusher, unread: u64) -> Vec<u8> {
    written(json!({
        "prio": "low",
        // Zero is said in so many words: it is all that this notification says.
        "counts": { "unread": unread },
        "devices": [device(pusher, None)],
    }))
}

fn written(notification: Value) -> Vec<u8> {
    json!({ "notification": notification })
        .to_string()
        .into_bytes()
}

fn counts(unread: u64) -> Value {
    match unread {
        0 => json!({}),
        unread => json!({ "unread": unread }),
    }
}

fn device(pusher: &Pusher, tweaks: Option<Map<String, Value>>) -> Value {
    let mut device = json!({
        "app_id": pusher.key.app_id,
        "pushkey": pusher.key.pushkey,
        // In seconds, unlike all other times.
        "pushkey_ts": pusher.updated_at / 1_000,
        "data": pusher.data,
    });
    if let Some(tweaks) = tweaks {
        device["tweaks"] = Value::Object(tweaks);
    }
    device
}

/// Adds what a gateway is told that wants more than the event's id.
fn describe(
    reader: &EventReader<'_, Snapshot>,
    subject: &PushSubject<'_, Snapshot>,
    told: &mut Value,
) -> Result<(), ReadError> {
    let event = subject.json();
    for name in ["type", "sender", "content"] {
        told[name] = event[name].clone();
    }
    if event["type"] == "m.room.member" {
        let is_target = event["state_key"].as_str() == Some(reader.viewer_id());
        told["user_is_target"] = is_target.into();
        told["membership"] = event["content"]["membership"].clone();
    }
    let sender = event["sender"].as_str().unwrap_or_default();
    if let Some(name) = member_name(reader.view, reader.room, sender)? {
        told["sender_display_name"] = name.into();
    }
    for (field, event_type, key) in [
        ("room_name", "m.room.name", "name"),
        ("room_alias", "m.room.canonical_alias", "alias"),
    ] {
        if let Some(text) = state_text(reader, event_type, key)? {
            told[field] = text.into();
        }
    }
    Ok(())
}

/// A text of the room's current state, if it is there and not empty.
fn state_text(
    reader: &EventReader<'_, Snapshot>,
    event_type: &str,
    key: &str,
) -> Result<Option<String>, ReadError> {
    let Some(serial) = StateAt::Current.get(reader, event_type, "")? else {
        return Ok(None);
    };
    let Some(event) = reader.load(serial)? else {
        return Ok(None);
    };
    let content: Value = serde_json::from_str(&reader.content(&event)?).unwrap_or_default();
    let text = content[key].as_str().filter(|text| !text.is_empty());
    Ok(text.map(str::to_owned))
}
