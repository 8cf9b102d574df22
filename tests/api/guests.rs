//! Guests: what they may ask, where they come in, and how they stay.

use harness::{Answer, Api, Config, PASSWORD, Server, User};
use serde_json::{Value, json};

fn with_guests() -> Server {
    Server::with(Config {
        registration_more: "guests = true".into(),
        ..Config::default()
    })
}

async fn try_guest(api: &Api) -> Answer {
    api.anonymous()
        .post("v3/register?kind=guest", json!({}))
        .await
}

async fn guest(api: &Api) -> User {
    api.user_of(try_guest(api).await.ok())
}

async fn let_guests_in(user: &User, room: &str, access: &str) {
    user.set_state(
        room,
        "m.room.guest_access",
        "",
        json!({ "guest_access": access }),
    )
    .await;
}

#[tokio::test]
async fn without_the_option_there_are_no_guests() {
    let api = crate::server();
    try_guest(&api).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn guests_may_ask_what_is_theirs_and_nothing_else() {
    let server = with_guests();
    let api = server.api();
    let visitor = guest(&api).await;
    let told = visitor.get("v3/account/whoami").await.ok();
    assert_eq!(told["is_guest"], true);
    assert_eq!(told["user_id"], visitor.user_id.as_str());
    visitor.get("v3/devices").await.ok();
    visitor.get("v3/sync").await.ok();
    let profile = |field: &str| format!("v3/profile/{}/{field}", visitor.user_id);
    visitor
        .put(profile("displayname"), json!({ "displayname": "Visitor" }))
        .await
        .ok();
    visitor
        .put(profile("m.tz"), json!({ "m.tz": "Europe/Rome" }))
        .await
        .refused(403, "M_FORBIDDEN");
    visitor
        .put(
            profile("avatar_url"),
            json!({ "avatar_url": "mxc://localhost/a" }),
        )
        .await
        .refused(403, "M_FORBIDDEN");
    for (path, body) in [
        ("v3/createRoom", json!({})),
        ("v3/search", json!({ "search_categories": {} })),
        ("v3/publicRooms", json!({})),
        ("v3/account/password", json!({ "new_password": "x" })),
        ("v3/user_directory/search", json!({ "search_term": "a" })),
        ("v1/login/get_token", json!({})),
    ] {
        let refused = visitor.post(path, body).await;
        refused.refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    }
    visitor
        .get("v3/joined_rooms")
        .await
        .refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    // Nobody finds them.
    let alice = api.register_as("alice").await;
    let found = alice
        .post(
            "v3/user_directory/search",
            json!({ "search_term": "guest" }),
        )
        .await
        .ok();
    assert_eq!(found["results"], json!([]));
}

#[tokio::test]
async fn guests_come_into_rooms_that_let_them_and_go_when_those_do_not() {
    let mut server = with_guests();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let visitor = guest(&api).await;
    let room = alice.public_room().await;
    let join = format!("v3/rooms/{room}/join");
    let_guests_in(&alice, &room, "forbidden").await;
    let refused = visitor.post(&join, json!({})).await;
    refused.refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    let_guests_in(&alice, &room, "can_join").await;
    server.kill9();
    server.restart();
    let api = server.api();
    let (alice, visitor) = (
        User {
            api: api.with_token(&alice.access_token),
            ..alice
        },
        User {
            api: api.with_token(&visitor.access_token),
            ..visitor
        },
    );
    visitor.post(&join, json!({})).await.ok();
    let said = visitor.say(&room, "hello from outside").await;
    assert_eq!(
        alice.event(&room, &said).await.ok()["sender"],
        visitor.user_id.as_str()
    );
    visitor
        .get(format!("v3/rooms/{room}/messages?dir=b"))
        .await
        .ok();
    let_guests_in(&alice, &room, "forbidden").await;
    let member = alice
        .state(&room, "m.room.member", &visitor.user_id)
        .await
        .ok();
    assert_eq!(member["membership"], "leave");
    visitor
        .try_send_event(
            &room,
            "m.room.message",
            json!({ "msgtype": "m.text", "body": "x" }),
        )
        .await
        .refused(403, "M_FORBIDDEN");
    // Alice is no guest, and stays.
    alice.say(&room, "still here").await;
    // Without the event there are no guests either.
    let bare = alice.create_room(json!({ "preset": "public_chat" })).await;
    let refused = visitor
        .post(format!("v3/rooms/{bare}/join"), json!({}))
        .await;
    refused.refused(403, "M_GUEST_ACCESS_FORBIDDEN");
}

#[tokio::test]
async fn rooms_that_are_open_to_the_world_can_be_previewed() {
    let server = with_guests();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let visitor = guest(&api).await;
    let room = alice.public_room().await;
    alice.say(&room, "before").await;
    let initial = format!("v3/rooms/{room}/initialSync");
    visitor.get(&initial).await.refused(403, "M_FORBIDDEN");
    visitor
        .get(format!("v3/events?room_id={room}&timeout=0"))
        .await
        .refused(403, "M_FORBIDDEN");
    let open = json!({ "history_visibility": "world_readable" });
    alice
        .set_state(&room, "m.room.history_visibility", "", open)
        .await;
    alice.say(&room, "for all the world").await;
    let now = visitor.get(&initial).await.ok();
    assert_eq!(now["room_id"], room.as_str());
    assert!(now.get("membership").is_none(), "{now}");
    assert_eq!(now["visibility"], "private");
    let chunk = now["messages"]["chunk"].as_array().unwrap();
    assert_eq!(
        chunk.last().unwrap()["content"]["body"],
        "for all the world"
    );
    let state = now["state"].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
    // From there on.
    let end = now["messages"]["end"].as_str().unwrap();
    let path = format!("v3/events?room_id={room}&timeout=10000&from={end}");
    let waits = visitor.get(&path);
    let says = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        alice.say(&room, "news").await
    };
    let (news, said) = tokio::join!(waits, says);
    let news = news.ok();
    assert_eq!(news["chunk"][0]["event_id"], said.as_str());
    assert_eq!(news["chunk"][0]["room_id"], room.as_str());
    assert_eq!(news["start"], end);
    let end = news["end"].as_str().unwrap();
    let path = format!("v3/events?room_id={room}&timeout=0&from={end}");
    assert_eq!(visitor.get(&path).await.ok()["chunk"], json!([]));
    // Without a room it is for users.
    visitor.get("v3/events").await.refused_with(&[400]);
}

#[tokio::test]
async fn a_guest_keeps_the_account_and_becomes_a_user() {
    let server = with_guests();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let visitor = guest(&api).await;
    let body = |username: &str, token: &str| {
        json!({
            "username": username, "password": PASSWORD, "guest_access_token": token,
            "auth": { "type": "m.login.dummy" },
        })
    };
    let register = async |body: Value| api.anonymous().post("v3/register", body).await;
    for (username, token) in [
        ("another", visitor.access_token.as_str()),
        (visitor.localpart(), "nonsense"),
        (visitor.localpart(), &alice.access_token),
        ("alice", &visitor.access_token),
    ] {
        let refused = register(body(username, token)).await;
        refused.refused(403, "M_FORBIDDEN");
    }
    // Nobody else takes the name.
    let mut without = body(visitor.localpart(), "");
    without
        .as_object_mut()
        .unwrap()
        .remove("guest_access_token");
    register(without).await.refused(400, "M_USER_IN_USE");
    let made = register(body(visitor.localpart(), &visitor.access_token)).await;
    let user = api.user_of(made.ok());
    assert_eq!(user.user_id, visitor.user_id);
    let told = user.get("v3/account/whoami").await.ok();
    assert_ne!(told["is_guest"], true);
    user.post("v3/createRoom", json!({})).await.ok();
    let found = alice
        .post(
            "v3/user_directory/search",
            json!({ "search_term": user.localpart() }),
        )
        .await
        .ok();
    assert_eq!(found["results"][0]["user_id"], user.user_id.as_str());
    api.login(&user.user_id).await;
    // Once only.
    let again = register(body(user.localpart(), &user.access_token)).await;
    again.refused(403, "M_FORBIDDEN");
}
