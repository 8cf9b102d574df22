//! People of a peer that a test plays, in rooms of a server.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::peer::{Peer, now};
use crate::signing::canonical;
use crate::{Answer, Api, escape};

/// Somebody of a peer who is in a room, and what an event of theirs needs.
pub struct Visitor<'a> {
    peer: &'a Peer,
    door: &'a Api,
    destination: &'a str,
    /// Who it is.
    pub user_id: String,
    /// Where.
    pub room: String,
    /// The state before the user came, and the user's own membership.
    state: Vec<(String, Value)>,
    /// The newest event that the user knows, and how deep it stands.
    pub last: (String, u64),
}

/// An event as it is signed (room version 11 and later).
pub fn redacted(event: &Value) -> Value {
    const TOP: [&str; 12] = [
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
        "event_id",
    ];
    let kept: &[&str] = match event["type"].as_str().unwrap() {
        "m.room.member" => &["membership", "join_authorised_via_users_server"],
        "m.room.join_rules" => &["join_rule", "allow"],
        "m.room.power_levels" => &[
            "ban",
            "events",
            "events_default",
            "invite",
            "kick",
            "redact",
            "state_default",
            "users",
            "users_default",
        ],
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.redaction" => &["redacts"],
        _ => &[],
    };
    let pick = |object: &Value, names: &[&str]| -> Map<String, Value> {
        let members = object.as_object().unwrap().iter();
        let members = members.filter(|(name, _)| names.contains(&name.as_str()));
        members
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let mut redacted = pick(event, &TOP);
    if event["type"] != "m.room.create" {
        redacted.insert("content".to_owned(), pick(&event["content"], kept).into());
    }
    redacted.into()
}

fn hash(object: &Value, without: &[&str]) -> Vec<u8> {
    let mut object = object.clone();
    let members = object.as_object_mut().unwrap();
    members.retain(|name, _| !without.contains(&name.as_str()));
    Sha256::digest(canonical(&object)).to_vec()
}

/// The id of an event (room version 4 and later).
pub fn event_id(event: &Value) -> String {
    let hash = hash(&redacted(event), &["signatures", "unsigned"]);
    format!("${}", URL_SAFE_NO_PAD.encode(hash))
}

/// Adds the hash and the peer's signature.
pub fn sign(peer: &Peer, event: &mut Value) {
    sign_as(peer, &peer.name, event);
}

/// Adds the hash and the signature of a server that has the peer's key.
pub fn sign_as(peer: &Peer, server: &str, event: &mut Value) {
    let hash = hash(event, &["hashes", "signatures", "unsigned"]);
    event["hashes"] = json!({ "sha256": STANDARD_NO_PAD.encode(hash) });
    let mut signed = redacted(event);
    peer.key.sign(&mut signed, server, "1");
    event["signatures"] = signed["signatures"].clone();
}

impl<'a> Visitor<'a> {
    /// Joins a room of the server behind a door.
    pub async fn join(peer: &'a Peer, door: (&'a Api, &'a str), user_id: &str, room: &str) -> Self {
        Self::join_as(peer, door, user_id, room, "").await.0
    }

    /// Joins with a query, and gives the room as the server gave it.
    pub async fn join_as(
        peer: &'a Peer,
        (door, destination): (&'a Api, &'a str),
        user_id: &str,
        room: &str,
        query: &str,
    ) -> (Self, Value) {
        let (room_path, user_path) = (escape(room), escape(user_id));
        let uri = format!("/_matrix/federation/v1/make_join/{room_path}/{user_path}?ver=11&ver=12");
        let made = peer.get(door, destination, &uri).await.ok();
        let mut event = made["event"].clone();
        event["origin_server_ts"] = now().into();
        sign(peer, &mut event);
        let id = event_id(&event);
        let uri = format!(
            "/_matrix/federation/v2/send_join/{room_path}/{}{query}",
            escape(&id)
        );
        let joined = peer.send(door, destination, Method::PUT, &uri, event.clone());
        let joined = joined.await.ok();
        let state = joined["state"].as_array().unwrap().iter();
        let mut state: Vec<_> = state
            .map(|event| (event_id(event), event.clone()))
            .collect();
        let depth = event["depth"].as_u64().unwrap();
        state.push((id.clone(), event));
        let visitor = Self {
            peer,
            door,
            destination,
            user_id: user_id.to_owned(),
            room: room.to_owned(),
            state,
            last: (id, depth),
        };
        (visitor, joined)
    }

    /// An event of this user after all that the user knows, and its id.
    pub fn event(
        &mut self,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> (String, Value) {
        let is_auth = |event: &Value| {
            event["type"] == "m.room.power_levels"
                || (event["type"] == "m.room.create" && event["room_id"].is_string())
                || (event["type"] == "m.room.member" && event["state_key"] == *self.user_id)
        };
        let auth = self.state.iter().filter(|(_, event)| is_auth(event));
        let auth: Vec<&String> = auth.map(|(id, _)| id).collect();
        let mut event = json!({
            "room_id": self.room, "sender": self.user_id, "type": kind, "content": content,
            "auth_events": auth, "prev_events": [self.last.0], "depth": self.last.1 + 1,
            "origin_server_ts": now(),
        });
        if let Some(state_key) = state_key {
            event["state_key"] = state_key.into();
        }
        sign(self.peer, &mut event);
        let id = event_id(&event);
        self.last = (id.clone(), self.last.1 + 1);
        (id, event)
    }

    /// Sends a transaction.
    pub async fn transact(&self, id: &str, pdus: Value, edus: Value) -> Answer {
        self.peer
            .transact(self.door, self.destination, id, (pdus, edus))
            .await
    }
}
