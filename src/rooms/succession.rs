//! Rooms that one person alone runs, and who follows when that person leaves.

use std::cmp::Reverse;

use audit::Deed;
use graph::PowerLevel;
use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use store::{Read, StoreError};

use crate::{
    AppendError, Rooms, Sender, joined_of_room,
    lists::{is_run_by_others, membership_in},
    membership::joined,
    overview::levels_of,
    room_content, room_text,
    rows::Extra,
    user_serial,
};

/// The least level that an administrator of a room gets.
const ROOM_ADMINISTRATOR: i64 = 100;

/// A room that one person alone runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRunAlone {
    /// The room.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: String,
    /// Its name.
    pub name: Option<String>,
    /// How many others are in it.
    pub others: usize,
    /// Of those of this server in it who could run it, the most senior: with most power, and
    /// of these who has been there longest. None if nobody can.
    pub successor: Option<OwnedUserId>,
}

/// The rooms in which nobody but this person may say who may do what, and in which others are.
///
/// # Errors
/// If the database fails.
pub fn rooms_run_alone(
    rooms: &Rooms,
    view: &impl Read,
    user: UserSerial,
    user_id: &UserId,
) -> Result<Vec<RoomRunAlone>, StoreError> {
    let mut found = Vec::new();
    for room in joined(view, user)? {
        found.extend(run_alone(rooms, view, room, user_id)?);
    }
    found.sort_by(|one, other| one.room_id.cmp(&other.room_id));
    Ok(found)
}

fn run_alone(
    rooms: &Rooms,
    view: &impl Read,
    room: RoomSerial,
    user_id: &UserId,
) -> Result<Option<RoomRunAlone>, StoreError> {
    let Some(levels) = levels_of(view, room)? else {
        return Ok(None);
    };
    let needed = levels.to_send_state("m.room.power_levels");
    if !levels.user(user_id).reaches(needed) {
        return Ok(None);
    }
    let is_in = |other: &str| membership_in(view, room, other);
    if is_run_by_others(&levels, Some(user_id), is_in)? {
        return Ok(None);
    }
    let mut others = joined_of_room(view, room)?;
    others.retain(|other| other != user_id);
    if others.is_empty() || is_for_notices(view, room, &others, user_id)? {
        return Ok(None);
    }
    let mut best: Option<((PowerLevel, Reverse<u64>), OwnedUserId)> = None;
    for other in &others {
        let Some(since) = could_run(rooms, view, room, other)? else {
            continue;
        };
        let rank = (levels.user(other), Reverse(since));
        if best.as_ref().is_none_or(|(known, _)| rank > *known) {
            best = Some((rank, other.clone()));
        }
    }
    Ok(Some(RoomRunAlone {
        room,
        room_id: model::room_id(view, room)?.unwrap_or_default(),
        name: room_text(view, room, "m.room.name", "name")?,
        others: others.len(),
        successor: best.map(|(_, user_id)| user_id),
    }))
}

/// Whether a room is the one in which the server speaks to somebody who is in it: such a room is
/// nobody's to hand over.
fn is_for_notices(
    view: &impl Read,
    room: RoomSerial,
    others: &[OwnedUserId],
    user_id: &UserId,
) -> Result<bool, StoreError> {
    for member in others.iter().map(|other| &**other).chain([user_id]) {
        if let Some(user) = user_serial(view, member.as_str())?
            && view.get(&tables::NOTICE_ROOM_BY_USER, &user)? == Some(room)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Since when a member is in the room, if it is somebody of this server whose account can be
/// used and who is no partner.
fn could_run(
    rooms: &Rooms,
    view: &impl Read,
    room: RoomSerial,
    user_id: &UserId,
) -> Result<Option<u64>, StoreError> {
    if !rooms.is_local(user_id) {
        return Ok(None);
    }
    let Some((user, account)) = accounts::find(view, user_id)? else {
        return Ok(None);
    };
    let standing = accounts::standing(view, user)?;
    if account.deactivated_at.is_some()
        || account.is_locked
        || standing.is_suspended
        || standing.is_guest
        || accounts::is_partner(view, user)?
    {
        return Ok(None);
    }
    let mut since = 0;
    for row in view.scan(&tables::STAY_BY_ROOM, &(room, user)) {
        let (_, stay) = row?;
        if stay.membership == Membership::Join {
            since = stay.since;
        }
    }
    Ok(Some(since))
}

/// The content of a room's power levels with another level of one user.
fn levels_with(
    view: &impl Read,
    room: RoomSerial,
    user_id: &UserId,
    level: i64,
) -> Result<Map<String, Value>, StoreError> {
    let mut content = room_content(view, room, "m.room.power_levels")?.unwrap_or_default();
    let users = content
        .entry("users")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(users) = users {
        users.insert(user_id.to_string(), level.into());
    }
    Ok(content)
}

impl Rooms {
    /// Gives `to` as much power as `host`, who runs the room, can give, in the commit in which
    /// the audit trail is told `deed`. Nothing is done if they have it already.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn share_power(
        &self,
        host: &Sender,
        room: RoomSerial,
        to: &UserId,
        deed: Deed,
    ) -> Result<(), AppendError> {
        let (own, heir) = (host.user_id.clone(), to.to_owned());
        let prepare = move |latest: &store::Latest| -> Result<Option<Value>, AppendError> {
            let levels = levels_of(latest, room)?.ok_or(AppendError::UnknownRoom)?;
            let needed = levels.to_send_state("m.room.power_levels");
            if levels.user(&heir).reaches(needed) {
                return Ok(None);
            }
            let level = match levels.user(&own) {
                PowerLevel::Level(level) => level,
                PowerLevel::Infinite => ROOM_ADMINISTRATOR.max(needed),
            };
            Ok(Some(levels_with(latest, room, &heir, level)?.into()))
        };
        let content = self.inner.store.prepare(prepare).await?;
        let Some(content) = content else {
            return Ok(());
        };
        self.set_state_telling(host, room, "m.room.power_levels", &content, deed)
            .await
    }

    /// Sets state in the commit in which the audit trail is told of it.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn set_state_telling(
        &self,
        sender: &Sender,
        room: RoomSerial,
        event_type: &str,
        content: &Value,
        deed: Deed,
    ) -> Result<(), AppendError> {
        let now = self.inner.clock.now().0;
        let content = content.to_string();
        let plan = self.state_plan(sender, event_type, "", content.as_bytes(), None)?;
        let told = Extra::rows(move |latest, _, batch| {
            audit::record(latest, batch, now, &[deed]).map_err(AppendError::from)
        });
        let (_, written) = self.append_beside(room, sender, None, told, plan).await?;
        match written {
            Some(written) => Ok(written.durable().await?),
            None => self.wait_for_earlier().await,
        }
    }

    /// Whether somebody is in a room now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_in(&self, room: RoomSerial, user_id: &UserId) -> Result<bool, StoreError> {
        let name = user_id.to_string();
        self.inner
            .store
            .read(move |view| {
                let Some(user) = user_serial(view, &name)? else {
                    return Ok(false);
                };
                let membership = view.get(&tables::MEMBER_BY_ROOM, &(room, user))?;
                Ok(membership == Some(Membership::Join))
            })
            .await
    }
}
