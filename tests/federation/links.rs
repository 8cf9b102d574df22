//! Servers between which the link is cut for a while: both sides go on, and agree when it is
//! whole again.

use std::collections::BTreeSet;

use harness::link::Link;
use harness::neighbours::{Neighbour, World};
use harness::{Synapse, User, escape, eventually};
use serde_json::json;

use crate::cache;

/// The ids of all messages that somebody can page back to.
async fn messages(user: &User, room: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut from = String::new();
    loop {
        let path = format!("v3/rooms/{}/messages?dir=b&limit=100{from}", escape(room));
        let page = user.get(path).await.ok();
        for event in page["chunk"].as_array().unwrap() {
            if event["type"] == "m.room.message" {
                found.insert(event["event_id"].as_str().unwrap().to_owned());
            }
        }
        match page["end"].as_str() {
            Some(end) => from = format!("&from={}", escape(end)),
            None => return found,
        }
    }
}

/// The ids of the room's state as somebody sees it.
async fn state(user: &User, room: &str) -> BTreeSet<String> {
    let path = format!("v3/rooms/{}/state", escape(room));
    let state = user.get(path).await.ok();
    let ids = state.as_array().unwrap().iter();
    ids.map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until both see all that was said, and the same state.
async fn agree(users: [&User; 2], room: &str, said: &[String]) {
    for user in users {
        let what = format!("{} sees all that was said", user.user_id);
        eventually(&what, 120, async || {
            let seen = messages(user, room).await;
            said.iter().all(|id| seen.contains(id)).then_some(())
        })
        .await;
    }
    eventually("both see the same state", 120, async || {
        (state(users[0], room).await == state(users[1], room).await).then_some(())
    })
    .await;
    let [one, other] = [
        messages(users[0], room).await,
        messages(users[1], room).await,
    ];
    assert_eq!(one, other);
}

/// A room of the first one, in which the second is.
async fn shared_room(host: &User, guest: &User, via: &str) -> String {
    let options = json!({
        "room_version": "11", "preset": "public_chat",
        "power_level_content_override": { "events": { "m.room.topic": 0 } },
    });
    let room = host.create_room(options).await;
    let path = format!("v3/join/{}?via={}", escape(&room), escape(via));
    guest.post(path, json!({})).await.ok();
    room
}

/// Both sides talk and change the room's state.
async fn talk(users: [&User; 2], room: &str, round: &str, said: &mut Vec<String>) {
    let room = escape(room);
    for user in users {
        for number in 0..3 {
            let text = format!("{round} {number} of {}", user.user_id);
            said.push(user.say(&room, &text).await);
        }
        let topic = json!({ "topic": format!("{round} of {}", user.user_id) });
        user.set_state(&room, "m.room.topic", "", topic).await;
    }
}

/// More than one transaction brings, as if the link had been cut for a month: somebody comes in,
/// and the room's state changes again and again.
async fn talk_for_long(
    users: [&User; 2],
    newcomers: [&User; 2],
    room: &str,
    said: &mut Vec<String>,
) {
    for newcomer in newcomers {
        newcomer.join(&escape(room)).await;
    }
    let room = escape(room);
    for number in 0..30 {
        for user in users.iter().chain(&newcomers) {
            let text = format!("long ago {number} of {}", user.user_id);
            said.push(user.say(&room, &text).await);
        }
        let topic = json!({ "topic": format!("long ago {number}") });
        users[number % 2]
            .set_state(&room, "m.room.topic", "", topic)
            .await;
    }
}

/// Neither side has heard what the other said last.
async fn are_apart(users: [&User; 2], room: &str, said: &[String]) {
    for user in users {
        let seen = messages(user, room).await;
        let unheard = said.iter().filter(|id| !seen.contains(*id)).count();
        assert!(unheard > 0, "{} hears everything", user.user_id);
    }
}

struct Links(Vec<Link>);

impl Links {
    fn cut(&self) {
        self.0.iter().for_each(Link::cut);
    }

    fn heal(&self) {
        self.0.iter().for_each(Link::heal);
    }
}

async fn linked(world: &mut World) -> Links {
    let names = [world.name(0).to_owned(), world.name(1).to_owned()];
    let mut links = Vec::new();
    for name in &names {
        links.push(world.link(name).await);
    }
    Links(links)
}

const SOON: &str = "retry_delay_max = 1";

async fn two_cairns() -> (World, Links, Neighbour, Neighbour) {
    let mut world = World::of(&["a.test", "b.test"]);
    let links = linked(&mut world).await;
    let (a, b) = (
        world.start_with("a.test", SOON),
        world.start_with("b.test", SOON),
    );
    (world, links, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_agree_after_their_link_was_cut() {
    let (_world, links, a, b) = two_cairns().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = shared_room(&alice, &bob, "a.test").await;
    let (both, mut said) = ([&alice, &bob], Vec::new());
    talk(both, &room, "before", &mut said).await;
    agree(both, &room, &said).await;
    links.cut();
    talk(both, &room, "apart", &mut said).await;
    are_apart(both, &room, &said).await;
    links.heal();
    agree(both, &room, &said).await;
    talk(both, &room, "after", &mut said).await;
    agree(both, &room, &said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_agree_though_each_starts_again_in_the_middle() {
    let (_world, links, mut a, mut b) = two_cairns().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = shared_room(&alice, &bob, "a.test").await;
    let (both, mut said) = ([&alice, &bob], Vec::new());
    links.cut();
    talk(both, &room, "apart", &mut said).await;
    a.server.kill9();
    a.restart();
    talk(both, &room, "still apart", &mut said).await;
    are_apart(both, &room, &said).await;
    links.heal();
    b.server.kill9();
    b.restart();
    agree(both, &room, &said).await;
}

/// How many events a server left out for others because newer ones stood for them.
async fn left_out(server: &Neighbour) -> u64 {
    let metrics = server.api.get("/metrics").await.text;
    let line = "cairn_federation_events_total{outcome=\"left_out\"} ";
    let found = metrics.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_catch_up_after_they_were_apart_for_long() {
    let (_world, links, a, b) = two_cairns().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let newcomers = [
        &a.api.register("anton").await,
        &b.api.register("berta").await,
    ];
    let room = shared_room(&alice, &bob, "a.test").await;
    let (both, mut said) = ([&alice, &bob], Vec::new());
    talk(both, &room, "before", &mut said).await;
    agree(both, &room, &said).await;
    links.cut();
    talk_for_long(both, newcomers, &room, &mut said).await;
    are_apart(both, &room, &said).await;
    links.heal();
    agree(both, &room, &said).await;
    // Each has told the newest, and the other has fetched the rest itself.
    for server in [&a, &b] {
        assert!(left_out(server).await > 50);
    }
    talk(both, &room, "after", &mut said).await;
    agree(both, &room, &said).await;
}

/// A Cairn and a Synapse with links before them, and somebody on each.
struct Pair {
    _world: World,
    links: Links,
    cairn: Neighbour,
    synapse: Synapse,
    anna: User,
    sven: User,
}

async fn pair() -> Pair {
    let mut world = World::local(2);
    let links = linked(&mut world).await;
    let cairn = world.start_with(world.name(0), SOON);
    let synapse = world.start_synapse(world.name(1), cache()).await;
    let anna = cairn.api.register("anna").await;
    let sven = synapse.api().register("sven").await;
    Pair {
        links,
        cairn,
        synapse,
        anna,
        sven,
        _world: world,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn synapse_agrees_after_the_link_to_it_was_cut() {
    let pair = pair().await;
    let via = pair.cairn.server.name().to_owned();
    let rooms = [
        shared_room(&pair.anna, &pair.sven, &via).await,
        shared_room(&pair.sven, &pair.anna, pair.synapse.name()).await,
    ];
    let both = [&pair.anna, &pair.sven];
    for room in &rooms {
        let mut said = Vec::new();
        talk(both, room, "before", &mut said).await;
        agree(both, room, &said).await;
        pair.links.cut();
        talk(both, room, "apart", &mut said).await;
        are_apart(both, room, &said).await;
        pair.links.heal();
        agree(both, room, &said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn synapse_agrees_though_each_starts_again_in_the_middle() {
    let mut pair = pair().await;
    let via = pair.cairn.server.name().to_owned();
    let room = shared_room(&pair.anna, &pair.sven, &via).await;
    let mut said = Vec::new();
    // Else Synapse looks for what was before, and waits long for who cannot be reached.
    talk([&pair.anna, &pair.sven], &room, "before", &mut said).await;
    agree([&pair.anna, &pair.sven], &room, &said).await;
    pair.links.cut();
    talk([&pair.anna, &pair.sven], &room, "apart", &mut said).await;
    pair.cairn.server.kill9();
    pair.cairn.restart();
    pair.synapse.restart().await;
    talk([&pair.anna, &pair.sven], &room, "still apart", &mut said).await;
    are_apart([&pair.anna, &pair.sven], &room, &said).await;
    pair.links.heal();
    agree([&pair.anna, &pair.sven], &room, &said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn synapse_catches_up_after_it_was_away_for_long() {
    let pair = pair().await;
    let newcomers = [
        &pair.cairn.api.register("anton").await,
        &pair.synapse.api().register("sigrid").await,
    ];
    let via = pair.cairn.server.name().to_owned();
    let room = shared_room(&pair.anna, &pair.sven, &via).await;
    let both = [&pair.anna, &pair.sven];
    let mut said = Vec::new();
    talk(both, &room, "before", &mut said).await;
    agree(both, &room, &said).await;
    pair.links.cut();
    talk_for_long(both, newcomers, &room, &mut said).await;
    are_apart(both, &room, &said).await;
    pair.links.heal();
    agree(both, &room, &said).await;
    assert!(left_out(&pair.cairn).await > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_room_is_not_kept_from_it_by_an_earlier_failure() {
    let mut world = World::of(&["a.test", "b.test"]);
    let link = world.link("b.test").await;
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = bob
        .create_room(json!({ "preset": "public_chat", "room_alias_name": "hall" }))
        .await;
    let profile = format!("v3/profile/{}", bob.user_id);
    link.cut();
    // Long enough for all that follows.
    eventually("it is left alone for a while", 30, async || {
        alice.get(&profile).await.refused(502, "M_UNKNOWN");
        let status = a.server.cairn_json(&["federation", "status"]);
        let failures = status["failing"][0]["failures"].as_u64();
        (failures >= Some(4)).then_some(())
    })
    .await;
    link.heal();
    let refused = alice.get(&profile).await;
    assert!(refused.text.contains("it is tried again at"), "{refused:?}");
    alice.post("v3/join/%23hall%3Ab.test", json!({})).await.ok();
    alice.say(&escape(&room), "here I am").await;
    // And now that it was heard from, all goes on.
    alice.get(&profile).await.ok();
}
