//! Rooms that are joined without waiting for their members (MSC3706, MSC3902).

use std::time::Duration;

use harness::{Synced, User, escape, eventually};
use serde_json::{Value, json};

use crate::cache;
use crate::peer::{Behaviour, Peer};
use crate::residents::Resident;
use crate::visitors::Visitor;
use harness::neighbours::{Neighbour, World};

const PEER: &str = "peer.test";

async fn with_peer(more: &str) -> (World, Neighbour, Peer) {
    let world = World::of(&["a.test", PEER]);
    let a = world.start_with("a.test", more);
    let peer = Peer::start(&world, PEER).await;
    (world, a, peer)
}

async fn join(user: &User, room: &str, via: &str) {
    let path = format!("v3/join/{}?via={}", escape(room), escape(via));
    user.post(path, json!({})).await.ok();
}

/// The filter of a client that loads members as they speak.
fn lazily() -> Value {
    json!({ "room": { "state": { "lazy_load_members": true } } })
}

async fn lazy_sync(user: &User) -> Synced {
    user.sync_filtered(&lazily(), "").await
}

async fn joined_members(user: &User, room: &str) -> usize {
    let path = format!("v3/rooms/{}/joined_members", escape(room));
    let answer = user.get(path).await.ok();
    answer["joined"].as_object().unwrap().len()
}

/// How often the peer was asked for a part of the room.
fn asked(peer: &Peer, part: &str) -> usize {
    let path = format!("/_matrix/federation/{part}");
    let asked = peer.asked();
    asked.iter().filter(|uri| uri.starts_with(&path)).count()
}

#[tokio::test]
async fn a_room_can_be_used_before_its_members_are_known() {
    let (_world, a, peer) = with_peer("").await;
    let alice = a.api.register("alice").await;
    let resident = Resident::with_members(&peer, 40);
    resident.lets_in(&alice.user_id);
    resident.is_asked_for_members(Behaviour::Silence);
    let room = resident.room.clone();
    join(&alice, &room, PEER).await;
    let send_join = |uri: &String| uri.contains("/send_join/") && uri.contains("omit_members=true");
    assert!(peer.asked().iter().any(send_join), "{:?}", peer.asked());

    // Who loads members as they speak has the room at once, others when it is whole.
    let synced = lazy_sync(&alice).await;
    let state = synced.joined(&room)["state"]["events"].as_array().unwrap();
    let has_rules = |event: &Value| event["type"] == "m.room.join_rules";
    assert!(state.iter().any(has_rules), "{state:?}");
    assert!(alice.sync().await.joined(&room).is_null());
    // What is said goes out and comes in.
    let said = alice.say(&escape(&room), "hello").await;
    let sent = peer.until_transactions(1).await;
    let pdus = sent
        .iter()
        .flat_map(|sent| sent.body["pdus"].as_array().unwrap());
    let bodies: Vec<_> = pdus.map(|pdu| pdu["content"]["body"].clone()).collect();
    assert!(bodies.contains(&json!("hello")), "{bodies:?}");
    let (heard, event) = resident.says("welcome", &said, 100);
    let taken = peer
        .transact(&a.door, "a.test", "t", (json!([event]), json!([])))
        .await;
    assert_eq!(taken.ok()["pdus"][&heard], json!({}));
    alice.event(&escape(&room), &heard).await.ok();
    // Nobody else is let in, and nobody is told what is not known.
    let uri = format!(
        "/_matrix/federation/v1/make_join/{}/{}?ver=11",
        escape(&room),
        escape("@guest:peer.test")
    );
    let refused = peer.get(&a.door, "a.test", &uri).await;
    assert!(
        refused.status == 403 || refused.status == 404,
        "{refused:?}"
    );
    let uri = format!(
        "/_matrix/federation/v1/state_ids/{}?event_id={}",
        escape(&room),
        escape(&said)
    );
    let refused = peer.get(&a.door, "a.test", &uri).await;
    refused.refused(403, "ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE");

    // Who wants all members waits for them.
    let members = joined_members(&alice, &room);
    tokio::pin!(members);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut members).await;
    assert!(early.is_err(), "{early:?}");
}

#[tokio::test]
async fn members_come_when_somebody_tells_them() {
    let (_world, a, peer) = with_peer("").await;
    let alice = a.api.register("alice").await;
    let resident = Resident::in_private(&peer, 600);
    resident.lets_in(&alice.user_id);
    let nothing = json!({ "errcode": "M_UNKNOWN", "error": "later" });
    resident.is_asked_for_members(Behaviour::Json(400, nothing));
    let room = resident.room.clone();
    join(&alice, &room, PEER).await;
    eventually("it asks for the members", 10, async || {
        (asked(&peer, "v1/state_ids/") > 0).then_some(())
    })
    .await;
    let before = lazy_sync(&alice).await;
    resident.tells_members();
    // Asked in a request that waits for them: 600, the creator and alice.
    assert_eq!(joined_members(&alice, &room).await, 602);
    let synced = alice.sync().await;
    assert_eq!(
        synced.joined(&room)["summary"]["m.joined_member_count"],
        602
    );
    // Everybody is somebody whose keys are needed, and whose devices nobody knows.
    let since = before.next_batch();
    let after = alice.sync_filtered(&lazily(), since).await;
    let changed = after.0["device_lists"]["changed"].as_array().unwrap();
    assert!(changed.contains(&json!(resident.creator)), "{changed:?}");
    assert!(changed.contains(&json!(format!("@member-599:{PEER}"))));
    // Whatever is whole stays so.
    let path = format!("v3/rooms/{}/members", escape(&room));
    let members = alice.get(path).await.ok();
    assert_eq!(members["chunk"].as_array().unwrap().len(), 602);
}

#[tokio::test]
async fn devices_that_change_meanwhile_are_told_when_members_are_known() {
    let (_world, a, peer) = with_peer("").await;
    let alice = a.api.register("alice").await;
    let resident = Resident::with_members(&peer, 5);
    resident.lets_in(&alice.user_id);
    let nothing = json!({ "errcode": "M_UNKNOWN", "error": "later" });
    resident.is_asked_for_members(Behaviour::Json(400, nothing));
    let room = resident.room.clone();
    join(&alice, &room, PEER).await;
    let before = lazy_sync(&alice).await;
    let update = |user: &str| {
        json!({ "edu_type": "m.device_list_update", "content": {
            "user_id": format!("@{user}:{PEER}"), "device_id": "D", "stream_id": 7,
        } })
    };
    let edus = json!([update("member-3"), update("nobody")]);
    let taken = peer.transact(&a.door, "a.test", "t", (json!([]), edus));
    taken.await.ok();
    resident.tells_members();
    assert_eq!(joined_members(&alice, &room).await, 7);
    // Nobody's keys are needed here: only who is known of may have other devices than before.
    let after = alice.sync_filtered(&lazily(), before.next_batch()).await;
    assert_eq!(after.changed(), [format!("@member-3:{PEER}")]);
}

#[tokio::test]
async fn members_are_fetched_after_a_crash() {
    let (_world, mut a, peer) = with_peer("").await;
    let mut alice = a.api.register("alice").await;
    let resident = Resident::with_members(&peer, 60);
    resident.lets_in(&alice.user_id);
    resident.is_asked_for_members(Behaviour::Silence);
    let room = resident.room.clone();
    join(&alice, &room, PEER).await;
    let said = alice.say(&escape(&room), "before the crash").await;
    eventually("it asks for the members", 10, async || {
        (asked(&peer, "v1/state_ids/") > 0).then_some(())
    })
    .await;
    a.server.kill9();
    resident.tells_members();
    a.restart();
    alice.api = a.server.api().with_token(&alice.access_token);
    assert_eq!(joined_members(&alice, &room).await, 62);
    alice.event(&escape(&room), &said).await.ok();
    let synced = alice.sync().await;
    assert!(!synced.joined(&room).is_null());
}

#[tokio::test]
async fn rooms_are_joined_whole_where_the_configuration_says_so() {
    let (_world, a, peer) = with_peer("fast_joins = false").await;
    let alice = a.api.register("alice").await;
    let resident = Resident::with_members(&peer, 3);
    resident.lets_in(&alice.user_id);
    join(&alice, &resident.room, PEER).await;
    let asked = peer.asked();
    let mut joins = asked.iter().filter(|uri| uri.contains("/send_join/"));
    assert!(
        joins.all(|uri| !uri.contains("omit_members=true")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn two_servers_have_the_same_room_after_a_fast_join() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let alice = a.api.register("alice").await;
    let bob = b.api.register("bob").await;
    for version in ["6", "11", "12"] {
        let options = json!({ "room_version": version, "preset": "public_chat" });
        let room = alice.create_room(options).await;
        for number in 0..35 {
            let member = a.api.register(&format!("member-{number}")).await;
            member.join(&escape(&room)).await;
        }
        join(&bob, &room, "a.test").await;
        let said = bob.say(&escape(&room), "here").await;
        assert_eq!(joined_members(&bob, &room).await, 37, "version {version}");
        eventually("what was said", 15, async || {
            let heard = alice.event(&escape(&room), &said).await;
            (heard.status == 200).then_some(())
        })
        .await;
        eventually("both see the same state", 15, async || {
            let path = format!("v3/rooms/{}/state", escape(&room));
            let ids = |state: Value| {
                let events = state.as_array().unwrap().iter();
                let mut ids: Vec<_> = events.map(|event| event["event_id"].to_string()).collect();
                ids.sort();
                ids
            };
            let [seen, own] = [bob.get(&path).await.ok(), alice.get(&path).await.ok()];
            (ids(seen) == ids(own)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_is_given_a_room_without_its_members() {
    let (_world, a, peer) = with_peer("").await;
    let alice = a.api.register("alice").await;
    let carl = a.api.register("carl").await;
    let options = json!({ "room_version": "11", "preset": "public_chat", "name": "Hall" });
    let room = alice.create_room(options).await;
    carl.join(&escape(&room)).await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let door = (&a.door, "a.test");
    let (_, whole) = Visitor::join_as(&peer, door, "@whole:peer.test", &room, "").await;
    let query = "?omit_members=true";
    let (_, part) = Visitor::join_as(&peer, door, "@part:peer.test", &room, query).await;
    let members = |answer: &Value, list: &str| -> Vec<String> {
        let events = answer[list].as_array().unwrap().iter();
        let members = events.filter(|event| event["type"] == "m.room.member");
        members
            .map(|event| event["state_key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(members(&whole, "state").contains(&carl.user_id));
    assert_ne!(whole["members_omitted"], true);
    assert_eq!(part["members_omitted"], true);
    assert!(members(&part, "state").is_empty(), "{part}");
    // Those that others rest on come along.
    assert_eq!(
        members(&part, "auth_chain"),
        std::slice::from_ref(&alice.user_id)
    );
    let mut servers: Vec<_> = part["servers_in_room"].as_array().unwrap().clone();
    servers.sort_by_key(Value::to_string);
    assert_eq!(servers, ["a.test", PEER]);
    let names = part["state"].as_array().unwrap().iter();
    let mut names = names.map(|event| event["content"]["name"].as_str());
    assert!(names.any(|name| name == Some("Hall")), "{part}");
    // The rest is told to who asks.
    let before = part["event"]["prev_events"][0].as_str().unwrap();
    let uri = format!(
        "/_matrix/federation/v1/state_ids/{}?event_id={}",
        escape(&room),
        escape(before)
    );
    let ids = peer.get(&a.door, "a.test", &uri).await.ok();
    assert!(ids["pdu_ids"].as_array().unwrap().len() > part["state"].as_array().unwrap().len());
    let uri = format!("/_matrix/federation/v1/state/{}", escape(&room));
    let uri = format!("{uri}?event_id={}", escape(before));
    let state = peer.get(&a.door, "a.test", &uri).await.ok();
    assert!(members(&state, "pdus").contains(&carl.user_id));
}

#[tokio::test]
async fn a_room_of_synapse_is_joined_fast() {
    let world = World::local(2);
    let cairn = world.start(world.name(0));
    let synapse = world.start_synapse(world.name(1), cache()).await;
    let anna = cairn.api.register("anna").await;
    let sven = synapse.api().register("sven").await;
    let options = json!({ "preset": "public_chat", "name": "Hall" });
    let room = sven.create_room(options).await;
    for number in 0..5 {
        let member = synapse.api().register(&format!("member-{number}")).await;
        member.join(&escape(&room)).await;
    }
    join(&anna, &room, synapse.name()).await;
    let said = anna.say(&escape(&room), "here").await;
    assert_eq!(joined_members(&anna, &room).await, 7);
    eventually("Synapse hears it", 20, async || {
        let heard = sven.event(&escape(&room), &said).await;
        (heard.status == 200).then_some(())
    })
    .await;
    let log = std::fs::read_to_string(cairn.server.log_file()).unwrap();
    assert!(
        log.contains("told its members"),
        "the room was given whole: {log}"
    );
}
