//! Rooms that one may join as a member of another (client-server API, "Restricted
//! rooms").

use model::{Membership, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, OwnedUserId, UserId};
use serde::Deserialize;
use store::{Latest, Read};

use crate::{AppendError, Rooms, Sender, room_serial, staging::Staging};

/// The field of a join that names the member who could have invited the user.
pub(crate) const AUTHORISED_BY: &str = "join_authorised_via_users_server";

/// The most rooms of a join rule that are looked at.
const MAX_ROOMS: usize = 100;
/// The most members that are looked at for one who may invite.
const MAX_MEMBERS: usize = 10_000;

#[derive(Deserialize)]
struct JoinRules {
    join_rule: String,
    #[serde(default)]
    allow: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Allow {
    #[serde(rename = "type")]
    kind: String,
    room_id: String,
}

/// Adds to a join who authorises it, where the room's join rule asks for that and the
/// user is not invited.
///
/// # Errors
/// [`AppendError::Forbidden`] if the user is in none of the rooms, or nobody of this
/// server who is in this room may invite.
pub(crate) fn authorise(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    sender: &Sender,
    content: &mut CanonicalJsonObject,
) -> Result<(), AppendError> {
    let Some(rules) = staging.state_event(latest, "m.room.join_rules", "")? else {
        return Ok(());
    };
    let Ok(rules) = rules.event.content_as::<JoinRules>() else {
        return Ok(());
    };
    let restricted = match rules.join_rule.as_str() {
        "restricted" => staging.version.knows_restricted_joins(),
        "knock_restricted" => staging.version.knows_knock_restricted_joins(),
        _ => false,
    };
    let before = staging.membership(latest, &sender.user_id)?;
    let may_come = matches!(before, Some(Membership::Invite | Membership::Join));
    if !restricted || may_come || before == Some(Membership::Ban) {
        // The room's rules decide alone.
        return Ok(());
    }
    if !is_in_one_of(latest, sender.user, &rules.allow)? {
        return Err(AppendError::Forbidden(
            "you are in none of the rooms whose members may join this one".to_owned(),
        ));
    }
    let Some(member) = inviter(rooms, latest, staging)? else {
        return Err(AppendError::Forbidden(
            "nobody of this server who is in the room may let you in".to_owned(),
        ));
    };
    content.insert(AUTHORISED_BY.to_owned(), member.to_string().into());
    Ok(())
}

fn is_in_one_of(
    latest: &Latest,
    user: UserSerial,
    allow: &[serde_json::Value],
) -> Result<bool, AppendError> {
    for entry in allow.iter().take(MAX_ROOMS) {
        // Conditions of other forms are for servers that know them.
        let Ok(entry) = Allow::deserialize(entry) else {
            continue;
        };
        if entry.kind != "m.room_membership" {
            continue;
        }
        if let Some(room) = room_serial(latest, &entry.room_id)?
            && let Some(record) = latest.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?
            && record.membership == Membership::Join
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A member of this server who may invite.
fn inviter(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
) -> Result<Option<OwnedUserId>, AppendError> {
    let Some(levels) = staging.power_levels(latest)? else {
        return Ok(None);
    };
    let may_invite =
        |user: &UserId| rooms.is_local(user) && levels.user(user).reaches(levels.to_invite());
    let named = levels
        .creators()
        .chain(levels.users().map(|(user, _)| user));
    for user in named.filter(|user| may_invite(user)) {
        if staging.membership(latest, user)? == Some(Membership::Join) {
            return Ok(Some(user.to_owned()));
        }
    }
    let members = latest.scan(&tables::MEMBER_BY_ROOM, &(staging.room,));
    for row in members.take(MAX_MEMBERS) {
        let ((_, member), membership) = row?;
        if membership != Membership::Join {
            continue;
        }
        let user_id = model::user_id(latest, member)?.and_then(|id| OwnedUserId::try_from(id).ok());
        if let Some(user_id) = user_id.filter(|user_id| may_invite(user_id)) {
            return Ok(Some(user_id));
        }
    }
    Ok(None)
}
