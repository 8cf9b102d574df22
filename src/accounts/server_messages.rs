//! Messages for devices of other servers' users: queued for those servers, in the commit that answers the client (server-server API, "Send-to-device messaging").

use std::collections::BTreeMap;

use model::{
    EduQueueRecord, LogEntry, ServerEdu,
    tables::{EDU_BY_SERVER, EDU_QUEUE_BY_SERVER},
};
use ruma_client_api::to_device::send_event_to_device::v3::Messages;
use ruma_common::{OwnedUserId, to_device::DeviceIdOrAllDevices};
use runtime::Random;
use serde_json::Value;
use store::{Batch, Latest, Position, Read, StoreError};

use crate::to_device::{MAX_MESSAGES, ToDeviceError, checked_content};

/// How large a message to a server may be before what follows gets another one, in bytes.
const FULL_BYTES: usize = 64 * 1_024;
/// The longest `message_id` that the specification allows.
const MESSAGE_ID_CHARACTERS: usize = 32;
/// The most rows that wait for one server.
pub const MAX_SERVER_ROWS: u64 = 20_000;
/// The most bytes of messages that wait for one server.
const MAX_QUEUE_BYTES: u64 = 64 * 1_024 * 1_024;

/// The content of an `m.direct_to_device` on its way to a server.
pub(crate) struct ServerMessage {
    server: String,
    content: Vec<u8>,
    /// The messages in it.
    messages: usize,
}

/// Writes messages as their servers shall get them.
pub(crate) fn for_servers(
    random: &Random,
    sender: &str,
    event_type: &str,
    messages: &Messages,
) -> Result<Vec<ServerMessage>, ToDeviceError> {
    let mut servers = BTreeMap::<String, Vec<Parcel>>::new();
    let mut count = 0;
    for (user_id, contents) in messages {
        let parcels = servers
            .entry(user_id.server_name().to_string())
            .or_default();
        for (device_id, content) in contents {
            let content = checked_content(content.json())?;
            count += 1;
            if count > MAX_MESSAGES {
                return Err(ToDeviceError::TooLarge("too many messages in one request"));
            }
            match parcels.last_mut() {
                Some(parcel) if parcel.bytes < FULL_BYTES => {
                    parcel.add(user_id, device_id, content)
                }
                _ => {
                    let mut parcel = Parcel::default();
                    parcel.add(user_id, device_id, content);
                    parcels.push(parcel);
                }
            }
        }
    }
    let mut written = Vec::new();
    for (server, parcels) in servers {
        written.extend(parcels.into_iter().map(|parcel| ServerMessage {
            server: server.clone(),
            messages: parcel.messages,
            content: parcel.content(random, sender, event_type),
        }));
    }
    Ok(written)
}

/// Messages that go together: by user and device.
#[derive(Default)]
struct Parcel {
    users: BTreeMap<String, Vec<String>>,
    messages: usize,
    bytes: usize,
}

impl Parcel {
    fn add(&mut self, user_id: &OwnedUserId, device_id: &DeviceIdOrAllDevices, content: &str) {
        let device = Value::from(device_id.to_string());
        let devices = self.users.entry(user_id.to_string()).or_default();
        devices.push(format!("{device}:{content}"));
        self.messages += 1;
        self.bytes += content.len();
    }

    /// `{"message_id":…,"messages":…,"sender":…,"type":…}`
    fn content(self, random: &Random, sender: &str, event_type: &str) -> Vec<u8> {
        let id: String = random.token().chars().take(MESSAGE_ID_CHARACTERS).collect();
        let users = self.users.into_iter().map(|(user_id, devices)| {
            let user_id = Value::from(user_id);
            format!("{user_id}:{{{}}}", devices.join(","))
        });
        let users = users.collect::<Vec<_>>().join(",");
        let (sender, event_type) = (Value::from(sender), Value::from(event_type));
        format!(
            r#"{{"message_id":"{id}","messages":{{{users}}},"sender":{sender},"type":{event_type}}}"#
        )
        .into_bytes()
    }
}

/// Queues messages for their servers. Returns how many were, and how many found their queue full.
pub(crate) fn queue(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    messages: Vec<ServerMessage>,
) -> Result<(usize, usize), StoreError> {
    let mut queues = BTreeMap::<String, EduQueueRecord>::new();
    let (mut queued, mut dropped) = (0, 0);
    for (number, message) in (0_u32..).zip(messages) {
        let ServerMessage {
            server,
            content,
            messages,
        } = message;
        let known = match queues.get(&server) {
            Some(known) => *known,
            None => latest
                .get(&EDU_QUEUE_BY_SERVER, &server)?
                .unwrap_or_default(),
        };
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let usage = EduQueueRecord {
            rows: known.rows + 1,
            bytes: known.bytes.saturating_add(length),
        };
        if usage.rows > MAX_SERVER_ROWS || usage.bytes > MAX_QUEUE_BYTES {
            dropped += messages;
            continue;
        }
        let key = (server.clone(), position, number);
        batch.put(&EDU_BY_SERVER, &key, &ServerEdu::ToDevice { content });
        queues.insert(server, usage);
        queued += messages;
    }
    for (server, usage) in queues {
        batch.put(&EDU_QUEUE_BY_SERVER, &server, &usage);
        LogEntry::ToServer { server }.write(batch);
    }
    if dropped > 0 {
        log::warn!("{dropped} to-device messages dropped: the queues of their servers are full");
    }
    Ok((queued, dropped))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use ruma_common::serde::Raw;

    use super::*;

    fn raw<T>(value: &Value) -> Raw<T> {
        Raw::from_json(serde_json::value::to_raw_value(value).unwrap())
    }

    fn messages(devices: usize, size: usize) -> Messages {
        let text = "x".repeat(size);
        let user = |name: &str| {
            let device =
                |number: usize| DeviceIdOrAllDevices::DeviceId(format!("D{number}").into());
            let contents = (0..devices).map(|number| (device(number), raw(&json!({ "t": text }))));
            (OwnedUserId::try_from(name).unwrap(), contents.collect())
        };
        Messages::from_iter(["@a:b.test", "@c:b.test", "@d:e.test"].map(user))
    }

    #[test]
    fn each_server_gets_what_is_for_its_users() {
        let random = Random::seeded(1);
        let mut all = messages(1, 1);
        let everything = DeviceIdOrAllDevices::AllDevices;
        let user = OwnedUserId::try_from("@d:e.test").unwrap();
        let devices = all.get_mut(&user).unwrap();
        devices.insert(everything, raw(&json!({ "n": 1.5 })));
        let written = for_servers(&random, "@z:own.test", "m.test", &all).unwrap();
        let contents: Vec<(String, Value)> = written
            .iter()
            .map(|one| {
                (
                    one.server.clone(),
                    serde_json::from_slice(&one.content).unwrap(),
                )
            })
            .collect();
        let (server, first) = &contents[0];
        assert_eq!((contents.len(), server.as_str()), (2, "b.test"));
        let users =
            json!({ "@a:b.test": { "D0": { "t": "x" } }, "@c:b.test": { "D0": { "t": "x" } } });
        assert_eq!(first["messages"], users);
        assert_eq!(first["sender"], "@z:own.test");
        assert_eq!(first["type"], "m.test");
        let (server, second) = &contents[1];
        assert_eq!(server, "e.test");
        assert_eq!(second["messages"]["@d:e.test"]["*"], json!({ "n": 1.5 }));
        assert_ne!(first["message_id"], second["message_id"]);
        assert_eq!(first["message_id"].as_str().unwrap().len(), 32);
    }

    #[test]
    fn what_is_large_goes_in_several() {
        let random = Random::seeded(1);
        let written = for_servers(&random, "@z:own.test", "m.test", &messages(10, 20_000)).unwrap();
        let of = |server: &str| written.iter().filter(|one| one.server == server).count();
        assert_eq!((of("b.test"), of("e.test")), (5, 3));
        let total: usize = written.iter().map(|one| one.messages).sum();
        assert_eq!(total, 30);
        assert!(written.iter().all(|one| one.content.len() < 90_000));
        let many = for_servers(&random, "@z:own.test", "m.test", &messages(2_000, 1));
        assert!(matches!(many, Err(ToDeviceError::TooLarge(_))));
    }
}
