//! Messages that other servers send to devices of this server's users (server-server API, "Send-to-device messaging"): each is taken once, however often
//! its server repeats it.

use model::{
    RemoteMessageRecord,
    tables::{REMOTE_MESSAGE_BY_HASH, REMOTE_MESSAGE_BY_POSITION},
};
use ruma_common::ServerName;
use ruma_federation_api::transactions::edu::DirectDeviceContent;
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Position, Read as _, StoreError};

use crate::{
    Accounts, ToDeviceError,
    to_device::{MAX_TYPE_BYTES, queue, resolve},
};

/// The longest id of a message, in bytes.
const MAX_ID_BYTES: usize = 1_024;
/// How long a message is remembered, in ms: longer than servers repeat what was not answered.
const LIFETIME: u64 = 7 * 24 * 60 * 60 * 1_000;
/// How many forgotten messages each new one sweeps out.
const SWEPT_AT_ONCE: usize = 4;

impl Accounts {
    /// Takes the messages of a user of `origin`, which has sent them and speaks for the sender. Those of a message id that was taken before, and those for
    /// unknown users and devices, are left out. Returns how many were queued.
    ///
    /// They are written in order and not yet on disk when this returns.
    ///
    /// # Errors
    /// [`ToDeviceError`]; then nothing was taken.
    pub async fn receive_to_device(
        &self,
        origin: &ServerName,
        content: DirectDeviceContent,
    ) -> Result<usize, ToDeviceError> {
        let message = message_hash(origin, content.message_id.as_str());
        let event_type = content.ev_type.to_string();
        if event_type.len() > MAX_TYPE_BYTES || content.message_id.as_str().len() > MAX_ID_BYTES {
            return Err(ToDeviceError::TooLarge(
                "an event type has at most 255 bytes, a message id 1024",
            ));
        }
        let server_name = self.inner.server_name.clone();
        let services = self.services().clone();
        let outgoing = self
            .store()
            .prepare(move |latest| {
                let mut messages = content.messages;
                messages.retain(|user_id, _| user_id.server_name() == server_name);
                let from = (content.sender.as_str(), event_type.as_str());
                resolve(latest, &services, from, &messages)
            })
            .await?;
        if outgoing.is_empty() {
            return Ok(0);
        }
        let now = self.now();
        let queued = self.store().commit_later(move |latest, position, batch| {
            if !remember(latest, position, batch, message, now)? {
                return Ok((0, 0));
            }
            queue(latest, position, batch, outgoing)
        });
        Ok(queued.await.map(|(queued, _)| queued)?)
    }

    /// Returns once everything is on disk that was written before.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn settled(&self) -> Result<(), StoreError> {
        // A commit that writes nothing waits for those before it.
        self.store().commit(|_, _, _| Ok(())).await
    }
}

fn message_hash(origin: &ServerName, message_id: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(origin.as_bytes());
    hasher.update([0]);
    hasher.update(message_id.as_bytes());
    hasher.finalize().into()
}

/// Remembers a message; false if it was taken before. Sweeps out some that are long past.
fn remember(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    message: [u8; 32],
    now: u64,
) -> Result<bool, StoreError> {
    if latest.contains(&REMOTE_MESSAGE_BY_HASH, &message)? {
        return Ok(false);
    }
    let oldest = latest.scan(&REMOTE_MESSAGE_BY_POSITION, &());
    for row in oldest.take(SWEPT_AT_ONCE) {
        let (position, record) = row?;
        if record.at.saturating_add(LIFETIME) < now {
            batch.delete(&REMOTE_MESSAGE_BY_HASH, &record.message);
            batch.delete(&REMOTE_MESSAGE_BY_POSITION, &position);
        }
    }
    batch.put(&REMOTE_MESSAGE_BY_HASH, &message, &position);
    let record = RemoteMessageRecord { message, at: now };
    batch.put(&REMOTE_MESSAGE_BY_POSITION, &position, &record);
    Ok(true)
}
