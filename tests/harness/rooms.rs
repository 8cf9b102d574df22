//! What people do in rooms, as one call each, and what a sync told them.

use serde_json::{Value, json};

use crate::user::unique;
use crate::{Answer, User, escape, eventually};

impl User {
    /// Creates a room and gives its id.
    pub async fn create_room(&self, options: Value) -> String {
        let room = self.post("v3/createRoom", options).await.ok();
        room["room_id"].as_str().expect("a room id").to_owned()
    }

    /// Creates a room that anybody may join.
    pub async fn public_room(&self) -> String {
        self.create_room(json!({ "preset": "public_chat" })).await
    }

    /// Creates a public room and lets the others join.
    pub async fn room_with(&self, others: &[&User]) -> String {
        let room = self.public_room().await;
        for other in others {
            other.join(&room).await;
        }
        room
    }

    /// Joins a room by its id.
    pub async fn join(&self, room: &str) {
        self.post(format!("v3/rooms/{room}/join"), json!({}))
            .await
            .ok();
    }

    /// Leaves a room.
    pub async fn leave(&self, room: &str) {
        self.post(format!("v3/rooms/{room}/leave"), json!({}))
            .await
            .ok();
    }

    /// Invites, kicks, bans or unbans somebody: `what` is the endpoint's last word.
    pub async fn act_on(&self, what: &str, room: &str, other: &User) -> Answer {
        let body = json!({ "user_id": other.user_id });
        self.post(format!("v3/rooms/{room}/{what}"), body).await
    }

    /// Invites somebody.
    pub async fn invite(&self, room: &str, other: &User) {
        self.act_on("invite", room, other).await.ok();
    }

    /// Sends a text message and gives its event id.
    pub async fn say(&self, room: &str, text: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": text });
        self.send_event(room, "m.room.message", content).await
    }

    /// Sends an event and gives its id.
    pub async fn send_event(&self, room: &str, kind: &str, content: Value) -> String {
        let event = self.try_send_event(room, kind, content).await.ok();
        event["event_id"].as_str().expect("an event id").to_owned()
    }

    /// Sends an event with a new transaction id.
    pub async fn try_send_event(&self, room: &str, kind: &str, content: Value) -> Answer {
        let path = format!("v3/rooms/{room}/send/{kind}/t{}", unique());
        self.put(path, content).await
    }

    /// Sends a state event and gives its id.
    pub async fn set_state(&self, room: &str, kind: &str, key: &str, content: Value) -> String {
        let event = self.try_set_state(room, kind, key, content).await.ok();
        event["event_id"].as_str().expect("an event id").to_owned()
    }

    /// Sends a state event.
    pub async fn try_set_state(&self, room: &str, kind: &str, key: &str, content: Value) -> Answer {
        self.put(
            format!("v3/rooms/{room}/state/{kind}/{}", escape(key)),
            content,
        )
        .await
    }

    /// The content of a state event as it is now.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> Answer {
        self.get(format!("v3/rooms/{room}/state/{kind}/{}", escape(key)))
            .await
    }

    /// Redacts an event and gives the redaction's id.
    pub async fn redact(&self, room: &str, event: &str) -> String {
        let path = format!("v3/rooms/{room}/redact/{}/t{}", escape(event), unique());
        let redaction = self.put(path, json!({ "reason": "a mistake" })).await.ok();
        redaction["event_id"]
            .as_str()
            .expect("an event id")
            .to_owned()
    }

    /// One event, as this user may see it.
    pub async fn event(&self, room: &str, event: &str) -> Answer {
        // Ids of room version 3 have slashes.
        let event = escape(event);
        self.get(format!("v3/rooms/{room}/event/{event}")).await
    }

    /// The first sync: everything as it is.
    pub async fn sync(&self) -> Synced {
        Synced(self.get("v3/sync?timeout=0").await.ok())
    }

    /// A sync with these query parameters.
    pub async fn sync_with(&self, query: &str) -> Synced {
        Synced(self.get(format!("v3/sync?{query}")).await.ok())
    }

    /// A sync with a filter; `since` is empty for the first.
    pub async fn sync_filtered(&self, filter: &Value, since: &str) -> Synced {
        let filter = escape(&filter.to_string());
        let since = if since.is_empty() {
            String::new()
        } else {
            format!("&since={since}")
        };
        self.sync_with(&format!("timeout=0&filter={filter}{since}"))
            .await
    }

    /// What happened since an earlier sync, without waiting.
    pub async fn sync_since(&self, earlier: &Synced) -> Synced {
        self.sync_with(&format!("timeout=0&since={}", earlier.next_batch()))
            .await
    }

    /// Syncs on from `earlier` until `look` finds what it wants; ten seconds at most.
    pub async fn sync_until<T>(
        &self,
        earlier: &Synced,
        what: &str,
        mut look: impl FnMut(&Synced) -> Option<T>,
    ) -> (T, Synced) {
        let mut since = earlier.next_batch().to_owned();
        eventually(what, 10, async || {
            let synced = self.sync_with(&format!("timeout=1000&since={since}")).await;
            since = synced.next_batch().to_owned();
            look(&synced).map(|found| (found, synced))
        })
        .await
    }
}

/// The answer of a sync.
#[derive(Debug, Clone)]
pub struct Synced(pub Value);

impl Synced {
    /// The token to go on from.
    pub fn next_batch(&self) -> &str {
        self.0["next_batch"].as_str().expect("next_batch")
    }

    /// A joined room; null when the answer has none.
    pub fn joined(&self, room: &str) -> &Value {
        &self.0["rooms"]["join"][room]
    }

    /// A left room; null when the answer has none.
    pub fn left(&self, room: &str) -> &Value {
        &self.0["rooms"]["leave"][room]
    }

    /// An invitation; null when the answer has none.
    pub fn invited(&self, room: &str) -> &Value {
        &self.0["rooms"]["invite"][room]
    }

    /// The events of a joined room's timeline.
    pub fn timeline(&self, room: &str) -> &[Value] {
        events(&self.joined(room)["timeline"])
    }

    /// The state events of a joined room.
    pub fn state(&self, room: &str) -> &[Value] {
        events(&self.joined(room)["state"])
    }

    /// A joined room's ephemeral event of a type.
    pub fn ephemeral(&self, room: &str, kind: &str) -> Option<&Value> {
        find_event(events(&self.joined(room)["ephemeral"]), kind)
    }

    /// The global account data of a type.
    pub fn account_data(&self, kind: &str) -> Option<&Value> {
        find_event(events(&self.0["account_data"]), kind)
    }

    /// The to-device messages.
    pub fn to_device(&self) -> &[Value] {
        events(&self.0["to_device"])
    }

    /// The users whose devices changed.
    pub fn changed(&self) -> Vec<&str> {
        texts(&self.0["device_lists"]["changed"])
    }

    /// The users with whom no room is shared any more.
    pub fn left_users(&self) -> Vec<&str> {
        texts(&self.0["device_lists"]["left"])
    }
}

fn events(section: &Value) -> &[Value] {
    section["events"].as_array().map_or(&[], Vec::as_slice)
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// The last event of a type.
pub fn find_event<'a>(events: &'a [Value], kind: &str) -> Option<&'a Value> {
    events.iter().rev().find(|event| event["type"] == kind)
}

/// The ids of events, in their order.
pub fn event_ids(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["event_id"].as_str())
        .collect()
}
