//! Events that are sent later (MSC4140): scheduled, managed, sent in their time.
//!
//! An event and the end of its waiting are one commit, so that a crash neither loses
//! nor repeats it. A delayed state event is void once somebody else has set the same
//! state after it was scheduled.

mod due;
mod rows;

use std::time::Duration;

use graph::{MAX_EVENT_BYTES, MAX_JSON_DEPTH, canonical};
use model::{DelayedEventRecord, DelayedFailure, DelayedOutcome, Membership, UserSerial, tables};
use ruma_common::RoomId;
use store::{Read, Snapshot, StoreError};

use crate::{AppendError, Rooms, Sender, room_record, send::transaction};

/// How many delayed events that have ended are remembered of one user.
pub(crate) const MAX_ENDED: u64 = 100;
/// How long they are remembered, in ms.
pub(crate) const REMEMBERED: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How delayed events end, in words.
const SENT: &str = "sent";
const CANCELLED: &str = "cancelled";

/// Why a delayed event was not scheduled or managed.
#[derive(Debug, thiserror::Error)]
pub enum DelayError {
    /// Nobody may schedule events here (`M_FORBIDDEN`).
    #[error("this server sends no delayed events")]
    Disabled,
    /// The delay is longer than the server allows (`M_FORBIDDEN`).
    #[error("an event can be delayed by at most {max} ms")]
    TooLong {
        /// The longest delay, in ms.
        max: u64,
    },
    /// The user has scheduled as many as allowed (`M_LIMIT_EXCEEDED`).
    #[error("you have scheduled as many events as you may")]
    TooMany {
        /// When the next of them will be sent.
        retry_after: Duration,
    },
    /// There is no such delayed event of this user (`M_NOT_FOUND`).
    #[error("there is no such delayed event")]
    NotFound,
    /// It has ended otherwise (409 `M_UNKNOWN`).
    #[error("the delayed event was {0} already")]
    Ended(&'static str),
    /// The room does not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An event to be sent later.
#[derive(Clone, Debug)]
pub struct NewDelayedEvent {
    /// The event type.
    pub event_type: String,
    /// The state key, for state.
    pub state_key: Option<String>,
    /// The content as the client sent it: JSON.
    pub content: Vec<u8>,
    /// How long to wait, in ms.
    pub delay: u64,
    /// For how long it shall be sticky, in ms (MSC4354).
    pub sticky: Option<u64>,
    /// The client's transaction id, where the endpoint has one.
    pub transaction_id: Option<String>,
}

/// A delayed event as its user sees it.
#[derive(Debug)]
pub struct DelayedEvent {
    /// Its id.
    pub delay_id: String,
    /// The room that it is for.
    pub room_id: String,
    /// What is known about it.
    pub record: DelayedEventRecord,
}

impl DelayedEvent {
    /// Why the room did not take it, if that is how it ended.
    pub fn failure(&self) -> Option<AppendError> {
        match &self.record.outcome {
            Some((_, DelayedOutcome::Failed(failure, text))) => {
                let text = text.clone();
                Some(match failure {
                    DelayedFailure::Forbidden => AppendError::Forbidden(text),
                    DelayedFailure::NotFound => AppendError::NotFound(text),
                    DelayedFailure::Invalid => AppendError::Invalid(text),
                })
            }
            _ => None,
        }
    }
}

/// What shall be done with a delayed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayAction {
    /// Send it now.
    Send,
    /// Never send it.
    Cancel,
    /// Begin its delay anew.
    Restart,
}

/// The endpoint and room of a transaction id.
fn delay_scope(event_type: &str, room_id: &str) -> String {
    format!("delay/{event_type}/{room_id}")
}

impl Rooms {
    /// The longest delay, in ms, and how many events a user may have scheduled.
    pub fn delay_limits(&self) -> (u64, u64) {
        let options = &self.inner.options;
        let max = options.delayed_events_max_delay.saturating_mul(1_000);
        (max, options.delayed_events_per_user)
    }

    /// Schedules an event of a member of the room, and returns its delay id, which is
    /// secret. Whether the room takes it shows when it is sent.
    ///
    /// # Errors
    /// [`DelayError`]; [`AppendError::Forbidden`] for those who are not in the room.
    pub async fn schedule(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        new: NewDelayedEvent,
    ) -> Result<String, DelayError> {
        let (max, most) = self.delay_limits();
        if most == 0 {
            return Err(DelayError::Disabled);
        }
        if new.delay > max {
            return Err(DelayError::TooLong { max });
        }
        check(&new)?;
        let room = self.room(room_id).await?;
        let scope = delay_scope(&new.event_type, room_id.as_str());
        let transaction = match &new.transaction_id {
            Some(id) => transaction(sender, scope, id)?,
            None => None,
        };
        let user = sender.user;
        let record = DelayedEventRecord {
            user,
            room,
            event_type: new.event_type,
            state_key: new.state_key,
            content: new.content,
            delay: new.delay,
            scheduled_at: self.inner.clock.now().0,
            position: 0,
            sticky: new.sticky,
            transaction,
            outcome: None,
        };
        let delay_id = self.inner.random.token();
        let delay_id = self
            .inner
            .store
            .commit(move |latest, position, batch| {
                let membership = latest.get(&tables::MEMBER_BY_ROOM, &(room, user))?;
                if membership != Some(Membership::Join) {
                    return Err(DelayError::Append(AppendError::UnknownRoom));
                }
                rows::schedule(latest, position, batch, delay_id, record, most)
            })
            .await?;
        self.inner.delayed.notify_one();
        Ok(delay_id)
    }

    /// The delay id that this transaction id of the sender's device got already, if it did.
    ///
    /// # Errors
    /// [`AppendError::Invalid`] for a transaction id that is too long; if the database
    /// fails.
    pub async fn scheduled_before(
        &self,
        sender: &Sender,
        room_id: &str,
        event_type: &str,
        transaction_id: &str,
    ) -> Result<Option<String>, DelayError> {
        let scope = delay_scope(event_type, room_id);
        let Some(key) = transaction(sender, scope, transaction_id)? else {
            return Ok(None);
        };
        let known = move |view: &Snapshot| view.get(&tables::DELAYED_EVENT_BY_TRANSACTION, &key);
        Ok(self.inner.store.read(known).await?)
    }

    /// Sends, cancels or restarts a delayed event. `user` is who asks; the delay id alone
    /// is enough where nobody says who asks, as with those who were given it.
    ///
    /// # Errors
    /// [`DelayError`]. An event that the room does not take stays scheduled.
    pub async fn manage_delayed(
        &self,
        user: Option<UserSerial>,
        delay_id: &str,
        action: DelayAction,
    ) -> Result<(), DelayError> {
        if action == DelayAction::Send {
            return self.send_delayed_now(user, delay_id).await;
        }
        let (id, now) = (delay_id.to_owned(), self.inner.clock.now().0);
        self.inner
            .store
            .commit(move |latest, _, batch| {
                let record = rows::owned(latest, user, &id)?;
                match (&record.outcome, action) {
                    (Some((_, DelayedOutcome::Sent(_))), _) => Err(DelayError::Ended(SENT)),
                    (Some(_), DelayAction::Cancel) => Ok(()),
                    (Some(_), _) => Err(DelayError::Ended(CANCELLED)),
                    (None, DelayAction::Restart) => {
                        if rows::is_void(latest, &record)? {
                            return Err(DelayError::Ended(CANCELLED));
                        }
                        rows::restart(batch, &id, record, now);
                        Ok(())
                    }
                    (None, _) => {
                        let outcome = DelayedOutcome::Cancelled;
                        Ok(rows::end(latest, batch, &id, record, now, outcome)?)
                    }
                }
            })
            .await?;
        self.inner.delayed.notify_one();
        Ok(())
    }

    async fn send_delayed_now(
        &self,
        user: Option<UserSerial>,
        delay_id: &str,
    ) -> Result<(), DelayError> {
        let id = delay_id.to_owned();
        let (record, is_void) = self
            .inner
            .store
            .prepare(move |latest| {
                let record = rows::owned(latest, user, &id)?;
                let is_void = rows::is_void(latest, &record)?;
                Ok::<_, DelayError>((record, is_void))
            })
            .await?;
        match record.outcome {
            Some((_, DelayedOutcome::Sent(_))) => Ok(()),
            Some(_) => Err(DelayError::Ended(CANCELLED)),
            None if is_void => Err(DelayError::Ended(CANCELLED)),
            None => match self.deliver_delayed(delay_id, record).await {
                Err(DelayError::Ended(SENT)) => Ok(()),
                done => done,
            },
        }
    }
}

/// Refuses what could never be sent.
fn check(new: &NewDelayedEvent) -> Result<(), AppendError> {
    if new.delay == 0 {
        return Err(AppendError::Invalid("a delay is positive".to_owned()));
    }
    let state_key = new.state_key.as_deref().unwrap_or_default();
    if new.event_type.is_empty() || new.event_type.len() > 255 || state_key.len() > 255 {
        return Err(AppendError::Invalid(
            "an event type and a state key have at most 255 bytes".to_owned(),
        ));
    }
    if new.content.len() > MAX_EVENT_BYTES {
        let (what, limit) = ("the event", MAX_EVENT_BYTES);
        return Err(graph::Reason::TooLarge { what, limit }.into());
    }
    canonical(&new.content, MAX_JSON_DEPTH)?;
    Ok(())
}

/// A user's scheduled events, those that are due first.
///
/// # Errors
/// If the database fails.
pub fn delayed_events(view: &impl Read, user: UserSerial) -> Result<Vec<DelayedEvent>, DelayError> {
    let mut events = Vec::new();
    for row in view.scan(&tables::DELAYED_EVENT_BY_USER, &(user, rows::WAITING)) {
        let ((_, _, _, delay_id), ()) = row?;
        let event = delayed_event(view, user, &delay_id)?;
        if event.record.outcome.is_none() {
            events.push(event);
        }
    }
    Ok(events)
}

/// A delayed event of a user, scheduled or ended not long ago.
///
/// # Errors
/// [`DelayError::NotFound`], also for other people's.
pub fn delayed_event(
    view: &impl Read,
    user: UserSerial,
    delay_id: &str,
) -> Result<DelayedEvent, DelayError> {
    let mut record = rows::owned(view, Some(user), delay_id)?;
    if record.outcome.is_none() && rows::is_void(view, &record)? {
        // It ends when it is due; what is known already is told already.
        record.outcome = Some((record.scheduled_at, DelayedOutcome::Cancelled));
    }
    let room_id = room_record(view, record.room)
        .map_err(AppendError::from)?
        .0
        .room_id;
    Ok(DelayedEvent {
        delay_id: delay_id.to_owned(),
        room_id,
        record,
    })
}
