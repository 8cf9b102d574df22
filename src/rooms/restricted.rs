//! Rooms that one may join as a member of another (client-server API, "Restricted
//! rooms").

use graph::Version;
use model::{Membership, UserSerial, tables};
use ruma_common::{CanonicalJsonObject, OwnedUserId, UserId};
use serde::Deserialize;
use store::{Latest, Read, StoreError};

use crate::{AppendError, Rooms, room_serial, staging::Staging};

/// The field of a join that names the member who could have invited the user.
pub(crate) const AUTHORISED_BY: &str = "join_authorised_via_users_server";

/// The most rooms of a join rule that are looked at.
const MAX_ROOMS: usize = 100;
/// The most members that are looked at for one who may invite.
const MAX_MEMBERS: usize = 10_000;

/// The content of `m.room.join_rules`.
#[derive(Deserialize)]
pub(crate) struct JoinRules {
    /// `public`, `restricted` or another.
    pub(crate) join_rule: String,
    /// Conditions, of which one is enough.
    #[serde(default)]
    allow: Vec<serde_json::Value>,
}

/// What the conditions of a join rule mean for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// One of them is met.
    Granted,
    /// None of them is met.
    Refused,
    /// There are some, and this server knows none of their rooms.
    Unverifiable,
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
/// [`AppendError::Forbidden`] if the user is in none of the rooms,
/// [`AppendError::UnableToAuthoriseJoin`] if none of them is known here, and
/// [`AppendError::UnableToGrantJoin`] if nobody of this server who is in this room may
/// invite.
pub(crate) fn authorise(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    who: (&UserId, Option<UserSerial>),
    content: &mut CanonicalJsonObject,
) -> Result<(), AppendError> {
    if !must_be_granted(latest, staging, who)? {
        return Ok(());
    }
    let Some(member) = inviter(rooms, latest, staging)? else {
        return Err(AppendError::UnableToGrantJoin);
    };
    content.insert(AUTHORISED_BY.to_owned(), member.to_string().into());
    Ok(())
}

/// Whether a join needs somebody who authorises it, and may have it.
fn must_be_granted(
    latest: &Latest,
    staging: &mut Staging,
    (user_id, user): (&UserId, Option<UserSerial>),
) -> Result<bool, AppendError> {
    let Some(rules) = staging.state_event(latest, "m.room.join_rules", "")? else {
        return Ok(false);
    };
    let Ok(rules) = rules.event.content_as::<JoinRules>() else {
        return Ok(false);
    };
    let restricted = rules.restricts(staging.version);
    let before = staging.membership(latest, user_id)?;
    let may_come = matches!(before, Some(Membership::Invite | Membership::Join));
    if !restricted || may_come || before == Some(Membership::Ban) {
        // The room's rules decide alone.
        return Ok(false);
    }
    match rules.admits(latest, user)? {
        Admission::Granted => Ok(true),
        Admission::Unverifiable => Err(AppendError::UnableToAuthoriseJoin),
        Admission::Refused => Err(AppendError::Forbidden(
            "you are in none of the rooms whose members may join this one".to_owned(),
        )),
    }
}

/// Whether `member`, one of this server's users, may let a user of another server in: the
/// same as [`authorise`] asks, of a join that names who authorises it.
///
/// # Errors
/// As [`authorise`].
pub(crate) fn check_grant(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    who: (&UserId, Option<UserSerial>),
    member: &UserId,
) -> Result<(), AppendError> {
    if !must_be_granted(latest, staging, who)? {
        return Ok(());
    }
    let Some(levels) = staging.power_levels(latest)? else {
        return Err(AppendError::UnableToGrantJoin);
    };
    let may_invite = rooms.is_local(member)
        && levels.user(member).reaches(levels.to_invite())
        && staging.membership(latest, member)? == Some(Membership::Join);
    if may_invite {
        Ok(())
    } else {
        Err(AppendError::UnableToGrantJoin)
    }
}

impl JoinRules {
    /// Whether members of other rooms may join, in a room of this version.
    pub(crate) fn restricts(&self, version: Version) -> bool {
        match self.join_rule.as_str() {
            "restricted" => version.knows_restricted_joins(),
            "knock_restricted" => version.knows_knock_restricted_joins(),
            _ => false,
        }
    }

    /// The rooms whose members may join. Conditions of other forms are for servers that
    /// know them.
    pub(crate) fn allowed_rooms(&self) -> impl Iterator<Item = String> {
        let conditions = self.allow.iter().take(MAX_ROOMS);
        conditions
            .filter_map(|entry| Allow::deserialize(entry).ok())
            .filter(|entry| entry.kind == "m.room_membership")
            .map(|entry| entry.room_id)
    }

    /// What the conditions mean for `user`; none is one whom this server has never heard of.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn admits(
        &self,
        view: &impl Read,
        user: Option<UserSerial>,
    ) -> Result<Admission, StoreError> {
        let (mut conditions, mut known) = (0, 0);
        for room_id in self.allowed_rooms() {
            conditions += 1;
            let Some(room) = room_serial(view, &room_id)? else {
                continue;
            };
            // Where nobody of this server is any more, it does not know who is.
            let head = view.get(&tables::HEAD_BY_ROOM, &room)?;
            if head.is_none_or(|head| head.joined_here == 0) {
                continue;
            }
            known += 1;
            let Some(user) = user else {
                continue;
            };
            let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
            if record.is_some_and(|record| record.membership == Membership::Join) {
                return Ok(Admission::Granted);
            }
        }
        if conditions > 0 && known == 0 {
            return Ok(Admission::Unverifiable);
        }
        Ok(Admission::Refused)
    }
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
