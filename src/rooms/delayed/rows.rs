//! The rows of delayed events, kept together by each commit.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use model::{DelayedCountsRecord, DelayedEventRecord, DelayedOutcome, UserSerial, tables};
use store::{Batch, Latest, Position, Read, StoreError};

use super::{DelayError, MAX_ENDED};

/// The part of the indexes for events that wait, by when they are due.
pub(super) const WAITING: u8 = 0;
/// The part for those that have ended, by when they did.
pub(super) const ENDED: u8 = 1;

/// The delayed event of an id, if `user` may know of it.
pub(super) fn owned(
    view: &impl Read,
    user: Option<UserSerial>,
    delay_id: &str,
) -> Result<DelayedEventRecord, DelayError> {
    view.get(&tables::DELAYED_EVENT_BY_ID, &delay_id.to_owned())?
        .filter(|record| user.is_none_or(|user| user == record.user))
        .ok_or(DelayError::NotFound)
}

/// Whether somebody else has set the state that the event would set, after it was
/// scheduled.
pub(super) fn is_void(view: &impl Read, record: &DelayedEventRecord) -> Result<bool, StoreError> {
    let Some(state_key) = &record.state_key else {
        return Ok(false);
    };
    let key = (record.room, record.event_type.clone(), state_key.clone());
    let Some(event) = view.get(&tables::STATE_BY_ROOM, &key)? else {
        return Ok(false);
    };
    let meta = view.get(&tables::EVENT_META_BY_SERIAL, &event)?;
    if meta.is_none_or(|meta| meta.position <= record.position) {
        return Ok(false);
    }
    let sender =
        crate::client_event::load_event(view, event).map(|event| event.sender().to_string());
    let own = model::user_id(view, record.user)?;
    Ok(sender.ok() != own)
}

/// Schedules an event, or finds the one that the same transaction id has scheduled.
pub(super) fn schedule(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    delay_id: String,
    mut record: DelayedEventRecord,
    most: u64,
) -> Result<String, DelayError> {
    if let Some(transaction) = &record.transaction {
        let known = latest.get(&tables::DELAYED_EVENT_BY_TRANSACTION, transaction)?;
        if let Some(known) = known {
            return Ok(known);
        }
        batch.put(
            &tables::DELAYED_EVENT_BY_TRANSACTION,
            transaction,
            &delay_id,
        );
    }
    let mut counts = counts(latest, record.user)?;
    if counts.scheduled >= most {
        return Err(DelayError::TooMany {
            retry_after: until_next(latest, &record)?,
        });
    }
    counts.scheduled += 1;
    batch.put(&tables::DELAYED_COUNTS_BY_USER, &record.user, &counts);
    record.position = position.0;
    put_indexes(batch, &record, WAITING, record.due(), &delay_id);
    batch.put(&tables::DELAYED_EVENT_BY_ID, &delay_id, &record);
    Ok(delay_id)
}

/// How long until the next of the user's events is sent.
fn until_next(latest: &Latest, record: &DelayedEventRecord) -> Result<Duration, StoreError> {
    let first = latest
        .scan(&tables::DELAYED_EVENT_BY_USER, &(record.user, WAITING))
        .next()
        .transpose()?;
    let due = first.map_or(0, |((_, _, due, _), ())| due);
    let wait = due.saturating_sub(record.scheduled_at).max(1);
    Ok(Duration::from_millis(wait))
}

/// Begins the delay of an event that waits anew.
pub(super) fn restart(batch: &mut Batch, delay_id: &str, mut record: DelayedEventRecord, now: u64) {
    delete_indexes(batch, &record, WAITING, record.due(), delay_id);
    record.scheduled_at = now;
    put_indexes(batch, &record, WAITING, record.due(), delay_id);
    batch.put(&tables::DELAYED_EVENT_BY_ID, &delay_id.to_owned(), &record);
}

/// Ends the waiting of an event, and forgets the user's oldest one where there are
/// too many.
pub(super) fn end(
    latest: &Latest,
    batch: &mut Batch,
    delay_id: &str,
    mut record: DelayedEventRecord,
    now: u64,
    outcome: DelayedOutcome,
) -> Result<(), StoreError> {
    delete_indexes(batch, &record, WAITING, record.due(), delay_id);
    record.outcome = Some((now, outcome));
    put_indexes(batch, &record, ENDED, now, delay_id);
    batch.put(&tables::DELAYED_EVENT_BY_ID, &delay_id.to_owned(), &record);
    let mut counts = counts(latest, record.user)?;
    counts.scheduled = counts.scheduled.saturating_sub(1);
    counts.ended += 1;
    if counts.ended > MAX_ENDED
        && let Some(oldest) = latest
            .scan(&tables::DELAYED_EVENT_BY_USER, &(record.user, ENDED))
            .next()
    {
        let ((_, _, at, oldest), ()) = oldest?;
        forget_rows(latest, batch, at, &oldest)?;
        counts.ended -= 1;
    }
    batch.put(&tables::DELAYED_COUNTS_BY_USER, &record.user, &counts);
    Ok(())
}

/// Forgets events, each given by when it ended.
pub(super) fn forget(
    latest: &Latest,
    batch: &mut Batch,
    old: impl Iterator<Item = (u64, String)>,
) -> Result<(), StoreError> {
    let mut left: HashMap<UserSerial, DelayedCountsRecord> = HashMap::new();
    for (at, delay_id) in old {
        if let Some(user) = forget_rows(latest, batch, at, &delay_id)? {
            let counts = match left.entry(user) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(counts(latest, user)?),
            };
            counts.ended = counts.ended.saturating_sub(1);
        }
    }
    for (user, counts) in left {
        batch.put(&tables::DELAYED_COUNTS_BY_USER, &user, &counts);
    }
    Ok(())
}

fn forget_rows(
    latest: &Latest,
    batch: &mut Batch,
    at: u64,
    delay_id: &str,
) -> Result<Option<UserSerial>, StoreError> {
    let key = delay_id.to_owned();
    let Some(record) = latest.get(&tables::DELAYED_EVENT_BY_ID, &key)? else {
        return Ok(None);
    };
    delete_indexes(batch, &record, ENDED, at, delay_id);
    if let Some(transaction) = &record.transaction {
        batch.delete(&tables::DELAYED_EVENT_BY_TRANSACTION, transaction);
    }
    batch.delete(&tables::DELAYED_EVENT_BY_ID, &key);
    Ok(Some(record.user))
}

fn counts(view: &impl Read, user: UserSerial) -> Result<DelayedCountsRecord, StoreError> {
    let counts = view.get(&tables::DELAYED_COUNTS_BY_USER, &user)?;
    Ok(counts.unwrap_or_default())
}

fn put_indexes(batch: &mut Batch, record: &DelayedEventRecord, part: u8, at: u64, id: &str) {
    let id = id.to_owned();
    batch.put(
        &tables::DELAYED_EVENT_BY_USER,
        &(record.user, part, at, id.clone()),
        &(),
    );
    batch.put(&tables::DELAYED_EVENT_BY_TIME, &(part, at, id), &());
}

fn delete_indexes(batch: &mut Batch, record: &DelayedEventRecord, part: u8, at: u64, id: &str) {
    let id = id.to_owned();
    batch.delete(
        &tables::DELAYED_EVENT_BY_USER,
        &(record.user, part, at, id.clone()),
    );
    batch.delete(&tables::DELAYED_EVENT_BY_TIME, &(part, at, id));
}
