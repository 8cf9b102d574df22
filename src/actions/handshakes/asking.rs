//! What servers ask each other about a membership.

use std::time::Duration;

use graph::{Event, MAX_JSON_DEPTH, Template, Version, canonical};
use http::{Method, StatusCode};
use model::Membership;
use peers::{Ask, PeerError};
use ruma_common::{RoomId, RoomVersionId, ServerName, UserId};
use ruma_federation_api::membership::{
    create_join_event::v2 as send_join, create_knock_event::v1 as send_knock,
    create_leave_event::v2 as send_leave, prepare_join_event::v1 as make_join,
    prepare_knock_event::v1 as make_knock, prepare_leave_event::v1 as make_leave,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::HandshakeError;
use crate::Actions;

/// How long another server may take to draft a membership.
const DRAFT_WAIT: Duration = Duration::from_secs(20);
/// How long it may take to let somebody go.
const LEAVE_WAIT: Duration = Duration::from_secs(15);
/// How long it may take to give a room: a large one has hundreds of thousands of events.
const JOIN_WAIT: Duration = Duration::from_secs(180);
/// The largest room that is taken, in bytes.
const ROOM_BYTES: usize = 256 * 1024 * 1024;

/// A room as the answer to a join gives it.
#[derive(Debug, Deserialize)]
pub(super) struct GivenRoom {
    pub(super) auth_chain: Vec<Box<RawValue>>,
    pub(super) state: Vec<Box<RawValue>>,
    pub(super) event: Option<Box<RawValue>>,
    /// Whether members are left out of the state.
    #[serde(default)]
    pub(super) members_omitted: bool,
    /// The servers that are in the room.
    #[serde(default)]
    pub(super) servers_in_room: Option<Vec<String>>,
}

impl Actions {
    /// Asks for the draft of a membership of one of this server's users.
    pub(super) async fn ask_for_draft(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        membership: Membership,
    ) -> Result<(Version, Template), HandshakeError> {
        let (room, user) = (room_id.to_owned(), user_id.to_owned());
        let versions = || Version::KNOWN.into_iter().map(Version::id).collect();
        let (version, event) = match membership {
            Membership::Knock => {
                let mut request = make_knock::Request::new(room, user);
                request.ver = versions();
                let ask = Ask::new("make_knock").within(DRAFT_WAIT);
                let answer = self.peers.ask(server, request, ask).await?;
                (Some(answer.room_version), answer.event)
            }
            Membership::Leave => {
                let request = make_leave::Request::new(room, user);
                let ask = Ask::new("make_leave").within(LEAVE_WAIT);
                let answer = self.peers.ask(server, request, ask).await?;
                (answer.room_version, answer.event)
            }
            _ => {
                let mut request = make_join::Request::new(room, user);
                request.ver = versions();
                let ask = Ask::new("make_join").within(DRAFT_WAIT);
                let answer = self.peers.ask(server, request, ask).await?;
                (answer.room_version, answer.event)
            }
        };
        // Who says none knows the first one only.
        let version = version.unwrap_or(RoomVersionId::V1);
        let version = Version::parse(version.as_str())
            .map_err(|_| HandshakeError::UnknownVersion(version.to_string()))?;
        let template = Template::read(event.get().as_bytes(), room_id, user_id, membership.name())
            .map_err(|error| PeerError::BadAnswer(error.to_string()))?;
        Ok((version, template))
    }

    /// Sends a join, and takes the room: where members are left out, they are fetched then.
    pub(super) async fn send_join(
        &self,
        server: &ServerName,
        event: &Event,
    ) -> Result<GivenRoom, HandshakeError> {
        let (room_id, event_id) = (event.room_id().to_owned(), event.event_id().to_owned());
        // The members are not left out yet (`omit_members`): who was invited could not come in.
        let request = send_join::Request::new(room_id, event_id, pdu(event)?);
        let ask = Ask::new("send_join").within(JOIN_WAIT).up_to(ROOM_BYTES);
        match self.peers.ask(server, request, ask).await {
            Ok(answer) => Ok(GivenRoom {
                auth_chain: answer.room_state.auth_chain,
                state: answer.room_state.state,
                event: answer.room_state.event,
                members_omitted: answer.room_state.members_omitted,
                servers_in_room: answer.room_state.servers_in_room,
            }),
            Err(error) if is_unknown(&error) => {
                let answer = self.send_old(server, "send_join", event, ask).await?;
                let (_, room): (u16, GivenRoom) = serde_json::from_slice(&answer)
                    .map_err(|error| PeerError::BadAnswer(error.to_string()))?;
                Ok(room)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a leave.
    pub(super) async fn send_leave(
        &self,
        server: &ServerName,
        event: &Event,
    ) -> Result<(), HandshakeError> {
        let (room_id, event_id) = (event.room_id().to_owned(), event.event_id().to_owned());
        let request = send_leave::Request::new(room_id, event_id, pdu(event)?);
        let ask = Ask::new("send_leave").within(LEAVE_WAIT);
        match self.peers.ask(server, request, ask).await {
            Ok(_) => Ok(()),
            Err(error) if is_unknown(&error) => {
                self.send_old(server, "send_leave", event, ask).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a knock, and takes what is shown of the room.
    pub(super) async fn send_knock(
        &self,
        server: &ServerName,
        event: &Event,
    ) -> Result<Vec<Box<RawValue>>, HandshakeError> {
        let (room_id, event_id) = (event.room_id().to_owned(), event.event_id().to_owned());
        let request = send_knock::Request::new(room_id, event_id, pdu(event)?);
        let ask = Ask::new("send_knock").within(DRAFT_WAIT);
        let answer = self.peers.ask(server, request, ask).await?;
        let events = answer.knock_room_state.iter();
        let events = events.filter_map(|event| serde_json::value::to_raw_value(event).ok());
        Ok(events.collect())
    }

    /// Sends an event the way it was done before the second version of the endpoints.
    async fn send_old(
        &self,
        server: &ServerName,
        endpoint: &str,
        event: &Event,
        ask: Ask,
    ) -> Result<bytes::Bytes, HandshakeError> {
        let path = format!(
            "/_matrix/federation/v1/{endpoint}/{}/{}",
            escaped(event.room_id().as_str()),
            escaped(event.event_id().as_str())
        );
        let content = canonical(event.json().as_bytes(), MAX_JSON_DEPTH)
            .map_err(|error| PeerError::BadRequest(error.to_string()))?;
        let asked = self
            .peers
            .ask_json(server, Method::PUT, &path, Some(&content), ask);
        Ok(asked.await?)
    }
}

/// Whether a server does not know an endpoint.
pub(super) fn is_unknown(error: &PeerError) -> bool {
    matches!(
        error,
        PeerError::Status { status, errcode, .. }
            if matches!(*status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
                && errcode.as_deref().is_none_or(|code| code == "M_UNRECOGNIZED")
    )
}

/// A piece of a path, with everything escaped that might mean something there.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn pdu(event: &Event) -> Result<Box<RawValue>, PeerError> {
    RawValue::from_string(event.json().to_owned())
        .map_err(|error| PeerError::BadRequest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_in_paths_as_one_piece() {
        assert_eq!(escaped("!a/b:c.d"), "%21a%2Fb%3Ac.d");
        assert_eq!(escaped("$x-Y_z~"), "%24x-Y_z~");
    }

    #[test]
    fn only_a_missing_endpoint_is_asked_in_the_old_way() {
        let error = |status, errcode: Option<&str>| PeerError::Status {
            status,
            errcode: errcode.map(str::to_owned),
            message: String::new(),
        };
        for (status, errcode, expected) in [
            (StatusCode::NOT_FOUND, Some("M_UNRECOGNIZED"), true),
            (StatusCode::METHOD_NOT_ALLOWED, None, true),
            (StatusCode::NOT_FOUND, Some("M_NOT_FOUND"), false),
            (StatusCode::FORBIDDEN, Some("M_UNRECOGNIZED"), false),
        ] {
            assert_eq!(is_unknown(&error(status, errcode)), expected, "{status}");
        }
    }
}
