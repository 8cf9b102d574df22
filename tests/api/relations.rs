//! What relates to an event, and what is bundled with it.

use harness::{Answer, User, event_ids};
use serde_json::{Value, json};

use crate::server;

/// A message that relates to another.
pub(crate) fn related(rel_type: &str, target: &str, text: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": text,
        "m.relates_to": { "rel_type": rel_type, "event_id": target },
    })
}

async fn relate(user: &User, room: &str, rel_type: &str, target: &str) -> String {
    let content = related(rel_type, target, "related");
    user.send_event(room, "m.room.message", content).await
}

async fn edit(user: &User, room: &str, target: &str, text: &str) -> String {
    let mut content = related("m.replace", target, &format!("* {text}"));
    content["m.new_content"] = json!({ "msgtype": "m.text", "body": text });
    user.send_event(room, "m.room.message", content).await
}

async fn react(user: &User, room: &str, target: &str, key: &str) -> Answer {
    let relation = json!({ "rel_type": "m.annotation", "event_id": target, "key": key });
    let content = json!({ "m.relates_to": relation });
    user.try_send_event(room, "m.reaction", content).await
}

async fn relations(user: &User, room: &str, rest: &str) -> Answer {
    user.get(format!("v1/rooms/{room}/relations/{rest}")).await
}

fn chunk(answer: &Value) -> Vec<&str> {
    event_ids(answer["chunk"].as_array().unwrap())
}

fn bundled(events: &[Value], event: &str) -> Value {
    let found = events.iter().find(|one| one["event_id"] == event);
    found.unwrap()["unsigned"]["m.relations"].clone()
}

#[tokio::test]
async fn children_are_listed_by_kind_and_type() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "hello").await;
    let reference = relate(&bob, &room, "m.reference", &said).await;
    let edit = edit(&alice, &room, &said, "hi").await;
    let reaction = react(&bob, &room, &said, "👍").await.ok();
    let reaction = reaction["event_id"].as_str().unwrap().to_owned();
    react(&bob, &room, &said, "👍")
        .await
        .refused(400, "M_DUPLICATE_ANNOTATION");
    let all = relations(&alice, &room, &said).await.ok();
    assert_eq!(chunk(&all), [&reaction, &edit, &reference]);
    assert!(
        all["next_batch"].is_null() && all["recursion_depth"].is_null(),
        "{all}"
    );
    assert_eq!(all["chunk"][0]["room_id"], room.as_str());
    let forward = relations(&alice, &room, &format!("{said}?dir=f"))
        .await
        .ok();
    assert_eq!(chunk(&forward), [&reference, &edit, &reaction]);
    for (rest, expected) in [
        (format!("{said}/m.annotation"), vec![&reaction]),
        (format!("{said}/m.annotation/m.reaction"), vec![&reaction]),
        (format!("{said}/m.annotation/m.room.message"), vec![]),
        (format!("{said}/m.replace/m.room.message"), vec![&edit]),
        (format!("{said}/org.example.none"), vec![]),
    ] {
        let found = relations(&bob, &room, &rest).await.ok();
        assert_eq!(chunk(&found), expected, "{rest}");
    }
    bob.redact(&room, &reaction).await;
    let left = relations(&alice, &room, &format!("{said}/m.annotation"))
        .await
        .ok();
    assert_eq!(chunk(&left), Vec::<&str>::new());
    react(&bob, &room, &said, "👍").await.ok();
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let api = server();
    let alice = api.register("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(relate(&alice, &room, "m.reference", &said).await);
    }
    for direction in ["b", "f"] {
        let mut found: Vec<String> = Vec::new();
        let mut from = String::new();
        loop {
            let rest = format!("{said}?limit=2&dir={direction}{from}");
            let page = relations(&alice, &room, &rest).await.ok();
            found.extend(chunk(&page).iter().map(ToString::to_string));
            assert_eq!(page["prev_batch"].is_null(), from.is_empty());
            match page["next_batch"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => break,
            }
        }
        if direction == "b" {
            found.reverse();
        }
        assert_eq!(found, expected, "{direction}");
    }
    let synced = alice.sync().await;
    let later = relate(&alice, &room, "m.reference", &said).await;
    let rest = format!("{said}?dir=f&from={}", synced.next_batch());
    let page = relations(&alice, &room, &rest).await.ok();
    assert_eq!(chunk(&page), [&later]);
    for wrong in ["from=nonsense", "limit=0", "dir=x", "limit=x"] {
        let answer = relations(&alice, &room, &format!("{said}?{wrong}")).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn indirect_children_are_listed_where_asked_for() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "root").await;
    let reply = relate(&alice, &room, "m.thread", &root).await;
    let reaction = react(&bob, &room, &reply, "👍").await.ok();
    let reaction = reaction["event_id"].as_str().unwrap();
    let direct = relations(&bob, &room, &root).await.ok();
    assert_eq!(chunk(&direct), [&reply]);
    let all = relations(&bob, &room, &format!("{root}?recurse=true"))
        .await
        .ok();
    assert_eq!(chunk(&all), [reaction, &reply]);
    assert_eq!(all["recursion_depth"], 3);
    let rest = format!("{root}/m.annotation/m.reaction?recurse=true");
    let only = relations(&bob, &room, &rest).await.ok();
    assert_eq!(chunk(&only), [reaction]);
}

#[tokio::test]
async fn bundles_stand_with_the_event_on_every_path() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "hello").await;
    let edited = edit(&alice, &room, &said, "good day").await;
    let reference = relate(&bob, &room, "m.reference", &said).await;
    let reply = relate(&bob, &room, "m.thread", &said).await;
    let check = |relations: &Value, path: &str| {
        assert_eq!(
            relations["m.replace"]["event_id"],
            edited.as_str(),
            "{path}"
        );
        let edited = &relations["m.replace"]["content"]["m.new_content"]["body"];
        assert_eq!(edited, "good day", "{path}");
        let references = &relations["m.reference"]["chunk"];
        assert_eq!(*references, json!([{ "event_id": reference }]), "{path}");
        let thread = &relations["m.thread"];
        assert_eq!(thread["latest_event"]["event_id"], reply.as_str(), "{path}");
        assert_eq!(
            (&thread["count"], &thread["current_user_participated"]),
            (&json!(1), &json!(true))
        );
    };
    let event = bob.event(&room, &said).await.ok();
    assert_eq!(event["content"]["body"], "hello");
    check(&event["unsigned"]["m.relations"], "/event");
    let page = bob
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=50"))
        .await
        .ok();
    check(
        &bundled(page["chunk"].as_array().unwrap(), &said),
        "/messages",
    );
    let context = bob
        .get(format!("v3/rooms/{room}/context/{said}"))
        .await
        .ok();
    check(&context["event"]["unsigned"]["m.relations"], "/context");
    let context = bob
        .get(format!("v3/rooms/{room}/context/{reply}"))
        .await
        .ok();
    check(
        &bundled(context["events_before"].as_array().unwrap(), &said),
        "/context",
    );
    check(&bundled(bob.sync().await.timeline(&room), &said), "/sync");
    let threads = bob.get(format!("v1/rooms/{room}/threads")).await.ok();
    check(
        &bundled(threads["chunk"].as_array().unwrap(), &said),
        "/threads",
    );
    // The edit of a reply stands with it among the relations.
    let second = edit(&bob, &room, &reply, "replied").await;
    let page = relations(&alice, &room, &said).await.ok();
    let relations = bundled(page["chunk"].as_array().unwrap(), &reply);
    assert_eq!(relations["m.replace"]["event_id"], second.as_str());
}

#[tokio::test]
async fn a_limited_sync_brings_bundles_and_redactions_take_them_away() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    for number in 0..5 {
        alice.say(&room, &format!("filler {number}")).await;
    }
    let said = alice.say(&room, "hello").await;
    let edited = edit(&alice, &room, &said, "good day").await;
    let filter = json!({ "room": { "timeline": { "limit": 3 } } });
    let synced = bob.sync_filtered(&filter, before.next_batch()).await;
    assert_eq!(synced.joined(&room)["timeline"]["limited"], true);
    let relations = bundled(synced.timeline(&room), &said);
    assert_eq!(relations["m.replace"]["event_id"], edited.as_str());
    alice.redact(&room, &edited).await;
    let event = bob.event(&room, &said).await.ok();
    assert!(event["unsigned"]["m.relations"].is_null(), "{event}");
}

#[tokio::test]
async fn children_are_hidden_from_those_who_may_not_see_them() {
    let api = server();
    let (alice, bob, stranger) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("stranger").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "hello").await;
    let seen = relate(&alice, &room, "m.reference", &said).await;
    bob.leave(&room).await;
    let unseen = relate(&alice, &room, "m.reference", &said).await;
    edit(&alice, &room, &said, "said-late").await;
    let page = relations(&bob, &room, &said).await;
    assert!(!page.text.contains("said-late"), "{page:?}");
    assert_eq!(chunk(&page.ok()), [&seen]);
    let event = bob.event(&room, &said).await;
    assert!(
        !event.text.contains("said-late") && !event.text.contains(&unseen),
        "{event:?}"
    );
    for (user, event) in [(&stranger, &said), (&bob, &unseen)] {
        relations(user, &room, event)
            .await
            .refused(404, "M_NOT_FOUND");
    }
    relations(&alice, &room, "$unknown")
        .await
        .refused(404, "M_NOT_FOUND");
    let elsewhere = alice.public_room().await;
    relations(&alice, &elsewhere, &said)
        .await
        .refused(404, "M_NOT_FOUND");
    let anonymous = alice
        .anonymous()
        .get(format!("v1/rooms/{room}/relations/{said}"))
        .await;
    anonymous.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn nothing_of_ignored_people_is_bundled() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "hello").await;
    relate(&bob, &room, "m.reference", &said).await;
    relate(&bob, &room, "m.thread", &said).await;
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", alice.user_id);
    let list = json!({ "ignored_users": { &bob.user_id: {} } });
    alice.put(path, list).await.ok();
    let event = alice.event(&room, &said).await.ok();
    assert!(event["unsigned"]["m.relations"].is_null(), "{event}");
    let page = relations(&alice, &room, &said).await.ok();
    assert_eq!(chunk(&page), Vec::<&str>::new());
    let event = bob.event(&room, &said).await.ok();
    assert_eq!(event["unsigned"]["m.relations"]["m.thread"]["count"], 1);
}
