//! Rooms that this server shares with Synapse.

use harness::{Synapse, User, escape, eventually};
use serde_json::{Value, json};

use crate::cache;
use harness::neighbours::{Neighbour, World};

/// A Cairn and a Synapse, with somebody on each.
struct Pair {
    _world: World,
    cairn: Neighbour,
    synapse: Synapse,
    anna: User,
    sven: User,
}

impl Pair {
    async fn start() -> Self {
        let world = World::local(2);
        let cairn = world.start(world.name(0));
        let synapse = world.start_synapse(world.name(1), cache()).await;
        let anna = cairn.api.register("anna").await;
        let sven = synapse.api().register("sven").await;
        Self {
            _world: world,
            cairn,
            synapse,
            anna,
            sven,
        }
    }

    /// Where somebody is.
    fn server_of(&self, user: &User) -> &str {
        if user.user_id == self.anna.user_id {
            self.cairn.server.name()
        } else {
            self.synapse.name()
        }
    }

    /// Both, each once as the host.
    fn both(&self) -> [(&User, &User); 2] {
        [(&self.anna, &self.sven), (&self.sven, &self.anna)]
    }
}

async fn membership(seen_by: &User, room: &str, whose: &User) -> Value {
    let path = format!(
        "v3/rooms/{}/state/m.room.member/{}",
        escape(room),
        escape(&whose.user_id)
    );
    seen_by.get(path).await.body["membership"].clone()
}

async fn comes_to(seen_by: &User, room: &str, whose: &User, expected: &str) {
    let what = format!(
        "{} sees that {} is {expected}",
        seen_by.user_id, whose.user_id
    );
    eventually(&what, 20, async || {
        (membership(seen_by, room, whose).await == expected).then_some(())
    })
    .await;
}

async fn invited(user: &User, room: &str) -> Value {
    eventually("an invitation", 20, async || {
        let found = user.sync().await.invited(room).clone();
        (!found.is_null()).then_some(found)
    })
    .await
}

async fn join(user: &User, room: &str, via: &str) {
    let path = format!("v3/join/{}?via={}", escape(room), escape(via));
    user.post(path, json!({})).await.ok();
}

/// All rooms begin with a version that both know.
const VERSIONS: [&str; 4] = ["6", "9", "11", "12"];

#[tokio::test]
async fn each_joins_a_room_of_the_other() {
    let pair = Pair::start().await;
    for version in VERSIONS {
        for (host, guest) in pair.both() {
            let options = json!({
                "room_version": version, "preset": "public_chat", "name": "Lounge",
            });
            let room = host.create_room(options).await;
            join(guest, &room, pair.server_of(host)).await;
            let name = guest.state(&escape(&room), "m.room.name", "").await.ok();
            assert_eq!(name["name"], "Lounge", "version {version}");
            assert_eq!(membership(guest, &room, host).await, "join");
            comes_to(host, &room, guest, "join").await;
        }
    }
}

#[tokio::test]
async fn each_invites_the_other() {
    let pair = Pair::start().await;
    for version in ["9", "12"] {
        for (host, guest) in pair.both() {
            let options = json!({ "room_version": version, "name": "Office" });
            let room = host.create_room(options).await;
            host.invite(&escape(&room), guest).await;
            invited(guest, &room).await;
            assert_eq!(membership(host, &room, guest).await, "invite");
            join(guest, &room, pair.server_of(host)).await;
            comes_to(host, &room, guest, "join").await;

            let refused = host.create_room(json!({ "room_version": version })).await;
            host.invite(&escape(&refused), guest).await;
            invited(guest, &refused).await;
            guest.leave(&escape(&refused)).await;
            comes_to(host, &refused, guest, "leave").await;
        }
    }
}

#[tokio::test]
async fn each_knocks_at_a_room_of_the_other() {
    let pair = Pair::start().await;
    for (host, guest) in pair.both() {
        let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
        let room = host.create_room(json!({ "initial_state": rules })).await;
        let server = escape(pair.server_of(host));
        let path = format!(
            "v3/knock/{}?via={server}&server_name={server}",
            escape(&room)
        );
        guest.post(path, json!({})).await.ok();
        comes_to(host, &room, guest, "knock").await;
        host.invite(&escape(&room), guest).await;
        invited(guest, &room).await;
        join(guest, &room, pair.server_of(host)).await;
        comes_to(host, &room, guest, "join").await;
    }
}

#[tokio::test]
async fn members_of_one_room_come_into_another() {
    let pair = Pair::start().await;
    for version in ["9", "12"] {
        for (host, guest) in pair.both() {
            let club = host.create_room(json!({ "preset": "public_chat" })).await;
            let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
            let rules = json!({ "join_rule": "restricted", "allow": allow });
            let initial = json!([{ "type": "m.room.join_rules", "content": rules }]);
            let room = host
                .create_room(json!({ "room_version": version, "initial_state": initial }))
                .await;
            join(guest, &club, pair.server_of(host)).await;
            join(guest, &room, pair.server_of(host)).await;
            comes_to(host, &room, guest, "join").await;
        }
    }
}

#[tokio::test]
async fn each_leaves_and_comes_back() {
    let pair = Pair::start().await;
    for (host, guest) in pair.both() {
        let room = host.create_room(json!({ "preset": "public_chat" })).await;
        join(guest, &room, pair.server_of(host)).await;
        comes_to(host, &room, guest, "join").await;
        guest.leave(&escape(&room)).await;
        comes_to(host, &room, guest, "leave").await;
        join(guest, &room, pair.server_of(host)).await;
        comes_to(host, &room, guest, "join").await;
        host.act_on("kick", &escape(&room), guest).await.ok();
        comes_to(guest, &room, guest, "leave").await;
        join(guest, &room, pair.server_of(host)).await;
        comes_to(host, &room, guest, "join").await;
    }
}

#[tokio::test]
async fn each_moves_a_room_to_its_next_version() {
    let pair = Pair::start().await;
    for (host, guest) in pair.both() {
        let options = json!({ "room_version": "10", "preset": "public_chat", "name": "Hall" });
        let old = host.create_room(options).await;
        join(guest, &old, pair.server_of(host)).await;
        comes_to(host, &old, guest, "join").await;
        let path = format!("v3/rooms/{}/upgrade", escape(&old));
        let moved = host.post(path, json!({ "new_version": "11" })).await.ok();
        let new = moved["replacement_room"].as_str().unwrap();
        eventually("the guest sees where the room went", 20, async || {
            let grave = guest.state(&escape(&old), "m.room.tombstone", "").await;
            (grave.body["replacement_room"] == new).then_some(())
        })
        .await;
        join(guest, new, pair.server_of(host)).await;
        comes_to(host, new, guest, "join").await;
        let create = guest.state(&escape(new), "m.room.create", "").await.ok();
        assert_eq!(create["predecessor"]["room_id"], old.as_str());
        let name = guest.state(&escape(new), "m.room.name", "").await.ok();
        assert_eq!(name["name"], "Hall");
        for (speaker, listener) in [(host, guest), (guest, host)] {
            let said = speaker.say(&escape(new), "hello").await;
            eventually("what was said", 20, async || {
                let heard = listener.event(&escape(new), &said).await;
                (heard.status == 200).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn each_bans_the_other_and_lets_them_in_again() {
    let pair = Pair::start().await;
    for (host, guest) in pair.both() {
        let options = json!({ "room_version": "11", "preset": "public_chat" });
        let room = host.create_room(options).await;
        join(guest, &room, pair.server_of(host)).await;
        comes_to(host, &room, guest, "join").await;
        host.act_on("ban", &escape(&room), guest).await.ok();
        eventually("the guest is out", 20, async || {
            let said = guest
                .try_send_event(&escape(&room), "m.room.message", json!({ "body": "x" }))
                .await;
            (said.status == 403).then_some(())
        })
        .await;
        let path = format!(
            "v3/join/{}?via={}",
            escape(&room),
            escape(pair.server_of(host))
        );
        let refused = guest.post(&path, json!({})).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        host.act_on("unban", &escape(&room), guest).await.ok();
        join(guest, &room, pair.server_of(host)).await;
        comes_to(host, &room, guest, "join").await;
        assert_eq!(membership(guest, &room, guest).await, "join");
    }
}
