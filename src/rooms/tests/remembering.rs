//! Events are remembered for all who read them: each is shown what is theirs, as it is now.

use ruma_common::api::Direction;
use serde_json::Value;
use store::Snapshot;

use super::{TestRoom, bodies, parsed, request};
use crate::{MembershipFilter, Viewer};

impl TestRoom {
    fn page_of(&self, view: &Snapshot, viewer: Viewer) -> Vec<String> {
        let wanted = request(Direction::Backward, 100);
        let page = self.rooms.messages(view, &self.room_id, viewer, &wanted);
        page.unwrap().chunk
    }
}

fn unsigned(chunk: &[String], body: &str) -> Value {
    let events = chunk.iter().map(|json| parsed(json));
    let mut wanted = events.filter(|event| event["content"]["body"] == body);
    wanted.next().unwrap()["unsigned"].clone()
}

#[tokio::test]
async fn a_redaction_reaches_what_is_remembered() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let secret = room.say("alice", "secret").await.unwrap();
    room.say("alice", "open").await.unwrap();
    let bob = room.who("bob").viewer();
    let before = room.rooms.store().snapshot();
    for _ in 0..2 {
        assert_eq!(bodies(&room.page_of(&before, bob)), ["open", "secret"]);
    }
    assert!(room.rooms.remembered_bytes() > 0);
    room.redact("alice", &secret).await;
    let after = room.rooms.store().snapshot();
    // Whoever still reads the past sees the past, whatever the others have read meanwhile.
    for _ in 0..2 {
        assert_eq!(bodies(&room.page_of(&after, bob)), ["open"]);
        assert_eq!(bodies(&room.page_of(&before, bob)), ["open", "secret"]);
    }
    let shown = room.event("bob", &secret).unwrap();
    assert_eq!(shown["content"], serde_json::json!({}));
    assert!(shown["unsigned"]["redacted_because"].is_object());
}

#[tokio::test]
async fn a_redacted_membership_is_listed_as_what_is_left() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let profile = serde_json::json!({ "membership": "join", "displayname": "Bob" });
    let name = room.who("bob").user_id.to_string();
    let event = room.set("bob", "m.room.member", &name, profile).await;
    let event = event.unwrap();
    let listed = || {
        let (view, alice) = (room.rooms.store().snapshot(), room.who("alice").viewer());
        let filter = MembershipFilter::default();
        let members = room
            .rooms
            .members(&view, &room.room_id, alice, None, filter);
        let members = members.unwrap().join(",");
        assert!(members.contains("\"membership\":\"join\""));
        members.contains("Bob")
    };
    assert!(listed() && listed());
    room.redact("alice", &event).await;
    assert!(!listed() && !listed());
}

#[tokio::test]
async fn each_is_told_what_is_theirs() {
    let mut room = TestRoom::with(["alice"]).await;
    room.say("alice", "hello").await.unwrap();
    room.arrive("bob").await;
    room.join("bob").await.unwrap();
    let view = room.rooms.store().snapshot();
    let (alice, bob) = (room.who("alice").viewer(), room.who("bob").viewer());
    let other_device = Viewer {
        device: bob.device,
        ..alice
    };
    for _ in 0..2 {
        let own = unsigned(&room.page_of(&view, alice), "hello");
        assert!(own["transaction_id"].is_string());
        assert_eq!(own["membership"], "join");
        let own = unsigned(&room.page_of(&view, other_device), "hello");
        assert!(own["transaction_id"].is_null());
        let late = unsigned(&room.page_of(&view, bob), "hello");
        assert!(late["transaction_id"].is_null());
        assert_eq!(late["membership"], "leave");
    }
}
