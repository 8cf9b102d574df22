//! Invitations of people of this server (server-server API, "Inviting to a room").

use actions::{Actions, Sent, SentInvitation};
use ruma_federation_api::membership::create_invite::{v1 as invite_v1, v2 as invite};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use web::{ApiError, Part, RawJson, Reply, Routes, Server, WithBody};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(invite).on(invite_v1)
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
async fn invite(
    Part(actions): Part<Actions>,
    caller: Server,
    request: invite::Request,
) -> Reply<RawJson> {
    let state = request.invite_room_state.iter();
    let invitation = SentInvitation {
        sent: Sent {
            origin: &caller,
            room_id: &request.room_id,
            event_id: &request.event_id,
            pdu: &request.event,
        },
        version: request.room_version.as_str(),
        state: state.filter_map(|event| to_raw_value(event).ok()).collect(),
    };
    let event = actions.host_invitation(invitation).await?;
    Ok(answers::object(&[("event", &event)]))
}

/// What comes with an invitation of the first version.
#[derive(Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct OldInvitation {
    #[serde(default)]
    unsigned: Unsigned,
}

/// `PUT /_matrix/federation/v1/invite/{roomId}/{eventId}`: for rooms of versions 1 and 2
/// only, which look the same.
async fn invite_v1(
    Part(actions): Part<Actions>,
    caller: Server,
    WithBody { request, body }: WithBody<invite_v1::Request>,
) -> Reply<RawJson> {
    let wrong = |error| ApiError::bad_json(format!("The body is no event: {error}."));
    let pdu: &RawValue = serde_json::from_slice(&body).map_err(wrong)?;
    let old: OldInvitation = serde_json::from_slice(&body).map_err(wrong)?;
    let invitation = SentInvitation {
        sent: Sent {
            origin: &caller,
            room_id: &request.room_id,
            event_id: &request.event_id,
            pdu,
        },
        version: "1",
        state: old.unsigned.invite_room_state,
    };
    let event = actions.host_invitation(invitation).await?;
    Ok(answers::with_status(&answers::object(&[("event", &event)])))
}
