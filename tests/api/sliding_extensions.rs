//! What sliding sync tells beside rooms (MSC3884, MSC3885, MSC3959, MSC3960, MSC3961).

use harness::signing::DeviceKeys;
use harness::{User, eventually};
use serde_json::{Value, json};

use crate::server;
use crate::sliding_sync::{Slid, all_rooms, begin, enabled, next, with};

#[tokio::test]
async fn messages_to_the_device_are_confirmed_by_their_own_token() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let send = async |number: u32| {
        let body = json!({ "messages": { &alice.user_id: { &alice.device_id: { "n": number } } } });
        bob.put(format!("v3/sendToDevice/m.test/{number}"), body)
            .await
            .ok();
    };
    let numbers = |slid: &Slid| -> Vec<u64> {
        let events = slid.extension("to_device")["events"].as_array();
        let events = events.into_iter().flatten();
        events
            .filter_map(|event| event["content"]["n"].as_u64())
            .collect()
    };
    let asked = |since: &Value| json!({ "conn_id": "e", "extensions": { "to_device": { "enabled": true, "since": since } } });
    let first = begin(&alice, &asked(&Value::Null)).await;
    let since = first.extension("to_device")["next_batch"].clone();
    assert!(since.is_string() && numbers(&first).is_empty());
    let body = asked(&since);
    let waiting = next(&alice, &first, 30_000, &body);
    let sending = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        send(1).await;
    };
    let (woken, ()) = tokio::join!(waiting, sending);
    assert_eq!(numbers(&woken), [1]);
    // Not confirmed, it comes again, whatever the position is.
    let again = next(&alice, &woken, 0, &asked(&since)).await;
    assert_eq!(numbers(&again), [1]);
    let since = again.extension("to_device")["next_batch"].clone();
    let confirmed = next(&alice, &again, 0, &asked(&since)).await;
    assert!(numbers(&confirmed).is_empty());
    send(2).await;
    let anew = begin(&alice, &asked(&Value::Null)).await;
    assert_eq!(numbers(&anew), [2]);
}

#[tokio::test]
async fn device_lists_and_key_counts_are_told() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    let body = json!({ "conn_id": "e", "extensions": { "e2ee": enabled() } });
    let first = begin(&alice, &body).await;
    let part = first.extension("e2ee");
    assert_eq!(part["device_one_time_keys_count"]["signed_curve25519"], 0);
    assert_eq!(part["device_unused_fallback_key_types"], json!([]));
    assert!(part["device_lists"].is_null(), "{part}");
    DeviceKeys::of(&bob).upload(&bob, 1).await;
    let changed = next(&alice, &first, 10_000, &body).await;
    let lists = &changed.extension("e2ee")["device_lists"];
    assert_eq!(lists["changed"], json!([bob.user_id]));
    assert_eq!(lists["left"], json!([]));
    DeviceKeys::of(&alice).upload(&alice, 3).await;
    let counts = eventually("the key counts", 10, async || {
        let slid = next(&alice, &changed, 1000, &body).await;
        let counts = &slid.extension("e2ee")["device_one_time_keys_count"];
        counts["signed_curve25519"]
            .as_u64()
            .filter(|count| *count > 0)
    })
    .await;
    assert_eq!(counts, 3);
}

#[tokio::test]
async fn account_data_is_told_once() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let other = alice.public_room().await;
    let put = async |path: String, value: u64| {
        let path = format!("v3/user/{}/{path}", alice.user_id);
        alice.put(path, json!({ "value": value })).await.ok();
    };
    let of_room = |room: &str| format!("rooms/{room}/account_data/test.room");
    put("account_data/test.global".into(), 1).await;
    put(of_room(&room), 1).await;
    let body = with("account_data", enabled());
    let first = begin(&alice, &body).await;
    let part = first.extension("account_data");
    let global = part["global"].as_array().unwrap();
    let find = |kind: &str| global.iter().find(|event| event["type"] == kind);
    assert_eq!(find("test.global").unwrap()["content"]["value"], 1);
    assert!(find("m.push_rules").is_some());
    assert_eq!(part["rooms"][&room][0]["content"]["value"], 1);
    assert!(part["rooms"][&other].is_null());
    put(of_room(&other), 2).await;
    let more = next(&alice, &first, 10_000, &body).await;
    let part = more.extension("account_data");
    assert!(part["global"].is_null(), "{part}");
    assert_eq!(
        part["rooms"],
        json!({ &other: [{ "type": "test.room", "content": { "value": 2 } }] })
    );
    assert_eq!(
        more.0["rooms"],
        json!({}),
        "the room itself has not changed"
    );
    // What changes while nobody looks at the room is told afterwards.
    let none = with("account_data", json!({ "enabled": true, "lists": [] }));
    put(of_room(&room), 3).await;
    put("account_data/test.global".into(), 3).await;
    let elsewhere = next(&alice, &more, 0, &none).await;
    let part = elsewhere.extension("account_data");
    assert_eq!(part["global"][0]["content"]["value"], 3);
    assert!(part["rooms"].is_null(), "{part}");
    let back = next(&alice, &elsewhere, 0, &body).await;
    let part = back.extension("account_data");
    assert_eq!(part["rooms"][&room][0]["content"]["value"], 3);
    let quiet = next(&alice, &back, 0, &body).await;
    assert!(quiet.extension("account_data").is_null());
    let bobs = begin(&bob, &body).await;
    assert!(bobs.extension("account_data")["rooms"].is_null());
}

#[tokio::test]
async fn a_direct_chat_is_marked() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let body = all_rooms();
    let first = begin(&alice, &body).await;
    assert!(first.room(&room)["is_dm"].is_null());
    let path = format!("v3/user/{}/account_data/m.direct", alice.user_id);
    let marks = json!({ "@somebody:localhost": [room] });
    alice.put(&path, marks).await.ok();
    let marked = next(&alice, &first, 10_000, &body).await;
    assert_eq!(marked.room(&room)["is_dm"], true);
    assert_eq!(begin(&alice, &body).await.room(&room)["is_dm"], true);
    let again = begin(&alice, &body).await;
    alice.put(&path, json!({})).await.ok();
    let unmarked = next(&alice, &again, 10_000, &body).await;
    assert_eq!(unmarked.room(&room)["is_dm"], false);
}

async fn read(user: &User, room: &str, kind: &str, event: &str) {
    let path = format!("v3/rooms/{room}/receipt/{kind}/{event}");
    user.post(path, json!({})).await.ok();
}

#[tokio::test]
async fn receipts_are_told_where_they_are_wanted() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let one = alice.say(&room, "one").await;
    let two = alice.say(&room, "two").await;
    read(&bob, &room, "m.read", &two).await;
    read(&alice, &room, "m.read.private", &one).await;
    let mut body = with("receipts", enabled());
    body["lists"]["all"]["timeline_limit"] = 1.into();
    let first = begin(&alice, &body).await;
    let content = &first.extension("receipts")["rooms"][&room]["content"];
    assert!(
        content[&two]["m.read"][&bob.user_id].is_object(),
        "{content}"
    );
    assert!(
        content[&one]["m.read.private"][&alice.user_id].is_object(),
        "{content}"
    );
    // Bob is not told what alice keeps to herself.
    let bobs = begin(&bob, &body).await;
    let content = &bobs.extension("receipts")["rooms"][&room]["content"];
    assert!(
        content[&two]["m.read"][&bob.user_id].is_object(),
        "{content}"
    );
    assert!(!content.to_string().contains("private"), "{content}");

    let three = alice.say(&room, "three").await;
    let said = next(&alice, &first, 0, &body).await;
    assert!(said.extension("receipts").is_null());
    read(&bob, &room, "m.read", &three).await;
    let moved = next(&alice, &said, 10_000, &body).await;
    assert_eq!(
        moved.extension("receipts")["rooms"][&room]["type"],
        "m.receipt"
    );
    let content = &moved.extension("receipts")["rooms"][&room]["content"];
    assert!(
        content[&three]["m.read"][&bob.user_id].is_object(),
        "{content}"
    );
    assert!(content[&two].is_null(), "{content}");
    assert_eq!(moved.0["rooms"], json!({}));
    // Only of subscribed rooms, of which this is none.
    let narrow = with(
        "receipts",
        json!({ "enabled": true, "lists": [], "rooms": ["*"] }),
    );
    let anew = begin(&alice, &narrow).await;
    assert!(anew.extension("receipts").is_null());
    let mut subscribed = narrow.clone();
    subscribed["room_subscriptions"] = json!({ &room: { "timeline_limit": 1 } });
    let asked = next(&alice, &anew, 0, &subscribed).await;
    assert!(asked.extension("receipts")["rooms"][&room].is_object());
}

#[tokio::test]
async fn ones_own_reading_changes_the_counts() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let content = json!({
        "msgtype": "m.text", "body": "alice!", "m.mentions": { "user_ids": [alice.user_id] },
    });
    let said = bob.send_event(&room, "m.room.message", content).await;
    let body = all_rooms();
    let first = begin(&alice, &body).await;
    assert_eq!(first.room(&room)["notification_count"], 1);
    assert_eq!(first.room(&room)["highlight_count"], 1);
    read(&alice, &room, "m.read.private", &said).await;
    let after = next(&alice, &first, 10_000, &body).await;
    assert_eq!(after.room(&room)["notification_count"], 0);
    assert_eq!(after.room(&room)["highlight_count"], 0);
    assert!(after.timeline(&room).is_empty());
}

#[tokio::test]
async fn typing_is_told_as_it_changes() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let types = async |typing: bool| {
        let path = format!("v3/rooms/{room}/typing/{}", bob.user_id);
        let body = json!({ "typing": typing, "timeout": 30_000 });
        bob.put(path, body).await.ok();
    };
    let users = |slid: &Slid| {
        let event = &slid.extension("typing")["rooms"][&room];
        event["content"]["user_ids"].clone()
    };
    let body = with("typing", enabled());
    let first = begin(&alice, &body).await;
    assert!(users(&first).is_null());
    let waiting = next(&alice, &first, 30_000, &body);
    let beginning = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        types(true).await;
    };
    let (began, ()) = tokio::join!(waiting, beginning);
    assert_eq!(users(&began), json!([bob.user_id]));
    assert_eq!(
        began.extension("typing")["rooms"][&room]["type"],
        "m.typing"
    );
    // Who comes meanwhile is told as well.
    assert_eq!(users(&begin(&alice, &body).await), json!([bob.user_id]));
    let began = next(&alice, &begin(&alice, &body).await, 0, &body).await;
    types(false).await;
    let ended = next(&alice, &began, 10_000, &body).await;
    assert_eq!(users(&ended), json!([]));
}
