//! People of other servers come into rooms of this one, knock at them, and go.

use graph::{Received, Unchecked, Version};
use model::{Membership, RoomSerial};
use rooms::{Arrival, Incoming, JoinAnswer};
use ruma_common::{EventId, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::Snapshot;

use super::HandshakeError;
use crate::{
    Actions,
    receiving::{Completed, Incomplete, Place},
};

/// An event that another server has sent, with what its request says of it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Who sent it.
    pub origin: &'a ServerName,
    /// The room.
    pub room_id: &'a RoomId,
    /// The event's id.
    pub event_id: &'a EventId,
    /// The event.
    pub pdu: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct Member {
    content: MemberContent,
}

#[derive(Deserialize)]
struct MemberContent {
    membership: String,
    join_authorised_via_users_server: Option<OwnedUserId>,
}

impl Sent<'_> {
    fn invalid(text: &str) -> HandshakeError {
        HandshakeError::Invalid(format!("the event {text}"))
    }

    /// Reads the event, which must be the membership that the request is for.
    pub(super) fn read(
        &self,
        version: Version,
        membership: Membership,
    ) -> Result<(Unchecked, Member), HandshakeError> {
        let event = Unchecked::read(self.pdu.get().as_bytes(), version)
            .map_err(|error| HandshakeError::Invalid(error.to_string()))?;
        if event.event_id() != self.event_id {
            return Err(Self::invalid("has another id than the request says"));
        }
        if event.room_id() != self.room_id {
            return Err(Self::invalid("is of another room than the request says"));
        }
        if event.sender().server_name() != self.origin {
            return Err(Self::invalid("is not of the server that sends it"));
        }
        let member: Member =
            serde_json::from_str(event.json()).map_err(|_| Self::invalid("is no membership"))?;
        let is_member = event.event_type() == "m.room.member" && event.state_key().is_some();
        if !is_member || member.content.membership != membership.name() {
            return Err(Self::invalid(
                "is not the membership that the request is for",
            ));
        }
        Ok((event, member))
    }

    /// The same of a membership that somebody gives themselves.
    fn read_own(
        &self,
        version: Version,
        membership: Membership,
    ) -> Result<(Unchecked, Member), HandshakeError> {
        let (event, member) = self.read(version, membership)?;
        if event.state_key() != Some(event.sender().as_str()) {
            return Err(Self::invalid("is not about its sender"));
        }
        Ok((event, member))
    }
}

impl Actions {
    /// The draft of a membership that a user of another server wants in a room of this one:
    /// the room's version and the event's JSON. `versions` are those that the server knows.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn draft_membership(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        membership: Membership,
        versions: Option<Vec<String>>,
    ) -> Result<(Version, String), HandshakeError> {
        if user_id.server_name() != origin {
            return Err(HandshakeError::Rejected(format!(
                "{user_id} is not a user of {origin}"
            )));
        }
        let rooms = &self.rooms;
        Ok(rooms
            .draft_membership(room_id, user_id, membership, versions)
            .await?)
    }

    /// Lets a user of another server into a room, and gives that server the room: without
    /// its members, if `omit_members`.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn host_join(
        &self,
        sent: Sent<'_>,
        omit_members: bool,
    ) -> Result<JoinAnswer, HandshakeError> {
        let (room, version) = self.rooms.room_to_enter(sent.room_id, sent.origin).await?;
        let (mut event, member) = sent.read_own(version, Membership::Join)?;
        let authorised_by = member.content.join_authorised_via_users_server;
        if let Some(by) = authorised_by.filter(|_| version.knows_restricted_joins())
            && self.is_local(&by)
        {
            // The signature says that it may come in: it is asked for now, not of the draft.
            self.rooms.grants_join(room, event.sender(), &by).await?;
            let json = self.rooms.countersign(event.json().as_bytes(), version)?;
            event = Unchecked::read(json.as_bytes(), version)
                .map_err(|error| HandshakeError::Invalid(error.to_string()))?;
        }
        self.host(sent, room, version, event).await?;
        let rooms = self.rooms.clone();
        let (room_id, event_id) = (sent.room_id.to_owned(), sent.event_id.to_owned());
        let origin = sent.origin.to_owned();
        let read = move |view: &Snapshot| {
            rooms.join_answer(view, &room_id, &event_id, &origin, omit_members)
        };
        let answer = self.rooms.store().read_long(read).await;
        Ok(answer.map_err(rooms::AppendError::from)?)
    }

    /// Lets a user of another server go out of a room.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn host_leave(&self, sent: Sent<'_>) -> Result<(), HandshakeError> {
        let (room, version) = self.rooms.room_for(sent.room_id, sent.origin).await?;
        let (event, _) = sent.read_own(version, Membership::Leave)?;
        self.host(sent, room, version, event).await
    }

    /// Lets a user of another server knock at a room, and says what is shown of it, each
    /// event as JSON.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn host_knock(&self, sent: Sent<'_>) -> Result<Vec<String>, HandshakeError> {
        let (room, version) = self.rooms.room_to_enter(sent.room_id, sent.origin).await?;
        let (event, _) = sent.read_own(version, Membership::Knock)?;
        self.host(sent, room, version, event).await?;
        Ok(self.rooms.knock_state(room).await?)
    }

    /// Brings a membership of another server's user into a room and lets it be sent on.
    async fn host(
        &self,
        sent: Sent<'_>,
        room: RoomSerial,
        version: Version,
        event: Unchecked,
    ) -> Result<(), HandshakeError> {
        let received = self.vouched(event).await?;
        let incoming = Incoming::relayed(received);
        self.bring_in_at(sent.origin, (room, version), sent.room_id, incoming)
            .await
    }

    /// An event whose signatures and content are right.
    pub(super) async fn vouched(&self, event: Unchecked) -> Result<Received, HandshakeError> {
        let checked = self.check_read(vec![event]).await.pop();
        let received = checked
            .ok_or_else(|| HandshakeError::Invalid("the event cannot be checked".to_owned()))??;
        if received.redacted {
            return Err(HandshakeError::Invalid(
                "the event's content does not have its hash".to_owned(),
            ));
        }
        Ok(received)
    }

    /// Brings an event into a room in which this server is; what it lacks is fetched from
    /// `origin`.
    pub(super) async fn bring_in(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        received: Received,
    ) -> Result<(), HandshakeError> {
        let part = self.rooms.part_of(room_id).await?;
        let part = part.ok_or(HandshakeError::NoServer)?;
        self.bring_in_at(origin, part, room_id, Incoming::new(received))
            .await
    }

    pub(super) async fn bring_in_at(
        &self,
        origin: &ServerName,
        (room, version): (RoomSerial, Version),
        room_id: &RoomId,
        incoming: Incoming,
    ) -> Result<(), HandshakeError> {
        let place = Place {
            origin,
            room,
            room_id,
            version,
        };
        let incoming = self.recommended(room, vec![incoming]).await;
        let turn = self.turns.of(room);
        let _turn = turn.lock().await;
        match self.rooms.receive(room, incoming).await?.pop() {
            Some(Arrival::SoftFailed(_)) => Err(HandshakeError::Rejected(
                "its state or its policy server does not allow this".to_owned(),
            )),
            Some(arrival) => match self.complete(place, arrival, true).await {
                Ok(Completed::Taken) => Ok(()),
                Ok(Completed::Rejected(reason)) | Err(Incomplete::Reason(reason)) => {
                    Err(HandshakeError::Rejected(reason))
                }
                Err(Incomplete::Store(error)) => Err(error.into()),
            },
            None => Ok(()),
        }
    }
}
