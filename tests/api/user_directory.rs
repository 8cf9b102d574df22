//! Looking for people by name.

use harness::{Config, Server, User};
use serde_json::{Value, json};

use crate::server;

async fn search(user: &User, term: &str, limit: u64) -> Value {
    let body = json!({ "search_term": term, "limit": limit });
    user.post("v3/user_directory/search", body).await.ok()
}

fn ids(found: &Value) -> Vec<&str> {
    let results = found["results"].as_array().unwrap();
    let id = |user: &Value| user["user_id"].as_str().map(|_| ());
    assert!(results.iter().all(|user| id(user).is_some()), "{found}");
    results
        .iter()
        .map(|user| user["user_id"].as_str().unwrap())
        .collect()
}

async fn rename(user: &User, name: &str) {
    let path = format!("v3/profile/{}/displayname", user.user_id);
    user.put(path, json!({ "displayname": name })).await.ok();
}

#[tokio::test]
async fn people_are_found_by_id_and_name() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("searched").await);
    // A word that no other test's people have.
    let word = format!("Grübel{}", bob.localpart().replace('-', ""));
    rename(&bob, &format!("Frau {word}-Meier")).await;
    let avatar = format!("v3/profile/{}/avatar_url", bob.user_id);
    let url = "mxc://localhost/picture";
    bob.put(avatar, json!({ "avatar_url": url })).await.ok();
    for term in [
        word.to_uppercase(),
        word.to_lowercase(),
        word[..word.len() - 1].to_owned(),
        format!("meier {word} frau"),
        bob.user_id.clone(),
        format!("@{}", bob.localpart()),
        bob.localpart().to_uppercase(),
    ] {
        let found = search(&alice, &term, 10).await;
        let best = &found["results"][0];
        assert_eq!(best["user_id"], bob.user_id.as_str(), "{term}: {found}");
        assert_eq!(best["display_name"], format!("Frau {word}-Meier"));
        assert_eq!(best["avatar_url"], url);
    }
    assert_eq!(ids(&search(&alice, &format!("x{word}"), 10).await), [""; 0]);
    // The old name is forgotten with the change.
    rename(&bob, "Somebody").await;
    assert_eq!(ids(&search(&alice, &word, 10).await), [""; 0]);
}

#[tokio::test]
async fn an_answer_has_a_limit_and_says_so() {
    let api = server();
    let alice = api.register("alice").await;
    let family = format!("family{}", alice.localpart().replace('-', ""));
    for _ in 0..12 {
        let user = api.register("relative").await;
        rename(&user, &family).await;
    }
    let some = search(&alice, &family, 5).await;
    assert_eq!((ids(&some).len(), &some["limited"]), (5, &json!(true)));
    let all = search(&alice, &family, 12).await;
    assert_eq!((ids(&all).len(), &all["limited"]), (12, &json!(false)));
    let body = json!({ "search_term": family });
    let default = alice.post("v3/user_directory/search", body).await.ok();
    assert_eq!(ids(&default).len(), 10);
    for term in ["", "  ", "@:", "!?"] {
        let none = search(&alice, term, 10).await;
        assert_eq!(none, json!({ "results": [], "limited": false }), "{term}");
    }
}

#[tokio::test]
async fn what_is_no_search_is_refused() {
    let api = server();
    let alice = api.register("alice").await;
    for body in [
        json!({}),
        json!({ "search_term": 1 }),
        json!({ "search_term": "a", "limit": -1 }),
    ] {
        let answer = alice.post("v3/user_directory/search", body).await;
        answer.refused(400, "M_BAD_JSON");
    }
    let answer = api
        .post("v3/user_directory/search", json!({ "search_term": "a" }))
        .await;
    answer.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn closed_accounts_are_not_found() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let (bob, carol) = (
        api.register_as("lost.bob").await,
        api.register_as("lost.carol").await,
    );
    assert_eq!(ids(&search(&alice, "lost", 10).await).len(), 2);
    server.cairn_json(&["user", "deactivate", &carol.user_id]);
    assert_eq!(
        ids(&search(&alice, "lost", 10).await),
        [bob.user_id.as_str()]
    );
}

#[tokio::test]
async fn by_option_only_those_are_found_whom_one_may_know() {
    let server = Server::with(Config {
        more: "[accounts]\nuser_directory = \"shared_rooms\"".into(),
        ..Config::default()
    });
    let api = server.api();
    let alice = api.register_as("alice").await;
    let (friend, stranger) = (
        api.register_as("person.friend").await,
        api.register_as("person.stranger").await,
    );
    let (open, readable) = (
        api.register_as("person.open").await,
        api.register_as("person.readable").await,
    );
    assert_eq!(ids(&search(&alice, "person", 10).await), [""; 0]);
    let room = alice
        .create_room(json!({ "invite": [friend.user_id] }))
        .await;
    assert_eq!(
        ids(&search(&alice, "person", 10).await),
        [""; 0],
        "invited is not joined"
    );
    friend.join(&room).await;
    assert_eq!(
        ids(&search(&alice, "person", 10).await),
        [friend.user_id.as_str()]
    );
    // A private room of strangers shows nobody, an open one its members.
    stranger.create_room(json!({})).await;
    open.public_room().await;
    let visible = json!({
        "type": "m.room.history_visibility",
        "content": { "history_visibility": "world_readable" },
    });
    readable
        .create_room(json!({ "initial_state": [visible] }))
        .await;
    let found = search(&alice, "person", 10).await;
    assert_eq!(
        ids(&found),
        [
            friend.user_id.as_str(),
            open.user_id.as_str(),
            readable.user_id.as_str()
        ]
    );
    friend.leave(&room).await;
    let found = search(&alice, "person", 10).await;
    assert_eq!(
        ids(&found),
        [open.user_id.as_str(), readable.user_id.as_str()]
    );
    // Oneself is no stranger.
    assert_eq!(ids(&search(&friend, "alice", 10).await), [""; 0]);
}
