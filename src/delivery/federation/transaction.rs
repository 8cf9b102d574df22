//! Transactions: made, stored before they are sent, and forgotten when they are confirmed.

use model::{
    RoomSerial, ServerTransaction, WaitingRoomRecord,
    tables::{EDU_BY_SERVER, EDU_QUEUE_BY_SERVER, TRANSACTION_BY_SERVER, WAITING_ROOM_BY_SERVER},
};
use ruma_common::{OwnedServerName, ServerName};
use store::{Batch, Latest, Read as _, StoreError};

use super::{
    Federation, SendError,
    draft::{Covered, Draft, Drafting},
    edus,
};

/// How many notices of each kind a transaction takes along.
const MAX_SOON: usize = 20;

/// A transaction that is to be sent.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) id: String,
    pub(super) body: Vec<u8>,
    /// How many events it brings.
    pub(super) events: u32,
    /// Whether it is stored, and sent until it is confirmed. What is worth something now
    /// alone is not.
    pub(super) is_stored: bool,
}

/// What a courier knows from one transaction to the next.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The stored transaction that was confirmed last, which is still there if it could not be
    /// forgotten.
    pub(super) confirmed: Option<String>,
    /// Whether the server was away and has not caught up.
    pub(super) is_behind: bool,
    /// The room that had its turn last.
    pub(super) last_room: Option<RoomSerial>,
}

impl Federation {
    /// What a server is to be sent next: the transaction that it has not confirmed, or a
    /// new one, which is on disk when this returns. None if nothing waits.
    pub(super) async fn next_transaction(
        &self,
        server: &OwnedServerName,
        progress: &mut Progress,
    ) -> Result<Option<Parcel>, SendError> {
        if let Some(pending) = self.pending(server, progress).await? {
            return Ok(Some(pending));
        }
        loop {
            let soon = self.inner.ephemerals.take(server.as_str(), MAX_SOON);
            let (own, name) = (self.own_name().to_owned(), server.clone());
            let (is_behind, after) = (progress.is_behind, progress.last_room);
            let with_names = self.inner.options.device_names;
            let draft = self.store().read(move |view| {
                let drafting = Drafting::new(view, &own, &name, with_names);
                drafting.draft(is_behind, after, soon)
            });
            let draft = draft.await?;
            progress.is_behind = draft.is_behind;
            progress.last_room = draft.last_room;
            let dropped = u64::try_from(draft.dropped).unwrap_or(u64::MAX);
            self.inner.dropped.inc_by(dropped);
            if draft.is_empty() && !draft.settles() {
                return Ok(None);
            }
            let parcel = self.parcel(&draft);
            if draft.settles() {
                self.settle_rows(server, draft, parcel.as_ref()).await?;
            }
            // Rows of which nothing is left to tell only make place.
            if parcel.is_some() {
                return Ok(parcel);
            }
        }
    }

    async fn pending(
        &self,
        server: &ServerName,
        progress: &Progress,
    ) -> Result<Option<Parcel>, StoreError> {
        let name = server.to_string();
        // What was settled a moment ago is in no snapshot yet: it would be sent once more.
        let pending = self
            .store()
            .prepare(move |latest: &Latest| latest.get(&TRANSACTION_BY_SERVER, &name))
            .await?;
        let pending = pending.filter(|pending| progress.confirmed.as_ref() != Some(&pending.id));
        Ok(pending.map(|pending| Parcel {
            id: pending.id,
            body: pending.body,
            events: pending.events,
            is_stored: true,
        }))
    }

    /// A draft as it is sent; none if it has nothing to tell.
    fn parcel(&self, draft: &Draft) -> Option<Parcel> {
        if draft.is_empty() {
            return None;
        }
        let parts = &self.inner.parts;
        let now = parts.clock.now().0;
        Some(Parcel {
            id: parts.random.token(),
            body: edus::body(self.own_name(), now, &draft.pdus, &draft.edus),
            events: u32::try_from(draft.pdus.len()).unwrap_or(u32::MAX),
            is_stored: draft.settles(),
        })
    }

    /// Takes what a draft settles out of what waits, and puts the transaction in its place,
    /// in one commit.
    async fn settle_rows(
        &self,
        server: &ServerName,
        draft: Draft,
        parcel: Option<&Parcel>,
    ) -> Result<(), StoreError> {
        self.count_events("left_out", draft.left_out);
        let transaction = parcel.map(|parcel| ServerTransaction {
            id: parcel.id.clone(),
            body: parcel.body.clone(),
            events: parcel.events,
        });
        let server = server.to_string();
        self.store()
            .commit(move |latest, _, batch| {
                for covered in &draft.rooms {
                    settle_room(&server, covered, latest, batch)?;
                }
                settle_lasting(&server, &draft, latest, batch)?;
                if let Some(transaction) = &transaction {
                    batch.put(&TRANSACTION_BY_SERVER, &server, transaction);
                }
                Ok::<_, StoreError>(())
            })
            .await
    }

    /// Forgets a transaction that was confirmed or given up. Not waited for, so that it may
    /// be seen a while longer: if a power cut takes it back, the server gets the same
    /// transaction again and knows it by its id.
    pub(super) async fn forget_transaction(
        &self,
        server: &ServerName,
        id: &str,
    ) -> Result<(), StoreError> {
        let (server, id) = (server.to_string(), id.to_owned());
        self.store()
            .commit_later(move |latest, _, batch| {
                let stored = latest.get(&TRANSACTION_BY_SERVER, &server)?;
                if stored.is_some_and(|stored| stored.id == id) {
                    batch.delete(&TRANSACTION_BY_SERVER, &server);
                }
                Ok::<_, StoreError>(())
            })
            .await
    }
}

/// Runs inside the commit's closure: what came since the draft was made stays.
fn settle_room(
    server: &str,
    covered: &Covered,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let key = (server.to_owned(), covered.room);
    let Some(known) = latest.get(&WAITING_ROOM_BY_SERVER, &key)? else {
        return Ok(());
    };
    let next = match covered.next {
        Some(next) => Some(next),
        None if known.newest > covered.newest => Some((covered.newest + 1, 0)),
        None => None,
    };
    match next {
        Some((from, from_number)) => {
            let left = WaitingRoomRecord {
                from,
                from_number,
                newest: known.newest,
                events: known.events.saturating_sub(covered.events).max(1),
            };
            batch.put(&WAITING_ROOM_BY_SERVER, &key, &left);
        }
        None => batch.delete(&WAITING_ROOM_BY_SERVER, &key),
    }
    Ok(())
}

fn settle_lasting(
    server: &str,
    draft: &Draft,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    if draft.lasting.is_empty() {
        return Ok(());
    }
    let server = server.to_owned();
    let (mut rows, mut bytes) = (0, 0_u64);
    for (key, length) in &draft.lasting {
        batch.delete(&EDU_BY_SERVER, key);
        rows += 1;
        bytes = bytes.saturating_add(*length);
    }
    let Some(mut usage) = latest.get(&EDU_QUEUE_BY_SERVER, &server)? else {
        return Ok(());
    };
    usage.rows = usage.rows.saturating_sub(rows);
    usage.bytes = usage.bytes.saturating_sub(bytes);
    if usage.rows == 0 {
        batch.delete(&EDU_QUEUE_BY_SERVER, &server);
    } else {
        batch.put(&EDU_QUEUE_BY_SERVER, &server, &usage);
    }
    Ok(())
}
