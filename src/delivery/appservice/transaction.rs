//! From a service's queue to a transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    EventSerial, RoomSerial, ServiceNews, ServiceTransaction, UserSerial,
    tables::{NEWS_BY_SERVICE, TRANSACTION_BY_SERVICE, USER_BY_ID},
};
use rooms::{EventReader, ReadError, Viewer};
use ruma_common::UserId;
use serde::Deserialize;
use serde_json::{Value, json};
use services::Service;
use store::{Position, Read as _, Snapshot, StoreError};

use super::{Appservices, TellError, encryption::Encryption, ephemeral::Ephemeral};

/// The most rows that one transaction tells of.
const MAX_ROWS: usize = 100;
/// How long a transaction's body may be before it gets no more, in bytes.
const FULL_BYTES: usize = 1024 * 1024;

/// The key of a row.
type Row = (String, Position, u32);

/// A transaction to be, with the rows that it settles.
#[derive(Default)]
struct Draft {
    rows: Vec<Row>,
    events: Vec<String>,
    ephemeral: Vec<String>,
    encryption: Encryption,
    /// The users of this server that memberships are about.
    users: BTreeSet<String>,
    bytes: usize,
}

impl Appservices {
    /// The transaction that a service is to be sent next: the one that it has not
    /// confirmed, or a new one, which is on disk when this returns. `None` if nothing waits.
    /// `confirmed` is the last one that it did confirm, which may still be seen.
    pub(super) async fn next_transaction(
        &self,
        service: &Arc<Service>,
        confirmed: Option<&str>,
    ) -> Result<Option<ServiceTransaction>, TellError> {
        loop {
            let id = service.id().to_owned();
            let pending = self
                .store()
                .read(move |view| view.get(&TRANSACTION_BY_SERVICE, &id))
                .await?;
            if let Some(pending) = pending
                && confirmed != Some(pending.id.as_str())
            {
                return Ok(Some(pending));
            }
            let ephemeral = self.take_ephemeral(service.id());
            let (appservices, wanted) = (self.clone(), service.clone());
            let mut draft = self
                .store()
                .read(move |view| appservices.draft(view, &wanted, ephemeral))
                .await?;
            let is_empty = draft.is_empty();
            if is_empty && draft.rows.is_empty() {
                return Ok(None);
            }
            let rows = std::mem::take(&mut draft.rows);
            let told = std::mem::take(&mut draft.encryption.told);
            // Rows of which nothing is left to tell only make place.
            let transaction = (!is_empty).then(|| ServiceTransaction {
                id: self.inner.parts.random.token(),
                body: draft.body(service.registration.wants_old_names),
                users: draft.users.into_iter().collect(),
                events: u32::try_from(draft.events.len()).unwrap_or(u32::MAX),
            });
            let (id, stored) = (service.id().to_owned(), transaction.clone());
            self.store()
                .commit(move |latest, _, batch| {
                    for row in rows {
                        batch.delete(&NEWS_BY_SERVICE, &row);
                    }
                    accounts::forget_told(latest, batch, &told)?;
                    if let Some(transaction) = stored {
                        batch.put(&TRANSACTION_BY_SERVICE, &id, &transaction);
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
            if transaction.is_some() {
                return Ok(transaction);
            }
        }
    }

    /// Forgets a transaction that was confirmed. Not waited for, so that it may be seen a
    /// while longer: if a power cut takes it back, the service gets the same transaction
    /// again and knows it by its id.
    pub(super) async fn settle(&self, service: &str) -> Result<(), StoreError> {
        let id = service.to_owned();
        self.store()
            .commit_later(move |_, _, batch| {
                batch.delete(&TRANSACTION_BY_SERVICE, &id);
                Ok::<_, StoreError>(())
            })
            .await
    }

    fn draft(
        &self,
        view: &Snapshot,
        service: &Service,
        waiting: Ephemeral,
    ) -> Result<Draft, ReadError> {
        let sender = view.get(&USER_BY_ID, &service.sender.to_string())?;
        let viewer = Viewer {
            user: sender.unwrap_or(UserSerial(0)),
            device: None,
        };
        let mut draft = Draft::default();
        let mut readers = BTreeMap::new();
        for row in view
            .scan(&NEWS_BY_SERVICE, &(service.id().to_owned(),))
            .take(MAX_ROWS)
        {
            let (key, news) = row?;
            let position = key.1;
            draft.rows.push(key);
            match news {
                ServiceNews::Event { room, event } => {
                    let reader = match readers.entry(room) {
                        std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                        std::collections::btree_map::Entry::Vacant(place) => {
                            let secret = self.store().secret();
                            place.insert(EventReader::new(view, room, secret, viewer, self.now())?)
                        }
                    };
                    // One event that cannot be read must not keep all others back.
                    match draft.event(reader, service, event) {
                        Err(ReadError::Store(StoreError::Busy)) => {
                            return Err(StoreError::Busy.into());
                        }
                        Err(error) => {
                            log::error!(event = event.0; "an event was not told: {error}");
                        }
                        Ok(()) => {}
                    }
                }
                ServiceNews::Receipts {
                    room,
                    user,
                    with_private,
                } => {
                    let moved = rooms::receipts_moved(view, room, user, position, with_private)?;
                    for content in moved.contents(view)? {
                        draft.ephemeral(view, room, "m.receipt", &content)?;
                    }
                }
                ServiceNews::ToDevice { user, device } => {
                    let told =
                        draft
                            .encryption
                            .messages(view, service, (user, device), position)?;
                    draft.bytes += told;
                }
                ServiceNews::Keys { user, device } => draft.encryption.keys(view, user, device)?,
                ServiceNews::DeviceList { user } => draft.encryption.device_list(view, user)?,
            }
            if draft.bytes >= FULL_BYTES {
                break;
            }
        }
        for room in waiting.typing {
            let (users, _) = self.rooms().typing(room);
            let content = json!({ "user_ids": users }).to_string();
            draft.ephemeral(view, room, "m.typing", &content)?;
        }
        draft.ephemeral.extend(waiting.presence.into_values());
        Ok(draft)
    }
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.ephemeral.is_empty() && self.encryption.is_empty()
    }

    fn event(
        &mut self,
        reader: &EventReader<'_, Snapshot>,
        service: &Service,
        event: EventSerial,
    ) -> Result<(), ReadError> {
        let Some(event) = reader.load(event)? else {
            return Ok(());
        };
        let json = reader.service_json(&event)?;
        if let Some(user) = member(&json)
            && UserId::parse(user.as_str()).is_ok_and(|user_id| service.has_user(&user_id))
        {
            self.users.insert(user);
        }
        self.bytes += json.len();
        self.events.push(json);
        Ok(())
    }

    fn ephemeral(
        &mut self,
        view: &Snapshot,
        room: RoomSerial,
        event_type: &str,
        content: &str,
    ) -> Result<(), StoreError> {
        let room_id = Value::from(model::room_id(view, room)?.unwrap_or_default());
        let json = format!(r#"{{"type":"{event_type}","room_id":{room_id},"content":{content}}}"#);
        self.bytes += json.len();
        self.ephemeral.push(json);
        Ok(())
    }

    fn body(&self, with_old_names: bool) -> Vec<u8> {
        let mut body = format!(r#"{{"events":[{}]"#, self.events.join(","));
        if !self.ephemeral.is_empty() {
            let ephemeral = self.ephemeral.join(",");
            if with_old_names {
                body.push_str(&format!(
                    r#","de.sorunome.msc2409.ephemeral":[{ephemeral}]"#
                ));
            }
            body.push_str(&format!(r#","ephemeral":[{ephemeral}]"#));
        }
        self.encryption.write(&mut body);
        body.push('}');
        body.into_bytes()
    }
}

/// The user whom an event makes a member of whatever kind.
fn member(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "type")]
        event_type: String,
        state_key: Option<String>,
    }
    let header: Header = serde_json::from_str(json).ok()?;
    let is_member = header.event_type == "m.room.member";
    header.state_key.filter(|_| is_member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_what_there_is() {
        let mut draft = Draft {
            events: vec!["1".to_owned(), "2".to_owned()],
            ..Draft::default()
        };
        assert_eq!(draft.body(true), br#"{"events":[1,2]}"#);
        draft.ephemeral.push("3".to_owned());
        assert_eq!(draft.body(false), br#"{"events":[1,2],"ephemeral":[3]}"#);
        let body: Value = serde_json::from_slice(&draft.body(true)).unwrap();
        assert_eq!(body["de.sorunome.msc2409.ephemeral"], body["ephemeral"]);
    }
}
