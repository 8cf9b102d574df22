//! Inviting people, also of other servers.

use std::{collections::HashMap, time::Duration};

use accounts::Session;
use graph::{MAX_JSON_DEPTH, Received, Unchecked, VerifyKey, canonical};
use http::Method;
use peers::{Ask, PeerError};
use rooms::{Incoming, Invitation, Sender};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, RoomId, ServerName, UserId,
};
use runtime::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::Snapshot;

use super::{
    HandshakeError,
    asking::{escaped, is_unknown},
};
use crate::{Actions, UnusableEvent, sender};

/// How long the other server may take to tell its user.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Answer {
    event: Box<RawValue>,
}

impl Actions {
    /// Invites somebody. A user of another server is invited when that server has taken the
    /// invitation.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn invite(
        &self,
        session: &Session,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), HandshakeError> {
        let sender = sender(session);
        if self.is_local(target) {
            return Ok(self.rooms.invite(&sender, room_id, target, reason).await?);
        }
        let mut content = CanonicalJsonObject::new();
        content.insert("membership".to_owned(), "invite".to_owned().into());
        if let Some(reason) = reason {
            content.insert("reason".to_owned(), reason.into());
        }
        self.invite_elsewhere(&sender, room_id, target, content)
            .await?;
        Ok(())
    }

    /// Invites a user of another server, if that is what a state event of this content does,
    /// and gives the event's id.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn invite_by_state(
        &self,
        session: &Session,
        room_id: &RoomId,
        (event_type, state_key): (&str, &str),
        content: &[u8],
    ) -> Result<Option<OwnedEventId>, HandshakeError> {
        let target = UserId::parse(state_key).ok();
        let Some(target) = target.filter(|target| !self.is_local(target)) else {
            return Ok(None);
        };
        if event_type != "m.room.member" {
            return Ok(None);
        }
        let mut content = canonical(content, MAX_JSON_DEPTH).map_err(rooms::AppendError::from)?;
        if content.get("membership") != Some(&"invite".to_owned().into()) {
            return Ok(None);
        }
        // Of a join alone.
        content.remove("join_authorised_via_users_server");
        let sender = sender(session);
        let invited = self.invite_elsewhere(&sender, room_id, &target, content);
        Ok(Some(invited.await?))
    }

    /// Invites a user of another server with this content of the membership.
    pub(crate) async fn invite_elsewhere(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        target: &UserId,
        content: CanonicalJsonObject,
    ) -> Result<OwnedEventId, HandshakeError> {
        let server = target.server_name();
        self.peers.may_speak_to(server).map_err(PeerError::from)?;
        let mut invitation = self
            .rooms
            .propose_invitation(sender, room_id, target, content)
            .await?;
        let room = invitation.room;
        let federates = move |view: &Snapshot| rooms::federates(view, room);
        let federates = self.rooms.store().read(federates).await;
        // The rules of rooms keep people of other servers out, and their invitations not.
        if !federates.map_err(rooms::AppendError::from)? {
            let text = "this room is for people of this server alone";
            return Err(rooms::AppendError::Forbidden(text.to_owned()).into());
        }
        if let Some(policy) = self.rooms.policy_server(invitation.room).await? {
            invitation.event = self
                .rooms
                .recommended_by(&policy, &invitation.event)
                .await?;
        }
        let signed = self.send_invitation(&invitation, target).await?;
        let part = (invitation.room, invitation.version);
        let event_id = signed.event.event_id().to_owned();
        let incoming = Incoming::new(signed);
        self.bring_in_at(self.rooms.server_name(), part, room_id, incoming)
            .await?;
        Ok(event_id)
    }

    /// Sends an invitation to the server of the invited one, and takes it back signed.
    async fn send_invitation(
        &self,
        invitation: &Invitation,
        target: &UserId,
    ) -> Result<Received, HandshakeError> {
        let event = &invitation.event;
        let wrong = |error: graph::Reason| PeerError::BadRequest(error.to_string());
        let json = canonical(event.json().as_bytes(), MAX_JSON_DEPTH).map_err(wrong)?;
        let mut state = Vec::new();
        for event in &invitation.state {
            let event = canonical(event.as_bytes(), MAX_JSON_DEPTH).map_err(wrong)?;
            state.push(CanonicalJsonValue::Object(event));
        }
        let state = CanonicalJsonValue::Array(state);
        let body = CanonicalJsonObject::from([
            ("event".to_owned(), CanonicalJsonValue::Object(json.clone())),
            (
                "room_version".to_owned(),
                invitation.version.as_str().to_owned().into(),
            ),
            ("invite_room_state".to_owned(), state.clone()),
        ]);
        let server = target.server_name();
        let path = |version: u8| {
            format!(
                "/_matrix/federation/v{version}/invite/{}/{}",
                escaped(event.room_id().as_str()),
                escaped(event.event_id().as_str())
            )
        };
        let ask = Ask::new("invite").within(WAIT);
        let asked = self
            .peers
            .ask_json(server, Method::PUT, &path(2), Some(&body), ask)
            .await;
        let bad = |error: serde_json::Error| PeerError::BadAnswer(error.to_string());
        let answer: Answer = match asked {
            Ok(answer) => serde_json::from_slice(&answer).map_err(bad)?,
            Err(error) if is_unknown(&error) && invitation.version.has_chosen_event_ids() => {
                let mut old = json;
                let unsigned = [("invite_room_state".to_owned(), state)];
                let unsigned = CanonicalJsonObject::from(unsigned);
                old.insert("unsigned".to_owned(), unsigned.into());
                let answer = self
                    .peers
                    .ask_json(server, Method::PUT, &path(1), Some(&old), ask)
                    .await?;
                let (_, answer): (u16, Answer) = serde_json::from_slice(&answer).map_err(bad)?;
                answer
            }
            Err(error) => return Err(error.into()),
        };
        self.signed_invitation(invitation, target, &answer.event)
            .await
    }

    /// The invitation as the other server has signed it.
    async fn signed_invitation(
        &self,
        invitation: &Invitation,
        target: &UserId,
        signed: &RawValue,
    ) -> Result<Received, HandshakeError> {
        let bad = |text: &str| HandshakeError::Peer(PeerError::BadAnswer(text.to_owned()));
        let unchecked = Unchecked::read(signed.get().as_bytes(), invitation.version)
            .map_err(|error| bad(&error.to_string()))?;
        if unchecked.event_id() != invitation.event.event_id() {
            return Err(bad("it is another event than the one sent"));
        }
        self.check_signature_of(&unchecked, target.server_name())
            .await
            .map_err(|error| bad(&error.to_string()))?;
        self.vouched(unchecked)
            .await
            .map_err(|error| bad(&error.to_string()))
    }

    /// Whether a server has signed an event, with a key of its that can be had.
    async fn check_signature_of(
        &self,
        event: &Unchecked,
        server: &ServerName,
    ) -> Result<(), UnusableEvent> {
        let mut keys = HashMap::new();
        for key_id in event.keys_of(server) {
            let at = Timestamp(event.origin_server_ts());
            if let Ok(key) = self.peers.key(server, &key_id, at).await {
                keys.insert(key_id, key);
            }
        }
        event.check_signature_of(&server.to_owned(), |_, key_id, _| {
            Some(VerifyKey {
                public_key: keys.get(key_id)?.clone(),
                // The key ring has looked whether it was valid then.
                valid_until: u64::MAX,
            })
        })?;
        Ok(())
    }
}
