//! Aliases, public rooms, spaces, summaries, people and their profiles.

use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::World;

const NO_ROOM: &str = "!nothing:localhost";

pub(super) async fn walk(walk: &Walk, world: &World) {
    aliases(walk, world).await;
    public_rooms(walk, world).await;
    spaces(walk, world).await;
    people(walk, world).await;
    profiles(walk, world).await;
}

async fn aliases(walk: &Walk, world: &World) {
    let set = |alias: &str, room: &str| {
        walk.to("setRoomAlias")
            .with("roomAlias", alias)
            .by(&world.alice)
            .json(json!({ "room_id": room }))
    };
    set("#other:localhost", &world.hall).valid().await;
    set("#hall:localhost", &world.hall)
        .refused_as(
            "that is taken",
            &[(409, "M_UNKNOWN"), (409, "M_ROOM_IN_USE")],
        )
        .await;
    set("no alias", &world.hall)
        .refused("that is none", 400, "M_INVALID_PARAM")
        .await;
    let find = |alias: &str| walk.to("getRoomIdByAlias").with("roomAlias", alias);
    find("#hall:localhost").valid().await;
    find("#nothing:localhost")
        .refused("that nobody made", 404, "M_NOT_FOUND")
        .await;
    find("nothing")
        .refused("that is none", 400, "M_INVALID_PARAM")
        .await;
    let list = |room: &str| walk.to("getLocalAliases").with("roomId", room);
    list(&world.hall).by(&world.alice).valid().await;
    list(&world.secret)
        .by(&world.dave)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
    let delete = |alias: &str| walk.to("deleteRoomAlias").with("roomAlias", alias);
    delete("#other:localhost")
        .by(&world.dave)
        .refused("by one who may not", 403, "M_FORBIDDEN")
        .await;
    delete("#other:localhost").by(&world.alice).valid().await;
    delete("#other:localhost")
        .by(&world.alice)
        .refused("that is gone", 404, "M_NOT_FOUND")
        .await;
}

async fn public_rooms(walk: &Walk, world: &World) {
    let set = |room: &str| {
        walk.to("setRoomVisibilityOnDirectory")
            .with("roomId", room)
            .json(json!({ "visibility": "public" }))
    };
    set(&world.space).by(&world.alice).valid().await;
    set(&world.hall)
        .by(&world.dave)
        .refused("by one who may not", 403, "M_FORBIDDEN")
        .await;
    set(NO_ROOM)
        .by(&world.alice)
        .refused("of no room", 404, "M_NOT_FOUND")
        .await;
    let get = |room: &str| walk.to("getRoomVisibilityOnDirectory").with("roomId", room);
    get(&world.hall).valid().await;
    get(NO_ROOM).refused("of no room", 404, "M_NOT_FOUND").await;
    walk.to("getPublicRooms").valid().await;
    let first = walk.to("getPublicRooms").query("limit", "1").valid().await;
    if let Some(next) = first["next_batch"].as_str() {
        walk.to("getPublicRooms").query("since", next).valid().await;
    }
    walk.to("getPublicRooms")
        .query("since", "no token")
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
    let query = |body: Value| walk.to("queryPublicRooms").by(&world.bob).json(body);
    let filter = json!({ "generic_search_term": "hall" });
    query(json!({ "limit": 10, "filter": filter }))
        .valid()
        .await;
    let first = query(json!({ "limit": 1 })).valid().await;
    query(json!({ "since": first["next_batch"] })).valid().await;
    query(json!({ "since": "no token" }))
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
}

async fn spaces(walk: &Walk, world: &World) {
    let tree = |room: &str| walk.to("getSpaceHierarchy").with("roomId", room);
    tree(&world.space).by(&world.alice).valid().await;
    let first = tree(&world.space).by(&world.alice).query("limit", "1");
    let first = first.valid().await;
    if let Some(next) = first["next_batch"].as_str() {
        let more = tree(&world.space).by(&world.alice).query("from", next);
        more.valid().await;
    }
    tree(&world.space)
        .by(&world.alice)
        .query("from", "no token")
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
    tree(&world.secret)
        .by(&world.dave)
        .refused("of a room that one may not see", 403, "M_FORBIDDEN")
        .await;
    let about = |room: &str| walk.to("getRoomSummary").with("roomIdOrAlias", room);
    about(&world.hall).by(&world.alice).valid().await;
    about("#hall:localhost").by(&world.dave).valid().await;
    about(&world.space).by(&world.dave).valid().await;
    let options = json!({
        "preset": "private_chat", "name": "For members of the hall",
        "initial_state": [
            { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
            { "type": "m.room.join_rules", "content": {
                "join_rule": "restricted",
                "allow": [{ "type": "m.room_membership", "room_id": world.hall }],
            } },
        ],
    });
    let restricted = world.alice.create_room(options).await;
    about(&restricted).by(&world.bob).valid().await;
    about(&world.secret)
        .by(&world.dave)
        .refused("of a room that one may not see", 404, "M_NOT_FOUND")
        .await;
    about(NO_ROOM)
        .by(&world.alice)
        .refused("of no room", 404, "M_NOT_FOUND")
        .await;
}

async fn people(walk: &Walk, world: &World) {
    walk.to("searchUserDirectory")
        .by(&world.bob)
        .json(json!({ "search_term": "alice", "limit": 10 }))
        .valid()
        .await;
    let mutual = |user: &str| {
        walk.to("getMutualRooms")
            .by(&world.alice)
            .query("user_id", user)
    };
    mutual(&world.bob.user_id).valid().await;
    mutual(&world.bob.user_id)
        .query("from", "no token")
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
}

async fn profiles(walk: &Walk, world: &World) {
    let alice = &world.alice;
    let to = |id: &str, user: &str| walk.to(id).with("userId", user);
    to("getUserProfile", &alice.user_id).valid().await;
    to("getUserProfile", &alice.user_id)
        .by(&world.bob)
        .valid()
        .await;
    to("getUserProfile", "@nobody:localhost")
        .refused("of nobody", 404, "M_NOT_FOUND")
        .await;
    let name = |id: &str| to(id, &alice.user_id).with("keyName", "displayname");
    let field = |id: &str, name: &str| to(id, &alice.user_id).with("keyName", name);
    name("setProfileField")
        .by(alice)
        .json(json!({ "displayname": "Alice L." }))
        .valid()
        .await;
    field("setProfileField", "org.example.shoes")
        .by(alice)
        .json(json!({ "org.example.shoes": { "size": 41 } }))
        .valid()
        .await;
    name("setProfileField")
        .by(&world.bob)
        .json(json!({ "displayname": "Bob's" }))
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    field("setProfileField", "avatar_url")
        .by(alice)
        .json(json!({ "displayname": "Alice" }))
        .refused_as(
            "without the field in the body",
            &[(400, "M_MISSING_PARAM"), (400, "M_BAD_JSON")],
        )
        .await;
    field("setProfileField", "No Grammar!")
        .by(alice)
        .json(json!({ "No Grammar!": 1 }))
        .refused("with a name that is none", 400, "M_INVALID_PARAM")
        .await;
    field("setProfileField", "org.example.large")
        .by(alice)
        .json(json!({ "org.example.large": "x".repeat(70_000) }))
        .refused_as(
            "that is too large",
            &[(400, "M_PROFILE_TOO_LARGE"), (400, "M_TOO_LARGE")],
        )
        .await;
    let long = "a".repeat(256);
    field("setProfileField", &long)
        .by(alice)
        .json(json!({ &long: 1 }))
        .refused("with a name that is too long", 400, "M_KEY_TOO_LARGE")
        .await;
    for known in ["displayname", "avatar_url", "m.tz", "org.example.shoes"] {
        field("getProfileField", known).valid().await;
    }
    field("getProfileField", "org.example.nothing")
        .refused("that is not set", 404, "M_NOT_FOUND")
        .await;
    field("deleteProfileField", "org.example.shoes")
        .by(&world.bob)
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    field("deleteProfileField", "org.example.shoes")
        .by(alice)
        .valid()
        .await;
}
