//! Rooms and who is in them.

use serde_json::{Value, json};

use crate::call::Call;
use crate::walk::Walk;
use crate::world::{World, somebody};

const NO_ROOM: &str = "!nothing:localhost";

pub(super) async fn walk(walk: &Walk, world: &World) {
    creation(walk, world).await;
    coming(walk, world).await;
    knocking(walk, world).await;
    removing(walk, world).await;
    going(walk, world).await;
    members(walk, world).await;
    upgrade(walk, world).await;
}

fn to<'a>(walk: &'a Walk, id: &str, room: &str) -> Call<'a> {
    walk.to(id).with("roomId", room)
}

async fn creation(walk: &Walk, world: &World) {
    let create = |body: Value| walk.to("createRoom").by(&world.alice).json(body);
    create(json!({
        "visibility": "private", "room_alias_name": "made", "name": "Made", "topic": "By a case",
        "invite": [world.bob.user_id], "room_version": "11", "creation_content": { "a": 1 },
        "initial_state": [{ "type": "m.room.guest_access", "state_key": "",
                            "content": { "guest_access": "forbidden" } }],
        "preset": "trusted_private_chat", "is_direct": true,
        "power_level_content_override": { "events_default": 1 },
    }))
    .valid()
    .await;
    create(json!({})).valid().await;
    create(json!({ "room_version": "4711" }))
        .refused("of an unknown version", 400, "M_UNSUPPORTED_ROOM_VERSION")
        .await;
    create(json!({ "room_alias_name": "hall" }))
        .refused("with an alias that is taken", 400, "M_ROOM_IN_USE")
        .await;
    create(json!({ "preset": "nonsense" }))
        .refused_as(
            "with a preset that is none",
            &[(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")],
        )
        .await;
    let bad = json!([{ "type": "m.room.power_levels", "content": { "ban": "a text" } }]);
    create(json!({ "initial_state": bad }))
        .refused_as(
            "with state that is not allowed",
            &[(400, "M_INVALID_ROOM_STATE"), (400, "M_BAD_JSON")],
        )
        .await;
}

async fn coming(walk: &Walk, world: &World) {
    let (alice, dave) = (&world.alice, &world.dave);
    let invite = |id: &str, user: &str| {
        to(walk, id, &world.secret).json(json!({ "user_id": user, "reason": "a case" }))
    };
    invite("inviteUser", &dave.user_id).by(alice).valid().await;
    invite("inviteUser", &dave.user_id)
        .by(&world.carol)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
    let third = json!({
        "id_server": "id.example", "id_access_token": "token", "medium": "email",
        "address": "erin@example.org",
    });
    to(walk, "inviteBy3PID", &world.secret)
        .by(alice)
        .json(third)
        .valid()
        .await;
    let join = |room: &str| to(walk, "joinRoomById", room).json(json!({ "reason": "a case" }));
    join(&world.secret).by(dave).valid().await;
    join(&world.secret)
        .by(&world.carol)
        .refused("without an invitation", 403, "M_FORBIDDEN")
        .await;
    join(NO_ROOM)
        .by(alice)
        .refused_as("of no room", &[(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")])
        .await;
    let join = |room: &str| {
        let call = walk.to("joinRoom").with("roomIdOrAlias", room);
        call.json(json!({ "reason": "a case" }))
    };
    join("#hall:localhost").by(dave).valid().await;
    join(&world.secret)
        .by(&world.carol)
        .refused("without an invitation", 403, "M_FORBIDDEN")
        .await;
    join("#nothing:localhost")
        .by(dave)
        .refused("by an alias that nobody made", 404, "M_NOT_FOUND")
        .await;
    let joined = walk.to("getJoinedRooms").by(alice).valid().await;
    assert!(joined.to_string().contains(&world.hall), "{joined}");
    // As it was before.
    dave.leave(&world.secret).await;
    dave.leave(&world.hall).await;
}

async fn knocking(walk: &Walk, world: &World) {
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let door = world
        .alice
        .create_room(json!({ "initial_state": rules }))
        .await;
    let knock = |room: &str| {
        let call = walk.to("knockRoom").with("roomIdOrAlias", room);
        call.by(&world.dave).json(json!({ "reason": "please" }))
    };
    knock(&door).valid().await;
    knock(&world.secret)
        .refused("where nobody may knock", 403, "M_FORBIDDEN")
        .await;
    knock("#nothing:localhost")
        .refused("at no room", 404, "M_NOT_FOUND")
        .await;
}

async fn removing(walk: &Walk, world: &World) {
    let erin = somebody(&world.alice, "erin").await;
    erin.join(&world.hall).await;
    let act = |id: &str, user: &str| {
        to(walk, id, &world.hall).json(json!({ "user_id": user, "reason": "a case" }))
    };
    for id in ["kick", "ban", "unban"] {
        act(id, &erin.user_id)
            .by(&world.bob)
            .refused("by one without the power", 403, "M_FORBIDDEN")
            .await;
        act(id, &erin.user_id).by(&world.alice).valid().await;
    }
    act("kick", &erin.user_id)
        .by(&world.alice)
        .refused("of one who is not there", 403, "M_FORBIDDEN")
        .await;
}

async fn going(walk: &Walk, world: &World) {
    let room = world.alice.room_with(&[&world.bob]).await;
    let leave = |room: &str| to(walk, "leaveRoom", room).json(json!({ "reason": "a case" }));
    let forget = |room: &str| to(walk, "forgetRoom", room).json(json!({}));
    forget(&room)
        .by(&world.bob)
        .refused("of a room that one is in", 400, "M_UNKNOWN")
        .await;
    leave(&room).by(&world.bob).valid().await;
    leave(NO_ROOM)
        .by(&world.bob)
        .refused_as("no room", &[(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")])
        .await;
    leave(&world.secret)
        .by(&world.carol)
        .refused_as(
            "of a room that one is not in",
            &[(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")],
        )
        .await;
    forget(&room).by(&world.bob).valid().await;
}

async fn members(walk: &Walk, world: &World) {
    for id in ["getMembersByRoom", "getJoinedMembersByRoom"] {
        to(walk, id, &world.hall).by(&world.alice).valid().await;
        to(walk, id, &world.secret)
            .by(&world.carol)
            .refused("by one who is not in the room", 403, "M_FORBIDDEN")
            .await;
    }
    to(walk, "getMembersByRoom", &world.hall)
        .query("membership", "leave")
        .by(&world.alice)
        .valid()
        .await;
}

async fn upgrade(walk: &Walk, world: &World) {
    let old = json!({ "preset": "public_chat", "room_version": "10" });
    let old = world.alice.create_room(old).await;
    world.bob.join(&old).await;
    let upgrade = |version: &str| {
        let body = json!({ "new_version": version });
        to(walk, "upgradeRoom", &old).json(body)
    };
    upgrade("4711")
        .by(&world.alice)
        .refused("to an unknown version", 400, "M_UNSUPPORTED_ROOM_VERSION")
        .await;
    upgrade("12")
        .by(&world.bob)
        .refused("by one without the power", 403, "M_FORBIDDEN")
        .await;
    upgrade("12").by(&world.alice).valid().await;
}
