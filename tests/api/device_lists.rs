//! Whose devices changed: in sync and in `/keys/changes`.

use harness::User;
use harness::signing::DeviceKeys;
use serde_json::json;

use crate::server;

async fn new_device_of(user: &User) -> User {
    let device = user.another_device().await;
    DeviceKeys::of(&device).upload(&device, 1).await;
    device
}

#[tokio::test]
async fn a_new_device_is_news_for_those_who_share_a_room() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    alice.room_with(&[&bob]).await;
    let (bobs, carols) = (bob.sync().await, carol.sync().await);
    new_device_of(&alice).await;
    let (_, after) = bob
        .sync_until(&bobs, "alice's device", |synced| {
            synced
                .changed()
                .contains(&alice.user_id.as_str())
                .then_some(())
        })
        .await;
    assert!(carol.sync_since(&carols).await.changed().is_empty());
    assert!(
        bob.sync_since(&after).await.changed().is_empty(),
        "told once"
    );
}

#[tokio::test]
async fn ones_own_new_device_is_news_too() {
    let alice = server().register("alice").await;
    let before = alice.sync().await;
    new_device_of(&alice).await;
    assert!(
        alice
            .sync_since(&before)
            .await
            .changed()
            .contains(&alice.user_id.as_str())
    );
}

#[tokio::test]
async fn a_deleted_device_is_news() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    let phone = new_device_of(&alice).await;
    let before = bob.sync().await;
    phone.post("v3/logout", json!({})).await.ok();
    assert!(
        bob.sync_since(&before)
            .await
            .changed()
            .contains(&alice.user_id.as_str())
    );
}

#[tokio::test]
async fn somebody_whom_one_meets_anew_is_news() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    new_device_of(&bob).await;
    let room = alice.public_room().await;
    let (alices, bobs) = (alice.sync().await, bob.sync().await);
    bob.join(&room).await;
    assert!(
        alice
            .sync_since(&alices)
            .await
            .changed()
            .contains(&bob.user_id.as_str())
    );
    assert!(
        bob.sync_since(&bobs)
            .await
            .changed()
            .contains(&alice.user_id.as_str())
    );
}

#[tokio::test]
async fn somebody_with_whom_no_room_is_left_is_named() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let (first, second) = (
        alice.room_with(&[&bob]).await,
        alice.room_with(&[&bob]).await,
    );
    let (alices, bobs) = (alice.sync().await, bob.sync().await);
    bob.leave(&first).await;
    let synced = alice.sync_since(&alices).await;
    assert!(synced.left_users().is_empty(), "one room is left");
    bob.leave(&second).await;
    assert_eq!(
        alice.sync_since(&alices).await.left_users(),
        [bob.user_id.as_str()]
    );
    assert_eq!(
        bob.sync_since(&bobs).await.left_users(),
        [alice.user_id.as_str()]
    );
    new_device_of(&bob).await;
    let after = alice.sync_since(&synced).await;
    assert!(
        !after.changed().contains(&bob.user_id.as_str()),
        "no longer our concern"
    );
}

#[tokio::test]
async fn the_changes_between_two_syncs_can_be_asked_for() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    alice.room_with(&[&bob, &carol]).await;
    let one = alice.sync().await;
    new_device_of(&bob).await;
    let two = alice.sync().await;
    new_device_of(&carol).await;
    let three = alice.sync().await;
    let changed = async |from: &str, to: &str| {
        let answer = alice
            .get(format!("v3/keys/changes?from={from}&to={to}"))
            .await
            .ok();
        let mut users: Vec<String> = serde_json::from_value(answer["changed"].clone()).unwrap();
        users.sort();
        users
    };
    let (one, two, three) = (one.next_batch(), two.next_batch(), three.next_batch());
    // `to` is a hint: a server may tell later changes as well.
    assert!(changed(one, two).await.contains(&bob.user_id));
    assert_eq!(
        changed(two, three).await,
        std::slice::from_ref(&carol.user_id)
    );
    let mut both = vec![bob.user_id.clone(), carol.user_id.clone()];
    both.sort();
    assert_eq!(changed(one, three).await, both);
    assert_eq!(changed(three, three).await, Vec::<String>::new());
}

#[tokio::test]
async fn broken_tokens_are_refused() {
    let alice = server().register("alice").await;
    for path in [
        "v3/keys/changes",
        "v3/keys/changes?from=nonsense&to=nonsense",
    ] {
        let answer = alice.get(path).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[tokio::test]
async fn a_change_counts_for_those_who_shared_a_room_at_the_time() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let (alices, carols) = (alice.sync().await, carol.sync().await);
    // Bob changes and goes: alice forgets him, and so does carol.
    new_device_of(&bob).await;
    bob.leave(&room).await;
    for (user, before) in [(&alice, &alices), (&carol, &carols)] {
        let synced = user.sync_since(before).await;
        assert_eq!(synced.left_users(), [bob.user_id.as_str()]);
        assert!(!synced.changed().contains(&bob.user_id.as_str()));
    }
    // What he changes meanwhile is nobody's concern, and is looked up when he is back.
    let alices = alice.sync().await;
    new_device_of(&bob).await;
    assert!(alice.sync_since(&alices).await.changed().is_empty());
    bob.join(&room).await;
    let back = alice.sync_since(&alices).await;
    assert_eq!(back.changed(), [bob.user_id.as_str()]);
    // He goes and comes between two syncs: that is a change, not a loss.
    bob.leave(&room).await;
    new_device_of(&bob).await;
    bob.join(&room).await;
    let again = alice.sync_since(&back).await;
    assert_eq!(again.changed(), [bob.user_id.as_str()]);
    assert!(again.left_users().is_empty());
}

#[tokio::test]
async fn a_change_is_told_where_one_of_two_shared_rooms_is_left() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let first = alice.room_with(&[&bob]).await;
    alice.room_with(&[&bob]).await;
    let before = alice.sync().await;
    new_device_of(&bob).await;
    bob.leave(&first).await;
    let synced = alice.sync_since(&before).await;
    assert_eq!(synced.changed(), [bob.user_id.as_str()]);
    assert!(synced.left_users().is_empty());
    // The same for who leaves.
    let bobs = bob.sync().await;
    new_device_of(&alice).await;
    bob.join(&first).await;
    bob.leave(&first).await;
    let synced = bob.sync_since(&bobs).await;
    assert_eq!(synced.changed(), [alice.user_id.as_str()]);
    assert!(synced.left_users().is_empty());
}
