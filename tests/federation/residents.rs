//! A room of a peer that a test plays, into which a server is let without the members.

use harness::escape;
use serde_json::{Value, json};

use crate::peer::{Behaviour, Judge, Peer, now};
use crate::visitors::{event_id, sign};

/// A room (version 11) with its creator and other members, all of the peer.
pub(crate) struct Resident<'a> {
    peer: &'a Peer,
    pub(crate) room: String,
    pub(crate) creator: String,
    /// All events, oldest first: the room's state, each with its id.
    pub(crate) events: Vec<(String, Value)>,
    /// How many of these the first members, who allow others, take.
    first: usize,
}

impl<'a> Resident<'a> {
    /// A room in which so many others are beside its creator.
    pub(crate) fn with_members(peer: &'a Peer, count: usize) -> Self {
        Self::made(peer, count, false)
    }

    /// The same, and the room is encrypted.
    pub(crate) fn in_private(peer: &'a Peer, count: usize) -> Self {
        Self::made(peer, count, true)
    }

    fn made(peer: &'a Peer, count: usize, is_encrypted: bool) -> Self {
        let name = &peer.name;
        let mut made = Self {
            peer,
            room: format!("!hall:{name}"),
            creator: format!("@creator:{name}"),
            events: Vec::new(),
            first: 4,
        };
        let creator = made.creator.clone();
        made.add(
            "m.room.create",
            "",
            &creator,
            json!({ "room_version": "11" }),
            &[],
        );
        let join = json!({ "membership": "join" });
        made.add("m.room.member", &creator, &creator, join.clone(), &[0]);
        let levels = json!({ "users": { &creator: 100 } });
        made.add("m.room.power_levels", "", &creator, levels, &[0, 1]);
        let public = json!({ "join_rule": "public" });
        made.add("m.room.join_rules", "", &creator, public, &[0, 1, 2]);
        if is_encrypted {
            let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
            made.add("m.room.encryption", "", &creator, encryption, &[0, 1, 2]);
        }
        for number in 0..count {
            let member = format!("@member-{number}:{name}");
            made.add("m.room.member", &member, &member, join.clone(), &[0, 2, 3]);
        }
        made
    }

    fn add(&mut self, kind: &str, state_key: &str, sender: &str, content: Value, auth: &[usize]) {
        let auth: Vec<&String> = auth.iter().map(|number| &self.events[*number].0).collect();
        let before: Vec<&String> = self.events.last().iter().map(|(id, _)| id).collect();
        let mut event = json!({
            "room_id": self.room, "sender": sender, "type": kind, "state_key": state_key,
            "content": content, "auth_events": auth, "prev_events": before,
            "depth": self.events.len() + 1, "origin_server_ts": now(),
        });
        sign(self.peer, &mut event);
        self.events.push((event_id(&event), event));
    }

    fn last(&self) -> &(String, Value) {
        self.events.last().unwrap()
    }

    /// An event of the creator's after the room's last one, or after `before`, and its id.
    pub(crate) fn says(&self, body: &str, before: &str, depth: usize) -> (String, Value) {
        let auth = [0, 1, 2].map(|number| &self.events[number].0);
        let mut event = json!({
            "room_id": self.room, "sender": self.creator, "type": "m.room.message",
            "content": { "msgtype": "m.text", "body": body }, "auth_events": auth,
            "prev_events": [before], "depth": depth, "origin_server_ts": now(),
        });
        sign(self.peer, &mut event);
        (event_id(&event), event)
    }

    /// Lets a user of another server in from now on.
    pub(crate) fn lets_in(&self, user_id: &str) {
        let auth = [0, 2, 3].map(|number| &self.events[number].0);
        let draft = json!({
            "room_id": self.room, "sender": user_id, "type": "m.room.member",
            "state_key": user_id, "content": { "membership": "join" }, "auth_events": auth,
            "prev_events": [self.last().0], "depth": self.events.len() + 1,
            "origin_server_ts": now(),
        });
        let answer = json!({ "room_version": "11", "event": draft });
        self.at("v1/make_join/*", Behaviour::Json(200, answer));
        let is_member = |event: &Value| event["type"] == "m.room.member";
        let events = || self.events.iter().map(|(_, event)| event.clone());
        let state: Vec<Value> = events().filter(|event| !is_member(event)).collect();
        let chain: Vec<Value> = events().take(self.first).filter(is_member).collect();
        let server = self.peer.name.clone();
        let let_in = Judge::new(move |event| {
            let answer = json!({
                "event": event, "state": state, "auth_chain": chain,
                "members_omitted": true, "servers_in_room": [server],
            });
            std::future::ready((200, answer))
        });
        self.at("v2/send_join/*", Behaviour::By(let_in));
        self.peer.on_transactions(200, json!({ "pdus": {} }));
    }

    /// Tells the room's members from now on.
    pub(crate) fn tells_members(&self) {
        let ids: Vec<&String> = self.events.iter().map(|(id, _)| id).collect();
        let events: Vec<&Value> = self.events.iter().map(|(_, event)| event).collect();
        let told = json!({ "pdu_ids": ids, "auth_chain_ids": &ids[..self.first] });
        self.at("v1/state_ids/*", Behaviour::Json(200, told));
        let told = json!({ "pdus": events, "auth_chain": &events[..self.first] });
        self.at("v1/state/*", Behaviour::Json(200, told));
        for (id, event) in &self.events {
            let told = json!({ "origin": self.peer.name, "origin_server_ts": 1, "pdus": [event] });
            for id in [id.clone(), escape(id)] {
                self.at(
                    &format!("v1/event/{id}"),
                    Behaviour::Json(200, told.clone()),
                );
            }
        }
    }

    /// Does this when it is asked for the members.
    pub(crate) fn is_asked_for_members(&self, behaviour: Behaviour) {
        self.at("v1/state_ids/*", behaviour);
    }

    fn at(&self, path: &str, behaviour: Behaviour) {
        self.peer
            .on(&format!("/_matrix/federation/{path}"), behaviour);
    }
}
