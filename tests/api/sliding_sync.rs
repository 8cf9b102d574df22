//! Simplified sliding sync (MSC4186): lists, subscriptions and each extension.

use harness::{Answer, Server, User, event_ids};
use serde_json::{Value, json};

use crate::server;

const PATH: &str = "unstable/org.matrix.simplified_msc3575/sync";

/// An answer of a sliding sync.
pub(crate) struct Slid(pub(crate) Value);

impl Slid {
    pub(crate) fn pos(&self) -> &str {
        self.0["pos"].as_str().expect("a pos")
    }

    pub(crate) fn room(&self, room: &str) -> &Value {
        &self.0["rooms"][room]
    }

    pub(crate) fn timeline(&self, room: &str) -> &[Value] {
        self.room(room)["timeline"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn extension(&self, name: &str) -> &Value {
        &self.0["extensions"][name]
    }
}

async fn try_slide(user: &User, query: &str, body: &Value) -> Answer {
    user.post(format!("{PATH}?{query}"), body.clone()).await
}

/// The first answer of a connection.
pub(crate) async fn begin(user: &User, body: &Value) -> Slid {
    Slid(try_slide(user, "", body).await.ok())
}

/// The next one, after at most `wait` milliseconds.
pub(crate) async fn next(user: &User, earlier: &Slid, wait: u64, body: &Value) -> Slid {
    let query = format!("pos={}&timeout={wait}", earlier.pos());
    Slid(try_slide(user, &query, body).await.ok())
}

/// All rooms, ten events of each.
pub(crate) fn all_rooms() -> Value {
    json!({ "lists": { "all": {
        "ranges": [[0, 99]],
        "timeline_limit": 10,
        "required_state": [["m.room.create", ""], ["m.room.member", "$ME"]],
    } } })
}

/// The same with an extension.
pub(crate) fn with(extension: &str, asked: Value) -> Value {
    let mut body = all_rooms();
    body["extensions"] = json!({ extension: asked });
    body
}

pub(crate) fn enabled() -> Value {
    json!({ "enabled": true })
}

#[tokio::test]
async fn the_server_says_that_it_can() {
    let versions = server().get("versions").await.ok();
    let features = &versions["unstable_features"];
    assert_eq!(features["org.matrix.simplified_msc3575"], true);
}

#[tokio::test]
async fn rooms_come_with_what_was_asked_for() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let name = format!("v3/profile/{}/displayname", bob.user_id);
    bob.put(name, json!({ "displayname": "Bob" })).await.ok();
    let room = alice.room_with(&[&bob]).await;
    let said = bob.say(&room, "hello").await;
    let mut body = all_rooms();
    body["txn_id"] = "one".into();
    let first = begin(&alice, &body).await;
    assert_eq!(first.0["txn_id"], "one");
    assert_eq!(first.0["lists"]["all"]["count"], 1);
    let told = first.room(&room);
    assert_eq!(told["initial"], true);
    assert_eq!(told["joined_count"], 2);
    assert_eq!(told["invited_count"], 0);
    assert_eq!(told["notification_count"], 1);
    assert_eq!(told["highlight_count"], 0);
    assert!(told["bump_stamp"].is_u64(), "{told}");
    assert_eq!(told["heroes"][0]["user_id"], bob.user_id.as_str());
    assert_eq!(told["heroes"][0]["displayname"], "Bob");
    let state = told["required_state"].as_array().unwrap();
    let kinds: Vec<&str> = state
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(kinds, ["m.room.create", "m.room.member"]);
    assert_eq!(state[1]["state_key"], alice.user_id.as_str());
    let timeline = first.timeline(&room);
    assert_eq!(timeline.last().unwrap()["event_id"], said.as_str());
    assert!(timeline[0]["room_id"].is_null(), "{}", timeline[0]);
    // The room's history goes on where the timeline begins.
    let from = told["prev_batch"].as_str().unwrap();
    let path = format!("v3/rooms/{room}/messages?dir=b&from={from}");
    let page = alice.get(path).await.ok();
    let older = event_ids(page["chunk"].as_array().unwrap());
    assert!(
        older.iter().all(|id| !event_ids(timeline).contains(id)),
        "{older:?}"
    );
    // So does it from the answer's own position.
    let path = format!(
        "v3/rooms/{room}/messages?dir=b&limit=1&from={}",
        first.pos()
    );
    let page = alice.get(path).await.ok();
    assert_eq!(page["chunk"][0]["event_id"], said.as_str());
}

#[tokio::test]
async fn a_waiting_request_is_woken() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let body = all_rooms();
    let first = begin(&alice, &body).await;
    let waiting = next(&alice, &first, 30_000, &body);
    let speaking = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        bob.say(&room, "wake up").await
    };
    let (woken, said) = tokio::join!(waiting, speaking);
    assert_eq!(event_ids(woken.timeline(&room)), [said.as_str()]);
    assert_eq!(woken.room(&room)["num_live"], 1);
    assert_eq!(woken.room(&room)["notification_count"], 1);
    assert!(woken.room(&room)["initial"].is_null());
    // Without a timeout the answer comes at once, though there is nothing.
    let query = format!("pos={}", woken.pos());
    let nothing = Slid(try_slide(&alice, &query, &body).await.ok());
    assert_eq!(nothing.0["rooms"], json!({}));
}

#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let body = all_rooms();
    let first = begin(&alice, &body).await;
    let one = bob.say(&room, "one").await;
    let lost = next(&alice, &first, 0, &body).await;
    assert_eq!(event_ids(lost.timeline(&room)), [one.as_str()]);
    let two = bob.say(&room, "two").await;
    let again = next(&alice, &first, 0, &body).await;
    assert_eq!(
        event_ids(again.timeline(&room)),
        [one.as_str(), two.as_str()]
    );
    // The lost answer was never taken; the one after it was.
    let query = format!("pos={}", lost.pos());
    try_slide(&alice, &query, &body)
        .await
        .refused(400, "M_UNKNOWN_POS");
    let rest = next(&alice, &again, 0, &body).await;
    assert_eq!(rest.0["rooms"], json!({}));
    let query = format!("pos={}", first.pos());
    try_slide(&alice, &query, &body)
        .await
        .refused(400, "M_UNKNOWN_POS");
}

#[tokio::test]
async fn a_position_belongs_to_one_connection_of_one_device() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.public_room().await;
    let body = all_rooms();
    let first = begin(&alice, &body).await;
    let query = format!("pos={}", first.pos());
    let mut other = body.clone();
    other["conn_id"] = "other".into();
    let phone = alice.another_device().await;
    for answer in [
        try_slide(&bob, &query, &body).await,
        try_slide(&phone, &query, &body).await,
        try_slide(&alice, &query, &other).await,
        try_slide(&alice, "pos=p1_0_0_0", &body).await,
        try_slide(&alice, "pos=nonsense", &body).await,
    ] {
        answer.refused(400, "M_UNKNOWN_POS");
    }
    // Two connections do not disturb each other.
    let beside = begin(&alice, &other).await;
    next(&alice, &first, 0, &body).await;
    next(&alice, &beside, 0, &other).await;
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let api = server();
    let alice = api.register("alice").await;
    let many: serde_json::Map<String, Value> = (0..101)
        .map(|number| {
            (
                format!("!{number}:localhost"),
                json!({ "timeline_limit": 1 }),
            )
        })
        .collect();
    let list = |more: Value| json!({ "lists": { "a": more } });
    for body in [
        json!({ "lists": many }),
        json!({ "room_subscriptions": many }),
        list(json!({ "timeline_limit": 1, "ranges": [[5, 1]] })),
    ] {
        try_slide(&alice, "", &body)
            .await
            .refused(400, "M_INVALID_PARAM");
    }
    for body in [
        list(json!({ "ranges": [[0, 1]] })),
        list(json!({ "timeline_limit": -1 })),
        list(json!({ "timeline_limit": 1, "ranges": [[0]] })),
        list(json!({ "timeline_limit": 1, "required_state": [["m.room.name"]] })),
        json!({ "extensions": { "typing": { "enabled": "yes" } } }),
        json!({ "conn_id": 7 }),
    ] {
        try_slide(&alice, "", &body)
            .await
            .refused(400, "M_BAD_JSON");
    }
    let body = all_rooms();
    for query in ["timeout=soon", "set_presence=asleep"] {
        try_slide(&alice, query, &body)
            .await
            .refused(400, "M_INVALID_PARAM");
    }
    for presence in ["online", "offline", "unavailable"] {
        try_slide(&alice, &format!("set_presence={presence}"), &body)
            .await
            .ok();
    }
    api.post(PATH, body).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn nobody_sees_rooms_of_others() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let open = alice.public_room().await;
    let closed = alice.create_room(json!({ "name": "hidden" })).await;
    alice.say(&open, "hidden").await;
    let mut body = all_rooms();
    let wanted = json!({ "timeline_limit": 10, "required_state": [["*", "*"]] });
    body["room_subscriptions"] = json!({
        open.as_str(): wanted, closed.as_str(): wanted, "!none:localhost": wanted,
    });
    body["extensions"] = json!({
        "receipts": enabled(), "typing": enabled(), "account_data": enabled(),
    });
    let first = begin(&bob, &body).await;
    assert_eq!(first.0["rooms"], json!({}));
    assert_eq!(first.0["lists"]["all"]["count"], 0);
    for extension in ["receipts", "typing"] {
        assert!(first.extension(extension).is_null());
    }
    alice.say(&open, "hidden").await;
    let path = format!("v3/rooms/{open}/typing/{}", alice.user_id);
    alice
        .put(path, json!({ "typing": true, "timeout": 30_000 }))
        .await
        .ok();
    let after = next(&bob, &first, 300, &body).await;
    assert_eq!(after.0["rooms"], json!({}));
    assert!(after.extension("typing").is_null());
}

#[tokio::test]
async fn invitations_and_knocks_come_stripped() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let invited = bob
        .create_room(json!({ "name": "party", "is_direct": true }))
        .await;
    let rules = [json!({
        "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" },
    })];
    let knocked = bob
        .create_room(json!({ "name": "door", "initial_state": rules }))
        .await;
    bob.invite(&invited, &alice).await;
    alice
        .post(format!("v3/knock/{knocked}"), json!({}))
        .await
        .ok();
    let first = begin(&alice, &all_rooms()).await;
    for (room, membership, name) in [(&invited, "invite", "party"), (&knocked, "knock", "door")] {
        let told = first.room(room);
        let stripped = told["invite_state"].as_array().expect("stripped state");
        let find = |kind: &str| stripped.iter().find(|event| event["type"] == kind);
        assert_eq!(find("m.room.name").unwrap()["content"]["name"], name);
        let own = stripped
            .iter()
            .find(|event| event["state_key"] == alice.user_id.as_str());
        assert_eq!(own.unwrap()["content"]["membership"], membership);
        assert!(told["timeline"].is_null() && told["required_state"].is_null());
    }
    alice.join(&invited).await;
    let joined = next(&alice, &first, 0, &all_rooms()).await;
    assert_eq!(joined.room(&invited)["initial"], true);
    assert_eq!(joined.room(&invited)["name"], "party");
    assert!(!joined.timeline(&invited).is_empty());
    assert!(joined.room(&invited)["invite_state"].is_null());
    assert!(joined.room(&knocked).is_null());
}

#[tokio::test]
async fn a_new_start_of_the_server_ends_the_connections() {
    let mut server = Server::start();
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    let body = all_rooms();
    let first = begin(&alice, &body).await;
    server.restart();
    // The old client's connections went with the old process.
    let alice = User {
        api: server.api().with_token(&alice.access_token),
        ..alice
    };
    let query = format!("pos={}", first.pos());
    try_slide(&alice, &query, &body)
        .await
        .refused(400, "M_UNKNOWN_POS");
    assert_eq!(begin(&alice, &body).await.room(&room)["initial"], true);
}

#[tokio::test]
async fn a_device_that_signs_out_loses_its_connections() {
    let api = server();
    let alice = api.register("alice").await;
    alice.public_room().await;
    let phone = alice.another_device().await;
    let body = all_rooms();
    let first = begin(&phone, &body).await;
    phone.post("v3/logout", json!({})).await.ok();
    let query = format!("pos={}", first.pos());
    try_slide(&phone, &query, &body)
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    try_slide(&alice, &query, &body)
        .await
        .refused(400, "M_UNKNOWN_POS");
}
