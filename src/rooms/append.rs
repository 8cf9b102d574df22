//! The one way into a room.

use std::sync::Arc;

use graph::Event;
use model::{DeviceSerial, EventSerial, RoomSerial, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, OwnedEventId, OwnedUserId};
use store::{Latest, Read, Writing, Written};

use crate::{
    AppendError, Rooms, Viewer,
    policy::{PolicyServer, Unjudged},
    queue::RoomEnd,
    rows::{self, Extra},
    staging::Staging,
};

/// Who acts: an account of this server, on one of its devices or none.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The full user id.
    pub user_id: OwnedUserId,
    /// Its serial.
    pub user: UserSerial,
    /// The device, which alone is told its transaction ids.
    pub device: Option<DeviceSerial>,
    /// When the events were made, in ms since the Unix epoch, if that is not now: for
    /// application services (application service API, "Timestamp massaging").
    pub sent_at: Option<u64>,
}

impl Sender {
    /// The same person and device as one who looks.
    pub fn viewer(&self) -> Viewer {
        Viewer {
            user: self.user,
            device: self.device,
        }
    }
}

/// An event to be, as its sender wants it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event type.
    pub event_type: String,
    /// The state key, for state.
    pub state_key: Option<String>,
    /// The content, checked by [`graph::canonical`].
    pub content: CanonicalJsonObject,
    /// The target of a redaction.
    pub redacts: Option<OwnedEventId>,
    /// For how long it is sticky, in ms (MSC4354).
    pub sticky: Option<u64>,
}

impl NewEvent {
    /// A state event.
    pub fn state(event_type: &str, state_key: &str, content: CanonicalJsonObject) -> Self {
        Self {
            event_type: event_type.to_owned(),
            state_key: Some(state_key.to_owned()),
            content,
            redacts: None,
            sticky: None,
        }
    }

    /// An event that is no state.
    pub fn message(event_type: &str, content: CanonicalJsonObject) -> Self {
        Self {
            event_type: event_type.to_owned(),
            state_key: None,
            content,
            redacts: None,
            sticky: None,
        }
    }
}

/// An event that has entered its room.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its serial.
    pub event: EventSerial,
    /// Its room.
    pub room: RoomSerial,
}

/// A transaction id of a client: the device, the endpoint's name with the room, the
/// id itself.
pub(crate) type Transaction = (DeviceSerial, String, String);

/// What shall be done with a room, after a look at its end.
pub(crate) enum Plan {
    /// These events shall enter it.
    Events(Vec<NewEvent>),
    /// Everything is as wanted already, by the event given if there is one.
    Nothing(Option<Appended>),
}

impl Plan {
    /// One event.
    pub(crate) fn event(event: NewEvent) -> Self {
        Self::Events(vec![event])
    }
}

/// What a look at the room's end led to.
enum Prepared {
    /// New events to write.
    New(Staging),
    /// Nothing to do: all is as the caller wants it.
    Nothing(Staging, Option<Appended>),
    /// The transaction id has made this event already.
    SentBefore(Appended, Option<RoomEnd>),
    /// New events that the room's policy server has to look at before.
    Unjudged(Arc<PolicyServer>, Vec<Arc<Event>>),
}

/// What a writer leaves.
enum Outcome {
    /// What was asked for; durable when the write is, if there was one.
    Done(Vec<Appended>, Option<Written>),
    /// Nothing yet.
    Unjudged(Unjudged),
}

impl Rooms {
    /// Brings events of one sender into a room that exists, all or none, in this
    /// order. Returns when they are on disk.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(
        &self,
        room: RoomSerial,
        sender: &Sender,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Appended>, AppendError> {
        self.append_with(room, sender, None, move |_, _| Ok(Plan::Events(events)))
            .await
    }

    /// [`Rooms::append`] of what `plan` makes of the room's end as last written, while
    /// nobody else writes to the room. The client's transaction id is that of the last event.
    pub(crate) async fn append_with(
        &self,
        room: RoomSerial,
        sender: &Sender,
        transaction: Option<Transaction>,
        plan: impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError> + Send + 'static,
    ) -> Result<Vec<Appended>, AppendError> {
        let (appended, written) = self
            .append_unsynced(room, sender, transaction, plan)
            .await?;
        match written {
            Some(written) => written.durable().await?,
            None => self.wait_for_earlier().await?,
        }
        Ok(appended)
    }

    /// [`Rooms::append_with`] that returns when the events have their place. They must
    /// not be acknowledged before they are durable, or, where nothing is returned to
    /// wait for, before all earlier commits are.
    pub(crate) async fn append_unsynced(
        &self,
        room: RoomSerial,
        sender: &Sender,
        transaction: Option<Transaction>,
        plan: impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError> + Send + 'static,
    ) -> Result<(Vec<Appended>, Option<Written>), AppendError> {
        self.append_beside(room, sender, transaction, Extra::none(), plan)
            .await
    }

    /// [`Rooms::append_unsynced`] with other rows in the same commit, which are written
    /// only if there are new events.
    pub(crate) async fn append_beside(
        &self,
        room: RoomSerial,
        sender: &Sender,
        transaction: Option<Transaction>,
        extra: Extra,
        plan: impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError> + Send + 'static,
    ) -> Result<(Vec<Appended>, Option<Written>), AppendError> {
        let rooms = self.clone();
        let acting = (sender.clone(), transaction.clone());
        let outcome = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                let acting = (&acting.0, acting.1.as_ref());
                rooms.append_now(writing, room, end, acting, extra, plan)
            })
            .await?;
        match outcome {
            Outcome::Done(appended, written) => Ok((appended, written)),
            Outcome::Unjudged(unjudged) => {
                self.append_unjudged(room, sender, transaction, unjudged)
                    .await
            }
        }
    }

    fn append_now(
        &self,
        writing: &Writing,
        room: RoomSerial,
        end: &mut Option<RoomEnd>,
        (sender, transaction): (&Sender, Option<&Transaction>),
        extra: Extra,
        plan: impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError>,
    ) -> Result<Outcome, AppendError> {
        let latest = writing.latest();
        match self.prepare(latest, room, end.take(), sender, transaction, plan)? {
            Prepared::New(staging) => {
                let (appended, written) =
                    self.write_staging(writing, staging, sender, transaction, extra, end)?;
                Ok(Outcome::Done(appended, Some(written)))
            }
            Prepared::Nothing(staging, found) => {
                *end = Some(staging.into_end());
                Ok(Outcome::Done(found.into_iter().collect(), None))
            }
            Prepared::SentBefore(earlier, kept) => {
                *end = kept;
                Ok(Outcome::Done(vec![earlier], None))
            }
            // The end as it was staged is no end of the room.
            Prepared::Unjudged(policy, events) => Ok(Outcome::Unjudged(Unjudged {
                policy,
                events,
                extra,
            })),
        }
    }

    fn prepare(
        &self,
        latest: &Latest,
        room: RoomSerial,
        end: Option<RoomEnd>,
        sender: &Sender,
        transaction: Option<&Transaction>,
        plan: impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError>,
    ) -> Result<Prepared, AppendError> {
        if let Some(transaction) = transaction
            && let Some(earlier) = latest.get(&tables::EVENT_BY_TRANSACTION, transaction)?
        {
            let earlier = sent_before(latest, room, earlier.event)?;
            return Ok(Prepared::SentBefore(earlier, end));
        }
        let now = self.inner.clock.now().0;
        let mut staging = match end {
            Some(end) => Staging::on(end, room, now),
            None => Staging::load(latest, room, now)?,
        };
        // Before anything is staged: the room as it is now names who has to look at it.
        let policy = staging.policy_server(self, latest)?;
        match plan(latest, &mut staging)? {
            Plan::Nothing(found) => Ok(Prepared::Nothing(staging, found)),
            Plan::Events(events) => {
                for event in events {
                    staging.stage(self, latest, sender, event)?;
                }
                Ok(match policy {
                    Some(policy) if Unjudged::is_any(&policy, &staging) => {
                        let events = staging.events.into_iter().map(|staged| staged.event);
                        Prepared::Unjudged(policy, events.collect())
                    }
                    _ => Prepared::New(staging),
                })
            }
        }
    }

    /// Returns when everything that was written before is on disk: an answer that
    /// rests on it is true from then on.
    pub(crate) async fn wait_for_earlier(&self) -> Result<(), AppendError> {
        self.inner.store.commit(|_, _, _| Ok(())).await
    }

    /// Writes what was staged and leaves the room's new end.
    pub(crate) fn write_staging(
        &self,
        writing: &Writing,
        staging: Staging,
        sender: &Sender,
        transaction: Option<&Transaction>,
        extra: Extra,
        end: &mut Option<RoomEnd>,
    ) -> Result<(Vec<Appended>, Written), AppendError> {
        let context = rows::Context::of_sender(self, sender, transaction);
        let (staging, written) = writing.write(|latest, position, batch| {
            rows::write(staging, &context, extra, latest, position, batch)
        })?;
        let appended = staging.appended();
        if sender.device.is_some() {
            self.acted(writing.latest(), sender.user)?;
        }
        *end = Some(staging.into_end());
        Ok((appended, written))
    }
}

/// The event that a repeated request has made the first time.
pub(crate) fn sent_before(
    latest: &Latest,
    room: RoomSerial,
    event: EventSerial,
) -> Result<Appended, AppendError> {
    let event_id = latest
        .get(&tables::EVENT_BY_SERIAL, &event)?
        .and_then(|stored| OwnedEventId::try_from(stored.event_id).ok())
        .ok_or(AppendError::UnknownTarget)?;
    Ok(Appended {
        event_id,
        event,
        room,
    })
}
