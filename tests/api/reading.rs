//! `/event`, `/context`, `/members`, `/joined_members`.

use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn an_event_is_found_in_its_own_room_only() {
    let api = server();
    let alice = api.register("alice").await;
    let (room, elsewhere) = (alice.public_room().await, alice.public_room().await);
    let said = alice.say(&room, "hello").await;
    let event = alice.event(&room, &said).await.ok();
    assert_eq!(event["room_id"], room.as_str());
    assert_eq!(event["event_id"], said.as_str());
    alice
        .event(&elsewhere, &said)
        .await
        .refused(404, "M_NOT_FOUND");
    let path = format!("v3/rooms/{elsewhere}/context/{said}");
    alice.get(path).await.refused(404, "M_NOT_FOUND");
    let nothing = format!("${}", "A".repeat(43));
    alice
        .event(&room, &nothing)
        .await
        .refused(404, "M_NOT_FOUND");
    let path = format!("v3/rooms/{room}/context/{nothing}");
    alice.get(path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_outsider_reads_no_event() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    for path in [
        format!("v3/rooms/{room}/event/{said}"),
        format!("v3/rooms/{room}/context/{said}"),
    ] {
        let answer = bob.get(path).await;
        assert!(answer.status == 403 || answer.status == 404, "{answer:?}");
        assert!(!answer.text.contains("hello"));
    }
    let path = format!("v3/rooms/{room}/messages?dir=b");
    bob.get(path).await.refused(403, "M_FORBIDDEN");
    // Through a room of one's own, neither.
    let own = bob.public_room().await;
    bob.event(&own, &said).await.refused(404, "M_NOT_FOUND");
    let path = format!("v3/rooms/{own}/context/{said}");
    bob.get(path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_context_of_an_event_stands_on_both_sides() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let mut said = Vec::new();
    for number in 0..9 {
        said.push(alice.say(&room, &format!("number {number}")).await);
    }
    let middle = &said[4];
    let context = alice
        .get(format!("v3/rooms/{room}/context/{middle}?limit=4"))
        .await
        .ok();
    assert_eq!(context["event"]["event_id"], middle.as_str());
    let ids = |part: &str| -> Vec<String> {
        let events = context[part].as_array().unwrap();
        harness::event_ids(events)
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(ids("events_before"), [said[3].clone(), said[2].clone()]);
    assert_eq!(ids("events_after"), [said[5].clone(), said[6].clone()]);
    let state = context["state"].as_array().unwrap();
    assert!(harness::find_event(state, "m.room.create").is_some());
    let turn = async |direction: &str, from: &Value| {
        let from = from.as_str().unwrap();
        let path = format!("v3/rooms/{room}/messages?dir={direction}&from={from}&limit=1");
        alice.get(path).await.ok()["chunk"][0]["event_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(turn("b", &context["start"]).await, said[1]);
    assert_eq!(turn("f", &context["end"]).await, said[7]);
}

#[tokio::test]
async fn the_state_of_a_context_is_that_of_its_end() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "then" }))
        .await;
    let said = alice.say(&room, "hello").await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "now" }))
        .await;
    let context = alice
        .get(format!("v3/rooms/{room}/context/{said}?limit=0"))
        .await
        .ok();
    assert_eq!(context["events_before"].as_array().map_or(0, Vec::len), 0);
    assert_eq!(context["events_after"].as_array().map_or(0, Vec::len), 0);
    let name = harness::find_event(context["state"].as_array().unwrap(), "m.room.name").unwrap();
    assert_eq!(name["content"]["name"], "then");
}

#[tokio::test]
async fn a_context_can_be_filtered() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let wanted = alice.say(&room, "wanted").await;
    alice
        .send_event(&room, "org.example.noise", json!({}))
        .await;
    let middle = alice.say(&room, "middle").await;
    let context_with = async |limit: u32, filter: Value| {
        let filter = harness::escape(&filter.to_string());
        let path = format!("v3/rooms/{room}/context/{middle}?limit={limit}&filter={filter}");
        alice.get(path).await.ok()
    };
    let context = context_with(10, json!({ "types": ["m.room.message"] })).await;
    let before = context["events_before"].as_array().unwrap();
    assert_eq!(harness::event_ids(before), [wanted.as_str()]);
    let context = context_with(2, json!({ "lazy_load_members": true })).await;
    let members: Vec<&str> = context["state"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "m.room.member")
        .map(|event| event["state_key"].as_str().unwrap())
        .collect();
    assert_eq!(members, [alice.user_id.as_str()], "bob said nothing here");
}

#[tokio::test]
async fn the_members_are_listed_by_what_they_are() {
    let api = server();
    let (alice, bob, carol, dave) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
        api.register("dave").await,
    );
    let room = alice.room_with(&[&bob, &dave]).await;
    alice.invite(&room, &carol).await;
    dave.leave(&room).await;
    let list = async |query: &str| {
        let answer = bob
            .get(format!("v3/rooms/{room}/members{query}"))
            .await
            .ok();
        let mut found: Vec<String> = answer["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["state_key"].as_str().unwrap().to_owned())
            .collect();
        found.sort();
        found
    };
    let ids = |users: &[&harness::User]| {
        let mut ids: Vec<String> = users.iter().map(|user| user.user_id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(list("").await, ids(&[&alice, &bob, &carol, &dave]));
    assert_eq!(list("?membership=join").await, ids(&[&alice, &bob]));
    assert_eq!(list("?membership=invite").await, ids(&[&carol]));
    assert_eq!(list("?not_membership=join").await, ids(&[&carol, &dave]));
    let joined = bob
        .get(format!("v3/rooms/{room}/joined_members"))
        .await
        .ok();
    let mut joined: Vec<&String> = joined["joined"].as_object().unwrap().keys().collect();
    joined.sort();
    assert_eq!(
        joined.into_iter().cloned().collect::<Vec<_>>(),
        ids(&[&alice, &bob])
    );
}

#[tokio::test]
async fn the_members_of_an_earlier_moment_can_be_asked_for() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let then = alice.sync().await;
    carol.join(&room).await;
    let at = then.next_batch();
    let answer = alice
        .get(format!("v3/rooms/{room}/members?at={at}&membership=join"))
        .await
        .ok();
    assert_eq!(answer["chunk"].as_array().unwrap().len(), 2);
    let answer = alice
        .get(format!("v3/rooms/{room}/members?membership=join"))
        .await
        .ok();
    assert_eq!(answer["chunk"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_member_event_tells_what_was_before() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let before = alice.sync().await;
    bob.join(&room).await;
    let synced = alice.sync_since(&before).await;
    let event = harness::find_event(synced.timeline(&room), "m.room.member").unwrap();
    assert_eq!(event["unsigned"]["prev_content"]["membership"], "invite");
    assert_eq!(
        event["unsigned"]["membership"], "join",
        "the reader's own membership"
    );
}

#[tokio::test]
async fn every_event_tells_what_the_reader_was_then() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let early = alice.say(&room, "early").await;
    bob.join(&room).await;
    let late = alice.say(&room, "late").await;
    let membership =
        async |event: &str| bob.event(&room, event).await.ok()["unsigned"]["membership"].clone();
    assert_eq!(membership(&early).await, "leave");
    assert_eq!(membership(&late).await, "join");
}
