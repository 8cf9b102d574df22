//! EDUs as they are sent (server-server API, "EDUs").

use std::collections::BTreeMap;

use model::{RoomSerial, ServerEdu, UserSerial};
use rooms::PublicReceipt;
use ruma_common::{OwnedDeviceId, OwnedUserId, ServerName, UserId};
use serde_json::{Map, Value, json};
use store::{Position, Read, StoreError};

use super::ephemeral::Ephemeral;

/// `{"content":…,"edu_type":…}`
fn edu(edu_type: &str, content: &str) -> String {
    format!(r#"{{"content":{content},"edu_type":"{edu_type}"}}"#)
}

/// One that must not get lost; none if there is nothing left to tell.
pub(super) fn lasting(
    view: &impl Read,
    own: &ServerName,
    row: &ServerEdu,
    with_names: bool,
) -> Result<Option<String>, StoreError> {
    Ok(match row {
        ServerEdu::ToDevice { content } => {
            let content = String::from_utf8_lossy(content);
            Some(edu("m.direct_to_device", &content))
        }
        ServerEdu::Device {
            user,
            device_id,
            stream_id,
            previous,
        } => {
            let Some(user_id) = user_id(view, *user)? else {
                return Ok(None);
            };
            let numbers = (*stream_id, *previous);
            let changed = (*user, &user_id, device_id.as_str());
            Some(device(view, own, changed, numbers, with_names)?)
        }
        ServerEdu::SigningKeys { user } => match user_id(view, *user)? {
            Some(user_id) => signing_keys(view, own, &user_id)?,
            None => None,
        },
    })
}

fn user_id(view: &impl Read, user: UserSerial) -> Result<Option<OwnedUserId>, StoreError> {
    let user_id = model::user_id(view, user)?.unwrap_or_default();
    Ok(UserId::parse(user_id).ok())
}

/// What a device is now, and perhaps how it is called.
fn device(
    view: &impl Read,
    own: &ServerName,
    (user, user_id, device_id): (UserSerial, &OwnedUserId, &str),
    (stream_id, previous): (u64, Option<u64>),
    with_names: bool,
) -> Result<String, StoreError> {
    let device = OwnedDeviceId::from(device_id);
    let wanted = BTreeMap::from([(user_id.clone(), vec![device.clone()])]);
    let mut keys = accounts::published_keys(view, own, &wanted, with_names)?.device_keys;
    let keys = keys
        .remove(user_id)
        .and_then(|mut keys| keys.remove(&device));
    let known = accounts::device(view, user, &device)?;
    let mut content = json!({
        "user_id": user_id,
        "device_id": device_id,
        "stream_id": stream_id,
        "prev_id": previous.into_iter().collect::<Vec<_>>(),
    });
    match &known {
        Some(known) if with_names => {
            if let Some(name) = &known.display_name {
                content["device_display_name"] = Value::from(name.as_str());
            }
        }
        Some(_) => {}
        // A dehydrated device has keys alone.
        None if keys.is_some() => {}
        None => content["deleted"] = Value::from(true),
    }
    let mut content = content.to_string();
    if let Some(keys) = keys {
        content.pop();
        content += &format!(r#","keys":{}}}"#, keys.json().get());
    }
    Ok(edu("m.device_list_update", &content))
}

fn signing_keys(
    view: &impl Read,
    own: &ServerName,
    user_id: &OwnedUserId,
) -> Result<Option<String>, StoreError> {
    let wanted = BTreeMap::from([(user_id.clone(), Vec::new())]);
    let keys = accounts::published_keys(view, own, &wanted, false)?;
    let master = keys.master_keys.get(user_id);
    let self_signing = keys.self_signing_keys.get(user_id);
    if master.is_none() && self_signing.is_none() {
        return Ok(None);
    }
    let mut content = format!(r#"{{"user_id":{}"#, Value::from(user_id.as_str()));
    for (name, key) in [("master_key", master), ("self_signing_key", self_signing)] {
        if let Some(key) = key {
            content += &format!(r#","{name}":{}"#, key.json().get());
        }
    }
    content.push('}');
    Ok(Some(edu("m.signing_key_update", &content)))
}

/// Those that are worth something only now, of rooms in which `is_told` says that the
/// server is told of it.
pub(super) fn ephemeral(
    view: &impl Read,
    waiting: Ephemeral,
    mut is_told: impl FnMut(RoomSerial) -> Result<bool, StoreError>,
) -> Result<Vec<String>, StoreError> {
    let mut edus = Vec::new();
    for ((room, user_id), types) in waiting.typing {
        if let Some(room_id) = model::room_id(view, room)?
            && is_told(room)?
        {
            let content = json!({ "room_id": room_id, "user_id": user_id, "typing": types });
            edus.push(edu("m.typing", &content.to_string()));
        }
    }
    let mut moved = Vec::new();
    for ((room, user), since) in waiting.receipts {
        if is_told(room)? {
            moved.push((room, user, since));
        }
    }
    edus.extend(receipts(view, moved)?);
    if !waiting.presence.is_empty() {
        let push: Vec<String> = waiting.presence.into_values().collect();
        let content = format!(r#"{{"push":[{}]}}"#, push.join(","));
        edus.push(edu("m.presence", &content));
    }
    Ok(edus)
}

/// Receipts, as few EDUs as can be: in each is one of a user in a room.
fn receipts(
    view: &impl Read,
    moved: Vec<(RoomSerial, UserSerial, Position)>,
) -> Result<Vec<String>, StoreError> {
    let mut contents: Vec<Map<String, Value>> = Vec::new();
    for (room, user, since) in moved {
        let receipts = rooms::public_receipts_since(view, room, user, since)?;
        let (Some(room_id), Some(user_id)) =
            (model::room_id(view, room)?, model::user_id(view, user)?)
        else {
            continue;
        };
        for (number, receipt) in receipts.into_iter().enumerate() {
            if number == contents.len() {
                contents.push(Map::new());
            }
            let room = contents[number]
                .entry(room_id.clone())
                .or_insert_with(|| json!({ "m.read": {} }));
            room["m.read"][&user_id] = receipt_json(&receipt);
        }
    }
    let contents = contents.into_iter().map(Value::from);
    Ok(contents
        .map(|content| edu("m.receipt", &content.to_string()))
        .collect())
}

fn receipt_json(receipt: &PublicReceipt) -> Value {
    let mut data = json!({ "ts": receipt.at });
    if !receipt.thread.is_empty() {
        data["thread_id"] = Value::from(receipt.thread.as_str());
    }
    json!({ "event_ids": [receipt.event_id], "data": data })
}

/// The body of a transaction.
pub(super) fn body(own: &ServerName, at: u64, pdus: &[String], edus: &[String]) -> Vec<u8> {
    let own = Value::from(own.as_str());
    let (pdus, edus) = (pdus.join(","), edus.join(","));
    let edus = match edus.is_empty() {
        true => String::new(),
        false => format!(r#""edus":[{edus}],"#),
    };
    format!(r#"{{{edus}"origin":{own},"origin_server_ts":{at},"pdus":[{pdus}]}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use ruma_common::server_name;

    use super::*;

    #[test]
    fn a_body_is_json() {
        let own = server_name!("a.test");
        let pdus = ["{\"a\":1}".to_owned(), "{}".to_owned()];
        let read = |body: Vec<u8>| serde_json::from_slice::<Value>(&body).unwrap();
        let expected =
            json!({ "origin": "a.test", "origin_server_ts": 7, "pdus": [{ "a": 1 }, {}] });
        assert_eq!(read(body(own, 7, &pdus, &[])), expected);
        let edus = [edu("m.typing", "{}")];
        let expected = json!({
            "origin": "a.test",
            "origin_server_ts": 7,
            "pdus": [],
            "edus": [{ "edu_type": "m.typing", "content": {} }],
        });
        assert_eq!(read(body(own, 7, &[], &edus)), expected);
    }
}
