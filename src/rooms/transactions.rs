//! Transaction ids of clients (client-server API, "Transaction identifiers"): remembered
//! for a day, so that a request that is made again makes nothing twice, then forgotten.

use std::{borrow::Cow, collections::HashMap, sync::atomic::Ordering};

use model::{EventSerial, RoomSerial, SentBy, tables};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{DecodeError, Read, Snapshot, StoreError};

use crate::{
    AppendError, ReadError, Rooms, Sender, append::Transaction, room_record, send::transaction,
};

/// How long a transaction id is remembered, in ms.
const LIFETIME: u64 = 24 * 60 * 60 * 1_000;
/// How many are forgotten in one commit.
const STEP: usize = 500;

/// The endpoint and room of a sent event.
pub(crate) fn send_scope(event_type: &str, room_id: &str) -> String {
    format!("send/{event_type}/{room_id}")
}

/// The endpoint and room of a redaction.
pub(crate) fn redact_scope(target: &str, room_id: &str) -> String {
    format!("redact/{target}/{room_id}")
}

/// An event whose transaction id is to be forgotten, and the row that leads to it.
struct Forgotten {
    event: EventSerial,
    transaction: Option<Transaction>,
}

impl Rooms {
    /// The event that this transaction id of the sender's device has made already, if it
    /// has: whoever asks again need not say once more what.
    ///
    /// # Errors
    /// [`AppendError::Invalid`] for a transaction id that is too long; if the database
    /// fails.
    pub async fn sent_before(
        &self,
        sender: &Sender,
        room_id: &str,
        event_type: &str,
        transaction_id: &str,
    ) -> Result<Option<String>, AppendError> {
        let scope = send_scope(event_type, room_id);
        let Some(key) = transaction(sender, scope, transaction_id)? else {
            return Ok(None);
        };
        let sent = move |view: &Snapshot| {
            let Some(sent) = view.get(&tables::EVENT_BY_TRANSACTION, &key)? else {
                return Ok(None);
            };
            let stored = view.get(&tables::EVENT_BY_SERIAL, &sent.event)?;
            Ok::<_, StoreError>(stored.map(|stored| stored.event_id))
        };
        Ok(self.inner.store.read(sent).await?)
    }

    /// Forgets the transaction ids of events that were sent more than a day ago, and
    /// says how many. To be called now and then, by one caller.
    ///
    /// # Errors
    /// If the database fails or an event is damaged.
    pub async fn forget_transactions(&self) -> Result<usize, ReadError> {
        let now = self.inner.clock.now().0;
        let mut count = 0;
        loop {
            let from = EventSerial(self.inner.forgotten.load(Ordering::Acquire));
            let old = self
                .inner
                .store
                .read_long(move |view| old_transactions(view, from, now))
                .await?;
            let Some(last) = old.last() else {
                return Ok(count);
            };
            // What lies below is not looked through again.
            let next = last.event.0 + 1;
            count += old.len();
            self.inner
                .store
                .commit_later(move |_, _, batch| {
                    for forgotten in old {
                        batch.delete(&tables::TRANSACTION_BY_EVENT, &forgotten.event);
                        if let Some(transaction) = forgotten.transaction {
                            batch.delete(&tables::EVENT_BY_TRANSACTION, &transaction);
                        }
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
            self.inner.forgotten.store(next, Ordering::Release);
        }
    }
}

/// The oldest transaction ids from that of `from` on, as far as their day is over.
/// Events have their serials in the order of their sending, but for a few that were
/// sent at the same time.
fn old_transactions(
    view: &Snapshot,
    from: EventSerial,
    now: u64,
) -> Result<Vec<Forgotten>, ReadError> {
    let mut room_ids = HashMap::new();
    let mut old = Vec::new();
    let rows = view.scan_from(&tables::TRANSACTION_BY_EVENT, &(), &from);
    for row in rows.take(STEP) {
        let (event, sent) = row?;
        let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &event)? else {
            // Its body is gone, and nobody can ask for it again.
            let transaction = None;
            old.push(Forgotten { event, transaction });
            continue;
        };
        let header: Header<'_> = serde_json::from_slice(&stored.json).map_err(|_| damaged())?;
        if !header.is_old(now) {
            break;
        }
        let room_id = room_id(view, &mut room_ids, stored.room)?;
        let transaction = header.transaction(view, event, &sent, &room_id)?;
        old.push(Forgotten { event, transaction });
    }
    Ok(old)
}

fn room_id(
    view: &Snapshot,
    known: &mut HashMap<RoomSerial, String>,
    room: RoomSerial,
) -> Result<String, ReadError> {
    if let Some(room_id) = known.get(&room) {
        return Ok(room_id.clone());
    }
    let (record, _) = room_record(view, room)?;
    known.insert(room, record.room_id.clone());
    Ok(record.room_id)
}

/// What tells when and by which endpoint an event was sent.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    origin_server_ts: u64,
    #[serde(borrow)]
    redacts: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    /// Any JSON, unless the event is a redaction.
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
}

impl Header<'_> {
    /// Whether the event's day is over. A time that lies more than a day ahead is that
    /// of a clock that was wrong, and must not keep all that follow for ever.
    fn is_old(&self, now: u64) -> bool {
        let sent_at = self.origin_server_ts;
        sent_at.saturating_add(LIFETIME) < now || sent_at > now.saturating_add(LIFETIME)
    }

    /// The row that leads from the transaction id to this event, if it still does.
    fn transaction(
        &self,
        view: &Snapshot,
        event: EventSerial,
        sent: &SentBy,
        room_id: &str,
    ) -> Result<Option<Transaction>, StoreError> {
        for scope in self.scopes(room_id) {
            let key = (sent.device, scope, sent.transaction_id.clone());
            let leads_to = view.get(&tables::EVENT_BY_TRANSACTION, &key)?;
            if leads_to.is_some_and(|found| found.event == event) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

impl Header<'_> {
    /// The endpoints by which the event can have been sent.
    fn scopes(&self, room_id: &str) -> Vec<String> {
        let mut scopes = vec![send_scope(&self.event_type, room_id)];
        if let Some(target) = self.target() {
            scopes.push(redact_scope(&target, room_id));
        }
        scopes
    }

    /// The target of a redaction, which room versions have in one place or the other.
    fn target(&self) -> Option<Cow<'_, str>> {
        if self.event_type != "m.room.redaction" {
            return None;
        }
        if let Some(target) = &self.redacts {
            return Some(Cow::Borrowed(target));
        }
        let target = self.content.redacts?;
        serde_json::from_str(target.get()).ok().map(Cow::Owned)
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt {
        table: tables::EVENT_BY_SERIAL.name,
        reason: DecodeError("not an event's JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_and_a_wrong_clock_keeps_nothing() {
        let now = 10 * LIFETIME;
        for (sent_at, is_old) in [
            (now, false),
            (now - LIFETIME, false),
            (now - LIFETIME - 1, true),
            (0, true),
            (now + 1, false),
            (now + LIFETIME, false),
            (now + LIFETIME + 1, true),
            (u64::MAX, true),
        ] {
            let json = format!(
                r#"{{"type":"m.room.message","origin_server_ts":{sent_at},"content":{{}}}}"#
            );
            let header: Header<'_> = serde_json::from_str(&json).unwrap();
            assert_eq!(header.is_old(now), is_old, "{sent_at}");
        }
    }

    #[test]
    fn the_scopes_of_an_event_are_those_it_can_have_been_sent_by() {
        for (json, expected) in [
            (
                r#"{"type":"m.room.message","origin_server_ts":1,"content":{"redacts":5}}"#,
                &["send/m.room.message/!a"][..],
            ),
            (
                r#"{"type":"m.room.redaction","origin_server_ts":1,"redacts":"$b","content":{}}"#,
                &["send/m.room.redaction/!a", "redact/$b/!a"],
            ),
            (
                r#"{"type":"m.room.redaction","origin_server_ts":1,"content":{"redacts":"$b"}}"#,
                &["send/m.room.redaction/!a", "redact/$b/!a"],
            ),
        ] {
            let header: Header<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(header.scopes("!a"), expected);
        }
    }
}
