//! Sliding syncs: which rooms, how much of them, and what is nobody else's to see.

use std::time::Duration;

use rooms::CreateRoom;
use ruma_common::OwnedRoomId;
use serde_json::{Value, json};

use super::house::{House, sender};
use crate::SyncError;

/// A list of all rooms with these filters, and nothing of them but their names.
fn filtered(filters: Value) -> Value {
    json!({ "lists": { "all": {
        "timeline_limit": 0, "required_state": [["m.room.name", ""]], "filters": filters,
    } } })
}

/// A window on the list, with so many events of each room and this state.
pub(super) fn window(last: u64, limit: u64, required: Value) -> Value {
    json!({ "lists": { "all": {
        "ranges": [[0, last]], "timeline_limit": limit, "required_state": required,
    } } })
}

pub(super) fn named(name: &str) -> CreateRoom {
    CreateRoom {
        name: Some(name.to_owned()),
        ..CreateRoom::default()
    }
}

/// The `body` of each message of a room's timeline.
fn bodies(room: &Value) -> Vec<&str> {
    let events = room["timeline"].as_array().map_or(&[][..], Vec::as_slice);
    let bodies = events
        .iter()
        .filter_map(|event| event["content"]["body"].as_str());
    bodies.collect()
}

fn state_keys<'a>(room: &'a Value, kind: &str) -> Vec<&'a str> {
    let events = room["required_state"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let of_kind = events.iter().filter(|event| event["type"] == kind);
    let mut keys: Vec<&str> = of_kind
        .filter_map(|event| event["state_key"].as_str())
        .collect();
    keys.sort_unstable();
    keys
}

pub(super) fn pos(answer: &Value) -> Option<&str> {
    Some(answer["pos"].as_str().expect("a pos"))
}

#[tokio::test]
async fn filters_choose_rooms() {
    let house = House::new();
    let alice = house.person("alice").await;
    let bob = house.person("bob").await;
    let space = CreateRoom {
        creation_content: graph::canonical(br#"{"type":"m.space"}"#, 10).unwrap(),
        ..named("The Space")
    };
    let space = house.room(&alice, space).await;
    let child = house.room(&alice, named("a Child of it")).await;
    let secret = house.room(&alice, named("Secret")).await;
    let direct = house.room(&alice, named("direct")).await;
    let invited = house.room(&bob, named("invited")).await;
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    house
        .set(&alice, &secret, "m.room.encryption", encryption)
        .await
        .unwrap();
    let of_child = json!({ "via": ["a.test"] });
    house
        .rooms
        .set_state(
            &sender(&alice),
            &space,
            "m.space.child",
            child.as_str(),
            of_child.to_string().as_bytes(),
        )
        .await
        .unwrap();
    let marks = json!({ "@bob:a.test": [direct], "@x:y": 7 });
    house.data(&alice, None, "m.direct", marks).await;
    let tags = json!({ "tags": { "m.favourite": {}, "u.work": {} } });
    house.data(&alice, Some(&direct), "m.tag", tags).await;
    house
        .rooms
        .invite(&sender(&bob), &invited, &alice.user_id, None)
        .await
        .unwrap();

    for (filters, expected) in [
        (json!({}), &[&space, &child, &secret, &direct, &invited][..]),
        (json!({ "is_dm": true }), &[&direct]),
        (
            json!({ "is_dm": false }),
            &[&space, &child, &secret, &invited],
        ),
        (json!({ "is_encrypted": true }), &[&secret]),
        (
            json!({ "is_encrypted": false }),
            &[&space, &child, &direct, &invited],
        ),
        (json!({ "is_invite": true }), &[&invited]),
        (
            json!({ "is_invite": false, "is_encrypted": true }),
            &[&secret],
        ),
        (json!({ "room_types": ["m.space"] }), &[&space]),
        (
            json!({ "room_types": [null] }),
            &[&child, &secret, &direct, &invited],
        ),
        (
            json!({ "not_room_types": ["m.space"] }),
            &[&child, &secret, &direct, &invited],
        ),
        (json!({ "not_room_types": [null] }), &[&space]),
        (
            json!({ "room_types": [null, "m.space"], "not_room_types": [null] }),
            &[&space],
        ),
        (
            json!({ "room_name_like": "c" }),
            &[&space, &child, &secret, &direct],
        ),
        (json!({ "room_name_like": "THE" }), &[&space]),
        (json!({ "room_name_like": "nothing" }), &[]),
        (json!({ "spaces": [space] }), &[&child]),
        (json!({ "spaces": [child, "!none:a.test"] }), &[]),
        (json!({ "tags": ["u.work", "u.other"] }), &[&direct]),
        (json!({ "tags": [] }), &[]),
        (
            json!({ "not_tags": ["u.work"] }),
            &[&space, &child, &secret, &invited],
        ),
        (
            json!({ "tags": ["m.favourite"], "not_tags": ["u.work"] }),
            &[],
        ),
    ] {
        let answer = house.sliding(&alice, None, filtered(filters.clone())).await;
        let mut found: Vec<&str> = answer["rooms"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut expected: Vec<&str> = expected.iter().map(|room| room.as_str()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{filters}");
        assert_eq!(answer["lists"]["all"]["count"], expected.len(), "{filters}");
    }
    // A name that changes and a child that is taken out are noticed.
    house
        .set(&alice, &secret, "m.room.name", json!({ "name": "nothing" }))
        .await
        .unwrap();
    house
        .rooms
        .set_state(
            &sender(&alice),
            &space,
            "m.space.child",
            child.as_str(),
            b"{}",
        )
        .await
        .unwrap();
    let answer = house
        .sliding(
            &alice,
            None,
            filtered(json!({ "room_name_like": "nothing" })),
        )
        .await;
    assert_eq!(answer["lists"]["all"]["count"], 1);
    let answer = house
        .sliding(&alice, None, filtered(json!({ "spaces": [space] })))
        .await;
    assert_eq!(answer["lists"]["all"]["count"], 0);
}

#[tokio::test]
async fn a_window_grows_and_rooms_come_up() {
    let house = House::new();
    let alice = house.person("alice").await;
    let mut rooms: Vec<OwnedRoomId> = Vec::new();
    for number in 0..4 {
        rooms.push(house.room(&alice, named(&format!("room {number}"))).await);
        house.say(&alice, &rooms[number], "first").await.unwrap();
    }
    let first = house.sliding(&alice, None, window(1, 1, json!([]))).await;
    let told = |answer: &Value| {
        let told = answer["rooms"].as_object().unwrap().keys();
        let place = |id: &String| rooms.iter().position(|room| room == id).unwrap();
        let mut places: Vec<usize> = told.map(place).collect();
        places.sort_unstable();
        places
    };
    assert_eq!(told(&first), [2, 3]);
    assert_eq!(first["lists"]["all"]["count"], 4);
    let newest = &first["rooms"][rooms[3].as_str()];
    assert_eq!(newest["initial"], true);
    assert_eq!(newest["name"], "room 3");
    assert_eq!(newest["joined_count"], 1);
    assert_eq!(newest["invited_count"], 0);
    assert_eq!(
        (&newest["limited"], &newest["num_live"]),
        (&json!(true), &json!(0))
    );
    assert!(newest["prev_batch"].is_string());
    assert!(newest.get("heroes").is_none(), "{newest}");

    let nothing = house
        .sliding(&alice, pos(&first), window(1, 1, json!([])))
        .await;
    assert_eq!(nothing["rooms"], json!({}));
    let grown = house
        .sliding(&alice, pos(&nothing), window(9, 1, json!([])))
        .await;
    assert_eq!(told(&grown), [0, 1]);
    // Another room comes up into a small window: it is told from where it is known.
    house.say(&alice, &rooms[0], "second").await.unwrap();
    house.say(&alice, &rooms[1], "second").await.unwrap();
    let small = house
        .sliding(&alice, pos(&grown), window(0, 1, json!([])))
        .await;
    assert_eq!(told(&small), [1]);
    let up = &small["rooms"][rooms[1].as_str()];
    assert_eq!(bodies(up), ["second"]);
    assert!(
        up.get("initial").is_none() && up.get("name").is_none(),
        "{up}"
    );
    assert_eq!(
        (&up["limited"], &up["num_live"]),
        (&json!(false), &json!(1))
    );
    let bump = newest["bump_stamp"].as_u64().unwrap();
    assert!(up["bump_stamp"].as_u64().unwrap() > bump);
    // What happened outside the window is told when it grows again.
    let all = house
        .sliding(&alice, pos(&small), window(9, 1, json!([])))
        .await;
    assert_eq!(told(&all), [0]);
    assert_eq!(bodies(&all["rooms"][rooms[0].as_str()]), ["second"]);
    // A topic does not lift a room up.
    house
        .set(&alice, &rooms[2], "m.room.topic", json!({ "topic": "t" }))
        .await
        .unwrap();
    let topic = house
        .sliding(
            &alice,
            pos(&all),
            window(9, 1, json!([["m.room.topic", ""]])),
        )
        .await;
    let room = &topic["rooms"][rooms[2].as_str()];
    assert!(room.get("bump_stamp").is_none(), "{room}");
    assert_eq!(state_keys(room, "m.room.topic"), [""]);
}

#[tokio::test]
async fn more_timeline_and_more_state_come_when_they_are_asked_for() {
    let house = House::new();
    let alice = house.person("alice").await;
    let room = house.room(&alice, named("room")).await;
    for text in ["a", "b", "c"] {
        house.say(&alice, &room, text).await.unwrap();
    }
    let first = house
        .sliding(&alice, None, window(9, 1, json!([["m.room.name", ""]])))
        .await;
    assert_eq!(bodies(&first["rooms"][room.as_str()]), ["c"]);
    house.say(&alice, &room, "d").await.unwrap();
    let next = house
        .sliding(
            &alice,
            pos(&first),
            window(9, 1, json!([["m.room.name", ""]])),
        )
        .await;
    assert_eq!(bodies(&next["rooms"][room.as_str()]), ["d"]);
    // Two are known without a gap: no more is needed for two, three are told whole.
    let two = house
        .sliding(
            &alice,
            pos(&next),
            window(9, 2, json!([["m.room.name", ""]])),
        )
        .await;
    assert_eq!(two["rooms"], json!({}));
    house.say(&alice, &room, "e").await.unwrap();
    let body = window(9, 4, json!([["m.room.name", ""], ["m.room.create", ""]]));
    let four = house.sliding(&alice, pos(&two), body).await;
    let told = &four["rooms"][room.as_str()];
    assert_eq!(bodies(told), ["b", "c", "d", "e"]);
    assert_eq!(told["unstable_expanded_timeline"], true);
    assert_eq!(
        (&told["limited"], &told["num_live"]),
        (&json!(true), &json!(1))
    );
    assert!(told.get("initial").is_none(), "{told}");
    assert_eq!(state_keys(told, "m.room.create"), [""]);
    assert_eq!(told["required_state"].as_array().unwrap().len(), 1);
    // A subscription is a rule beside the list.
    let mut body = window(9, 4, json!([]));
    body["room_subscriptions"] = json!({ room.as_str(): {
        "timeline_limit": 100, "required_state": [["m.room.power_levels", ""]],
    } });
    let whole = house.sliding(&alice, pos(&four), body.clone()).await;
    let told = &whole["rooms"][room.as_str()];
    assert_eq!(told["unstable_expanded_timeline"], true);
    assert_eq!(told["limited"], false);
    assert_eq!(state_keys(told, "m.room.power_levels"), [""]);
    let more = house.sliding(&alice, pos(&whole), body).await;
    assert_eq!(more["rooms"], json!({}), "there is no more");
}

#[tokio::test]
async fn members_come_as_they_speak() {
    let house = House::new();
    let alice = house.person("alice").await;
    let room = house.room(&alice, CreateRoom::default()).await;
    let mut people = Vec::new();
    for name in ["bob", "carol", "dora"] {
        let person = house.person(name).await;
        let shown = json!(name);
        let accounts = &house.accounts;
        let changed = accounts.set_profile_field(person.user, "displayname", &shown);
        assert!(changed.await.unwrap());
        house.join(&person, &room).await.unwrap();
        people.push(person);
    }
    house.say(&people[0], &room, "hello").await.unwrap();
    let body = window(
        9,
        1,
        json!([["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]),
    );
    let first = house.sliding(&alice, None, body.clone()).await;
    let told = &first["rooms"][room.as_str()];
    assert_eq!(
        state_keys(told, "m.room.member"),
        ["@alice:a.test", "@bob:a.test"]
    );
    let heroes: Vec<&str> = told["heroes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hero| hero["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(heroes, ["@bob:a.test", "@carol:a.test", "@dora:a.test"]);
    assert_eq!(told["heroes"][0]["displayname"], "bob");
    house.say(&people[0], &room, "again").await.unwrap();
    let same = house.sliding(&alice, pos(&first), body.clone()).await;
    let told = &same["rooms"][room.as_str()];
    assert_eq!(bodies(told), ["again"]);
    assert!(state_keys(told, "m.room.member").is_empty());
    house.say(&people[1], &room, "me too").await.unwrap();
    let other = house.sliding(&alice, pos(&same), body.clone()).await;
    assert_eq!(
        state_keys(&other["rooms"][room.as_str()], "m.room.member"),
        ["@carol:a.test"]
    );
    // Without a gap, whoever's membership changes is told; with one, only who speaks.
    house
        .rooms
        .leave(&sender(&people[2]), &room, None)
        .await
        .unwrap();
    let left = house.sliding(&alice, pos(&other), body.clone()).await;
    assert_eq!(
        state_keys(&left["rooms"][room.as_str()], "m.room.member"),
        ["@dora:a.test"]
    );
    house.join(&people[2], &room).await.unwrap();
    house.say(&people[1], &room, "welcome").await.unwrap();
    let gap = house.sliding(&alice, pos(&left), body).await;
    let told = &gap["rooms"][room.as_str()];
    assert_eq!(told["limited"], true);
    assert!(state_keys(told, "m.room.member").is_empty());
}

#[tokio::test]
async fn messages_to_a_device_come_until_they_are_confirmed() {
    let house = House::new();
    let (alice, bob) = (house.person("alice").await, house.person("bob").await);
    let body = |since: Option<&str>| {
        let mut asked = json!({ "enabled": true, "limit": 2 });
        if let Some(since) = since {
            asked["since"] = since.into();
        }
        json!({ "conn_id": "encryption", "extensions": { "to_device": asked } })
    };
    let part = |answer: &Value| {
        let part = answer["extensions"]["to_device"].clone();
        let events = part["events"].as_array().cloned().unwrap_or_default();
        let texts = events.iter().map(|event| event["content"]["text"].clone());
        let texts: Vec<Value> = texts.collect();
        (texts, part["next_batch"].as_str().unwrap().to_owned())
    };
    let first = house.sliding(&alice, None, body(None)).await;
    let (texts, since) = part(&first);
    assert!(texts.is_empty());
    for text in ["one", "two", "three"] {
        house.to_device(&bob, &alice, text).await;
    }
    let second = house.sliding(&alice, pos(&first), body(Some(&since))).await;
    assert_eq!(part(&second).0, ["one", "two"]);
    // The answer got lost.
    let again = house.sliding(&alice, pos(&first), body(Some(&since))).await;
    let (texts, next) = part(&again);
    assert_eq!(texts, ["one", "two"]);
    let third = house.sliding(&alice, pos(&again), body(Some(&next))).await;
    let (texts, last) = part(&third);
    assert_eq!(texts, ["three"]);
    // What was confirmed never comes again, whatever a client says.
    let old = house.sliding(&alice, pos(&third), body(Some(&since))).await;
    assert_eq!(part(&old).0, ["three"]);
    let done = house.sliding(&alice, pos(&old), body(Some(&last))).await;
    assert!(part(&done).0.is_empty());
    let anew = house.sliding(&alice, None, body(None)).await;
    assert!(part(&anew).0.is_empty());
    let synced = house.v3(&alice, None, json!({})).await;
    assert!(synced["to_device"].is_null(), "{synced}");
}

#[tokio::test]
async fn a_wait_ends_with_news_and_with_another_request() {
    const LONG: Duration = Duration::from_secs(60);
    let house = House::new();
    let alice = house.person("alice").await;
    let room = house.room(&alice, named("room")).await;
    let body = window(9, 1, json!([]));
    let first = house.sliding(&alice, None, body.clone()).await;
    let waiting = house.try_sliding(&alice, pos(&first), body.clone(), LONG);
    let speaking = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.say(&alice, &room, "news").await.unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, speaking);
    let answer = answer.unwrap();
    assert_eq!(bodies(&answer["rooms"][room.as_str()]), ["news"]);
    // A short wait without news ends empty, and the next goes on from there.
    let empty = house
        .try_sliding(
            &alice,
            pos(&answer),
            body.clone(),
            Duration::from_millis(20),
        )
        .await
        .unwrap();
    assert_eq!(empty["rooms"], json!({}));
    // Another request of the same connection ends the wait, which has told nothing.
    let waiting = house.try_sliding(&alice, pos(&empty), body.clone(), LONG);
    let asking = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.sliding(&alice, pos(&empty), body.clone()).await
    };
    let (given_up, answer) = tokio::join!(waiting, asking);
    assert_eq!(given_up.unwrap(), json!({ "pos": empty["pos"] }));
    house.say(&alice, &room, "more").await.unwrap();
    let more = house.sliding(&alice, pos(&answer), body.clone()).await;
    assert_eq!(bodies(&more["rooms"][room.as_str()]), ["more"]);
    let unknown = house.try_sliding(&alice, pos(&first), body, LONG).await;
    assert!(matches!(unknown, Err(SyncError::UnknownPosition)));
}

#[tokio::test]
async fn what_is_news_elsewhere_does_not_end_a_wait() {
    let house = House::new();
    let (alice, bob) = (house.person("alice").await, house.person("bob").await);
    let room = house.room(&alice, named("room")).await;
    house.join(&bob, &room).await.unwrap();
    let body = json!({
        "conn_id": "encryption",
        "extensions": { "e2ee": { "enabled": true }, "to_device": { "enabled": true } },
    });
    let first = house.sliding(&alice, None, body.clone()).await;
    let counts = &first["extensions"]["e2ee"]["device_one_time_keys_count"];
    assert_eq!(counts["signed_curve25519"], 0);
    let waiting = house.try_sliding(&alice, pos(&first), body, Duration::from_secs(60));
    let speaking = async {
        for text in ["one", "two"] {
            tokio::time::sleep(Duration::from_millis(30)).await;
            house.say(&bob, &room, text).await.unwrap();
        }
        house.to_device(&bob, &alice, "for you").await;
    };
    let (answer, ()) = tokio::join!(waiting, speaking);
    let answer = answer.unwrap();
    let events = answer["extensions"]["to_device"]["events"]
        .as_array()
        .unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(answer["rooms"], json!({}));
}
