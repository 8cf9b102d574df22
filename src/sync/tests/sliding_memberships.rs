//! Sliding syncs of people who are invited, leave, and are put out.

use serde_json::json;

use super::{
    house::{House, sender},
    sliding::{named, pos, window},
};

#[tokio::test]
async fn an_invitation_is_told_as_one_and_how_it_ends() {
    let house = House::new();
    let (alice, bob) = (house.person("alice").await, house.person("bob").await);
    let room = house.room(&bob, named("party")).await;
    house.say(&bob, &room, "secret one").await.unwrap();
    house
        .rooms
        .invite(&sender(&bob), &room, &alice.user_id, None)
        .await
        .unwrap();
    let body = window(9, 10, json!([["*", "*"]]));
    let first = house.sliding(&alice, None, body.clone()).await;
    let told = &first["rooms"][room.as_str()];
    let stripped = told["invite_state"].as_array().unwrap();
    assert!(
        stripped
            .iter()
            .any(|event| event["content"]["name"] == "party")
    );
    for hidden in [
        "timeline",
        "required_state",
        "joined_count",
        "name",
        "heroes",
    ] {
        assert!(told.get(hidden).is_none(), "{hidden}: {told}");
    }
    house.say(&bob, &room, "secret two").await.unwrap();
    let quiet = house.sliding(&alice, pos(&first), body.clone()).await;
    assert_eq!(quiet["rooms"], json!({}));
    house
        .rooms
        .leave(&sender(&alice), &room, None)
        .await
        .unwrap();
    let ended = house.sliding(&alice, pos(&quiet), body.clone()).await;
    let told = &ended["rooms"][room.as_str()];
    assert_eq!(told["required_state"][0]["content"]["membership"], "leave");
    assert!(!ended.to_string().contains("secret"), "{ended}");
    let after = house.sliding(&alice, pos(&ended), body).await;
    assert_eq!(after["rooms"], json!({}));
    assert_eq!(after["lists"]["all"]["count"], 0);
}

#[tokio::test]
async fn what_happened_while_somebody_was_out_stays_hidden() {
    let house = House::new();
    let (alice, bob) = (house.person("alice").await, house.person("bob").await);
    let room = house.room(&bob, named("party")).await;
    house.join(&alice, &room).await.unwrap();
    let body = window(9, 10, json!([["*", "*"]]));
    let slid = house.sliding(&alice, None, body.clone()).await;
    let synced = house.v3(&alice, None, json!({})).await;
    house
        .rooms
        .leave(&sender(&alice), &room, None)
        .await
        .unwrap();
    house.say(&bob, &room, "secret").await.unwrap();
    house
        .set(&bob, &room, "m.room.topic", json!({ "topic": "secret" }))
        .await
        .unwrap();
    house
        .rooms
        .invite(&sender(&bob), &room, &alice.user_id, None)
        .await
        .unwrap();
    house.say(&bob, &room, "secret").await.unwrap();
    house
        .rooms
        .leave(&sender(&alice), &room, None)
        .await
        .unwrap();
    let slid = house.sliding(&alice, pos(&slid), body.clone()).await;
    let told = &slid["rooms"][room.as_str()];
    assert_eq!(told["required_state"][0]["content"]["membership"], "leave");
    let since = synced["next_batch"].as_str().map(str::to_owned);
    let synced = house.v3(&alice, since, json!({})).await;
    assert!(synced["rooms"]["leave"][room.as_str()].is_object());
    // By name it can be asked for as it was, and no more.
    let named = json!({ "room_subscriptions": { room.as_str(): {
        "timeline_limit": 100, "required_state": [["*", "*"]],
    } } });
    let by_name = house.sliding(&alice, None, named).await;
    for answer in [slid, synced, by_name] {
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    let stranger = house.person("carol").await;
    let named = json!({ "room_subscriptions": {
        room.as_str(): { "timeline_limit": 1 }, "no room": { "timeline_limit": 1 },
    } });
    let answer = house.sliding(&stranger, None, named).await;
    assert_eq!(answer["rooms"], json!({}));
}

#[tokio::test]
async fn whoever_is_put_out_learns_it_and_forgets_it() {
    let house = House::new();
    let (alice, bob) = (house.person("alice").await, house.person("bob").await);
    let room = house.room(&bob, named("party")).await;
    house.join(&alice, &room).await.unwrap();
    let body = window(9, 10, json!([]));
    let first = house.sliding(&alice, None, body.clone()).await;
    house
        .rooms
        .kick(&sender(&bob), &room, &alice.user_id, None)
        .await
        .unwrap();
    house.say(&bob, &room, "secret").await.unwrap();
    let mut elsewhere = body.clone();
    elsewhere["conn_id"] = "elsewhere".into();
    for (since, body) in [(pos(&first), &body), (None, &elsewhere)] {
        let answer = house.sliding(&alice, since, body.clone()).await;
        let told = &answer["rooms"][room.as_str()];
        let own = &told["required_state"][0];
        assert_eq!(own["content"]["membership"], "leave", "{answer}");
        let last = told["timeline"].as_array().unwrap().last().unwrap();
        assert_eq!(last["event_id"], own["event_id"], "{answer}");
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    let told = house.sliding(&alice, pos(&first), body.clone()).await;
    house.rooms.forget(&sender(&alice), &room).await.unwrap();
    let after = house.sliding(&alice, pos(&told), body.clone()).await;
    assert_eq!(after["lists"]["all"]["count"], 0);
    // Left and forgotten before anybody was told: the client hears that it is out.
    house.join(&alice, &room).await.unwrap();
    let in_again = house.sliding(&alice, pos(&after), body.clone()).await;
    assert_eq!(in_again["rooms"][room.as_str()]["initial"], true);
    house
        .rooms
        .leave(&sender(&alice), &room, None)
        .await
        .unwrap();
    house.rooms.forget(&sender(&alice), &room).await.unwrap();
    let gone = house.sliding(&alice, pos(&in_again), body).await;
    let own = &gone["rooms"][room.as_str()]["required_state"][0];
    assert_eq!(own["content"]["membership"], "leave");
}
