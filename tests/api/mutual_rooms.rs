//! Which rooms two people share.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server;

fn joined(answer: &Value) -> BTreeSet<&str> {
    let rooms = answer["joined"].as_array().expect("joined");
    rooms.iter().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn rooms_that_both_are_in_are_listed() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let path = |user: &str| format!("v1/mutual_rooms?user_id={}", harness::escape(user));
    let shared = [
        alice.room_with(&[&bob]).await,
        alice.room_with(&[&bob]).await,
    ];
    alice.public_room().await;
    bob.public_room().await;
    let invited = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let left = alice.room_with(&[&bob]).await;
    bob.leave(&left).await;
    for (asker, other) in [(&alice, &bob), (&bob, &alice)] {
        let answer = asker.get(path(&other.user_id)).await.ok();
        let expected: BTreeSet<&str> = shared.iter().map(String::as_str).collect();
        assert_eq!(joined(&answer), expected);
        assert_eq!(answer["count"], 2);
        assert!(answer.get("next_batch").is_none());
    }
    bob.join(&invited).await;
    let answer = alice.get(path(&bob.user_id)).await.ok();
    assert!(joined(&answer).contains(invited.as_str()));
    // Nobody by that name, as somebody with whom nothing is shared.
    let carol = api.register("carol").await;
    for other in ["@nobody:localhost", &carol.user_id] {
        let answer = alice.get(path(other)).await.ok();
        assert_eq!(answer, json!({ "joined": [], "count": 0 }));
    }
    for wrong in [
        path(&alice.user_id),
        path("nobody"),
        "v1/mutual_rooms".to_owned(),
        format!("{}&from=x", path(&bob.user_id)),
    ] {
        alice.get(wrong).await.refused_with(&[400]);
    }
    alice
        .get(path(&alice.user_id))
        .await
        .refused(400, "M_INVALID_PARAM");
    api.anonymous()
        .get(path(&bob.user_id))
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn many_rooms_come_in_pages() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let mut expected = BTreeSet::new();
    for _ in 0..103 {
        expected.insert(alice.room_with(&[&bob]).await);
    }
    let path = format!("v1/mutual_rooms?user_id={}", harness::escape(&bob.user_id));
    let first = alice.get(&path).await.ok();
    assert_eq!(joined(&first).len(), 100);
    assert_eq!(first["count"], 103);
    let next = first["next_batch"].as_str().unwrap();
    let second = alice.get(format!("{path}&from={next}")).await.ok();
    assert!(second.get("next_batch").is_none());
    let mut all = joined(&first);
    all.extend(joined(&second));
    assert_eq!(all, expected.iter().map(String::as_str).collect());
}
