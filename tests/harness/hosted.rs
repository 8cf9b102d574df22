//! A room of a peer, with as many members as a test wants, given to who asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::peer::{Behaviour, Peer, Writer, now};
use crate::visitors::{event_id, sign, sign_as};

/// The room's version. Events name the create event among those that allow them.
const VERSION: &str = "11";

/// A room that a peer hosts.
pub struct HostedRoom<'a> {
    peer: &'a Peer,
    /// The room's id.
    pub id: String,
    /// Who made it, and may do everything there.
    pub creator: String,
    /// What allows the creator's events.
    auth: Vec<String>,
    /// The newest event before anybody came in, and its depth.
    end: (String, u64),
    /// The joins that were sent.
    joined: Arc<Mutex<Vec<Value>>>,
}

/// The events of the state, in the order in which they were made.
struct Making<'a> {
    peer: &'a Peer,
    room: String,
    events: Vec<(String, Arc<str>)>,
}

impl Making<'_> {
    fn add(
        &mut self,
        sender: &str,
        (kind, state_key): (&str, &str),
        auth: &[String],
        content: Value,
    ) -> String {
        let last: Vec<&String> = self.events.last().iter().map(|(id, _)| id).collect();
        let mut event = json!({
            "room_id": self.room, "sender": sender, "type": kind, "state_key": state_key,
            "content": content, "auth_events": auth, "prev_events": last,
            "depth": self.events.len() + 1, "origin_server_ts": now(),
        });
        let (_, server) = sender.split_once(':').expect("a user id");
        sign_as(self.peer, server, &mut event);
        let id = event_id(&event);
        self.events.push((id.clone(), event.to_string().into()));
        id
    }
}

impl<'a> HostedRoom<'a> {
    /// Makes a public room of so many members, all of the peer, and gives it from now on to
    /// who joins: without its members, if they may be left out.
    pub fn serve(peer: &'a Peer, members: usize) -> Self {
        Self::serve_with(peer, members, &[])
    }

    /// The same with somebody of each of these servers beside, which have the peer's key.
    pub fn serve_with(peer: &'a Peer, members: usize, others: &[String]) -> Self {
        let id = format!("!hosted{}:{}", members, peer.name);
        let user = |number: usize| format!("@member{number}:{}", peer.name);
        let creator = user(0);
        let mut making = Making {
            peer,
            room: id.clone(),
            events: Vec::new(),
        };
        let join = || json!({ "membership": "join" });
        let create = ("m.room.create", "");
        let create = making.add(&creator, create, &[], json!({ "room_version": VERSION }));
        let mut auth = vec![create.clone()];
        let member = making.add(&creator, ("m.room.member", &creator), &auth, join());
        auth.push(member);
        let levels = json!({ "users": { &creator: 100 } });
        let levels = making.add(&creator, ("m.room.power_levels", ""), &auth, levels);
        auth.push(levels.clone());
        let rule = json!({ "join_rule": "public" });
        let rule = making.add(&creator, ("m.room.join_rules", ""), &auth, rule);
        let shown = json!({ "history_visibility": "shared" });
        making.add(&creator, ("m.room.history_visibility", ""), &auth, shown);
        let needed = making.events.len();
        let to_join = [create, levels, rule];
        for number in 1..members {
            let user = user(number);
            let content =
                json!({ "membership": "join", "displayname": format!("Member {number}") });
            making.add(&user, ("m.room.member", &user), &to_join, content);
        }
        for server in others {
            let user = format!("@member:{server}");
            making.add(&user, ("m.room.member", &user), &to_join, join());
        }
        let (last, _) = making.events.last().expect("events");
        let room = Self {
            peer,
            id: id.clone(),
            creator,
            auth,
            end: (last.clone(), making.events.len() as u64),
            joined: Arc::default(),
        };
        room.give(&making.events, needed, (&to_join, others));
        room
    }

    /// Answers who asks for the room; the first `needed` events are those that allow others.
    fn give(
        &self,
        events: &[(String, Arc<str>)],
        needed: usize,
        (to_join, others): (&[String], &[String]),
    ) {
        let list = |events: &[(String, Arc<str>)]| -> String {
            let texts: Vec<&str> = events.iter().map(|(_, text)| &**text).collect();
            format!("[{}]", texts.join(","))
        };
        let (all, chain) = (list(events), list(&events[..needed]));
        let name = &self.peer.name;
        let whole: Arc<str> =
            format!(r#"{{"origin":"{name}","auth_chain":{chain},"state":{all}}}"#).into();
        let mut servers = others.to_vec();
        servers.push(name.clone());
        let servers = json!(servers);
        let partial: Arc<str> = format!(
            r#"{{"origin":"{name}","auth_chain":{chain},"state":{chain},"members_omitted":true,"servers_in_room":{servers}}}"#
        )
        .into();
        // Asked for at the newest event: what was before it.
        let before = &events[..events.len() - 1];
        let state = format!(r#"{{"pdus":{},"auth_chain":{chain}}}"#, list(before));
        let state: Arc<str> = state.into();
        let names = |events: &[(String, Arc<str>)]| -> Vec<String> {
            events.iter().map(|(id, _)| id.clone()).collect()
        };
        let ids = json!({ "pdu_ids": names(before), "auth_chain_ids": names(&events[..needed]) });
        let ids: Arc<str> = ids.to_string().into();
        let write = |path: &str, writer: Writer| {
            let path = format!("/_matrix/federation/{path}/*");
            self.peer.on(&path, Behaviour::Written(writer));
        };
        let (room, end, auth) = (self.id.clone(), self.end.clone(), to_join.to_vec());
        write(
            "v1/make_join",
            Writer::new(move |uri, _| {
                let path = uri.split('?').next().unwrap_or_default();
                let user = unescape(path.rsplit('/').next().unwrap_or_default());
                let event = json!({
                    "room_id": room, "sender": user, "type": "m.room.member", "state_key": user,
                    "content": { "membership": "join" }, "auth_events": auth,
                    "prev_events": [end.0], "depth": end.1 + 1, "origin_server_ts": now(),
                });
                let draft = json!({ "room_version": VERSION, "event": event });
                draft.to_string().into()
            }),
        );
        let joined = self.joined.clone();
        write(
            "v2/send_join",
            Writer::new(move |uri, body| {
                let join = serde_json::from_str(body).expect("an event");
                joined.lock().expect("the joins").push(join);
                match uri.contains("omit_members=true") {
                    true => partial.clone(),
                    false => whole.clone(),
                }
            }),
        );
        write("v1/state", Writer::new(move |_, _| state.clone()));
        write("v1/state_ids", Writer::new(move |_, _| ids.clone()));
        let by_id: HashMap<String, Arc<str>> = events.iter().cloned().collect();
        let origin = name.clone();
        write(
            "v1/event",
            Writer::new(move |uri, _| {
                let id = unescape(uri.rsplit('/').next().unwrap_or_default());
                let event = by_id.get(&id).map_or("null", |event| event);
                format!(r#"{{"origin":"{origin}","origin_server_ts":1,"pdus":[{event}]}}"#).into()
            }),
        );
    }

    /// The newest event and its depth: the last join, if anybody came in.
    pub fn end(&self) -> (String, u64) {
        match self.joined.lock().expect("the joins").last() {
            Some(join) => (event_id(join), join["depth"].as_u64().expect("a depth")),
            None => self.end.clone(),
        }
    }

    /// An event of the creator's after these, and its id.
    pub fn event(
        &self,
        (kind, state_key): (&str, Option<&str>),
        content: Value,
        after: &[&str],
        depth: u64,
    ) -> (String, Value) {
        let mut event = json!({
            "room_id": self.id, "sender": self.creator, "type": kind, "content": content,
            "auth_events": self.auth, "prev_events": after, "depth": depth,
            "origin_server_ts": now(),
        });
        if let Some(state_key) = state_key {
            event["state_key"] = state_key.into();
        }
        sign(self.peer, &mut event);
        (event_id(&event), event)
    }
}

/// A part of a path without its escapes.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).expect("a path")
}
