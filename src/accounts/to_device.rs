//! To-device messages: queued once, handed over until the device has acknowledged them.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Changes, DeviceSerial, LogEntry, ToDeviceQueueRecord, ToDeviceTransactionRecord, UserSerial,
    device_scope,
    tables::{
        DEVICE_BY_USER, TO_DEVICE_BY_DEVICE, TO_DEVICE_QUEUE_BY_DEVICE,
        TO_DEVICE_TRANSACTION_BY_HASH, TO_DEVICE_TRANSACTION_BY_POSITION, USER_BY_ID,
    },
};
use ruma_client_api::to_device::send_event_to_device::v3::Messages;
use ruma_common::{OwnedServerName, TransactionId, to_device::DeviceIdOrAllDevices};
use serde_json::{Value, value::RawValue};
use services::Services;
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Position, Read, Snapshot, StoreError};

use crate::{Accounts, Session, server_messages};

/// The largest content of one message, in bytes.
const MAX_CONTENT_BYTES: usize = 64 * 1_024;
/// The longest event type, in bytes.
pub(crate) const MAX_TYPE_BYTES: usize = 255;
/// The most messages of one request, all devices counted.
pub(crate) const MAX_MESSAGES: usize = 5_000;
/// The most messages that wait for one device.
const MAX_QUEUE_MESSAGES: u64 = 20_000;
/// The most bytes that wait for one device.
const MAX_QUEUE_BYTES: u64 = 32 * 1_024 * 1_024;
/// The most bytes handed over at once, but always one commit's messages.
const MAX_HANDED_BYTES: usize = 4 * 1_024 * 1_024;
/// How many messages one commit deletes.
const DELETED_AT_ONCE: usize = 500;
/// How long a transaction id is remembered, in ms.
const TRANSACTION_LIFETIME: u64 = 24 * 60 * 60 * 1_000;
/// How many forgotten transaction ids each new one sweeps out.
const SWEPT_AT_ONCE: usize = 4;

/// Why messages were not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ToDeviceError {
    /// The content of a message is not a JSON object (`M_BAD_JSON`).
    #[error("the content of a message must be a JSON object")]
    NotAnObject,
    /// A message, its type or the request is too large (`M_TOO_LARGE`).
    #[error("{0}")]
    TooLarge(&'static str),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of the messages of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentToDevices {
    /// How many were queued, be it for devices here or for other servers; 0 if the transaction id was used before.
    pub queued: usize,
    /// How many were dropped, as the queue of the device or the server was full.
    pub dropped: usize,
    /// The other servers to whose users messages were addressed.
    pub remote: BTreeSet<OwnedServerName>,
}

/// Where a message waits for its device.
pub type QueuedMessage = (DeviceSerial, Position, u32);

/// A message on its way to a device of this server.
pub(crate) struct Outgoing {
    user: UserSerial,
    device_id: String,
    device: DeviceSerial,
    json: Vec<u8>,
    /// Whether an application service is told of it.
    for_service: bool,
}

/// The messages for a device behind `after`, oldest first, at most about `limit`, as JSON for its sync, and the position that stands for having got
/// them. They stay until [`Accounts::acknowledge`] is told that position.
///
/// # Errors
/// If the database fails.
pub fn to_device(
    snapshot: &Snapshot,
    device: DeviceSerial,
    after: Position,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, Position), StoreError> {
    let from = (device, Position(after.0.saturating_add(1)), 0);
    let (mut messages, mut bytes, mut last) = (Vec::new(), 0, after);
    for row in snapshot.scan_from(&TO_DEVICE_BY_DEVICE, &(device,), &from) {
        let ((_, position, _), json) = row?;
        // What came in one commit is handed over together: the position cannot say
        // more.
        if position != last && (messages.len() >= limit.max(1) || bytes >= MAX_HANDED_BYTES) {
            return Ok((messages, last));
        }
        last = position;
        bytes += json.len();
        messages.push(json);
    }
    Ok((messages, snapshot.position().max(after)))
}

/// The messages for a device that came with a commit and still wait for it: where each waits, and its JSON.
///
/// # Errors
/// If the database fails.
pub fn to_device_at(
    view: &impl Read,
    device: DeviceSerial,
    position: Position,
) -> Result<Vec<(QueuedMessage, Vec<u8>)>, StoreError> {
    view.scan(&TO_DEVICE_BY_DEVICE, &(device, position))
        .collect()
}

/// Deletes messages that an application service was told in place of the device.
///
/// # Errors
/// If the database fails.
pub fn forget_told(
    latest: &Latest,
    batch: &mut Batch,
    told: &[QueuedMessage],
) -> Result<(), StoreError> {
    let mut gone = BTreeMap::<DeviceSerial, ToDeviceQueueRecord>::new();
    for key in told {
        // The device may have fetched it itself.
        let Some(json) = latest.get(&TO_DEVICE_BY_DEVICE, key)? else {
            continue;
        };
        batch.delete(&TO_DEVICE_BY_DEVICE, key);
        let gone = gone.entry(key.0).or_default();
        gone.messages += 1;
        gone.bytes += u64::try_from(json.len()).unwrap_or(u64::MAX);
    }
    for (device, gone) in gone {
        forget_usage(latest, batch, device, gone)?;
    }
    Ok(())
}

/// A device's queue is shorter by so much.
fn forget_usage(
    latest: &Latest,
    batch: &mut Batch,
    device: DeviceSerial,
    gone: ToDeviceQueueRecord,
) -> Result<(), StoreError> {
    if let Some(known) = latest.get(&TO_DEVICE_QUEUE_BY_DEVICE, &device)? {
        let left = ToDeviceQueueRecord {
            messages: known.messages.saturating_sub(gone.messages),
            bytes: known.bytes.saturating_sub(gone.bytes),
        };
        batch.put(&TO_DEVICE_QUEUE_BY_DEVICE, &device, &left);
    }
    Ok(())
}

impl Accounts {
    /// Sends messages to devices (`PUT /sendToDevice/{eventType}/{txnId}`). The same transaction id of the same device does nothing again. Unknown users and
    /// devices are left out, and a device that has not fetched its messages for so long that its queue is full gets no more. What is for users of other
    /// servers is on disk with all else when this returns, and waits there until those servers have taken it.
    ///
    /// # Errors
    /// [`ToDeviceError`]; then nothing was sent.
    pub async fn send_to_devices(
        &self,
        session: &Session,
        event_type: &str,
        transaction_id: &TransactionId,
        messages: Messages,
    ) -> Result<SentToDevices, ToDeviceError> {
        if event_type.len() > MAX_TYPE_BYTES {
            return Err(ToDeviceError::TooLarge(
                "an event type has at most 255 bytes",
            ));
        }
        let mut sent = SentToDevices::default();
        for user_id in messages.keys().filter(|user_id| !self.is_local(user_id)) {
            sent.remote.insert(user_id.server_name().to_owned());
        }
        let (sender, kind) = (session.user_id.to_string(), event_type.to_owned());
        let server_name = self.inner.server_name.clone();
        let random = self.inner.random.clone();
        let services = self.services().clone();
        let (outgoing, remote) = self
            .store()
            .prepare(move |latest| {
                let (local, remote): (Messages, Messages) = messages
                    .into_iter()
                    .partition(|(user_id, _)| user_id.server_name() == server_name);
                let outgoing = resolve(latest, &services, (&sender, &kind), &local)?;
                let remote = server_messages::for_servers(&random, &sender, &kind, &remote)?;
                Ok::<_, ToDeviceError>((outgoing, remote))
            })
            .await?;
        let transaction = transaction_hash(event_type, transaction_id);
        let (from, now) = (session.device, self.now());
        let (queued, dropped) = self
            .store()
            .commit(move |latest, position, batch| {
                if !remember(latest, position, batch, from, transaction, now)? {
                    return Ok((0, 0));
                }
                let (queued, dropped) = queue(latest, position, batch, outgoing)?;
                let (sent, lost) = server_messages::queue(latest, position, batch, remote)?;
                Ok::<_, StoreError>((queued + sent, dropped + lost))
            })
            .await?;
        Ok(SentToDevices {
            queued,
            dropped,
            ..sent
        })
    }

    /// Deletes what a device has got: all up to `up_to`. Not waited for: if a power cut takes it back, the device says so again with its next sync.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn acknowledge(
        &self,
        device: DeviceSerial,
        up_to: Position,
    ) -> Result<(), StoreError> {
        // Most syncs have nothing to acknowledge.
        if !self.waits_up_to(device, up_to).await? {
            return Ok(());
        }
        loop {
            let deleted = self
                .store()
                .commit_later(move |latest, _, batch| delete_some(latest, batch, device, up_to));
            let deleted = match deleted.await {
                // People read on when nothing can be written; the next sync says it again.
                Err(StoreError::DiskFull) => return Ok(()),
                deleted => deleted?,
            };
            if deleted < DELETED_AT_ONCE {
                return Ok(());
            }
        }
    }

    async fn waits_up_to(&self, device: DeviceSerial, up_to: Position) -> Result<bool, StoreError> {
        self.store()
            .read(move |view| {
                let first = view.scan(&TO_DEVICE_BY_DEVICE, &(device,)).next();
                Ok(first
                    .transpose()?
                    .is_some_and(|((_, first, _), _)| first <= up_to))
            })
            .await
    }
}

/// Transaction ids belong to a device and an endpoint, which the event type is part of.
fn transaction_hash(event_type: &str, transaction_id: &TransactionId) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(event_type.as_bytes());
    hasher.update([0]);
    hasher.update(transaction_id.as_str().as_bytes());
    hasher.finalize().into()
}

/// The messages for devices that exist, written as their syncs will show them.
pub(crate) fn resolve(
    latest: &Latest,
    services: &Services,
    (sender, event_type): (&str, &str),
    messages: &Messages,
) -> Result<Vec<Outgoing>, ToDeviceError> {
    let mut outgoing = Vec::new();
    for (user_id, contents) in messages {
        let for_service = services.encrypts_for(user_id);
        let user = latest.get(&USER_BY_ID, &user_id.to_string())?;
        for (device_id, content) in contents {
            let json = message(sender, event_type, content.json())?;
            let Some(user) = user else {
                continue;
            };
            let mut add = |device_id: String, device: DeviceSerial| {
                let json = json.clone();
                outgoing.push(Outgoing {
                    user,
                    device_id,
                    device,
                    json,
                    for_service,
                });
            };
            match device_id {
                DeviceIdOrAllDevices::AllDevices => {
                    for row in latest.scan(&DEVICE_BY_USER, &(user,)) {
                        let ((_, device_id), record) = row?;
                        add(device_id, record.serial);
                    }
                }
                DeviceIdOrAllDevices::DeviceId(device_id) => {
                    let device_id = device_id.to_string();
                    let record = latest.get(&DEVICE_BY_USER, &(user, device_id.clone()))?;
                    if let Some(record) = record {
                        add(device_id, record.serial);
                    }
                }
            }
            if outgoing.len() > MAX_MESSAGES {
                return Err(ToDeviceError::TooLarge("too many messages in one request"));
            }
        }
    }
    Ok(outgoing)
}

/// `{"content":…,"sender":…,"type":…}`
fn message(sender: &str, event_type: &str, content: &RawValue) -> Result<Vec<u8>, ToDeviceError> {
    let content = checked_content(content)?;
    let (sender, event_type) = (Value::from(sender), Value::from(event_type));
    Ok(format!(r#"{{"content":{content},"sender":{sender},"type":{event_type}}}"#).into_bytes())
}

/// The JSON of a content that a message may have.
pub(crate) fn checked_content(content: &RawValue) -> Result<&str, ToDeviceError> {
    let content = content.get();
    if !content.starts_with('{') {
        return Err(ToDeviceError::NotAnObject);
    }
    if content.len() > MAX_CONTENT_BYTES {
        return Err(ToDeviceError::TooLarge("a message has at most 65536 bytes"));
    }
    Ok(content)
}

/// Remembers a transaction id; false if it was used before. Sweeps out some that are long past.
fn remember(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    device: DeviceSerial,
    transaction: [u8; 32],
    now: u64,
) -> Result<bool, StoreError> {
    if latest.contains(&TO_DEVICE_TRANSACTION_BY_HASH, &(device, transaction))? {
        return Ok(false);
    }
    let oldest = latest.scan(&TO_DEVICE_TRANSACTION_BY_POSITION, &(device,));
    for row in oldest.take(SWEPT_AT_ONCE) {
        let (key, record) = row?;
        if record.at.saturating_add(TRANSACTION_LIFETIME) < now {
            batch.delete(
                &TO_DEVICE_TRANSACTION_BY_HASH,
                &(device, record.transaction),
            );
            batch.delete(&TO_DEVICE_TRANSACTION_BY_POSITION, &key);
        }
    }
    batch.put(
        &TO_DEVICE_TRANSACTION_BY_HASH,
        &(device, transaction),
        &position,
    );
    let record = ToDeviceTransactionRecord {
        transaction,
        at: now,
    };
    batch.put(
        &TO_DEVICE_TRANSACTION_BY_POSITION,
        &(device, position),
        &record,
    );
    Ok(true)
}

/// Queues messages. Returns how many were, and how many found their queue full.
pub(crate) fn queue(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    outgoing: Vec<Outgoing>,
) -> Result<(usize, usize), StoreError> {
    let mut changes = Changes::at(position);
    let mut queues = BTreeMap::<DeviceSerial, ToDeviceQueueRecord>::new();
    let (mut queued, mut dropped) = (0, 0);
    for (number, message) in (0_u32..).zip(outgoing) {
        let Outgoing {
            user,
            device_id,
            device,
            json,
            for_service,
        } = message;
        let known = match queues.get(&device) {
            Some(known) => *known,
            None => {
                let key = (user, device_id);
                let record = latest.get(&DEVICE_BY_USER, &key)?;
                if record.is_none_or(|record| record.serial != device) {
                    continue;
                }
                latest
                    .get(&TO_DEVICE_QUEUE_BY_DEVICE, &device)?
                    .unwrap_or_default()
            }
        };
        let length = u64::try_from(json.len()).unwrap_or(u64::MAX);
        let usage = ToDeviceQueueRecord {
            messages: known.messages + 1,
            bytes: known.bytes.saturating_add(length),
        };
        if usage.messages > MAX_QUEUE_MESSAGES || usage.bytes > MAX_QUEUE_BYTES {
            dropped += 1;
            continue;
        }
        batch.put(&TO_DEVICE_BY_DEVICE, &(device, position, number), &json);
        if for_service && !queues.contains_key(&device) {
            changes.log(batch, &LogEntry::ToServiceDevice { user, device });
        }
        queues.insert(device, usage);
        queued += 1;
    }
    for (device, usage) in queues {
        batch.put(&TO_DEVICE_QUEUE_BY_DEVICE, &device, &usage);
        batch.wake(device_scope(device));
        changes.log(batch, &LogEntry::ToDevice { device });
    }
    if dropped > 0 {
        log::warn!("{dropped} to-device messages dropped: the queues of their devices are full");
    }
    Ok((queued, dropped))
}

/// Deletes some of the messages up to `up_to`, and returns how many.
fn delete_some(
    latest: &Latest,
    batch: &mut Batch,
    device: DeviceSerial,
    up_to: Position,
) -> Result<usize, StoreError> {
    let (mut deleted, mut bytes) = (0, 0_u64);
    for row in latest
        .scan(&TO_DEVICE_BY_DEVICE, &(device,))
        .take(DELETED_AT_ONCE)
    {
        let (key, json) = row?;
        if key.1 > up_to {
            break;
        }
        batch.delete(&TO_DEVICE_BY_DEVICE, &key);
        deleted += 1;
        bytes = bytes.saturating_add(u64::try_from(json.len()).unwrap_or(u64::MAX));
    }
    if deleted > 0 {
        let messages = u64::try_from(deleted).unwrap_or(u64::MAX);
        let gone = ToDeviceQueueRecord { messages, bytes };
        forget_usage(latest, batch, device, gone)?;
    }
    Ok(deleted)
}
