//! Ignored users: not heard in syncs and histories, but for state.

use harness::{Synced, User, event_ids};
use serde_json::{Value, json};

use crate::{
    server,
    sliding_sync::{all_rooms, begin, enabled, next, with},
};

async fn ignore(user: &User, others: &[&User]) {
    let ids: serde_json::Map<String, Value> = others
        .iter()
        .map(|other| (other.user_id.clone(), json!({})))
        .collect();
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", user.user_id);
    user.put(path, json!({ "ignored_users": ids })).await.ok();
}

fn has(synced: &Synced, room: &str, event: &str) -> bool {
    event_ids(synced.timeline(room)).contains(&event)
}

async fn history(user: &User, room: &str) -> Vec<String> {
    let page = user
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await
        .ok();
    event_ids(page["chunk"].as_array().unwrap())
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn an_ignored_users_words_are_left_out_and_come_back() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let before = alice.sync().await;
    let early = bob.say(&room, "early").await;
    ignore(&alice, &[&bob]).await;
    let late = bob.say(&room, "late").await;
    let other = carol.say(&room, "from carol").await;
    let name = bob
        .set_state(
            &room,
            "m.room.member",
            &bob.user_id,
            json!({
                "membership": "join", "displayname": "Bobby",
            }),
        )
        .await;
    // At once, for every kind of sync and for history; state is told.
    let fresh = alice.sync().await;
    let next = alice.sync_since(&before).await;
    for synced in [&fresh, &next] {
        assert!(
            !has(synced, &room, &early) && !has(synced, &room, &late),
            "{synced:?}"
        );
        assert!(
            has(synced, &room, &other) && has(synced, &room, &name),
            "{synced:?}"
        );
    }
    let read = history(&alice, &room).await;
    assert!(!read.contains(&early) && !read.contains(&late), "{read:?}");
    assert!(read.contains(&other) && read.contains(&name), "{read:?}");
    // The others hear him, and so does he himself.
    for user in [&bob, &carol] {
        assert!(has(&user.sync().await, &room, &late));
    }
    // Afterwards new words come again; those that were missed in a fresh sync.
    ignore(&alice, &[]).await;
    let again = bob.say(&room, "again").await;
    let next = alice.sync_since(&next).await;
    assert!(
        has(&next, &room, &again) && !has(&next, &room, &late),
        "{next:?}"
    );
    let fresh = alice.sync().await;
    assert!(
        has(&fresh, &room, &late) && has(&fresh, &room, &early),
        "{fresh:?}"
    );
    assert!(history(&alice, &room).await.contains(&late));
}

#[tokio::test]
async fn an_ignored_word_wakes_nobody() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    ignore(&alice, &[&bob]).await;
    let before = alice.sync().await;
    let waiting = {
        let alice = alice.clone();
        let query = format!("timeout=3000&since={}", before.next_batch());
        tokio::spawn(async move { alice.sync_with(&query).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    bob.say(&room, "nobody hears this").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "woken by an ignored user");
    let heard = alice.say(&room, "I hear myself").await;
    assert!(has(&waiting.await.unwrap(), &room, &heard));
}

#[tokio::test]
async fn invitations_of_ignored_users_are_not_told() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    ignore(&alice, &[&bob]).await;
    let before = alice.sync().await;
    let (bobs, carols) = (bob.public_room().await, carol.public_room().await);
    bob.invite(&bobs, &alice).await;
    carol.invite(&carols, &alice).await;
    for synced in [alice.sync_since(&before).await, alice.sync().await] {
        assert!(synced.invited(&bobs).is_null(), "{synced:?}");
        assert!(synced.invited(&carols).is_object(), "{synced:?}");
    }
    ignore(&alice, &[]).await;
    assert!(alice.sync().await.invited(&bobs).is_object());
}

#[tokio::test]
async fn messages_to_devices_still_come() {
    // They bring the keys without which nothing could be read after a change of mind.
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    ignore(&alice, &[&bob]).await;
    let messages = json!({ "messages": { &alice.user_id: { "*": { "key": 1 } } } });
    bob.put("v3/sendToDevice/m.room.encrypted/one", messages)
        .await
        .ok();
    assert_eq!(alice.sync().await.to_device().len(), 1);
}

#[tokio::test]
async fn a_list_of_another_form_ignores_nobody_and_nobody_ignores_themselves() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", alice.user_id);
    for content in [
        json!({}),
        json!({ "ignored_users": [bob.user_id] }),
        json!({ "ignored_users": null }),
    ] {
        alice.put(&path, content).await.ok();
        let heard = bob.say(&room, "hello").await;
        assert!(has(&alice.sync().await, &room, &heard));
    }
    ignore(&alice, &[&alice]).await;
    let own = alice.say(&room, "myself").await;
    assert!(has(&alice.sync().await, &room, &own));
}

#[tokio::test]
async fn single_events_of_ignored_users_are_not_given() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let root = alice.say(&room, "what do you think?").await;
    let answer = |user: &User| {
        let content = json!({
            "msgtype": "m.text", "body": "this",
            "m.relates_to": { "rel_type": "m.thread", "event_id": &root },
        });
        let (user, room) = (user.clone(), room.clone());
        async move { user.send_event(&room, "m.room.message", content).await }
    };
    let (bobs, carols) = (answer(&bob).await, answer(&carol).await);
    let member = json!({ "membership": "join", "displayname": "Bobby" });
    let state = bob
        .set_state(&room, "m.room.member", &bob.user_id, member)
        .await;
    ignore(&alice, &[&bob]).await;
    alice.event(&room, &bobs).await.refused(404, "M_NOT_FOUND");
    alice
        .get(format!("v3/rooms/{room}/context/{bobs}"))
        .await
        .refused(404, "M_NOT_FOUND");
    // State is told, and so are others.
    alice.event(&room, &state).await.ok();
    alice.event(&room, &carols).await.ok();
    carol.event(&room, &bobs).await.ok();
    let context = alice
        .get(format!("v3/rooms/{room}/context/{carols}?limit=20"))
        .await
        .ok();
    let around: Vec<&str> = ["events_before", "events_after"]
        .iter()
        .flat_map(|side| event_ids(context[side].as_array().unwrap()))
        .collect();
    assert!(!around.contains(&bobs.as_str()) && around.contains(&state.as_str()));
    let related = alice
        .get(format!("v1/rooms/{room}/relations/{root}"))
        .await
        .ok();
    assert_eq!(
        event_ids(related["chunk"].as_array().unwrap()),
        [carols.as_str()]
    );
    // Of what is said to an ignored event, others' words are given.
    let reply = json!({
        "msgtype": "m.text", "body": "no",
        "m.relates_to": { "rel_type": "m.reference", "event_id": bobs },
    });
    let reply = carol.send_event(&room, "m.room.message", reply).await;
    let related = alice
        .get(format!("v1/rooms/{room}/relations/{bobs}"))
        .await
        .ok();
    assert_eq!(
        event_ids(related["chunk"].as_array().unwrap()),
        [reply.as_str()]
    );
    let threads = alice.get(format!("v1/rooms/{room}/threads")).await.ok();
    let thread = &threads["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 1, "{threads}");
    assert_eq!(thread["latest_event"]["event_id"], carols.as_str());
}

#[tokio::test]
async fn what_ignored_users_read_and_type_is_not_told() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let said = alice.say(&room, "hello").await;
    ignore(&alice, &[&bob]).await;
    let mut body = with("receipts", enabled());
    body["extensions"]["typing"] = enabled();
    let before = alice.sync().await;
    let slid = begin(&alice, &body).await;
    let read = async |user: &User| {
        let path = format!("v3/rooms/{room}/receipt/m.read/{said}");
        user.post(path, json!({})).await.ok();
    };
    let types = async |user: &User| {
        let path = format!("v3/rooms/{room}/typing/{}", user.user_id);
        let content = json!({ "typing": true, "timeout": 60_000 });
        user.put(path, content).await.ok();
    };
    read(&bob).await;
    types(&bob).await;
    for synced in [alice.sync_since(&before).await, alice.sync().await] {
        for kind in ["m.receipt", "m.typing"] {
            assert_eq!(synced.ephemeral(&room, kind), None, "{synced:?}");
        }
    }
    let after = next(&alice, &slid, 0, &body).await;
    for name in ["receipts", "typing"] {
        assert!(after.extension(name).is_null(), "{:?}", after.0);
    }
    // Carol's are, alone.
    read(&carol).await;
    types(&carol).await;
    let synced = alice.sync_since(&before).await;
    let receipts = &synced.ephemeral(&room, "m.receipt").unwrap()["content"][&said]["m.read"];
    assert!(receipts[&carol.user_id].is_object() && receipts[&bob.user_id].is_null());
    let typing = &synced.ephemeral(&room, "m.typing").unwrap()["content"];
    assert_eq!(typing["user_ids"], json!([carol.user_id]));
    let after = next(&alice, &slid, 10_000, &body).await;
    let typing = &after.extension("typing")["rooms"][&room]["content"];
    assert_eq!(typing["user_ids"], json!([carol.user_id]));
    let receipts = &after.extension("receipts")["rooms"][&room]["content"][&said]["m.read"];
    assert!(receipts[&carol.user_id].is_object() && receipts[&bob.user_id].is_null());
    // Carol hears them both.
    let typing = carol.sync().await;
    let typing = &typing.ephemeral(&room, "m.typing").unwrap()["content"]["user_ids"];
    assert_eq!(typing.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_sliding_sync_leaves_out_their_invitations() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    ignore(&alice, &[&bob]).await;
    let first = begin(&alice, &all_rooms()).await;
    let (bobs, carols) = (bob.public_room().await, carol.public_room().await);
    bob.invite(&bobs, &alice).await;
    carol.invite(&carols, &alice).await;
    for slid in [
        next(&alice, &first, 10_000, &all_rooms()).await,
        begin(&alice, &all_rooms()).await,
    ] {
        assert!(slid.room(&bobs).is_null(), "{:?}", slid.0);
        assert!(
            slid.room(&carols)["invite_state"].is_array(),
            "{:?}",
            slid.0
        );
        assert_eq!(slid.0["lists"]["all"]["count"], 1);
    }
    ignore(&alice, &[]).await;
    let slid = begin(&alice, &all_rooms()).await;
    assert!(slid.room(&bobs)["invite_state"].is_array());
}
