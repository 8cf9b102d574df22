//! What a client holds that believes everything it is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A user's rooms, as told.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) rooms: BTreeMap<String, Room>,
    pub(super) account_data: BTreeMap<String, Value>,
    pub(super) room_data: BTreeMap<String, BTreeMap<String, Value>>,
    pub(super) typing: BTreeMap<String, Value>,
    /// Whether members are told as they speak.
    pub(super) lazy: bool,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// `join`, `invite` or `knock`.
    pub(super) membership: &'static str,
    /// Event ids by type and state key.
    pub(super) state: BTreeMap<(String, String), String>,
    /// Event ids, oldest first.
    pub(super) timeline: Vec<String>,
    pub(super) joined: u64,
    pub(super) invited: u64,
    /// How many notify, how many mention the user.
    pub(super) unread: (u64, u64),
    /// Events by user and kind.
    pub(super) receipts: BTreeMap<(String, String), String>,
    pub(super) name: Option<String>,
    pub(super) avatar: Option<String>,
    pub(super) heroes: Vec<String>,
    pub(super) bump_stamp: u64,
    pub(super) is_direct: bool,
}

impl Client {
    /// Takes an answer of `/sync`.
    pub(super) fn take_v3(&mut self, answer: &Value) {
        for (room_id, told) in object(&answer["rooms"]["join"]) {
            let room = self.rooms.entry(room_id.clone()).or_default();
            room.membership = "join";
            room.take_state(&told["state_after"]["events"]);
            room.take_timeline(
                &told["timeline"]["events"],
                told["timeline"]["limited"] == true,
            );
            let summary = &told["summary"];
            set_count(&mut room.joined, &summary["m.joined_member_count"]);
            set_count(&mut room.invited, &summary["m.invited_member_count"]);
            if let Some(heroes) = summary["m.heroes"].as_array() {
                room.heroes = heroes.iter().map(text).collect();
            }
            let unread = &told["unread_notifications"];
            set_count(&mut room.unread.0, &unread["notification_count"]);
            set_count(&mut room.unread.1, &unread["highlight_count"]);
            for event in array(&told["ephemeral"]["events"]) {
                match event["type"].as_str() {
                    Some("m.receipt") => room.take_receipts(&event["content"]),
                    Some("m.typing") => {
                        let users = event["content"]["user_ids"].clone();
                        self.typing.insert(room_id.to_owned(), users);
                    }
                    _ => panic!("{event}"),
                }
            }
            self.take_room_data(room_id, &told["account_data"]["events"]);
        }
        for (membership, section) in [("invite", "invite"), ("knock", "knock")] {
            for (room_id, _) in object(&answer["rooms"][section]) {
                self.rooms.insert(
                    room_id.clone(),
                    Room {
                        membership,
                        ..Room::default()
                    },
                );
            }
        }
        for (room_id, _) in object(&answer["rooms"]["leave"]) {
            self.forget(room_id);
        }
        self.take_data(&answer["account_data"]["events"]);
    }

    /// Takes an answer of a sliding sync for `me`.
    pub(super) fn take_sliding(&mut self, answer: &Value, me: &str) {
        for (room_id, told) in object(&answer["rooms"]) {
            if told["initial"] == true {
                self.rooms.remove(room_id);
            }
            let room = self.rooms.entry(room_id.clone()).or_default();
            if let Some(stripped) = told["invite_state"].as_array() {
                let own = stripped.iter().find(|event| event["state_key"] == me);
                room.membership = match own.unwrap()["content"]["membership"].as_str() {
                    Some("invite") => "invite",
                    Some("knock") => "knock",
                    other => panic!("{other:?}"),
                };
                room.is_direct = told["is_dm"] == true;
                continue;
            }
            if room.membership.is_empty() {
                room.membership = "join";
            }
            if room.membership != "join" {
                room.is_direct = told["is_dm"].as_bool().expect("what else can change");
                continue;
            }
            let own = array(&told["required_state"])
                .iter()
                .find(|event| event["type"] == "m.room.member" && event["state_key"] == me);
            if own.is_some_and(|own| own["content"]["membership"] != "join") {
                self.forget(room_id);
                continue;
            }
            if self.lazy && told["limited"] == true {
                // Who holds members as they spoke cannot trust them after a gap.
                room.state
                    .retain(|(kind, key), _| kind != "m.room.member" || key == me);
            }
            room.take_sliding(told);
        }
        let extensions = &answer["extensions"];
        for (room_id, event) in object(&extensions["receipts"]["rooms"]) {
            let room = self.rooms.get_mut(room_id).expect("a known room");
            room.take_receipts(&event["content"]);
        }
        for (room_id, event) in object(&extensions["typing"]["rooms"]) {
            self.take_typing(room_id, event);
        }
        self.take_data(&extensions["account_data"]["global"]);
        for (room_id, events) in object(&extensions["account_data"]["rooms"]) {
            self.take_room_data(room_id, events);
        }
    }

    fn forget(&mut self, room_id: &str) {
        self.rooms.remove(room_id);
        self.room_data.remove(room_id);
        self.typing.remove(room_id);
    }

    fn take_data(&mut self, events: &Value) {
        for event in array(events) {
            let kind = text(&event["type"]);
            self.account_data.insert(kind, event["content"].clone());
        }
    }

    fn take_room_data(&mut self, room_id: &str, events: &Value) {
        for event in array(events) {
            let of_room = self.room_data.entry(room_id.to_owned()).or_default();
            of_room.insert(text(&event["type"]), event["content"].clone());
        }
    }

    fn take_typing(&mut self, room_id: &str, event: &Value) {
        let users = event["content"]["user_ids"].clone();
        self.typing.insert(room_id.to_owned(), users);
    }

    /// The rooms and in what way the user is there.
    pub(super) fn memberships(&self) -> BTreeMap<&str, &str> {
        let rooms = self.rooms.iter();
        rooms
            .map(|(id, room)| (id.as_str(), room.membership))
            .collect()
    }

    /// The account data of joined rooms.
    pub(super) fn data_of(&self, room_id: &str) -> BTreeMap<String, Value> {
        self.room_data.get(room_id).cloned().unwrap_or_default()
    }

    /// Who types.
    pub(super) fn typing_in(&self, room_id: &str) -> Vec<String> {
        let users = self.typing.get(room_id);
        users
            .map(array)
            .unwrap_or_default()
            .iter()
            .map(text)
            .collect()
    }
}

impl Room {
    fn take_sliding(&mut self, told: &Value) {
        if let Some(events) = told["timeline"].as_array() {
            let limited = told["limited"] == true;
            if told["unstable_expanded_timeline"] == true {
                self.timeline.clear();
            }
            let live = told["num_live"].as_u64().expect("num_live");
            assert!(live <= events.len() as u64, "{told}");
            self.take_timeline(&told["timeline"], limited);
        }
        self.take_state(&told["required_state"]);
        set_count(&mut self.joined, &told["joined_count"]);
        set_count(&mut self.invited, &told["invited_count"]);
        set_count(&mut self.bump_stamp, &told["bump_stamp"]);
        self.unread = (
            told["notification_count"].as_u64().expect("a count"),
            told["highlight_count"].as_u64().expect("a count"),
        );
        if let Some(is_direct) = told["is_dm"].as_bool() {
            self.is_direct = is_direct;
        }
        for (field, mine) in [("name", &mut self.name), ("avatar", &mut self.avatar)] {
            match &told[field] {
                Value::Null if told.get(field).is_none() => {}
                Value::Null => *mine = None,
                value => *mine = Some(text(value)),
            }
        }
        if let Some(heroes) = told["heroes"].as_array() {
            self.heroes = heroes.iter().map(|hero| text(&hero["user_id"])).collect();
        }
    }

    fn take_state(&mut self, events: &Value) {
        for event in array(events) {
            let key = (text(&event["type"]), text(&event["state_key"]));
            self.state.insert(key, text(&event["event_id"]));
        }
    }

    fn take_timeline(&mut self, events: &Value, limited: bool) {
        if limited {
            self.timeline.clear();
        }
        for event in array(events) {
            let id = text(&event["event_id"]);
            // Of a room that was left and joined again, what is known comes again.
            if let Some(place) = self.timeline.iter().position(|known| *known == id) {
                self.timeline.truncate(place);
            }
            self.timeline.push(id);
        }
    }

    fn take_receipts(&mut self, content: &Value) {
        for (event_id, kinds) in object(content) {
            for (kind, users) in object(kinds) {
                for (user, _) in object(users) {
                    let key = (user.clone(), kind.clone());
                    self.receipts.insert(key, event_id.clone());
                }
            }
        }
    }

    /// The state but for members.
    pub(super) fn other_state(&self) -> BTreeMap<&(String, String), &String> {
        let state = self.state.iter();
        state
            .filter(|((kind, _), _)| kind != "m.room.member")
            .collect()
    }

    /// The members that are known.
    pub(super) fn members(&self) -> BTreeSet<(&String, &String)> {
        let state = self.state.iter();
        state
            .filter(|((kind, _), _)| kind == "m.room.member")
            .map(|((_, key), event)| (key, event))
            .collect()
    }

    /// The user's own receipts.
    pub(super) fn receipts_of(&self, user: &str) -> BTreeMap<&String, &String> {
        let own = self.receipts.iter().filter(|((whose, _), _)| whose == user);
        own.map(|((_, kind), event)| (kind, event)).collect()
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn set_count(mine: &mut u64, told: &Value) {
    if let Some(count) = told.as_u64() {
        *mine = count;
    }
}
