//! People of other servers in rooms of this one (server-server API, "Joining Rooms", "Leaving
//! Rooms", "Knocking upon a room").

use actions::{Actions, Sent};
use model::Membership;
use ruma_common::{RoomId, UserId};
use ruma_federation_api::membership::{
    create_join_event::v2 as send_join, create_knock_event::v1 as send_knock,
    create_leave_event::v2 as send_leave, prepare_join_event::v1 as make_join,
    prepare_knock_event::v1 as make_knock, prepare_leave_event::v1 as make_leave,
};
use web::{Part, RawJson, Reply, Routes, Server};

use crate::{ServerParts, answers, old_requests};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new()
        .on(make_join)
        .on(send_join)
        .on(send_join_v1)
        .on(make_leave)
        .on(send_leave)
        .on(send_leave_v1)
        .on(make_knock)
        .on(send_knock)
}

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
async fn make_join(
    Part(actions): Part<Actions>,
    caller: Server,
    request: make_join::Request,
) -> Reply<RawJson> {
    let versions = request.ver.iter().map(ToString::to_string).collect();
    let who = (&*request.room_id, &*request.user_id);
    draft(&actions, &caller, who, Membership::Join, Some(versions)).await
}

/// `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`
async fn make_leave(
    Part(actions): Part<Actions>,
    caller: Server,
    request: make_leave::Request,
) -> Reply<RawJson> {
    let who = (&*request.room_id, &*request.user_id);
    draft(&actions, &caller, who, Membership::Leave, None).await
}

/// `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
async fn make_knock(
    Part(actions): Part<Actions>,
    caller: Server,
    request: make_knock::Request,
) -> Reply<RawJson> {
    let versions = request.ver.iter().map(ToString::to_string).collect();
    let who = (&*request.room_id, &*request.user_id);
    draft(&actions, &caller, who, Membership::Knock, Some(versions)).await
}

async fn draft(
    actions: &Actions,
    caller: &Server,
    (room_id, user_id): (&RoomId, &UserId),
    membership: Membership,
    versions: Option<Vec<String>>,
) -> Reply<RawJson> {
    let (version, event) = actions
        .draft_membership(caller, room_id, user_id, membership, versions)
        .await?;
    let version = answers::text(version.as_str());
    Ok(answers::object(&[
        ("room_version", &version),
        ("event", &event),
    ]))
}

fn join_request<'a>(caller: &'a Server, request: &'a send_join::Request) -> Sent<'a> {
    Sent {
        origin: caller,
        room_id: &request.room_id,
        event_id: &request.event_id,
        pdu: &request.pdu,
    }
}

/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
async fn send_join(
    Part(actions): Part<Actions>,
    caller: Server,
    request: send_join::Request,
) -> Reply<RawJson> {
    let omit_members = request.omit_members;
    let sent = join_request(&caller, &request);
    let room = actions.host_join(sent, omit_members).await?;
    let servers = answers::texts(&room.servers);
    let (state, chain) = (answers::list(&room.state), answers::list(&room.auth_chain));
    let origin = answers::text(actions.server_name().as_str());
    let mut fields = vec![
        ("origin", origin.as_str()),
        ("auth_chain", &chain),
        ("state", &state),
        ("event", &room.event),
        (
            "members_omitted",
            if omit_members { "true" } else { "false" },
        ),
    ];
    if omit_members {
        fields.push(("servers_in_room", &servers));
    }
    Ok(answers::object(&fields))
}

/// `PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}`
async fn send_join_v1(
    Part(actions): Part<Actions>,
    caller: Server,
    request: old_requests::SendJoin,
) -> Reply<RawJson> {
    let sent = join_request(&caller, &request.0);
    let room = actions.host_join(sent, false).await?;
    let room = answers::object(&[
        ("origin", &answers::text(actions.server_name().as_str())),
        ("auth_chain", &answers::list(&room.auth_chain)),
        ("state", &answers::list(&room.state)),
    ]);
    Ok(answers::with_status(&room))
}

fn leave_request<'a>(caller: &'a Server, request: &'a send_leave::Request) -> Sent<'a> {
    Sent {
        origin: caller,
        room_id: &request.room_id,
        event_id: &request.event_id,
        pdu: &request.pdu,
    }
}

/// `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
async fn send_leave(
    Part(actions): Part<Actions>,
    caller: Server,
    request: send_leave::Request,
) -> Reply<send_leave::Response> {
    actions.host_leave(leave_request(&caller, &request)).await?;
    Ok(send_leave::Response::new())
}

/// `PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}`
async fn send_leave_v1(
    Part(actions): Part<Actions>,
    caller: Server,
    request: old_requests::SendLeave,
) -> Reply<RawJson> {
    let sent = leave_request(&caller, &request.0);
    actions.host_leave(sent).await?;
    Ok(answers::with_status(&answers::object(&[])))
}

/// `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
async fn send_knock(
    Part(actions): Part<Actions>,
    caller: Server,
    request: send_knock::Request,
) -> Reply<RawJson> {
    let sent = Sent {
        origin: &caller,
        room_id: &request.room_id,
        event_id: &request.event_id,
        pdu: &request.pdu,
    };
    let state = actions.host_knock(sent).await?;
    Ok(answers::object(&[(
        "knock_room_state",
        &answers::list(&state),
    )]))
}
