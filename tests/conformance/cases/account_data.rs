//! Account data, tags and filters.

use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::World;

pub(super) async fn walk(walk: &Walk, world: &World) {
    global(walk, world).await;
    of_room(walk, world).await;
    tags(walk, world).await;
    filters(walk, world).await;
}

async fn global(walk: &Walk, world: &World) {
    let alice = &world.alice;
    let to = |id: &str, kind: &str| {
        walk.to(id)
            .with("userId", &alice.user_id)
            .with("type", kind)
    };
    let (set, get) = ("setAccountData", "getAccountData");
    let kind = "org.example.colours";
    let body = json!({ "walls": ["white"] });
    to(set, kind).by(alice).json(body.clone()).valid().await;
    to(set, kind)
        .by(&world.bob)
        .json(body.clone())
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    for kind in ["m.fully_read", "m.push_rules"] {
        to(set, kind)
            .by(alice)
            .json(body.clone())
            .refused("that the server keeps", 405, "M_BAD_JSON")
            .await;
    }
    to(get, kind).by(alice).valid().await;
    to(get, kind)
        .by(&world.bob)
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    to(get, "org.example.nothing")
        .by(alice)
        .refused("that is not set", 404, "M_NOT_FOUND")
        .await;
}

async fn of_room(walk: &Walk, world: &World) {
    let alice = &world.alice;
    let to = |id: &str, kind: &str| {
        walk.to(id)
            .with("userId", &alice.user_id)
            .with("roomId", &world.hall)
            .with("type", kind)
    };
    let (set, get) = ("setAccountDataPerRoom", "getAccountDataPerRoom");
    let kind = "org.example.colours";
    let body = json!({ "walls": ["red"] });
    to(set, kind).by(alice).json(body.clone()).valid().await;
    to(set, kind)
        .by(&world.bob)
        .json(body.clone())
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    to(set, "m.fully_read")
        .by(alice)
        .json(body.clone())
        .refused("that the server keeps", 405, "M_BAD_JSON")
        .await;
    to(get, kind).by(alice).valid().await;
    to(get, kind)
        .by(&world.bob)
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    to(get, "org.example.nothing")
        .by(alice)
        .refused("that is not set", 404, "M_NOT_FOUND")
        .await;
    let wrong = |id: &str| {
        walk.to(id)
            .with("userId", &alice.user_id)
            .with("roomId", "no room")
            .with("type", kind)
            .by(alice)
    };
    let malformed = &[(400, "M_INVALID_PARAM")];
    wrong(get)
        .refused_as("of what is no room's id", malformed)
        .await;
    wrong(set)
        .json(body)
        .refused_as("of what is no room's id", malformed)
        .await;
}

async fn tags(walk: &Walk, world: &World) {
    let to = |id: &str| {
        walk.to(id)
            .with("userId", &world.alice.user_id)
            .with("roomId", &world.hall)
    };
    let tag = |id: &str| to(id).with("tag", "m.favourite");
    let others = "of somebody else";
    let order = json!({ "order": 0.25 });
    tag("setRoomTag")
        .by(&world.bob)
        .json(order.clone())
        .refused(others, 403, "M_FORBIDDEN")
        .await;
    tag("setRoomTag").by(&world.alice).json(order).valid().await;
    to("getRoomTags").by(&world.alice).valid().await;
    to("getRoomTags")
        .by(&world.bob)
        .refused(others, 403, "M_FORBIDDEN")
        .await;
    tag("deleteRoomTag")
        .by(&world.bob)
        .refused(others, 403, "M_FORBIDDEN")
        .await;
    tag("deleteRoomTag").by(&world.alice).valid().await;
}

async fn filters(walk: &Walk, world: &World) {
    let bob = &world.bob;
    let define = |body: Value| {
        walk.to("defineFilter")
            .with("userId", &bob.user_id)
            .json(body)
    };
    let events = json!({
        "limit": 10, "types": ["m.*"], "not_types": ["m.bad"], "senders": ["@alice:localhost"],
        "not_senders": ["@spam:localhost"],
    });
    let mut in_rooms = events.clone();
    in_rooms["rooms"] = json!([world.hall]);
    in_rooms["not_rooms"] = json!([world.secret]);
    in_rooms["lazy_load_members"] = json!(true);
    in_rooms["include_redundant_members"] = json!(true);
    in_rooms["contains_url"] = json!(true);
    in_rooms["unread_thread_notifications"] = json!(true);
    let filter = json!({
        "event_fields": ["type", "content"], "event_format": "client",
        "presence": events, "account_data": events,
        "room": {
            "rooms": [world.hall], "not_rooms": [world.secret], "include_leave": true,
            "ephemeral": in_rooms, "state": in_rooms, "timeline": in_rooms,
            "account_data": in_rooms,
        },
    });
    let made = define(filter.clone()).by(bob).valid().await;
    define(filter)
        .by(&world.alice)
        .refused("for somebody else", 403, "M_FORBIDDEN")
        .await;
    let get = |id: &str| {
        walk.to("getFilter")
            .with("userId", &bob.user_id)
            .with("filterId", id)
    };
    let id = made["filter_id"].as_str().unwrap_or("0");
    get(id).by(bob).valid().await;
    get(id)
        .by(&world.alice)
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    get("4711")
        .by(bob)
        .refused("that is not there", 404, "M_NOT_FOUND")
        .await;
}
