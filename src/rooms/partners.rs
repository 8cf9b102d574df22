//! Partners, people from outside: they make no rooms, and come only into rooms that were opened
//! to them.

use accounts::is_partner;
use audit::Deed;
use model::{Membership, OpenedRoomRecord, RoomSerial, UserSerial, tables};
use ruma_common::CanonicalJsonValue;
use store::{Batch, Latest, Read, StoreError};

use crate::{AppendError, CreateRoom, NewEvent, ReadError, Rooms, Sender, user_serial};

/// Whether partners may come into a room.
///
/// # Errors
/// If the database fails.
pub fn is_open_to_partners(view: &impl Read, room: RoomSerial) -> Result<bool, StoreError> {
    view.contains(&tables::OPENED_ROOM, &room)
}

/// The rooms that were opened to partners.
///
/// # Errors
/// If the database fails.
pub fn rooms_open_to_partners(
    view: &impl Read,
) -> Result<Vec<(RoomSerial, OpenedRoomRecord)>, StoreError> {
    view.scan(&tables::OPENED_ROOM, &()).collect()
}

/// Refuses the directories of rooms, this server's and others', to partners.
///
/// # Errors
/// [`ReadError::Forbidden`].
pub fn may_see_directory(view: &impl Read, viewer: UserSerial) -> Result<(), ReadError> {
    match is_partner(view, viewer)? {
        true => Err(ReadError::Forbidden(
            "partners do not see which rooms there are: ask to be invited".to_owned(),
        )),
        false => Ok(()),
    }
}

/// Refuses what brings a partner into a room that was not opened to them: that they join or
/// knock, or that somebody invites them.
///
/// # Errors
/// [`AppendError::NotOpenToPartners`].
pub(crate) fn check(
    latest: &Latest,
    room: RoomSerial,
    is_new: bool,
    sender: &Sender,
    new: &NewEvent,
) -> Result<(), AppendError> {
    let Some(target) = new
        .state_key
        .as_deref()
        .filter(|_| new.event_type == "m.room.member")
    else {
        return Ok(());
    };
    let membership = match new.content.get("membership") {
        Some(CanonicalJsonValue::String(name)) => Membership::from_name(name),
        _ => None,
    };
    let comes = match membership {
        Some(Membership::Invite) => true,
        Some(Membership::Join | Membership::Knock) => target == sender.user_id.as_str(),
        _ => false,
    };
    // Whether a partner may make the room was asked before it was begun.
    if !comes || is_new {
        return Ok(());
    }
    let Some(user) = user_serial(latest, target)? else {
        return Ok(());
    };
    // Who is in already may say so again, with a new name for instance.
    let is_in = latest.get(&tables::MEMBER_BY_ROOM, &(room, user))? == Some(Membership::Join);
    let hears_server = latest.get(&tables::NOTICE_ROOM_BY_USER, &user)? == Some(room);
    if is_in || hears_server || !is_partner(latest, user)? || is_open_to_partners(latest, room)? {
        return Ok(());
    }
    Err(AppendError::NotOpenToPartners)
}

/// Refuses partners in rooms of other servers, which nobody here has opened.
///
/// # Errors
/// [`AppendError::NotOpenToPartners`].
pub(crate) fn may_go_elsewhere(latest: &Latest, user: UserSerial) -> Result<(), AppendError> {
    match is_partner(latest, user)? {
        true => Err(AppendError::NotOpenToPartners),
        false => Ok(()),
    }
}

/// Whether a new room may begin as wished, and whether it is open to partners from its
/// beginning: a direct chat with one, where these are allowed.
///
/// # Errors
/// [`AppendError::PartnersMakeNone`], [`AppendError::NotOpenToPartners`].
pub(crate) fn may_create(
    latest: &Latest,
    creator: &Sender,
    wish: &CreateRoom,
    allows_direct_chats: bool,
) -> Result<bool, AppendError> {
    if wish.notices_for.is_some() {
        return Ok(false);
    }
    let mut invites_partner = false;
    for user_id in &wish.invite {
        if let Some(user) = user_serial(latest, user_id.as_str())? {
            invites_partner |= is_partner(latest, user)?;
        }
    }
    let is_chat_of_two = wish.is_direct && wish.invite.len() == 1;
    let is_allowed = allows_direct_chats && is_chat_of_two;
    if is_partner(latest, creator.user)? && !is_allowed {
        return Err(AppendError::PartnersMakeNone);
    }
    if invites_partner && !is_allowed {
        return Err(AppendError::NotOpenToPartners);
    }
    Ok(invites_partner || (is_allowed && is_partner(latest, creator.user)?))
}

/// Opens a room that somebody has just begun.
pub(crate) fn open(batch: &mut Batch, room: RoomSerial, creator: &Sender, now: u64) {
    let record = OpenedRoomRecord {
        at: now,
        by: Some(creator.user_id.to_string()),
    };
    batch.put(&tables::OPENED_ROOM, &room, &record);
}

impl Rooms {
    /// Opens a room to partners, or closes it to those who are not in it. Returns whether that
    /// changed anything; then the audit trail is told `deed` in the same commit.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_open_to_partners(
        &self,
        room: RoomSerial,
        by: Option<String>,
        is_open: bool,
        deed: Deed,
    ) -> Result<bool, StoreError> {
        let now = self.inner.clock.now().0;
        self.inner
            .store
            .commit(move |latest, _, batch| {
                if latest.contains(&tables::OPENED_ROOM, &room)? == is_open {
                    return Ok(false);
                }
                match is_open {
                    true => {
                        let record = OpenedRoomRecord { at: now, by };
                        batch.put(&tables::OPENED_ROOM, &room, &record);
                    }
                    false => batch.delete(&tables::OPENED_ROOM, &room),
                }
                audit::record(latest, batch, now, &[deed])?;
                Ok(true)
            })
            .await
    }
}
