//! Unread counts after a change of push rules or of the ignored users, though nothing
//! happens in the rooms.

use harness::{Synced, User};
use serde_json::{Value, json};

use crate::{
    server,
    sliding_sync::{all_rooms, begin, next},
};

fn unread(synced: &Synced, room: &str) -> Value {
    synced.joined(room)["unread_notifications"]["notification_count"].clone()
}

/// Waits for news in a task of its own.
fn wait(user: &User, earlier: &Synced) -> tokio::task::JoinHandle<Synced> {
    let query = format!("timeout=20000&since={}", earlier.next_batch());
    let user = user.clone();
    tokio::spawn(async move { user.sync_with(&query).await })
}

async fn mute(user: &User, room: &str) {
    let path = format!("v3/pushrules/global/override/{room}");
    let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": room });
    let rule = json!({ "conditions": [condition], "actions": [] });
    user.put(path, rule).await.ok();
}

async fn ignore(user: &User, others: Value) {
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", user.user_id);
    let content = json!({ "ignored_users": others });
    user.put(path, content).await.ok();
}

async fn read(user: &User, room: &str, event: &str) {
    let path = format!("v3/rooms/{room}/receipt/m.read/{event}");
    user.post(path, json!({})).await.ok();
}

#[tokio::test]
async fn a_changed_rule_brings_new_counts_to_every_device() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let laptop = alice.another_device().await;
    let room = bob.room_with(&[&alice]).await;
    let quiet = bob.room_with(&[&alice]).await;
    bob.say(&room, "one").await;
    bob.say(&room, "two").await;
    let read_one = bob.say(&quiet, "read already").await;
    read(&alice, &quiet, &read_one).await;
    let phone_before = alice.sync().await;
    let laptop_before = laptop.sync().await;
    let slid = begin(&laptop, &all_rooms()).await;
    assert_eq!(unread(&phone_before, &room), 2);
    assert_eq!(slid.room(&room)["notification_count"], 2);

    // A long poll is woken, and the count is in it.
    let waiting = wait(&alice, &phone_before);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    mute(&alice, &room).await;
    let told = waiting.await.unwrap();
    assert!(told.account_data("m.push_rules").is_some());
    assert_eq!(unread(&told, &room), 0, "{told:?}");
    assert!(told.timeline(&room).is_empty());
    // A room where nothing is unread has no news.
    assert!(told.joined(&quiet).is_null(), "{told:?}");
    // The other device learns it as well, by either sync, after the first was told.
    let told = laptop.sync_since(&laptop_before).await;
    assert_eq!(unread(&told, &room), 0, "{told:?}");
    let slid = next(&laptop, &slid, 10_000, &all_rooms()).await;
    assert_eq!(slid.room(&room)["notification_count"], 0, "{:?}", slid.0);
    assert!(slid.room(&quiet).is_null(), "{:?}", slid.0);
    // Nothing more after that.
    let again = laptop.sync_since(&told).await;
    assert!(again.joined(&room).is_null(), "{again:?}");

    // And back again.
    let path = format!("v3/pushrules/global/override/{room}");
    alice.delete(path, Value::Null).await.ok();
    let told = laptop.sync_since(&again).await;
    assert_eq!(unread(&told, &room), 2, "{told:?}");
    let slid = next(&laptop, &slid, 10_000, &all_rooms()).await;
    assert_eq!(slid.room(&room)["notification_count"], 2, "{:?}", slid.0);
}

#[tokio::test]
async fn what_an_ignored_user_says_does_not_count() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let mention = json!({
        "msgtype": "m.text", "body": "alice!", "m.mentions": { "user_ids": [alice.user_id] },
    });
    bob.send_event(&room, "m.room.message", mention.clone())
        .await;
    carol.say(&room, "hello").await;
    let before = alice.sync().await;
    let slid = begin(&alice, &all_rooms()).await;
    let counts = |synced: &Synced| synced.joined(&room)["unread_notifications"].clone();
    assert_eq!(
        counts(&before),
        json!({ "notification_count": 2, "highlight_count": 1 })
    );
    ignore(&alice, json!({ &bob.user_id: {} })).await;
    let one = json!({ "notification_count": 1, "highlight_count": 0 });
    let told = alice.sync_since(&before).await;
    assert_eq!(counts(&told), one, "{told:?}");
    let slid = next(&alice, &slid, 10_000, &all_rooms()).await;
    assert_eq!(slid.room(&room)["notification_count"], 1);
    assert_eq!(slid.room(&room)["highlight_count"], 0);
    bob.send_event(&room, "m.room.message", mention).await;
    assert_eq!(counts(&alice.sync().await), one);
    let listed = alice.get("v3/notifications").await.ok();
    let listed = listed["notifications"].as_array().unwrap();
    let senders: Vec<&Value> = listed.iter().map(|one| &one["event"]["sender"]).collect();
    assert!(!senders.contains(&&json!(bob.user_id)), "{listed:?}");
    assert!(senders.contains(&&json!(carol.user_id)), "{listed:?}");
    // After a change of mind they count.
    let before = alice.sync_since(&told).await;
    ignore(&alice, json!({})).await;
    let told = alice.sync_since(&before).await;
    assert_eq!(
        counts(&told),
        json!({ "notification_count": 3, "highlight_count": 2 })
    );
    let slid = next(&alice, &slid, 10_000, &all_rooms()).await;
    assert_eq!(slid.room(&room)["notification_count"], 3, "{:?}", slid.0);
}

#[tokio::test]
async fn a_rule_without_conditions_matches_everything() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    bob.say(&room, "one").await;
    for kind in ["override", "underride"] {
        let path = format!("v3/pushrules/global/{kind}/all");
        alice.put(&path, json!({ "actions": [] })).await.ok();
        let rule = alice.get(&path).await.ok();
        assert_eq!(rule["conditions"], json!([]), "{rule}");
    }
    assert_eq!(unread(&alice.sync().await, &room), 0);
    let path = "v3/pushrules/global/override/all";
    alice
        .put(path, json!({ "conditions": "none", "actions": [] }))
        .await
        .refused(400, "M_BAD_JSON");
    alice.put(path, json!({})).await.refused(400, "M_BAD_JSON");
}
