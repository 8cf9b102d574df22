//! The list of what a user was notified about.

use harness::User;
use serde_json::{Value, json};

use crate::server;

async fn listed(user: &User, query: &str) -> (Vec<Value>, Option<String>) {
    let page = user.get(format!("v3/notifications{query}")).await.ok();
    let list = page["notifications"].as_array().unwrap().clone();
    (list, page["next_token"].as_str().map(str::to_owned))
}

fn bodies(list: &[Value]) -> Vec<&str> {
    let bodies = list.iter().map(|told| &told["event"]["content"]["body"]);
    bodies.map(|body| body.as_str().unwrap()).collect()
}

#[tokio::test]
async fn notifications_are_listed_over_all_rooms_newest_first() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let early = alice.public_room().await;
    alice.say(&early, "before bob came").await;
    bob.join(&early).await;
    let other = alice.room_with(&[&bob]).await;
    let muted = alice.room_with(&[&bob]).await;
    let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": muted });
    let rule = json!({ "conditions": [condition], "actions": [] });
    bob.put("v3/pushrules/global/override/mute", rule)
        .await
        .ok();
    assert_eq!(listed(&bob, "").await.0, Vec::<Value>::new());
    let first = alice.say(&early, "one").await;
    alice.say(&other, "two").await;
    alice.say(&muted, "hidden").await;
    bob.say(&other, "one's own").await;
    let mention = json!({
        "msgtype": "m.text", "body": "three", "m.mentions": { "user_ids": [bob.user_id] },
    });
    alice.send_event(&other, "m.room.message", mention).await;
    let notice = json!({ "msgtype": "m.notice", "body": "beep" });
    alice.send_event(&early, "m.room.message", notice).await;
    alice.say(&early, "four").await;
    let (all, next) = listed(&bob, "").await;
    assert_eq!(bodies(&all), ["four", "three", "two", "one"]);
    assert_eq!(next, None);
    let oldest = &all[3];
    assert_eq!(oldest["room_id"], early.as_str());
    assert_eq!(oldest["event"]["event_id"], first.as_str());
    assert_eq!(oldest["event"]["room_id"], Value::Null);
    assert_eq!(oldest["actions"][0], "notify");
    assert_eq!(oldest["read"], false);
    assert!(oldest["ts"].as_u64().unwrap() > 1_600_000_000_000);
    let receipt = format!("v3/rooms/{early}/receipt/m.read/{first}");
    bob.post(receipt, json!({})).await.ok();
    let (all, _) = listed(&bob, "").await;
    let read: Vec<bool> = all.iter().map(|told| told["read"] == true).collect();
    assert_eq!(read, [false, false, false, true]);
    let (highlights, _) = listed(&bob, "?only=highlight").await;
    assert_eq!(bodies(&highlights), ["three"]);
    assert!(
        listed(&alice, "")
            .await
            .0
            .iter()
            .all(|told| told["event"]["sender"] != alice.user_id.as_str())
    );
}

#[tokio::test]
async fn notifications_come_in_pages() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rooms = [
        alice.room_with(&[&bob]).await,
        alice.room_with(&[&bob]).await,
    ];
    for number in 0..7 {
        alice.say(&rooms[number % 2], &number.to_string()).await;
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    let mut pages = 0;
    loop {
        let (page, next) = listed(&bob, &query).await;
        assert!(page.len() <= 3);
        seen.extend(bodies(&page).into_iter().map(str::to_owned));
        pages += 1;
        let Some(next) = next else { break };
        query = format!("?limit=3&from={next}");
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
    assert!(pages >= 3);
    bob.get("v3/notifications?from=nonsense")
        .await
        .refused(400, "M_INVALID_PARAM");
    bob.leave(&rooms[0]).await;
    let (left, _) = listed(&bob, "").await;
    assert_eq!(bodies(&left), ["5", "3", "1"]);
    bob.anonymous()
        .get("v3/notifications")
        .await
        .refused(401, "M_MISSING_TOKEN");
}
