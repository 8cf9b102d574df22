//! The threads that people follow (MSC4306): subscriptions, and how clients learn of them
//! (MSC4308).

use model::{RoomSerial, ThreadSubscriptionRecord, UserSerial, tables, user_scope};
use ruma_common::{EventId, RoomId};
use store::{Batch, Position, Read, StoreError};

use crate::{
    ClientEvent, ReadError, Rooms, Viewer,
    relations::Relation,
    timeline::{hidden, visible_event},
};

/// Why a subscription was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// The event that is to be the reason is not in the thread
    /// (`IO.ELEMENT.MSC4306.M_NOT_IN_THREAD`).
    #[error("the event is not in this thread")]
    NotInThread,
    /// The user has left the thread after the event that is to be the reason
    /// (`IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION`).
    #[error("you have unsubscribed from this thread after that event")]
    Conflicting,
    /// There is no such thread for the user (`M_NOT_FOUND`).
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A thread that a user follows or has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSubscription {
    /// The room.
    pub room: RoomSerial,
    /// The id of the thread's root.
    pub root: String,
    /// What the user wants.
    pub record: ThreadSubscriptionRecord,
}

/// Some subscriptions that changed, those that changed last first.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionsPage {
    /// The subscriptions.
    pub chunk: Vec<ThreadSubscription>,
    /// Up to which commit there are more; none if there are not.
    pub end: Option<Position>,
}

impl Rooms {
    /// Subscribes somebody to a thread. `reason` is the event because of which a client
    /// does so by itself; none if its user asked for it.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn subscribe_to_thread(
        &self,
        viewer: Viewer,
        room_id: &RoomId,
        root: &EventId,
        reason: Option<&EventId>,
    ) -> Result<(), SubscriptionError> {
        let (room, reason) = self.checked_thread(viewer, room_id, root, reason).await?;
        let automatic = reason.is_some();
        self.change_subscription(viewer.user, room, root, move |earlier, position| {
            match (earlier, reason) {
                // What was unread when the user left is no reason to come back.
                (Some(record), Some(reason)) if !record.subscribed && reason <= record.ended => {
                    Err(SubscriptionError::Conflicting)
                }
                (Some(record), Some(_)) if record.subscribed => Ok(None),
                (Some(record), None) if record.subscribed && !record.automatic => Ok(None),
                (earlier, _) => Ok(Some(ThreadSubscriptionRecord {
                    subscribed: true,
                    automatic,
                    position: position.0,
                    ended: earlier.map_or(0, |record| record.ended),
                })),
            }
        })
        .await
    }

    /// Ends somebody's subscription to a thread, if there is one.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub async fn unsubscribe_from_thread(
        &self,
        viewer: Viewer,
        room_id: &RoomId,
        root: &EventId,
    ) -> Result<(), SubscriptionError> {
        let (room, _) = self.checked_thread(viewer, room_id, root, None).await?;
        self.change_subscription(viewer.user, room, root, |earlier, position| {
            let earlier = earlier.filter(|record| record.subscribed);
            Ok(earlier.map(|_| ThreadSubscriptionRecord {
                subscribed: false,
                automatic: false,
                position: position.0,
                ended: position.0,
            }))
        })
        .await
    }

    /// The room of a thread that the user may see, and the commit that brought the reason
    /// to follow it.
    async fn checked_thread(
        &self,
        viewer: Viewer,
        room_id: &RoomId,
        root: &EventId,
        reason: Option<&EventId>,
    ) -> Result<(RoomSerial, Option<u64>), SubscriptionError> {
        let rooms = self.clone();
        let (room_id, root) = (room_id.to_owned(), root.to_owned());
        let reason = reason.map(ToOwned::to_owned);
        self.inner
            .store
            .read(move |view| {
                let reader = rooms.reader(view, &room_id, viewer).map_err(hidden)?;
                visible_event(&reader, &root)?;
                let Some(reason) = reason else {
                    return Ok((reader.room, None));
                };
                let reason = match visible_event(&reader, &reason) {
                    Ok(reason) => reason,
                    Err(ReadError::NotFound(_)) => return Err(SubscriptionError::NotInThread),
                    Err(error) => return Err(error.into()),
                };
                if !is_in_thread(&reason, root.as_str()) {
                    return Err(SubscriptionError::NotInThread);
                }
                Ok((reader.room, Some(reason.meta.position)))
            })
            .await
    }

    async fn change_subscription(
        &self,
        user: UserSerial,
        room: RoomSerial,
        root: &EventId,
        change: impl FnOnce(
            Option<ThreadSubscriptionRecord>,
            Position,
        ) -> Result<Option<ThreadSubscriptionRecord>, SubscriptionError>
        + Send
        + 'static,
    ) -> Result<(), SubscriptionError> {
        let key = (user, room, root.to_string());
        self.inner
            .store
            .commit(move |latest, position, batch| {
                let earlier = latest.get(&tables::THREAD_SUBSCRIPTION_BY_USER, &key)?;
                if let Some(record) = change(earlier, position)? {
                    put(batch, &key, earlier, &record);
                }
                Ok(())
            })
            .await
    }

    /// A user's subscription to a thread, if there is one.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] for a thread that the user may not see, and without a
    /// subscription.
    pub fn thread_subscription<R: Read>(
        &self,
        view: &R,
        viewer: Viewer,
        room_id: &RoomId,
        root: &EventId,
    ) -> Result<ThreadSubscriptionRecord, ReadError> {
        let reader = self.reader(view, room_id, viewer).map_err(hidden)?;
        visible_event(&reader, root)?;
        let key = (viewer.user, reader.room, root.to_string());
        view.get(&tables::THREAD_SUBSCRIPTION_BY_USER, &key)?
            .filter(|record| record.subscribed)
            .ok_or_else(|| ReadError::NotFound("you do not follow this thread".to_owned()))
    }
}

fn put(
    batch: &mut Batch,
    key: &(UserSerial, RoomSerial, String),
    earlier: Option<ThreadSubscriptionRecord>,
    record: &ThreadSubscriptionRecord,
) {
    let (user, room, root) = key;
    let place = |position: u64| (*user, Position(position), *room, root.clone());
    if let Some(earlier) = earlier {
        let earlier = place(earlier.position);
        batch.delete(&tables::THREAD_SUBSCRIPTION_BY_POSITION, &earlier);
    }
    let place = place(record.position);
    batch.put(&tables::THREAD_SUBSCRIPTION_BY_POSITION, &place, &());
    batch.put(&tables::THREAD_SUBSCRIPTION_BY_USER, key, record);
    batch.wake(user_scope(*user));
}

fn is_in_thread(event: &ClientEvent, root: &str) -> bool {
    let relation = Relation::of_event(&event.stored.json);
    let (kind, target) = (relation.rel_type.as_deref(), relation.event_id.as_deref());
    event.redacted_by.is_none() && kind == Some("m.thread") && target == Some(root)
}

/// Whether a user follows a thread.
///
/// # Errors
/// If the database fails.
pub fn follows_thread(
    view: &impl Read,
    user: UserSerial,
    room: RoomSerial,
    root: &str,
) -> Result<bool, StoreError> {
    let key = (user, room, root.to_owned());
    let record = view.get(&tables::THREAD_SUBSCRIPTION_BY_USER, &key)?;
    Ok(record.is_some_and(|record| record.subscribed))
}

/// The subscriptions of a user that changed last after the commit `after`, up to `from`:
/// those that changed last first, at most `limit`.
///
/// # Errors
/// If the database fails.
pub fn changed_subscriptions(
    view: &impl Read,
    user: UserSerial,
    after: Option<Position>,
    from: Option<Position>,
    limit: usize,
) -> Result<SubscriptionsPage, StoreError> {
    let below = from.map(|from| {
        let next = Position(from.0.saturating_add(1));
        (user, next, RoomSerial(0), String::new())
    });
    let table = &tables::THREAD_SUBSCRIPTION_BY_POSITION;
    let mut page = SubscriptionsPage::default();
    for row in view.scan_back(table, &(user,), below.as_ref()) {
        let ((_, position, room, root), ()) = row?;
        if after.is_some_and(|after| position <= after) {
            break;
        }
        if page.chunk.len() == limit {
            // One commit changes one subscription.
            page.end = Some(position);
            break;
        }
        let key = (user, room, root.clone());
        if let Some(record) = view.get(&tables::THREAD_SUBSCRIPTION_BY_USER, &key)? {
            page.chunk.push(ThreadSubscription { room, root, record });
        }
    }
    Ok(page)
}
