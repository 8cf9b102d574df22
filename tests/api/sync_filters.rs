//! Filters in sync, lazy-loaded members above all.

use harness::{Synced, User, event_ids};
use serde_json::{Value, json};

use crate::server;

fn lazy(limit: usize) -> Value {
    json!({ "room": {
        "state": { "lazy_load_members": true }, "timeline": { "limit": limit },
    } })
}

fn members(synced: &Synced, room: &str) -> Vec<String> {
    let mut members: Vec<String> = synced
        .state(room)
        .iter()
        .filter(|event| event["type"] == "m.room.member")
        .map(|event| event["state_key"].as_str().unwrap().to_owned())
        .collect();
    members.sort();
    members
}

fn ids(users: &[&User]) -> Vec<String> {
    let mut ids: Vec<String> = users.iter().map(|user| user.user_id.clone()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn lazy_loading_gives_the_members_who_speak() {
    let api = server();
    let (alice, bob, carol, dave) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
        api.register("dave").await,
    );
    let room = alice.room_with(&[&bob, &carol, &dave]).await;
    alice
        .set_state(
            &room,
            "m.room.name",
            "",
            json!({ "name": "named: no heroes" }),
        )
        .await;
    bob.say(&room, "one").await;
    carol.say(&room, "two").await;
    let first = dave.sync_filtered(&lazy(1), "").await;
    let shown = members(&first, &room);
    assert!(shown.contains(&carol.user_id), "{shown:?}");
    // Heroes come along; a named room needs none.
    let heroes = first.joined(&room)["summary"]["m.heroes"].to_string();
    assert!(
        !shown.contains(&bob.user_id) || heroes.contains(&bob.user_id),
        "{shown:?}"
    );
    // Then the next speaker, once.
    bob.say(&room, "three").await;
    let second = dave.sync_filtered(&lazy(5), first.next_batch()).await;
    let next = members(&second, &room);
    assert!(
        next == ids(&[&bob]) || shown.contains(&bob.user_id),
        "{next:?}"
    );
    bob.say(&room, "four").await;
    let third = dave.sync_filtered(&lazy(5), second.next_batch()).await;
    let again = members(&third, &room);
    assert!(
        again.is_empty() || again == ids(&[&bob]),
        "repeats are allowed, others not: {again:?}"
    );
}

#[tokio::test]
async fn lazy_loading_includes_the_heroes_members() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    for number in 0..3 {
        bob.say(&room, &format!("number {number}")).await;
    }
    let synced = bob.sync_filtered(&lazy(2), "").await;
    let heroes = &synced.joined(&room)["summary"]["m.heroes"];
    assert_eq!(heroes, &json!([alice.user_id]));
    assert!(
        members(&synced, &room).contains(&alice.user_id),
        "a hero needs a name"
    );
}

#[tokio::test]
async fn without_lazy_loading_all_members_come() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    alice.say(&room, "one").await;
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let synced = bob.sync_filtered(&filter, "").await;
    assert_eq!(members(&synced, &room), ids(&[&alice, &bob, &carol]));
}

#[tokio::test]
async fn a_stored_filter_does_what_the_same_filter_does() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let path = format!("v3/user/{}/filter", alice.user_id);
    let answer = alice.post(path, filter).await.ok();
    let id = answer["filter_id"].as_str().unwrap();
    let synced = alice.sync_with(&format!("timeout=0&filter={id}")).await;
    assert_eq!(event_ids(synced.timeline(&room)), [said.as_str()]);
}

#[tokio::test]
async fn the_timeline_is_filtered_by_type_and_sender() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let alices = alice.say(&room, "from alice").await;
    let bobs = bob.say(&room, "from bob").await;
    let noise = alice
        .send_event(&room, "org.example.noise", json!({}))
        .await;
    let timeline = async |filter: Value| {
        let filter = json!({ "room": { "timeline": filter } });
        let synced = alice.sync_filtered(&filter, "").await;
        event_ids(synced.timeline(&room))
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let messages = json!({ "types": ["m.room.message"] });
    assert_eq!(timeline(messages).await, [alices.clone(), bobs.clone()]);
    let noisy = json!({ "types": ["org.example.*"] });
    assert_eq!(timeline(noisy).await, std::slice::from_ref(&noise));
    let without = json!({ "not_types": ["m.room.*"] });
    assert_eq!(timeline(without).await, [noise]);
    let from_bob = json!({ "senders": [bob.user_id], "types": ["m.room.message"] });
    assert_eq!(timeline(from_bob).await, [bobs]);
    let not_bob = json!({ "not_senders": [bob.user_id], "types": ["m.room.message"] });
    assert_eq!(timeline(not_bob).await, [alices]);
}

#[tokio::test]
async fn rooms_can_be_chosen_and_left_out() {
    let alice = server().register("alice").await;
    let (room, other) = (alice.public_room().await, alice.public_room().await);
    let only = json!({ "room": { "rooms": [room] } });
    let synced = alice.sync_filtered(&only, "").await;
    assert!(!synced.joined(&room).is_null() && synced.joined(&other).is_null());
    let without = json!({ "room": { "not_rooms": [room] } });
    let synced = alice.sync_filtered(&without, "").await;
    assert!(synced.joined(&room).is_null() && !synced.joined(&other).is_null());
    let nothing = json!({ "room": { "rooms": [] } });
    let synced = alice.sync_filtered(&nothing, "").await;
    assert!(synced.joined(&room).is_null() && synced.joined(&other).is_null());
}

#[tokio::test]
async fn state_account_data_and_ephemeral_events_are_filtered() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "hello").await;
    bob.post(format!("v3/rooms/{room}/receipt/m.read/{said}"), json!({}))
        .await
        .ok();
    let data = format!("v3/user/{}/account_data/org.example.a", alice.user_id);
    alice.put(data, json!({ "n": 1 })).await.ok();
    let data = format!(
        "v3/user/{}/rooms/{room}/account_data/org.example.b",
        alice.user_id
    );
    alice.put(data, json!({ "n": 1 })).await.ok();
    let filter = json!({
        "account_data": { "not_types": ["*"] },
        "room": {
            "timeline": { "limit": 1 },
            "state": { "types": ["m.room.create"] },
            "ephemeral": { "types": [] },
            "account_data": { "not_types": ["org.example.*"] },
        },
    });
    let synced = alice.sync_filtered(&filter, "").await;
    assert!(synced.account_data("org.example.a").is_none());
    assert_eq!(synced.state(&room).len(), 1);
    assert!(synced.ephemeral(&room, "m.receipt").is_none());
    let text = synced.joined(&room)["account_data"].to_string();
    assert!(!text.contains("org.example.b"));
}

#[tokio::test]
async fn a_filter_does_not_let_the_token_slip() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] } } });
    let first = alice.sync_filtered(&filter, "").await;
    alice
        .send_event(&room, "org.example.noise", json!({}))
        .await;
    let second = alice.sync_filtered(&filter, first.next_batch()).await;
    assert!(second.timeline(&room).is_empty());
    let said = alice.say(&room, "hello").await;
    let third = alice.sync_filtered(&filter, second.next_batch()).await;
    assert_eq!(event_ids(third.timeline(&room)), [said.as_str()]);
}

#[tokio::test]
async fn event_fields_can_be_chosen() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    alice.say(&room, "hello").await;
    let filter = json!({ "event_fields": ["type", "content.body", "sender"] });
    let synced = alice.sync_filtered(&filter, "").await;
    // A server may give more than it was asked for.
    let last = synced.timeline(&room).last().unwrap();
    assert_eq!(last["content"]["body"], "hello", "{last}");
    assert_eq!(last["type"], "m.room.message");
    assert_eq!(last["sender"], alice.user_id.as_str());
}
