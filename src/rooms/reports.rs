//! What people report to the administrators (client-server API, "Reporting Content").

use audit::Deed;
use model::{ReportRecord, Reported, tables};
use ruma_common::{EventId, RoomId, UserId};
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    Access, ReadError, Rooms, Sender, room_serial,
    timeline::{hidden, visible_event},
    user_serial,
};

/// The longest reason, in bytes.
const MAX_REASON: usize = 4_096;

impl Rooms {
    /// Reports a room; nobody need be in it for that.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it is not known here, [`ReadError::Invalid`] for a
    /// reason that is too long.
    pub async fn report_room(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        reason: String,
    ) -> Result<(), ReadError> {
        let name = room_id.to_string();
        let target = move |_: &Rooms, view: &Snapshot| {
            let room = room_serial(view, &name)?;
            room.map(Reported::Room)
                .ok_or_else(|| ReadError::NotFound("this room is not known here".to_owned()))
        };
        self.report(sender, reason, None, target).await?;
        log::warn!(room_id = room_id.as_str(), reporter = sender.user_id.as_str(); "a room was reported");
        Ok(())
    }

    /// Reports an event of a room that the sender is in, and that the sender may see.
    ///
    /// # Errors
    /// As [`Rooms::report_room`].
    pub async fn report_event(
        &self,
        sender: &Sender,
        (room_id, event_id): (&RoomId, &EventId),
        reason: String,
        score: Option<i32>,
    ) -> Result<(), ReadError> {
        let (room, event, viewer) = (room_id.to_owned(), event_id.to_owned(), sender.viewer());
        let target = move |rooms: &Rooms, view: &Snapshot| {
            let reader = rooms.reader(view, &room, viewer).map_err(hidden)?;
            let access = Access::of(view, reader.room, viewer.user).map_err(hidden)?;
            let Access::Joined(_) = access else {
                return Err(no_such_event());
            };
            let event = visible_event(&reader, &event).map_err(hidden)?;
            Ok(Reported::Event(reader.room, event.serial))
        };
        self.report(sender, reason, score, target).await?;
        log::warn!(
            room_id = room_id.as_str(),
            event_id = event_id.as_str(),
            reporter = sender.user_id.as_str();
            "an event was reported"
        );
        Ok(())
    }

    /// Reports a user.
    ///
    /// # Errors
    /// As [`Rooms::report_room`].
    pub async fn report_user(
        &self,
        sender: &Sender,
        user_id: &UserId,
        reason: String,
    ) -> Result<(), ReadError> {
        let name = user_id.to_string();
        let target = move |_: &Rooms, view: &Snapshot| {
            let user = user_serial(view, &name)?;
            user.map(Reported::User)
                .ok_or_else(|| ReadError::NotFound("this user is not known here".to_owned()))
        };
        self.report(sender, reason, None, target).await?;
        log::warn!(user_id = user_id.as_str(), reporter = sender.user_id.as_str(); "a user was reported");
        Ok(())
    }

    /// Takes a report out of the list. Returns whether it was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn close_report(&self, position: Position, deed: Deed) -> Result<bool, StoreError> {
        let now = self.inner.clock.now().0;
        self.inner
            .store
            .commit(move |latest, _, batch| {
                if !latest.contains(&tables::REPORT_BY_POSITION, &position)? {
                    return Ok(false);
                }
                batch.delete(&tables::REPORT_BY_POSITION, &position);
                audit::record(latest, batch, now, &[deed])?;
                Ok(true)
            })
            .await
    }

    async fn report(
        &self,
        sender: &Sender,
        reason: String,
        score: Option<i32>,
        target: impl FnOnce(&Rooms, &Snapshot) -> Result<Reported, ReadError> + Send + 'static,
    ) -> Result<(), ReadError> {
        if reason.len() > MAX_REASON {
            let text = format!("a reason has at most {MAX_REASON} bytes");
            return Err(ReadError::Invalid(text));
        }
        let rooms = self.clone();
        let target = self
            .inner
            .store
            .read(move |view| target(&rooms, view))
            .await?;
        let record = ReportRecord {
            at: self.inner.clock.now().0,
            reporter: sender.user,
            target,
            reason,
            score,
        };
        self.inner
            .store
            .commit(move |_, position, batch| {
                batch.put(&tables::REPORT_BY_POSITION, &position, &record);
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(())
    }
}

fn no_such_event() -> ReadError {
    ReadError::NotFound("there is no such event in a room that you are in".to_owned())
}

/// What people have reported, the newest first.
///
/// # Errors
/// If the database fails.
pub fn reports(
    view: &impl Read,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, ReportRecord)>, StoreError> {
    view.scan_back(&tables::REPORT_BY_POSITION, &(), before.as_ref())
        .take(limit)
        .collect()
}
