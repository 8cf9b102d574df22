//! Invitations that other servers send to people of this one.

use accounts::InvitePermission;
use graph::{Unchecked, Version};
use model::Membership;
use rooms::{AppendError, Outside};
use ruma_common::{OwnedUserId, UserId};
use serde_json::value::RawValue;
use store::Snapshot;

use super::{HandshakeError, hosting::Sent};
use crate::Actions;

/// The most events of a room's state that are looked at.
const MOST_EVENTS: usize = 200;

/// An invitation as another server has sent it.
#[derive(Debug)]
pub struct SentInvitation<'a> {
    /// The event.
    pub sent: Sent<'a>,
    /// The name of the room's version.
    pub version: &'a str,
    /// What the room is: events, whole or stripped.
    pub state: Vec<Box<RawValue>>,
}

impl Actions {
    /// Takes an invitation of one of this server's users, tells the user, and gives the
    /// event as JSON, with this server's signature.
    ///
    /// # Errors
    /// [`HandshakeError`]; [`AppendError::InviteBlocked`] if the user takes no invitation of
    /// the one who invites.
    pub async fn host_invitation(
        &self,
        invitation: SentInvitation<'_>,
    ) -> Result<String, HandshakeError> {
        let sent = invitation.sent;
        let version = Version::parse(invitation.version)
            .map_err(|_| HandshakeError::UnknownVersion(invitation.version.to_owned()))?;
        let (event, _) = sent.read(version, Membership::Invite)?;
        let target = event.state_key().unwrap_or_default();
        let target = UserId::parse(target)
            .ok()
            .filter(|target| self.is_local(target))
            .ok_or_else(|| {
                HandshakeError::Invalid("the event invites nobody of this server".to_owned())
            })?;
        check_create(version, &sent, &invitation.state)?;
        self.may_be_invited(target, event.sender().to_owned())
            .await?;
        let json = self.rooms.countersign(event.json().as_bytes(), version)?;
        let signed = Unchecked::read(json.as_bytes(), version)
            .map_err(|error| HandshakeError::Invalid(error.to_string()))?;
        let received = self.vouched(signed).await?;
        if self.rooms.part_of(sent.room_id).await?.is_some() {
            // It comes the usual way too, when the other server has this signature.
            let brought = self.bring_in(sent.origin, sent.room_id, received).await;
            if let Err(error) = brought {
                log::info!("an invitation to {} waits: {error}", sent.room_id);
            }
            return Ok(json);
        }
        self.rooms
            .set_outside(Outside {
                event: received.event,
                version,
                state: invitation.state,
                servers: vec![sent.origin.to_owned()],
            })
            .await?;
        Ok(json)
    }

    /// Whether a user of this server can be invited by another.
    async fn may_be_invited(
        &self,
        target: OwnedUserId,
        inviter: OwnedUserId,
    ) -> Result<(), HandshakeError> {
        let read = move |view: &Snapshot| {
            let found = accounts::find(view, &target)?;
            let Some((user, _)) = found.filter(|(_, account)| account.deactivated_at.is_none())
            else {
                return Err(AppendError::Forbidden(format!(
                    "{target} cannot be invited: there is no such account"
                )));
            };
            let permission = accounts::invite_permission(view, user, inviter.as_str())?;
            if permission == InvitePermission::Block {
                return Err(AppendError::InviteBlocked);
            }
            Ok(())
        };
        Ok(self.rooms.store().read(read).await?)
    }
}

/// Where a room's id is made of its create event, that event must come along: nobody is
/// invited to a room that does not exist (server-server API, "Inviting to a room").
fn check_create(
    version: Version,
    sent: &Sent<'_>,
    state: &[Box<RawValue>],
) -> Result<(), HandshakeError> {
    if !version.room_id_is_create_event() {
        return Ok(());
    }
    let is_create = |event: &RawValue| {
        Unchecked::read(event.get().as_bytes(), version).is_ok_and(|event| {
            event.event_type() == "m.room.create" && event.room_id() == sent.room_id
        })
    };
    if state.iter().take(MOST_EVENTS).any(|event| is_create(event)) {
        Ok(())
    } else {
        Err(HandshakeError::Invalid(
            "invite_room_state does not have the room's create event".to_owned(),
        ))
    }
}
