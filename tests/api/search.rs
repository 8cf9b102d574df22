//! Full-text search.

use harness::{Answer, Config, Server, User};
use serde_json::{Value, json};

use crate::server;

async fn search_page(user: &User, criteria: Value, next_batch: &str) -> Answer {
    let path = if next_batch.is_empty() {
        "v3/search".to_owned()
    } else {
        format!("v3/search?next_batch={}", harness::escape(next_batch))
    };
    let body = json!({ "search_categories": { "room_events": criteria } });
    user.post(path, body).await
}

async fn search(user: &User, criteria: Value) -> Value {
    let mut found = search_page(user, criteria, "").await.ok();
    found["search_categories"]["room_events"].take()
}

/// The newest first, of one word or more.
async fn found_ids(user: &User, term: &str) -> Vec<String> {
    let found = search(user, json!({ "search_term": term, "order_by": "recent" })).await;
    ids(&found)
}

fn ids(found: &Value) -> Vec<String> {
    let results = found["results"].as_array().expect("results");
    let id = |result: &Value| result["result"]["event_id"].as_str().unwrap().to_owned();
    results.iter().map(id).collect()
}

async fn edit(user: &User, room: &str, target: &str, text: &str) -> String {
    let content = json!({
        "msgtype": "m.text", "body": format!("* {text}"),
        "m.new_content": { "msgtype": "m.text", "body": text },
        "m.relates_to": { "rel_type": "m.replace", "event_id": target },
    });
    user.send_event(room, "m.room.message", content).await
}

#[tokio::test]
async fn messages_names_and_topics_are_found_by_their_words() {
    let api = server();
    let alice = api.register("alice").await;
    let room = alice.public_room().await;
    let first = alice.say(&room, "The Gruffalo said: HELLO!").await;
    let second = alice.say(&room, "gruffalo gruffalo, again").await;
    let name = alice
        .set_state(
            &room,
            "m.room.name",
            "",
            json!({ "name": "Gruffalo's den" }),
        )
        .await;
    let topic = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "On gruffalo" }))
        .await;
    assert_eq!(
        found_ids(&alice, "Gruffalo").await,
        [&*topic, &*name, &*second, &*first]
    );
    // All words, in any order; nothing of a part of a word.
    assert_eq!(found_ids(&alice, "hello gruffalo").await, [&*first]);
    assert!(found_ids(&alice, "gruffalo goodbye").await.is_empty());
    assert!(found_ids(&alice, "gruff").await.is_empty());
    for (keys, expected) in [
        (json!(["content.body"]), vec![&second, &first]),
        (json!(["content.name"]), vec![&name]),
        (
            json!(["content.topic", "content.name"]),
            vec![&topic, &name],
        ),
    ] {
        let found = search(
            &alice,
            json!({ "search_term": "gruffalo", "order_by": "recent", "keys": keys }),
        )
        .await;
        assert_eq!(ids(&found).iter().collect::<Vec<_>>(), expected, "{keys}");
    }
    let found = search(&alice, json!({ "search_term": "GRUFFALO hello" })).await;
    assert_eq!(found["count"], 1, "{found}");
    assert_eq!(found["highlights"], json!(["gruffalo", "hello"]));
    let result = &found["results"][0];
    assert_eq!(result["result"]["room_id"], room.as_str());
    assert!(result["rank"].as_f64().unwrap() > 0.0, "{result}");
    // No word at all finds nothing, and says so.
    let nothing = search(&alice, json!({ "search_term": "?!" })).await;
    assert_eq!(nothing["count"], 0);
    assert_eq!(nothing["results"], json!([]));
    let none = alice
        .post("v3/search", json!({ "search_categories": {} }))
        .await;
    assert_eq!(none.ok(), json!({ "search_categories": {} }));
}

#[tokio::test]
async fn the_best_match_comes_first_unless_the_newest_is_wanted() {
    let api = server();
    let alice = api.register("alice").await;
    let room = alice.public_room().await;
    let best = alice.say(&room, "zebra zebra").await;
    let long = format!("zebra {}", "and much else ".repeat(30));
    let worst = alice.say(&room, &long).await;
    let middle = alice.say(&room, "a zebra here").await;
    let found = search(&alice, json!({ "search_term": "zebra" })).await;
    assert_eq!(ids(&found), [&*best, &*middle, &*worst]);
    let recent = json!({ "search_term": "zebra", "order_by": "recent" });
    assert_eq!(
        ids(&search(&alice, recent).await),
        [&*middle, &*worst, &*best]
    );
}

#[tokio::test]
async fn pages_follow_each_other_in_both_orders_and_in_groups() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rooms = [
        alice.room_with(&[&bob]).await,
        alice.room_with(&[&bob]).await,
    ];
    let mut said = Vec::new();
    for number in 0..12 {
        let speaker = if number % 3 == 0 { &bob } else { &alice };
        let room = &rooms[number % 2];
        said.push(speaker.say(room, &format!("walrus number {number}")).await);
    }
    said.reverse();
    for order in ["recent", "rank"] {
        let criteria = json!({
            "search_term": "walrus", "order_by": order, "filter": { "limit": 5 },
            "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
        });
        let mut all = Vec::new();
        let mut next = String::new();
        let mut first = Value::Null;
        for _ in 0..5 {
            let mut page = search_page(&bob, criteria.clone(), &next).await.ok();
            let page = page["search_categories"]["room_events"].take();
            all.extend(ids(&page));
            assert!(ids(&page).len() <= 5);
            assert_eq!(page["count"], 12, "{order}");
            if first.is_null() {
                first = page.clone();
            }
            match page["next_batch"].as_str() {
                Some(token) => token.clone_into(&mut next),
                None => break,
            }
        }
        assert_eq!(all, said, "{order}");
        // Each group goes on by itself.
        let groups = &first["groups"]["room_id"];
        let in_groups: usize = groups
            .as_object()
            .unwrap()
            .values()
            .map(|group| group["results"].as_array().unwrap().len())
            .sum();
        assert_eq!(in_groups, 5, "{first}");
        let group = &groups[&rooms[0]];
        let mut of_room: Vec<String> = group["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect();
        let mut more = search_page(
            &bob,
            criteria.clone(),
            group["next_batch"].as_str().unwrap(),
        )
        .await
        .ok();
        of_room.extend(ids(&more["search_categories"]["room_events"].take()));
        assert_eq!(of_room.len(), 6, "{order}");
        let of_bob = &first["groups"]["sender"][&bob.user_id];
        let mut seen = of_bob["results"].as_array().unwrap().len();
        let mut next = of_bob["next_batch"].as_str().map(str::to_owned);
        while let Some(token) = next {
            let mut page = search_page(&bob, criteria.clone(), &token).await.ok();
            let page = page["search_categories"]["room_events"].take();
            for result in page["results"].as_array().unwrap() {
                assert_eq!(result["result"]["sender"], bob.user_id.as_str());
                seen += 1;
            }
            next = page["next_batch"].as_str().map(str::to_owned);
        }
        assert_eq!(seen, 4, "{order}");
    }
}

#[tokio::test]
async fn the_filter_chooses_rooms_senders_and_types() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let (one, other) = (
        alice.room_with(&[&bob]).await,
        alice.room_with(&[&bob]).await,
    );
    let by_alice = alice.say(&one, "a heron").await;
    let by_bob = bob.say(&other, "a heron").await;
    let topic = alice
        .set_state(&other, "m.room.topic", "", json!({ "topic": "heron" }))
        .await;
    for (filter, expected) in [
        (json!({ "rooms": [one] }), vec![&by_alice]),
        (json!({ "not_rooms": [one] }), vec![&topic, &by_bob]),
        (json!({ "senders": [bob.user_id] }), vec![&by_bob]),
        (
            json!({ "not_senders": [bob.user_id] }),
            vec![&topic, &by_alice],
        ),
        (json!({ "types": ["m.room.topic"] }), vec![&topic]),
        (json!({ "not_types": ["m.room.*"] }), vec![]),
        (json!({ "contains_url": true }), vec![]),
        (json!({ "rooms": [] }), vec![]),
    ] {
        let found = search(
            &alice,
            json!({ "search_term": "heron", "order_by": "recent", "filter": filter }),
        )
        .await;
        assert_eq!(ids(&found).iter().collect::<Vec<_>>(), expected, "{filter}");
    }
}

#[tokio::test]
async fn context_profiles_and_state_come_with_the_results() {
    let api = server();
    let alice = api.register("alice").await;
    let room = alice.public_room().await;
    alice
        .put(
            format!("v3/profile/{}/displayname", alice.user_id),
            json!({ "displayname": "Alice of then" }),
        )
        .await
        .ok();
    let before = alice.say(&room, "one before").await;
    let found_id = alice.say(&room, "the ocelot").await;
    let after = alice.say(&room, "one after").await;
    alice
        .put(
            format!("v3/profile/{}/displayname", alice.user_id),
            json!({ "displayname": "Alice of now" }),
        )
        .await
        .ok();
    let found = search(
        &alice,
        json!({
            "search_term": "ocelot", "include_state": true,
            "event_context": { "before_limit": 1, "after_limit": 1, "include_profile": true },
        }),
    )
    .await;
    assert_eq!(ids(&found), [&*found_id]);
    let context = &found["results"][0]["context"];
    assert_eq!(context["events_before"][0]["event_id"], before.as_str());
    assert_eq!(context["events_after"][0]["event_id"], after.as_str());
    assert_eq!(context["events_before"].as_array().unwrap().len(), 1);
    assert_eq!(
        context["profile_info"][&alice.user_id]["displayname"],
        "Alice of then"
    );
    let state = found["state"][&room].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
    // Its tokens are those of /messages.
    let start = context["start"].as_str().unwrap();
    let page = alice
        .get(format!(
            "v3/rooms/{room}/messages?dir=f&from={start}&limit=3"
        ))
        .await
        .ok();
    let ids: Vec<&str> = harness::event_ids(page["chunk"].as_array().unwrap());
    assert_eq!(ids, [&*before, &*found_id, &*after]);
}

#[tokio::test]
async fn only_what_the_searcher_may_see_is_found() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice
        .create_room(json!({ "preset": "public_chat", "initial_state": [{
            "type": "m.room.history_visibility", "state_key": "",
            "content": { "history_visibility": "joined" },
        }] }))
        .await;
    let early = alice.say(&room, "a narwhal, early").await;
    bob.join(&room).await;
    let shared = alice.say(&room, "a narwhal, shared").await;
    bob.leave(&room).await;
    let late = alice.say(&room, "a narwhal, late").await;
    assert_eq!(
        found_ids(&alice, "narwhal").await,
        [&*late, &*shared, &*early]
    );
    assert_eq!(found_ids(&bob, "narwhal").await, [&*shared]);
    assert!(found_ids(&carol, "narwhal").await.is_empty());
    let named = json!({ "search_term": "narwhal", "filter": { "rooms": [room] } });
    assert!(ids(&search(&carol, named.clone()).await).is_empty());
    // An edit from when bob was not there tells him nothing, under neither text.
    edit(&alice, &room, &shared, "a secret unicorn").await;
    assert!(found_ids(&bob, "unicorn").await.is_empty());
    assert_eq!(found_ids(&alice, "unicorn").await, [&*shared]);
    bob.post(format!("v3/rooms/{room}/forget"), json!({}))
        .await
        .ok();
    assert!(found_ids(&bob, "narwhal").await.is_empty());
    // A room that is open to the world is searched by whoever names it.
    let open = json!({ "history_visibility": "world_readable" });
    alice
        .set_state(&room, "m.room.history_visibility", "", open)
        .await;
    let public = alice.say(&room, "a public narwhal").await;
    assert_eq!(ids(&search(&carol, named).await), [&*public]);
    assert!(found_ids(&carol, "narwhal").await.is_empty());
    // Whom one ignores one does not find.
    carol.join(&room).await;
    carol
        .put(
            format!("v3/user/{}/account_data/m.ignored_user_list", carol.user_id),
            json!({ "ignored_users": { &alice.user_id: {} } }),
        )
        .await
        .ok();
    assert!(found_ids(&carol, "narwhal").await.is_empty());
}

#[tokio::test]
async fn what_was_redacted_or_edited_is_not_found_by_its_old_words() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let gone = alice.say(&room, "a dodo").await;
    let said = alice.say(&room, "a quagga").await;
    assert_eq!(found_ids(&bob, "dodo").await, [&*gone]);
    alice.redact(&room, &gone).await;
    assert!(found_ids(&bob, "dodo").await.is_empty());
    let second = edit(&alice, &room, &said, "a mammoth").await;
    assert!(found_ids(&bob, "quagga").await.is_empty());
    assert_eq!(found_ids(&bob, "mammoth").await, [&*said]);
    let third = edit(&alice, &room, &said, "an aurochs").await;
    assert!(found_ids(&bob, "mammoth").await.is_empty());
    assert_eq!(found_ids(&bob, "aurochs").await, [&*said]);
    // An edit by somebody else is none.
    edit(&bob, &room, &said, "a basilisk").await;
    assert!(found_ids(&alice, "basilisk").await.is_empty());
    // Without its newest edit the event has the text before it, at last its own.
    alice.redact(&room, &third).await;
    assert_eq!(found_ids(&bob, "mammoth").await, [&*said]);
    alice.redact(&room, &second).await;
    assert_eq!(found_ids(&bob, "quagga").await, [&*said]);
    alice.redact(&room, &said).await;
    assert!(found_ids(&bob, "quagga").await.is_empty());
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let api = server();
    let alice = api.register("alice").await;
    api.anonymous()
        .post("v3/search", json!({ "search_categories": {} }))
        .await
        .refused(401, "M_MISSING_TOKEN");
    alice
        .post("v3/search", json!({}))
        .await
        .refused_with(&[400]);
    for criteria in [
        json!({}),
        json!({ "search_term": 1 }),
        json!({ "search_term": "x", "order_by": "size" }),
        json!({ "search_term": "x", "keys": ["content.secret"] }),
        json!({ "search_term": "x", "groupings": { "group_by": [{ "key": "colour" }] } }),
        json!({ "search_term": "x".repeat(3000) }),
    ] {
        search_page(&alice, criteria, "").await.refused_with(&[400]);
    }
    let criteria = json!({ "search_term": "x", "order_by": "recent" });
    for token in ["nonsense", "k1.2.3", "f.1"] {
        search_page(&alice, criteria.clone(), token)
            .await
            .refused(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn the_index_survives_a_kill() {
    let mut server = Server::with(Config::default());
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(alice.say(&room, &format!("lynx {number}")).await);
    }
    said.reverse();
    assert_eq!(found_ids(&alice, "lynx").await, said);
    said.insert(0, alice.say(&room, "lynx, just before").await);
    server.kill9();
    server.restart();
    let alice = server.api().login(&alice.user_id).await;
    assert_eq!(found_ids(&alice, "lynx").await, said);
}

#[tokio::test]
async fn what_an_erased_user_said_is_found_by_those_who_were_there_alone() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let said = bob.say(&room, "a thylacine").await;
    bob.with_password(
        reqwest::Method::POST,
        "v3/account/deactivate",
        json!({ "erase": true }),
    )
    .await
    .ok();
    carol.join(&room).await;
    assert_eq!(found_ids(&alice, "thylacine").await, [&*said]);
    assert!(found_ids(&carol, "thylacine").await.is_empty());
}
