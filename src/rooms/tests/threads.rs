//! Threads.

use model::RoomChange;
use ruma_common::OwnedEventId;
use serde_json::{Value, json};
use store::Read;

use super::{TestRoom, id, parsed, relations::related};
use crate::{AppendError, ThreadsRequest};

impl TestRoom {
    fn threads(&self, name: &str, participated: bool, limit: usize) -> Vec<Value> {
        let view = self.rooms.store().snapshot();
        let viewer = self.who(name).viewer();
        let mut request = ThreadsRequest {
            participated,
            from: None,
            limit,
        };
        let mut roots = Vec::new();
        loop {
            let page = self
                .rooms
                .threads(&view, &self.room_id, viewer, &request)
                .unwrap();
            assert!(page.chunk.len() <= limit);
            roots.extend(page.chunk.iter().map(|json| parsed(json)));
            match page.end {
                Some(end) => request.from = Some(end),
                None => return roots,
            }
        }
    }

    fn thread_ids(&self, name: &str, participated: bool) -> Vec<String> {
        let roots = self.threads(name, participated, 2);
        let ids = roots.iter().map(|root| root["event_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }

    /// The id of the root of the thread that an event counts for.
    fn counted_for(&self, event: &OwnedEventId) -> Option<String> {
        let view = self.rooms.store().snapshot();
        let serial = view
            .get(&model::tables::EVENT_BY_ID, &event.to_string())
            .unwrap();
        let change = view
            .scan(&model::tables::CHANGE_BY_ROOM, &())
            .find_map(|row| match row.unwrap().1 {
                RoomChange::Event(change) if Some(change.event) == serial => Some(change),
                _ => None,
            });
        let root = change.unwrap().thread?;
        let stored = view.get(&model::tables::EVENT_BY_SERIAL, &root).unwrap();
        Some(stored.unwrap().event_id)
    }
}

#[tokio::test]
async fn a_thread_is_bundled_with_its_root() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    let root = room.say("alice", "root").await.unwrap();
    room.send("bob", related("m.thread", &root, "one"))
        .await
        .unwrap();
    let newest = room
        .send("bob", related("m.thread", &root, "two"))
        .await
        .unwrap();
    let mut edit = related("m.replace", &newest, "* three");
    edit["m.new_content"] = json!({ "msgtype": "m.text", "body": "three" });
    room.send("bob", edit).await.unwrap();
    for (name, participated) in [("alice", true), ("bob", true), ("carol", false)] {
        let thread = &room.bundled(name, &root)["m.thread"];
        assert_eq!(thread["count"], 2);
        assert_eq!(thread["current_user_participated"], participated, "{name}");
        let latest = &thread["latest_event"];
        assert_eq!(latest["event_id"], newest.as_str());
        let edited = &latest["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(
            edited["content"]["m.new_content"]["body"], "three",
            "{latest}"
        );
    }
    room.ignore("carol", "bob").await;
    assert_eq!(room.bundled("carol", &root), Value::Null);
    let own = room
        .send("carol", related("m.thread", &root, "mine"))
        .await
        .unwrap();
    let thread = &room.bundled("carol", &root)["m.thread"];
    assert_eq!(
        (&thread["count"], &thread["latest_event"]["event_id"]),
        (&json!(1), &json!(own))
    );
}

#[tokio::test]
async fn redacted_replies_leave_the_thread() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let root = room.say("alice", "root").await.unwrap();
    let one = room
        .send("bob", related("m.thread", &root, "one"))
        .await
        .unwrap();
    let two = room
        .send("alice", related("m.thread", &root, "two"))
        .await
        .unwrap();
    room.redact("alice", &two).await;
    let thread = &room.bundled("bob", &root)["m.thread"];
    assert_eq!(
        (&thread["count"], &thread["latest_event"]["event_id"]),
        (&json!(1), &json!(one))
    );
    assert_eq!(room.thread_ids("bob", false), [root.as_str()]);
    room.redact("bob", &one).await;
    assert_eq!(room.bundled("bob", &root), Value::Null);
    assert!(room.thread_ids("bob", false).is_empty());
}

#[tokio::test]
async fn threads_are_listed_by_their_newest_event() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    let mut roots = Vec::new();
    for number in 0..4 {
        let root = room.say("alice", &format!("root {number}")).await.unwrap();
        room.send("alice", related("m.thread", &root, "reply"))
            .await
            .unwrap();
        roots.push(root);
    }
    room.send("bob", related("m.thread", &roots[1], "again"))
        .await
        .unwrap();
    let expected = [&roots[1], &roots[3], &roots[2], &roots[0]];
    let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(room.thread_ids("carol", false), expected);
    assert_eq!(room.thread_ids("bob", true), [roots[1].as_str()]);
    assert_eq!(room.thread_ids("alice", true).len(), 4);
    assert!(room.thread_ids("carol", true).is_empty());
    // The root of somebody ignored is shown without what they said.
    room.ignore("bob", "alice").await;
    let threads = room.threads("bob", false, 10);
    assert_eq!(threads.len(), 1, "the others have only alice's replies");
    assert_eq!(threads[0]["event_id"], roots[1].as_str());
    assert_eq!(threads[0]["content"], json!({}));
    assert_eq!(threads[0]["sender"], id("alice").as_str());
}

#[tokio::test]
async fn threads_of_a_room_are_for_those_who_may_look() {
    let mut room = TestRoom::with(["alice"]).await;
    room.arrive("bob").await;
    let root = room.say("alice", "root").await.unwrap();
    room.send("alice", related("m.thread", &root, "reply"))
        .await
        .unwrap();
    let view = room.rooms.store().snapshot();
    let request = ThreadsRequest {
        participated: false,
        from: None,
        limit: 10,
    };
    let viewer = room.who("bob").viewer();
    let result = room.rooms.threads(&view, &room.room_id, viewer, &request);
    assert!(matches!(result, Err(crate::ReadError::Forbidden(_))));
}

#[tokio::test]
async fn a_thread_begins_at_an_event_of_its_own() {
    let room = TestRoom::with(["alice"]).await;
    let root = room.say("alice", "root").await.unwrap();
    let reply = room
        .send("alice", related("m.thread", &root, "reply"))
        .await
        .unwrap();
    let nested = room
        .send("alice", related("m.thread", &reply, "nested"))
        .await;
    assert!(matches!(nested, Err(AppendError::BadState(_))));
    // A rich reply is no relation of this kind.
    let answer = json!({
        "msgtype": "m.text", "body": "answer", "m.relates_to": { "m.in_reply_to": { "event_id": root } },
    });
    let answer = room.send("alice", answer).await.unwrap();
    room.send("alice", related("m.thread", &answer, "fine"))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_relates_to_an_event_of_a_thread_is_part_of_it() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let root = room.say("alice", "root").await.unwrap();
    let reply = room
        .send("alice", related("m.thread", &root, "reply"))
        .await
        .unwrap();
    let in_thread = Some(root.to_string());
    assert_eq!(room.counted_for(&root), None);
    assert_eq!(room.counted_for(&reply), in_thread);
    let reaction = room.react("bob", &root, "👍").await.unwrap();
    assert_eq!(
        room.counted_for(&reaction),
        None,
        "roots are of the main timeline"
    );
    let mut last = reply;
    for hop in 1..=4 {
        last = room
            .send("bob", related("m.reference", &last, "hop"))
            .await
            .unwrap();
        let expected = (hop <= 3).then(|| root.to_string());
        assert_eq!(room.counted_for(&last), expected, "{hop} hops away");
    }
}
