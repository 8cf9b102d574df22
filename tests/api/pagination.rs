//! `GET /rooms/{roomId}/messages`

use harness::{User, escape, event_ids};
use serde_json::{Value, json};

use crate::server;

async fn page(user: &User, room: &str, query: &str) -> Value {
    user.get(format!("v3/rooms/{room}/messages?{query}"))
        .await
        .ok()
}

/// A room with this many messages; their ids in order.
async fn said(user: &User, count: usize) -> (String, Vec<String>) {
    let room = user.public_room().await;
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(user.say(&room, &format!("number {number}")).await);
    }
    (room, ids)
}

/// Turns pages in one direction to the end and gives all ids.
async fn all_pages(user: &User, room: &str, direction: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut from = String::new();
    for _ in 0..100 {
        let page = page(user, room, &format!("dir={direction}&limit={limit}{from}")).await;
        let chunk = page["chunk"].as_array().unwrap();
        all.extend(event_ids(chunk).into_iter().map(str::to_owned));
        assert!(chunk.len() <= limit);
        match page["end"].as_str() {
            Some(end) if !chunk.is_empty() => from = format!("&from={end}"),
            _ => return all,
        }
    }
    panic!("the pages do not end");
}

#[tokio::test]
async fn the_pages_show_everything_once_in_both_directions() {
    let alice = server().register("alice").await;
    let (room, ids) = said(&alice, 25).await;
    for limit in [1, 7, 100] {
        let mut back = all_pages(&alice, &room, "b", limit).await;
        let forth = all_pages(&alice, &room, "f", limit).await;
        assert_eq!(forth[forth.len() - 25..], ids, "limit {limit}");
        back.reverse();
        assert_eq!(back, forth, "limit {limit}");
        assert!(forth.len() > 25, "the events that made the room, too");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_sync_began() {
    let alice = server().register("alice").await;
    let (room, ids) = said(&alice, 12).await;
    let filter = json!({ "room": { "timeline": { "limit": 4 } } });
    let synced = alice.sync_filtered(&filter, "").await;
    let timeline = &synced.joined(&room)["timeline"];
    assert_eq!(timeline["limited"], true);
    assert_eq!(event_ids(synced.timeline(&room)), ids[8..]);
    let from = timeline["prev_batch"].as_str().unwrap();
    let earlier = page(&alice, &room, &format!("dir=b&limit=3&from={from}")).await;
    let chunk = earlier["chunk"].as_array().unwrap();
    assert_eq!(
        event_ids(chunk),
        [ids[7].as_str(), ids[6].as_str(), ids[5].as_str()]
    );
    assert_eq!(earlier["start"], from);
}

#[tokio::test]
async fn a_page_from_a_sync_token_shows_what_came_before() {
    let alice = server().register("alice").await;
    let (room, ids) = said(&alice, 3).await;
    let synced = alice.sync().await;
    alice.say(&room, "later").await;
    let from = synced.next_batch();
    let earlier = page(&alice, &room, &format!("dir=b&limit=2&from={from}")).await;
    assert_eq!(
        event_ids(earlier["chunk"].as_array().unwrap()),
        [ids[2].as_str(), ids[1].as_str()]
    );
    let later = page(&alice, &room, &format!("dir=f&limit=5&from={from}")).await;
    assert_eq!(later["chunk"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_page_ends_where_it_is_told() {
    let alice = server().register("alice").await;
    let (room, ids) = said(&alice, 2).await;
    let then = alice.sync().await;
    let later = [
        alice.say(&room, "three").await,
        alice.say(&room, "four").await,
    ];
    let to = then.next_batch();
    let page = page(&alice, &room, &format!("dir=b&limit=50&to={to}")).await;
    assert_eq!(
        event_ids(page["chunk"].as_array().unwrap()),
        [later[1].as_str(), later[0].as_str()]
    );
    assert!(!page["chunk"].to_string().contains(&ids[1]));
}

#[tokio::test]
async fn a_page_can_be_filtered() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let (room, ids) = said(&alice, 3).await;
    bob.join(&room).await;
    let bobs = bob.say(&room, "mine").await;
    let filtered = async |filter: Value| {
        let filter = escape(&filter.to_string());
        let page = page(&alice, &room, &format!("dir=b&limit=50&filter={filter}")).await;
        let chunk = page["chunk"].as_array().unwrap().clone();
        event_ids(&chunk)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut expected = ids.clone();
    expected.reverse();
    let mut all = vec![bobs.clone()];
    all.extend(expected.clone());
    assert_eq!(filtered(json!({ "types": ["m.room.message"] })).await, all);
    assert_eq!(filtered(json!({ "types": ["m.room.mess*"] })).await, all);
    let own = json!({ "types": ["m.room.message"], "senders": [alice.user_id] });
    assert_eq!(filtered(own).await, expected);
    let others = json!({ "types": ["m.room.message"], "not_senders": [alice.user_id] });
    assert_eq!(filtered(others).await, [bobs]);
    assert_eq!(
        filtered(json!({ "not_types": ["*"] })).await,
        Vec::<String>::new()
    );
    assert_eq!(filtered(json!({ "rooms": [] })).await, Vec::<String>::new());
    assert_eq!(
        filtered(json!({ "not_rooms": [room] })).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn lazy_loading_adds_the_members_who_speak() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    bob.say(&room, "hello").await;
    let filter = escape(&json!({ "lazy_load_members": true }).to_string());
    let page = page(&alice, &room, &format!("dir=b&limit=1&filter={filter}")).await;
    let state = page["state"].as_array().unwrap();
    assert_eq!(state.len(), 1, "{page}");
    assert_eq!(state[0]["state_key"], bob.user_id.as_str());
}

#[tokio::test]
async fn a_limit_is_kept_within_bounds() {
    let alice = server().register("alice").await;
    let (room, _) = said(&alice, 15).await;
    let default = page(&alice, &room, "dir=b").await;
    assert_eq!(default["chunk"].as_array().unwrap().len(), 10);
    let huge = page(&alice, &room, "dir=b&limit=4000000000").await;
    assert!(huge["chunk"].as_array().unwrap().len() > 15);
    let answer = alice
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=-1"))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn outsiders_are_sent_away_however_they_ask() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let (room, _) = said(&alice, 1).await;
    let path = format!("v3/rooms/{room}/messages");
    for wrong in ["", "?dir=x", "?dir=b&limit=-1"] {
        let path = format!("{path}{wrong}");
        bob.get(&path).await.refused(403, "M_FORBIDDEN");
        alice.get(&path).await.refused_with(&[400]);
    }
    alice.get(&path).await.refused(400, "M_MISSING_PARAM");
    let nowhere = bob.get("v3/rooms/!nowhere:localhost/messages").await;
    nowhere.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let alice = server().register("alice").await;
    let (room, _) = said(&alice, 1).await;
    for from in ["nonsense", "s999999999999_1_2_3", "t1-2", "%00", ""] {
        let path = format!("v3/rooms/{room}/messages?dir=b&from={from}");
        let answer = alice.get(path).await;
        assert!(
            answer.status == 400 || (from.is_empty() && answer.status == 200),
            "{answer:?}"
        );
    }
}
