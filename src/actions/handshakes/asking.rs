//! What servers ask each other about a membership.

use std::time::Duration;

use graph::{Event, MAX_JSON_DEPTH, MAX_RECEIVED_BYTES, Template, Version, canonical};
use http::{Method, StatusCode};
use model::Membership;
use peers::{Ask, Lists, PeerError};
use ruma_common::{RoomId, RoomVersionId, ServerName, UserId};
use ruma_federation_api::membership::{
    create_join_event::v2 as send_join, create_knock_event::v1 as send_knock,
    create_leave_event::v2 as send_leave, prepare_join_event::v1 as make_join,
    prepare_knock_event::v1 as make_knock, prepare_leave_event::v1 as make_leave,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::HandshakeError;
use crate::{Actions, receiving::GivenEvents};

/// How long another server may take to draft a membership.
const DRAFT_WAIT: Duration = Duration::from_secs(20);
/// How long it may take to let somebody go.
const LEAVE_WAIT: Duration = Duration::from_secs(15);
/// How long it may take to give a room: a large one has hundreds of thousands of events.
const JOIN_WAIT: Duration = Duration::from_secs(180);
/// The largest room that is taken, in bytes.
const ROOM_BYTES: usize = 256 * 1024 * 1024;

/// What may come in very many pieces.
const LISTS: Lists = Lists {
    names: &["state", "auth_chain"],
    element_bytes: MAX_RECEIVED_BYTES,
};

/// A room as the answer to a join gives it.
#[derive(Debug, Default)]
pub(super) struct GivenRoom {
    /// Its state, and what that rests on.
    pub(super) events: GivenEvents,
    /// What else the answer says.
    pub(super) about: AboutGiven,
}

/// What the answer to a join says beside the room's events.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AboutGiven {
    /// The join, signed by the other server too where it must be.
    pub(super) event: Option<Box<RawValue>>,
    /// Whether members are left out of the state.
    #[serde(default)]
    pub(super) members_omitted: bool,
    /// The servers that are in the room.
    #[serde(default)]
    pub(super) servers_in_room: Option<Vec<String>>,
}

/// The answer of the first version of the endpoint, which leaves nothing out.
#[derive(Deserialize)]
struct OldRoom {
    auth_chain: Vec<Box<RawValue>>,
    state: Vec<Box<RawValue>>,
    event: Option<Box<RawValue>>,
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
                let ask = Ask::new("make_knock").within(DRAFT_WAIT).regardless();
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
                let ask = Ask::new("make_join").within(DRAFT_WAIT).regardless();
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

    /// Sends a join, and takes the room: without its members, if the other server leaves them
    /// out and the configuration allows it.
    pub(super) async fn send_join(
        &self,
        server: &ServerName,
        event: &Event,
    ) -> Result<GivenRoom, HandshakeError> {
        let (room_id, event_id) = (event.room_id().to_owned(), event.event_id().to_owned());
        let mut request = send_join::Request::new(room_id, event_id, pdu(event)?);
        request.omit_members = self.peers.joins_fast();
        let ask = Ask::new("send_join").within(JOIN_WAIT).up_to(ROOM_BYTES);
        let mut events = GivenEvents::default();
        let take = |list: &str, event| events.add(event, list == "state");
        let bad = |error: serde_json::Error| PeerError::BadAnswer(error.to_string());
        match self
            .peers
            .ask_lists(server, request, ask, LISTS, take)
            .await
        {
            Ok(rest) => {
                let rest = serde_json::to_string(&rest).map_err(bad)?;
                let about = serde_json::from_str(&rest).map_err(bad)?;
                Ok(GivenRoom { events, about })
            }
            Err(error) if is_unknown(&error) => {
                let answer = self.send_old(server, "send_join", event, ask).await?;
                let (_, room): (u16, OldRoom) = serde_json::from_slice(&answer).map_err(bad)?;
                let mut given = GivenRoom::default();
                given.about.event = room.event;
                let chain = room.auth_chain.into_iter().map(|event| (event, false));
                let state = room.state.into_iter().map(|event| (event, true));
                for (event, is_state) in chain.chain(state) {
                    given.events.add(event, is_state);
                }
                Ok(given)
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
