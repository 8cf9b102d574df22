//! Devices of other servers' users that change while nobody knows whether the users are in a
//! room, as it is known in part: noted for each such room, and told to those in it when the
//! room is whole.

use model::{Membership, RoomSerial, tables};
use ruma_common::UserId;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{
    AppendError, Rooms, is_server_in,
    rows::{self, Progress},
    staging::Staging,
    user_serial,
};

impl Rooms {
    /// Notes that devices or keys of another server's user have changed, for those rooms known
    /// in part in which the user may be. To be called before the change itself is taken: a room
    /// that becomes whole meanwhile knows the user then.
    ///
    /// It is written in order and not yet on disk when this returns.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_changed_devices(&self, user_id: &UserId) -> Result<(), StoreError> {
        let wanted = user_id.to_owned();
        let read = move |view: &Snapshot| doubtful_rooms(view, &wanted);
        let rooms = self.inner.store.read(read).await?;
        if rooms.is_empty() {
            return Ok(());
        }
        let (server, user_id) = (user_id.server_name().to_string(), user_id.to_string());
        self.inner
            .store
            .commit_later(move |latest, _, batch| {
                for room in rooms {
                    let key = (room, server.clone());
                    if latest.contains(&tables::PARTIAL_ROOM, &room)? {
                        let known = latest.get(&tables::UNPLACED_DEVICES_BY_ROOM, &key)?;
                        let mut record = known.unwrap_or_default();
                        if record.note(&user_id) {
                            batch.put(&tables::UNPLACED_DEVICES_BY_ROOM, &key, &record);
                        }
                    }
                }
                Ok::<_, StoreError>(())
            })
            .await
    }
}

/// The rooms known in part in which a user may be, and is not known to be.
fn doubtful_rooms(view: &Snapshot, user_id: &UserId) -> Result<Vec<RoomSerial>, StoreError> {
    let mut rooms = Vec::new();
    for row in view.scan(&tables::PARTIAL_ROOM, &()) {
        let (room, _) = row?;
        let membership = match user_serial(view, user_id.as_str())? {
            Some(user) => view.get(&tables::MEMBER_BY_ROOM, &(room, user))?,
            None => None,
        };
        if membership != Some(Membership::Join)
            && is_server_in(view, room, user_id.server_name().as_str())?
        {
            rooms.push(room);
        }
    }
    Ok(rooms)
}

/// The users of other servers who are in the room by what is staged, and were not known to be.
pub(crate) fn newcomers(staging: &Staging) -> Vec<String> {
    let members = staging.members.iter().flatten();
    let members = members.filter(|member| member.membership == Membership::Join);
    members.map(|member| member.user_id.clone()).collect()
}

/// Tells those in a room, in the commit by which it is whole, whose devices changed meanwhile.
pub(crate) fn tell(
    room: RoomSerial,
    newcomers: &[String],
    context: &rows::Context<'_>,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    for row in latest.scan(&tables::UNPLACED_DEVICES_BY_ROOM, &(room,)) {
        let ((_, server), record) = row?;
        for user_id in newcomers {
            let is_of_it =
                UserId::parse(user_id).is_ok_and(|id| id.server_name().as_str() == server);
            if is_of_it && record.includes(user_id) {
                let user = rows::user(progress, context, latest, batch, user_id)?;
                let position = progress.position;
                accounts::announce_devices(latest, position, batch, user, Some(room))?;
            }
        }
    }
    Ok(())
}
