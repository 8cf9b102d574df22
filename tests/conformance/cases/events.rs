//! Events: sending, reading, relations, receipts, search.

use serde_json::{Value, json};

use crate::call::Call;
use crate::walk::Walk;
use crate::world::{World, text};

const NO_EVENT: &str = "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub(super) async fn walk(walk: &Walk, world: &World) {
    sending(walk, world).await;
    state(walk, world).await;
    reading(walk, world).await;
    history(walk, world).await;
    relations(walk, world).await;
    marking(walk, world).await;
    search(walk, world).await;
}

/// A request about the hall.
fn to<'a>(walk: &'a Walk, world: &World, id: &str) -> Call<'a> {
    walk.to(id).with("roomId", &world.hall)
}

async fn sending(walk: &Walk, world: &World) {
    let send = |transaction: &str, content: Value| {
        to(walk, world, "sendMessage")
            .with("eventType", "m.room.message")
            .with("txnId", transaction)
            .json(content)
    };
    let sent = send("one", text("by a case")).by(&world.bob).valid().await;
    let again = send("one", text("by a case")).by(&world.bob).valid().await;
    assert_eq!(sent["event_id"], again["event_id"], "one transaction");
    send("two", text("x"))
        .by(&world.dave)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
    send("three", text(&"x".repeat(70_000)))
        .by(&world.bob)
        .refused("that is too large", 413, "M_TOO_LARGE")
        .await;
    let redact = |event: &str, transaction: &str| {
        to(walk, world, "redactEvent")
            .with("eventId", event)
            .with("txnId", transaction)
            .json(json!({ "reason": "a case" }))
    };
    let event = sent["event_id"].as_str().unwrap_or_default();
    redact(event, "four")
        .by(&world.carol)
        .refused("by one without the power", 403, "M_FORBIDDEN")
        .await;
    redact(event, "five").by(&world.bob).valid().await;
    // Another server may have the event: its redaction waits for it.
    redact(NO_EVENT, "six").by(&world.bob).valid().await;
}

async fn state(walk: &Walk, world: &World) {
    let at = |id: &str, kind: &str, key: &str| {
        to(walk, world, id)
            .with("eventType", kind)
            .with("stateKey", key)
    };
    let set = |kind: &str, content: Value| at("setRoomStateWithKey", kind, "").json(content);
    set("m.room.topic", json!({ "topic": "Something else" }))
        .by(&world.alice)
        .valid()
        .await;
    set("m.room.topic", json!({ "topic": "Mine" }))
        .by(&world.bob)
        .refused("by one without the power", 403, "M_FORBIDDEN")
        .await;
    let alias = json!({ "alias": "#nothing:localhost" });
    set("m.room.canonical_alias", alias)
        .by(&world.alice)
        .refused("with an alias that is not the room's", 400, "M_BAD_ALIAS")
        .await;
    let get = |kind: &str| at("getRoomStateWithKey", kind, "");
    for kind in ["m.room.name", "m.room.create", "m.room.power_levels"] {
        get(kind).by(&world.bob).valid().await;
    }
    get("m.room.name")
        .query("format", "event")
        .by(&world.bob)
        .valid()
        .await;
    get("org.example.nothing")
        .by(&world.bob)
        .refused("that is not set", 404, "M_NOT_FOUND")
        .await;
    let outside = |id: &str| walk.to(id).with("roomId", &world.secret).by(&world.carol);
    outside("getRoomStateWithKey")
        .with("eventType", "m.room.name")
        .with("stateKey", "")
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
    to(walk, world, "getRoomState").by(&world.bob).valid().await;
    outside("getRoomState")
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
}

async fn reading(walk: &Walk, world: &World) {
    let event = |id: &str, event: &str| to(walk, world, id).with("eventId", event).by(&world.bob);
    for known in [
        &world.root,
        &world.reply,
        &world.message,
        &world.redacted,
        &world.topic,
    ] {
        event("getOneRoomEvent", known).valid().await;
        event("getEventContext", known).valid().await;
    }
    for id in ["getOneRoomEvent", "getEventContext"] {
        event(id, NO_EVENT)
            .refused("that is not there", 404, "M_NOT_FOUND")
            .await;
        walk.to(id)
            .with("roomId", &world.secret)
            .with("eventId", &world.root)
            .by(&world.carol)
            .refused_as(
                "by one who is not in the room",
                &[(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")],
            )
            .await;
    }
    let near = |time: &str| {
        to(walk, world, "getEventByTimestamp")
            .query("ts", time)
            .by(&world.bob)
    };
    near("0").query("dir", "f").valid().await;
    near("99999999999999").query("dir", "b").valid().await;
    near("0")
        .query("dir", "b")
        .refused("before the first", 404, "M_NOT_FOUND")
        .await;
}

async fn history(walk: &Walk, world: &World) {
    let page = |from: Option<&str>| {
        let call = to(walk, world, "getRoomEvents")
            .query("dir", "b")
            .query("limit", "15")
            .by(&world.bob);
        match from {
            Some(from) => call.query("from", from),
            None => call,
        }
    };
    let mut from: Option<String> = None;
    for _ in 0..3 {
        let read = page(from.as_deref()).valid().await;
        assert_eq!(read["chunk"].as_array().map(Vec::len), Some(15), "{read}");
        from = read["end"].as_str().map(str::to_owned);
    }
    let lazy = json!({ "lazy_load_members": true }).to_string();
    page(None).query("filter", &lazy).valid().await;
    page(Some("no token"))
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
    walk.to("getRoomEvents")
        .with("roomId", &world.secret)
        .query("dir", "b")
        .by(&world.carol)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
}

async fn relations(walk: &Walk, world: &World) {
    let of = |id: &str| to(walk, world, id).with("eventId", &world.root);
    let all = of("getRelatingEvents").by(&world.bob);
    all.clone().valid().await;
    let first = all.clone().query("limit", "2").valid().await;
    if let Some(next) = first["next_batch"].as_str() {
        all.clone().query("from", next).valid().await;
    }
    all.clone().query("recurse", "true").valid().await;
    all.query("from", "no token")
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
    let typed = of("getRelatingEventsWithRelType").by(&world.bob);
    for kind in ["m.thread", "m.annotation", "m.reference", "m.replace"] {
        typed.clone().with("relType", kind).valid().await;
    }
    let deep = typed.with("relType", "m.thread").query("recurse", "true");
    let first = deep.clone().query("limit", "1").valid().await;
    if let Some(next) = first["next_batch"].as_str() {
        deep.query("from", next).valid().await;
    }
    let both = of("getRelatingEventsWithRelTypeAndEventType")
        .with("relType", "m.thread")
        .with("eventType", "m.room.message")
        .by(&world.bob);
    both.clone().query("limit", "1").valid().await;
    both.valid().await;
    let types = [("relType", "m.thread"), ("eventType", "m.room.message")];
    for (count, id) in [
        "getRelatingEvents",
        "getRelatingEventsWithRelType",
        "getRelatingEventsWithRelTypeAndEventType",
    ]
    .into_iter()
    .enumerate()
    {
        let mut call = to(walk, world, id).with("eventId", NO_EVENT).by(&world.bob);
        for (name, value) in &types[..count] {
            call = call.with(name, value);
        }
        call.refused("of no event", 404, "M_NOT_FOUND").await;
    }
    let threads = |room: &str| walk.to("getThreadRoots").with("roomId", room);
    threads(&world.hall).by(&world.bob).valid().await;
    let first = threads(&world.hall).query("limit", "1").by(&world.bob);
    let first = first.valid().await;
    if let Some(next) = first["next_batch"].as_str() {
        let more = threads(&world.hall).query("from", next);
        more.by(&world.bob).valid().await;
    }
    threads(&world.secret)
        .by(&world.carol)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
}

async fn marking(walk: &Walk, world: &World) {
    let receipt = |kind: &str, body: Value| {
        to(walk, world, "postReceipt")
            .with("receiptType", kind)
            .with("eventId", &world.message)
            .by(&world.bob)
            .json(body)
    };
    receipt("m.read", json!({ "thread_id": "main" }))
        .valid()
        .await;
    receipt("m.read.private", json!({})).valid().await;
    receipt("m.nonsense", json!({}))
        .refused_as(
            "of a type that is none",
            &[(400, "M_INVALID_PARAM"), (400, "M_BAD_JSON")],
        )
        .await;
    receipt("m.read", json!({ "thread_id": "" }))
        .refused("in a thread that is none", 400, "M_INVALID_PARAM")
        .await;
    let marks = json!({
        "m.fully_read": world.message, "m.read": world.message, "m.read.private": world.message,
    });
    let mark = to(walk, world, "setReadMarker").json(marks);
    mark.clone().by(&world.bob).valid().await;
    mark.by(&world.dave)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
    let typing = |user: &str| {
        to(walk, world, "setTyping")
            .with("userId", user)
            .by(&world.bob)
            .json(json!({ "typing": true, "timeout": 3000 }))
    };
    typing(&world.bob.user_id).valid().await;
    typing(&world.alice.user_id)
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
}

async fn search(walk: &Walk, world: &World) {
    let search = |criteria: Value| {
        let body = json!({ "search_categories": { "room_events": criteria } });
        walk.to("search").by(&world.bob).json(body)
    };
    let criteria = json!({
        "search_term": "message", "order_by": "recent", "include_state": true,
        "filter": { "limit": 5 },
        "event_context": { "before_limit": 1, "after_limit": 1, "include_profile": true },
        "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
    });
    // The index follows the log.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let found = search(criteria.clone()).valid().await;
    let next = &found["search_categories"]["room_events"]["next_batch"];
    if let Some(next) = next.as_str() {
        search(criteria).query("next_batch", next).valid().await;
    }
    search(json!({ "order_by": "recent" }))
        .refused_as(
            "without a term",
            &[(400, "M_BAD_JSON"), (400, "M_MISSING_PARAM")],
        )
        .await;
}
