//! What other servers say beside events. Each kind is read and taken by itself: what has a
//! wrong form, or is about users of others than its server, is left out and counted.

use std::time::Duration;

use js_int::UInt;
use rooms::{AppendError, ReadError, RemotePresence, RemoteReceipt};
use ruma_common::{OwnedUserId, ServerName, presence::PresenceState, serde::Raw};
use ruma_federation_api::transactions::edu::{
    DeviceListUpdateContent, DirectDeviceContent, Edu, ReceiptContent, SigningKeyUpdateContent,
    TypingContent,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use store::StoreError;

use crate::Actions;

/// The most receipts of one message that are looked at.
const MOST_RECEIPTS: usize = 2_000;
/// The most users of one message whose presence is looked at.
const MOST_PRESENCES: usize = 1_000;

/// What is not an event, as it was read.
pub(crate) enum Said {
    Typing(TypingContent),
    Receipt(ReceiptContent),
    Presence(Vec<RemotePresence>),
    ToDevice(DirectDeviceContent),
    Device(DeviceListUpdateContent),
    SigningKeys(SigningKeyUpdateContent),
}

#[derive(Deserialize)]
struct Envelope {
    edu_type: String,
    content: Box<RawValue>,
}

#[derive(Deserialize)]
struct Presences {
    push: Vec<Box<RawValue>>,
}

/// One user's presence. Servers leave out when somebody was active whom they never saw.
#[derive(Deserialize)]
struct PresenceUpdate {
    user_id: OwnedUserId,
    presence: PresenceState,
    status_msg: Option<String>,
    last_active_ago: Option<UInt>,
    #[serde(default)]
    currently_active: bool,
}

impl Said {
    /// The name in the metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Typing(_) => "m.typing",
            Self::Receipt(_) => "m.receipt",
            Self::Presence(_) => "m.presence",
            Self::ToDevice(_) => "m.direct_to_device",
            Self::Device(_) => "m.device_list_update",
            Self::SigningKeys(_) => "m.signing_key_update",
        }
    }

    /// Whether it lives in memory alone, or names events that may have come with it.
    fn is_ephemeral(&self) -> bool {
        matches!(self, Self::Typing(_) | Self::Receipt(_) | Self::Presence(_))
    }
}

fn content<T: DeserializeOwned>(content: &RawValue) -> Result<T, String> {
    serde_json::from_str(content.get()).map_err(|error| error.to_string())
}

/// Reads a message; none if its type is not known here.
pub(crate) fn read(edu: &Raw<Edu>) -> Result<Option<Said>, String> {
    let envelope: Envelope = content(edu.json())?;
    let inner = &*envelope.content;
    Ok(Some(match envelope.edu_type.as_str() {
        "m.typing" => Said::Typing(content(inner)?),
        "m.receipt" => Said::Receipt(content(inner)?),
        "m.presence" => Said::Presence(presences(content(inner)?)),
        "m.direct_to_device" => Said::ToDevice(content(inner)?),
        "m.device_list_update" => Said::Device(content(inner)?),
        "m.signing_key_update" => Said::SigningKeys(content(inner)?),
        _ => return Ok(None),
    }))
}

/// Those that have their form.
fn presences(presences: Presences) -> Vec<RemotePresence> {
    let updates = presences.push.into_iter().take(MOST_PRESENCES);
    let updates = updates.filter_map(|update| content::<PresenceUpdate>(&update).ok());
    let update = |update: PresenceUpdate| RemotePresence {
        user_id: update.user_id,
        state: update.presence,
        status: update.status_msg,
        last_active_ago: Duration::from_millis(update.last_active_ago.map_or(0, u64::from)),
        currently_active: update.currently_active,
    };
    updates.map(update).collect()
}

impl Actions {
    /// Reads what came beside events: what is ephemeral, and what must last. The rest is
    /// counted and left out.
    pub(crate) fn read_edus(&self, edus: Vec<Raw<Edu>>) -> (Vec<Said>, Vec<Said>) {
        let said = edus.iter().filter_map(|edu| match read(edu) {
            Ok(Some(said)) => Some(said),
            Ok(None) => {
                self.received.count_edu("other", "unknown");
                None
            }
            Err(error) => {
                log::debug!("a message of another server has a wrong form: {error}");
                self.received.count_edu("other", "malformed");
                None
            }
        });
        said.partition(Said::is_ephemeral)
    }

    /// Takes one message, if its server may say so.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn take_edu(&self, origin: &ServerName, said: Said) -> Result<(), StoreError> {
        let name = said.name();
        let is_taken = match said {
            Said::Typing(typing) => self.take_typing(origin, typing).await?,
            Said::Receipt(receipts) => self.take_receipts(origin, receipts).await?,
            Said::Presence(updates) => self.rooms.set_remote_presence(origin, updates).await? > 0,
            Said::ToDevice(messages) => self.take_to_device(origin, messages).await?,
            Said::Device(update) => {
                let is_its_own = update.user_id.server_name() == origin;
                if is_its_own {
                    self.rooms.note_changed_devices(&update.user_id).await?;
                    if self.accounts.remote_device_changed(update).await? {
                        self.stale_devices.notify_one();
                    }
                }
                is_its_own
            }
            Said::SigningKeys(update) => {
                let is_its_own = update.user_id.server_name() == origin;
                if is_its_own {
                    self.rooms.note_changed_devices(&update.user_id).await?;
                    if self.accounts.remote_signing_keys_changed(update).await? {
                        self.stale_devices.notify_one();
                    }
                }
                is_its_own
            }
        };
        let outcome = if is_taken { "taken" } else { "refused" };
        self.received.count_edu(name, outcome);
        Ok(())
    }

    async fn take_typing(
        &self,
        origin: &ServerName,
        typing: TypingContent,
    ) -> Result<bool, StoreError> {
        let (room_id, user_id) = (&typing.room_id, &typing.user_id);
        let taken = self
            .rooms
            .set_remote_typing(origin, room_id, user_id, typing.typing);
        match taken.await {
            Ok(taken) => Ok(taken),
            Err(ReadError::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn take_receipts(
        &self,
        origin: &ServerName,
        receipts: ReceiptContent,
    ) -> Result<bool, StoreError> {
        let mut moved = Vec::new();
        for (room_id, users) in receipts.receipts {
            for (user_id, read) in users.read {
                let thread = read.data.thread.as_str().map(str::to_owned);
                let at = read.data.ts.map_or(u64::MAX, |at| at.0.into());
                // Several where the user has read several ends of the room.
                let events = read.event_ids.into_iter();
                moved.extend(events.map(|event_id| RemoteReceipt {
                    room_id: room_id.clone(),
                    user_id: user_id.clone(),
                    event_id,
                    thread: thread.clone(),
                    at,
                }));
            }
        }
        moved.truncate(MOST_RECEIPTS);
        match self.rooms.set_remote_receipts(origin, moved).await {
            Ok(taken) => Ok(taken > 0),
            Err(AppendError::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn take_to_device(
        &self,
        origin: &ServerName,
        messages: DirectDeviceContent,
    ) -> Result<bool, StoreError> {
        if messages.sender.server_name() != origin {
            return Ok(false);
        }
        match self.accounts.receive_to_device(origin, messages).await {
            Ok(_) => Ok(true),
            Err(accounts::ToDeviceError::Store(error)) => Err(error),
            Err(error) => {
                log::debug!("messages of {origin} to devices are not taken: {error}");
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    fn name(edu: Value) -> Result<Option<&'static str>, String> {
        let edu = Raw::from_json(to_raw_value(&edu).unwrap());
        Ok(read(&edu)?.map(|said| said.name()))
    }

    #[test]
    fn each_kind_is_read_by_itself() {
        for edu in [
            json!({ "edu_type": "m.typing", "content": {
                "room_id": "!r:b.test", "user_id": "@x:b.test", "typing": true,
            } }),
            json!({ "edu_type": "m.receipt", "content": { "!r:b.test": { "m.read": {
                "@x:b.test": { "data": { "ts": 1, "thread_id": "main" }, "event_ids": ["$e"] },
            } } } }),
            json!({ "edu_type": "m.presence", "content": { "push": [] } }),
            json!({ "edu_type": "m.direct_to_device", "content": {
                "sender": "@x:b.test", "type": "m.x", "message_id": "1",
                "messages": { "@y:a.test": { "*": {} } },
            } }),
            json!({ "edu_type": "m.device_list_update", "content": {
                "user_id": "@x:b.test", "device_id": "D", "stream_id": 5,
            } }),
            json!({ "edu_type": "m.signing_key_update", "content": { "user_id": "@x:b.test" } }),
        ] {
            let expected = edu["edu_type"].as_str().unwrap().to_owned();
            assert_eq!(name(edu).unwrap(), Some(expected.as_str()));
        }
        assert_eq!(name(json!({ "edu_type": "x", "content": 1 })), Ok(None));
        for edu in [
            json!(1),
            json!({ "content": {} }),
            json!({ "edu_type": "m.typing" }),
            json!({ "edu_type": "m.typing", "content": { "room_id": "r" } }),
            json!({ "edu_type": "m.device_list_update", "content": {
                "user_id": "@x:b.test", "device_id": "D", "stream_id": -1,
            } }),
        ] {
            name(edu.clone()).expect_err(&edu.to_string());
        }
    }

    #[test]
    fn one_wrong_presence_spoils_no_other() {
        let content = json!({ "push": [
            { "user_id": "@x:b.test", "presence": "online" },
            { "user_id": "x", "presence": "online" },
            { "user_id": "@y:b.test", "presence": "offline", "last_active_ago": 5 },
            { "user_id": "@z:b.test" },
            7,
        ] });
        let read = presences(serde_json::from_value(content).unwrap());
        let users: Vec<_> = read.iter().map(|update| update.user_id.as_str()).collect();
        assert_eq!(users, ["@x:b.test", "@y:b.test"]);
    }
}
