//! Ignored users: not heard in syncs and histories, but for state.

use harness::{Synced, User, event_ids};
use serde_json::{Value, json};

use crate::server;

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
