//! The public directory: what stands in it, page by page.

use harness::{Api, Server, User};
use serde_json::{Value, json};

async fn list(api: &Api, query: &str) -> Value {
    api.get(format!("v3/publicRooms{query}")).await.ok()
}

async fn filtered(user: &User, body: Value) -> Value {
    user.post("v3/publicRooms", body).await.ok()
}

fn names(page: &Value) -> Vec<&str> {
    page["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| room["name"].as_str().unwrap())
        .collect()
}

/// A published room of that name.
async fn published(user: &User, name: &str, more: Value) -> String {
    let mut options = json!({ "visibility": "public", "name": name });
    options
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    user.create_room(options).await
}

#[tokio::test]
async fn a_room_is_shown_as_its_state_says() {
    let server = Server::start();
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    assert_eq!(
        list(&api, "").await,
        json!({ "chunk": [], "total_room_count_estimate": 0 })
    );
    let state = |kind: &str, content: Value| json!({ "type": kind, "content": content });
    let full = json!({
        "room_alias_name": "roads",
        "topic": "Roads and bridges",
        "creation_content": { "type": "m.space" },
        "initial_state": [
            state("m.room.avatar", json!({ "url": "mxc://localhost/picture" })),
            state("m.room.history_visibility", json!({ "history_visibility": "world_readable" })),
            state("m.room.guest_access", json!({ "guest_access": "can_join" })),
            state("m.room.join_rules", json!({ "join_rule": "knock" })),
        ],
    });
    let room = published(&alice, "Roads", full).await;
    let plain = alice
        .create_room(json!({ "visibility": "public", "room_version": "10" }))
        .await;
    bob.join(&plain).await;
    let page = list(&api, "").await;
    assert_eq!(
        page,
        json!({
            "chunk": [
                {
                    "room_id": plain, "num_joined_members": 2, "world_readable": false,
                    "guest_can_join": false, "join_rule": "public",
                },
                {
                    "room_id": room, "num_joined_members": 1, "world_readable": true,
                    "guest_can_join": true, "join_rule": "knock", "room_type": "m.space",
                    "name": "Roads", "topic": "Roads and bridges",
                    "canonical_alias": "#roads:localhost",
                    "avatar_url": "mxc://localhost/picture",
                },
            ],
            "total_room_count_estimate": 2,
        })
    );
    // The same by the other method, which needs a token.
    assert_eq!(filtered(&bob, json!({})).await, page);
    api.post("v3/publicRooms", json!({}))
        .await
        .refused(401, "M_MISSING_TOKEN");
    // A redacted name is none.
    let name = alice
        .set_state(&plain, "m.room.name", "", json!({ "name": "Secret" }))
        .await;
    assert_eq!(list(&api, "").await["chunk"][0]["name"], "Secret");
    alice.redact(&plain, &name).await;
    assert!(list(&api, "").await["chunk"][0]["name"].is_null());
}

#[tokio::test]
async fn only_published_rooms_with_somebody_in_them_are_shown() {
    let server = Server::start();
    let api = server.api();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    // Open to all is not published.
    let room = alice
        .create_room(json!({ "preset": "public_chat", "name": "One" }))
        .await;
    assert_eq!(names(&list(&api, "").await), [""; 0]);
    let path = format!("v3/directory/list/room/{room}");
    let public = json!({ "visibility": "public" });
    mallory
        .put(&path, public.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    mallory.join(&room).await;
    mallory
        .put(&path, public.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    api.put(&path, public.clone())
        .await
        .refused(401, "M_MISSING_TOKEN");
    assert_eq!(names(&list(&api, "").await), [""; 0]);
    alice.put(&path, public).await.ok();
    assert_eq!(names(&list(&api, "").await), ["One"]);
    alice
        .put(&path, json!({ "visibility": "private" }))
        .await
        .ok();
    assert_eq!(names(&list(&api, "").await), [""; 0]);
    // Without a word it is public.
    alice.put(&path, json!({})).await.ok();
    assert_eq!(names(&list(&api, "").await), ["One"]);
    alice
        .put(&path, json!({ "visibility": "nonsense" }))
        .await
        .refused_with(&[400]);
    mallory.leave(&room).await;
    alice.leave(&room).await;
    assert_eq!(names(&list(&api, "").await), [""; 0]);
}

#[tokio::test]
async fn pages_go_forth_and_back_by_the_number_of_members() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register("alice").await;
    let others = [
        api.register("bob").await,
        api.register("carol").await,
        api.register("dave").await,
    ];
    // Their members: 1, 2, 3, 4, 1, 2, 3.
    let mut rooms = Vec::new();
    for number in 0..7 {
        let room = published(&alice, &format!("r{number}"), json!({})).await;
        for other in others.iter().take(number % 4) {
            other.join(&room).await;
        }
        rooms.push(room);
    }
    let order = ["r3", "r2", "r6", "r1", "r5", "r0", "r4"];
    assert_eq!(names(&list(&api, "").await), order);
    let first = list(&api, "?limit=3").await;
    assert_eq!(names(&first), order[..3]);
    assert!(first["prev_batch"].is_null(), "{first}");
    assert_eq!(first["total_room_count_estimate"], 7);
    let next = |page: &Value, name: &str| {
        format!("?limit=3&since={}", page[name].as_str().expect("a token"))
    };
    let second = list(&api, &next(&first, "next_batch")).await;
    assert_eq!(names(&second), order[3..6]);
    let third = list(&api, &next(&second, "next_batch")).await;
    assert_eq!(names(&third), order[6..]);
    assert!(third["next_batch"].is_null(), "{third}");
    let back = list(&api, &next(&third, "prev_batch")).await;
    assert_eq!(names(&back), order[3..6]);
    let back = list(&api, &next(&back, "prev_batch")).await;
    assert_eq!(names(&back), order[..3]);
    assert!(back["prev_batch"].is_null(), "{back}");
    assert_eq!(
        names(&list(&api, &next(&back, "next_batch")).await),
        order[3..6]
    );
    // A room that goes away in between takes no other along.
    alice
        .put(
            format!("v3/directory/list/room/{}", rooms[6]),
            json!({ "visibility": "private" }),
        )
        .await
        .ok();
    assert_eq!(
        names(&list(&api, &next(&first, "next_batch")).await),
        order[3..6]
    );
    for query in ["?since=nonsense", "?limit=nonsense", "?limit=-1"] {
        let answer = api.get(format!("v3/publicRooms{query}")).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn rooms_are_searched_by_their_words_and_types() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register("alice").await;
    published(&alice, "Straßen", json!({ "topic": "Teer" })).await;
    published(&alice, "Parks", json!({ "topic": "Bäume an STRASSEN" })).await;
    published(
        &alice,
        "Budget",
        json!({ "room_alias_name": "strassenkasse" }),
    )
    .await;
    let space = json!({ "creation_content": { "type": "m.space" } });
    published(&alice, "Alle Straßen", space).await;
    let other = json!({ "creation_content": { "type": "org.example.desk" } });
    published(&alice, "Desk", other).await;
    for (filter, expected) in [
        (
            json!({ "generic_search_term": "straßen" }),
            vec!["Straßen", "Alle Straßen"],
        ),
        (
            json!({ "generic_search_term": "STRASSEN" }),
            vec!["Parks", "Budget"],
        ),
        (json!({ "generic_search_term": "eer" }), vec!["Straßen"]),
        (json!({ "generic_search_term": "nirgends" }), vec![]),
        (
            json!({ "generic_search_term": "" }),
            vec!["Straßen", "Parks", "Budget", "Alle Straßen", "Desk"],
        ),
        (json!({ "room_types": ["m.space"] }), vec!["Alle Straßen"]),
        (
            json!({ "room_types": [null] }),
            vec!["Straßen", "Parks", "Budget"],
        ),
        (
            json!({ "room_types": [null, "org.example.desk"] }),
            vec!["Straßen", "Parks", "Budget", "Desk"],
        ),
        (
            json!({ "room_types": ["m.space"], "generic_search_term": "teer" }),
            vec![],
        ),
    ] {
        let page = filtered(&alice, json!({ "filter": filter })).await;
        assert_eq!(names(&page), expected, "{filter}");
        assert!(page["next_batch"].is_null(), "{page}");
    }
    // Pages of what was searched for.
    let filter = json!({ "generic_search_term": "straßen" });
    let first = filtered(&alice, json!({ "filter": filter, "limit": 1 })).await;
    assert_eq!(names(&first), ["Straßen"]);
    let body = json!({ "filter": filter, "limit": 1, "since": first["next_batch"] });
    let second = filtered(&alice, body).await;
    assert_eq!(names(&second), ["Alle Straßen"]);
    assert!(second["next_batch"].is_null(), "{second}");
    let body = json!({ "filter": filter, "limit": 1, "since": second["prev_batch"] });
    assert_eq!(names(&filtered(&alice, body).await), ["Straßen"]);
}

#[tokio::test]
async fn other_networks_and_servers_are_answered_cleanly() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register("alice").await;
    published(&alice, "One", json!({})).await;
    let bridged = filtered(&alice, json!({ "third_party_instance_id": "irc" })).await;
    assert_eq!(names(&bridged), [""; 0]);
    let all = filtered(&alice, json!({ "include_all_networks": true })).await;
    assert_eq!(names(&all), ["One"]);
    let both = json!({ "include_all_networks": true, "third_party_instance_id": "irc" });
    alice
        .post("v3/publicRooms", both)
        .await
        .refused_with(&[400]);
    assert_eq!(names(&list(&api, "?server=localhost").await), ["One"]);
    // Nobody has this name (RFC 2606).
    api.get("v3/publicRooms?server=elsewhere.invalid")
        .await
        .refused(502, "M_UNKNOWN");
    alice
        .post("v3/publicRooms?server=elsewhere.invalid", json!({}))
        .await
        .refused(502, "M_UNKNOWN");
    let long = json!({ "filter": { "generic_search_term": "x".repeat(2_000) } });
    alice
        .post("v3/publicRooms", long)
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn the_order_follows_those_who_come_and_go() {
    let mut server = Server::start();
    let api = server.api();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let mut rooms = Vec::new();
    for name in ["One", "Two", "Three", "Four"] {
        rooms.push(published(&alice, name, json!({})).await);
    }
    assert_eq!(
        names(&list(&api, "").await),
        ["One", "Two", "Three", "Four"]
    );
    bob.join(&rooms[3]).await;
    bob.join(&rooms[1]).await;
    carol.join(&rooms[3]).await;
    let order = ["Four", "Two", "One", "Three"];
    assert_eq!(names(&list(&api, "").await), order);
    // Page by page, there and back.
    let mut pages = vec![list(&api, "?limit=1").await];
    while let Some(next) = pages.last().unwrap()["next_batch"].as_str() {
        pages.push(list(&api, &format!("?limit=1&since={next}")).await);
    }
    let there: Vec<&str> = pages.iter().flat_map(names).collect();
    assert_eq!(there, order);
    let mut page = pages.pop().unwrap();
    let mut back = vec![names(&page)[0].to_owned()];
    while let Some(before) = page["prev_batch"].as_str() {
        page = list(&api, &format!("?limit=1&since={before}")).await;
        back.push(names(&page)[0].to_owned());
    }
    back.reverse();
    assert_eq!(back, order);

    carol.leave(&rooms[3]).await;
    bob.leave(&rooms[3]).await;
    carol.join(&rooms[2]).await;
    bob.join(&rooms[2]).await;
    let order = ["Three", "Two", "One", "Four"];
    assert_eq!(names(&list(&api, "").await), order);
    // A room that everybody has left is not shown, until somebody is in it again.
    alice.leave(&rooms[0]).await;
    let page = list(&api, "").await;
    assert_eq!(names(&page), ["Three", "Two", "Four"]);
    assert_eq!(page["total_room_count_estimate"], 3);
    let path = format!("v3/directory/list/room/{}", rooms[1]);
    let private = json!({ "visibility": "private" });
    alice.put(path, private).await.ok();
    assert_eq!(names(&list(&api, "").await), ["Three", "Four"]);
    server.restart();
    assert_eq!(names(&list(&server.api(), "").await), ["Three", "Four"]);
}
