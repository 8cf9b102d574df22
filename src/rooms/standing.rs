//! What somebody may not do whom an administrator has suspended, who is a guest, or who
//! invites somebody who takes no invitations, whatever the room's rules say.

use accounts::{InvitePermission, invite_permission};
use model::{Membership, UserSerial, tables};
use ruma_common::CanonicalJsonValue;
use serde::Deserialize;
use store::{Latest, Read as _};

use crate::{
    AppendError, NewEvent, Rooms, Sender, client_event::load_event, guests::GUEST_ACCESS, partners,
    staging::Staging, user_serial,
};

/// Refuses an event that its sender may send nowhere, or not here (client-server API,
/// "Account suspension", "Guest Access" and "Invite permission").
///
/// # Errors
/// [`AppendError::Suspended`], [`AppendError::GuestsForbidden`],
/// [`AppendError::InviteBlocked`].
pub(crate) fn check(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    sender: &Sender,
    new: &NewEvent,
) -> Result<(), AppendError> {
    if !rooms.is_local(&sender.user_id) {
        return Ok(());
    }
    partners::check(latest, staging.room, staging.new_room, sender, new)?;
    if invites_who_takes_none(latest, sender, new)? {
        return Err(AppendError::InviteBlocked);
    }
    let standing = accounts::standing(latest, sender.user)?;
    let own_membership = own_membership(sender, new);
    // Everybody may go.
    if own_membership == Some(Membership::Leave) {
        return Ok(());
    }
    if standing.is_suspended
        && !hears_server(latest, staging, sender, own_membership)?
        && !redacts_own(latest, staging, sender, new)?
    {
        return Err(AppendError::Suspended);
    }
    if standing.is_guest
        && own_membership == Some(Membership::Join)
        && !takes_guests(latest, staging)?
    {
        return Err(AppendError::GuestsForbidden);
    }
    Ok(())
}

/// Refuses those who may not go into a room of another server: the suspended, and guests if
/// it does not take them.
///
/// # Errors
/// [`AppendError::Suspended`], [`AppendError::GuestsForbidden`].
pub(crate) fn may_go_elsewhere(
    latest: &Latest,
    user: UserSerial,
    takes_guests: bool,
) -> Result<(), AppendError> {
    let standing = accounts::standing(latest, user)?;
    if standing.is_suspended {
        return Err(AppendError::Suspended);
    }
    if standing.is_guest && !takes_guests {
        return Err(AppendError::GuestsForbidden);
    }
    partners::may_go_elsewhere(latest, user)
}

/// Whether somebody comes into the room in which the server speaks to them: there they are told
/// of their suspension.
fn hears_server(
    latest: &Latest,
    staging: &Staging,
    sender: &Sender,
    own_membership: Option<Membership>,
) -> Result<bool, AppendError> {
    let room = latest.get(&tables::NOTICE_ROOM_BY_USER, &sender.user)?;
    Ok(own_membership == Some(Membership::Join) && room == Some(staging.room))
}

/// What the event makes of its sender's membership.
fn own_membership(sender: &Sender, new: &NewEvent) -> Option<Membership> {
    let is_own = new.event_type == "m.room.member"
        && new.state_key.as_deref() == Some(sender.user_id.as_str());
    match new.content.get("membership") {
        Some(CanonicalJsonValue::String(name)) if is_own => Membership::from_name(name),
        _ => None,
    }
}

/// Whether the event invites somebody who takes no invitation of the sender (client-server
/// API, "Invite permission").
fn invites_who_takes_none(
    latest: &Latest,
    sender: &Sender,
    new: &NewEvent,
) -> Result<bool, AppendError> {
    let invites = new.event_type == "m.room.member"
        && new.content.get("membership") == Some(&"invite".to_owned().into());
    let target = new.state_key.as_deref().filter(|_| invites);
    let Some(target) = target
        .map(|target| user_serial(latest, target))
        .transpose()?
        .flatten()
    else {
        return Ok(false);
    };
    let permission = invite_permission(latest, target, sender.user_id.as_str())?;
    Ok(permission == InvitePermission::Block)
}

fn redacts_own(
    latest: &Latest,
    staging: &Staging,
    sender: &Sender,
    new: &NewEvent,
) -> Result<bool, AppendError> {
    let Some(target) = &new.redacts else {
        return Ok(false);
    };
    let Some(serial) = latest.get(&tables::EVENT_BY_ID, &target.to_string())? else {
        return Ok(false);
    };
    let event = load_event(latest, serial)?;
    Ok(event.sender() == sender.user_id && Some(event.room_id()) == staging.room_id.as_deref())
}

/// Whether the room lets guests in.
pub(crate) fn takes_guests(latest: &Latest, staging: &mut Staging) -> Result<bool, AppendError> {
    #[derive(Deserialize)]
    struct Content {
        guest_access: String,
    }
    let event = staging.state_event(latest, GUEST_ACCESS, "")?;
    Ok(event
        .and_then(|kept| kept.event.content_as::<Content>().ok())
        .is_some_and(|content| content.guest_access == "can_join"))
}
