//! What relates to an event, and what is bundled with it.

use model::tables;
use ruma_common::{OwnedEventId, api::Direction};
use serde_json::{Value, json};
use store::Read;

use super::{TestRoom, id};
use crate::{AppendError, CreateRoom, Preset, ReadError, RelationsPage, RelationsRequest};

/// A message that relates to another.
pub(super) fn related(rel_type: &str, target: &OwnedEventId, text: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": text,
        "m.relates_to": { "rel_type": rel_type, "event_id": target },
    })
}

fn edit(target: &OwnedEventId, text: &str) -> Value {
    let mut edit = related("m.replace", target, &format!("* {text}"));
    edit["m.new_content"] = json!({ "msgtype": "m.text", "body": text });
    edit
}

pub(super) fn wish(direction: Direction) -> RelationsRequest {
    RelationsRequest {
        rel_type: None,
        event_type: None,
        from: None,
        to: None,
        direction,
        limit: 100,
        recurse: false,
    }
}

impl TestRoom {
    pub(super) async fn react(
        &self,
        name: &str,
        target: &OwnedEventId,
        key: &str,
    ) -> Result<OwnedEventId, AppendError> {
        let relation = json!({ "rel_type": "m.annotation", "event_id": target, "key": key });
        let json = json!({ "m.relates_to": relation }).to_string();
        let transaction_id = self.rooms.store().next_serial().to_string();
        let who = self.who(name);
        self.rooms
            .send(
                who,
                &self.room_id,
                "m.reaction",
                &transaction_id,
                json.as_bytes(),
            )
            .await
    }

    pub(super) async fn redact(&self, name: &str, target: &OwnedEventId) {
        let transaction_id = self.rooms.store().next_serial().to_string();
        let who = self.who(name);
        self.rooms
            .redact(who, &self.room_id, target, &transaction_id, None)
            .await
            .unwrap();
    }

    pub(super) async fn ignore(&self, name: &str, ignored: &str) {
        let content = json!({ "ignored_users": { id(ignored).to_string(): {} } });
        let user = self.who(name).user;
        self.rooms
            .store()
            .commit(move |latest, position, batch| {
                let mut changes = model::Changes::at(position);
                let json = content.to_string().into_bytes();
                accounts::write_account_data(
                    latest,
                    batch,
                    &mut changes,
                    user,
                    None,
                    "m.ignored_user_list",
                    json,
                )
            })
            .await
            .unwrap();
    }

    /// What is bundled with an event for `name`.
    pub(super) fn bundled(&self, name: &str, event: &OwnedEventId) -> Value {
        self.event(name, event).unwrap()["unsigned"]["m.relations"].clone()
    }

    fn relations(
        &self,
        name: &str,
        target: &OwnedEventId,
        wish: &RelationsRequest,
    ) -> Result<RelationsPage, ReadError> {
        let view = self.rooms.store().snapshot();
        let viewer = self.who(name).viewer();
        self.rooms
            .relations(&view, &self.room_id, viewer, target, wish)
    }

    fn related_ids(
        &self,
        name: &str,
        target: &OwnedEventId,
        wish: &RelationsRequest,
    ) -> Vec<String> {
        let page = self.relations(name, target, wish).unwrap();
        page.chunk
            .iter()
            .map(|json| super::event_id(json))
            .collect()
    }

    fn rows(&self) -> usize {
        let view = self.rooms.store().snapshot();
        view.scan(&tables::RELATION_BY_TARGET, &()).count()
            + view.scan(&tables::BUNDLED_BY_TARGET, &()).count()
            + view.scan(&tables::BUNDLE_BY_TARGET, &()).count()
            + view.scan(&tables::REPLIES_BY_SENDER, &()).count()
            + view.scan(&tables::THREAD_BY_PLACE, &()).count()
    }
}

#[tokio::test]
async fn the_newest_valid_edit_is_bundled() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let said = room.say("alice", "hello").await.unwrap();
    assert_eq!(room.bundled("bob", &said), Value::Null);
    room.send("alice", edit(&said, "hi")).await.unwrap();
    room.clock.advance(1000);
    let newest = room.send("alice", edit(&said, "good day")).await.unwrap();
    // None of these counts: another's, one without content, one of another type, and an
    // edit of the edit.
    room.clock.advance(1000);
    room.send("bob", edit(&said, "nonsense")).await.unwrap();
    room.send("alice", related("m.replace", &said, "* empty"))
        .await
        .unwrap();
    let other = edit(&said, "another type").to_string();
    let who = room.who("alice");
    room.rooms
        .send(
            who,
            &room.room_id,
            "org.example.other",
            "t1",
            other.as_bytes(),
        )
        .await
        .unwrap();
    room.send("alice", edit(&newest, "twice")).await.unwrap();
    for name in ["alice", "bob"] {
        let bundled = &room.bundled(name, &said)["m.replace"];
        assert_eq!(bundled["event_id"], newest.as_str(), "{bundled}");
        assert_eq!(bundled["content"]["m.new_content"]["body"], "good day");
        assert_eq!(bundled["sender"], id("alice").as_str());
        assert_eq!(bundled["room_id"], room.room_id.as_str());
    }
    assert_eq!(room.bundled("bob", &newest), Value::Null);
    // The content itself stays.
    assert_eq!(
        room.event("bob", &said).unwrap()["content"]["body"],
        "hello"
    );
}

#[tokio::test]
async fn a_redacted_edit_is_no_edit_and_a_redacted_event_has_none() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let said = room.say("alice", "hello").await.unwrap();
    let first = room.send("alice", edit(&said, "one")).await.unwrap();
    room.clock.advance(1000);
    let second = room.send("alice", edit(&said, "two")).await.unwrap();
    room.redact("alice", &second).await;
    assert_eq!(
        room.bundled("bob", &said)["m.replace"]["event_id"],
        first.as_str()
    );
    assert_eq!(
        room.related_ids("bob", &said, &wish(Direction::Forward)),
        [first.as_str()]
    );
    let reference = room
        .send("bob", related("m.reference", &said, "see"))
        .await
        .unwrap();
    room.redact("alice", &said).await;
    let bundled = room.bundled("bob", &said);
    assert_eq!(
        bundled,
        json!({ "m.reference": { "chunk": [{ "event_id": reference }] } })
    );
    room.redact("alice", &first).await;
    room.redact("bob", &reference).await;
    assert_eq!(room.bundled("bob", &said), Value::Null);
    assert_eq!(room.rows(), 0, "rows of redacted relations remain");
}

#[tokio::test]
async fn encrypted_edits_count_as_they_are() {
    let room = TestRoom::with(["alice"]).await;
    let who = room.who("alice");
    let content = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" });
    let send = async |transaction_id: &str, content: Value| {
        let json = content.to_string();
        room.rooms
            .send(
                who,
                &room.room_id,
                "m.room.encrypted",
                transaction_id,
                json.as_bytes(),
            )
            .await
            .unwrap()
    };
    let said = send("t1", content.clone()).await;
    let mut content = content;
    content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": said });
    let edit = send("t2", content).await;
    assert_eq!(
        room.bundled("alice", &said)["m.replace"]["event_id"],
        edit.as_str()
    );
}

#[tokio::test]
async fn references_are_listed_and_reactions_are_not_bundled() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let said = room.say("alice", "hello").await.unwrap();
    room.react("bob", &said, "👍").await.unwrap();
    assert_eq!(room.bundled("alice", &said), Value::Null);
    let one = room
        .send("bob", related("m.reference", &said, "one"))
        .await
        .unwrap();
    let two = room
        .send("alice", related("m.reference", &said, "two"))
        .await
        .unwrap();
    let expected =
        json!({ "m.reference": { "chunk": [{ "event_id": one }, { "event_id": two }] } });
    assert_eq!(room.bundled("alice", &said), expected);
    room.ignore("alice", "bob").await;
    let expected = json!({ "m.reference": { "chunk": [{ "event_id": two }] } });
    assert_eq!(room.bundled("alice", &said), expected);
    assert_eq!(
        room.related_ids("alice", &said, &wish(Direction::Forward)),
        [two.as_str()]
    );
}

#[tokio::test]
async fn state_events_have_no_bundles() {
    let room = TestRoom::with(["alice"]).await;
    let name = room
        .set("alice", "m.room.name", "", json!({ "name": "Council" }))
        .await
        .unwrap();
    let reference = room
        .send("alice", related("m.reference", &name, "see"))
        .await
        .unwrap();
    assert_eq!(room.bundled("alice", &name), Value::Null);
    let ids = room.related_ids("alice", &name, &wish(Direction::Backward));
    assert_eq!(ids, [reference.as_str()]);
}

#[tokio::test]
async fn relations_are_paged_and_filtered() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let said = room.say("alice", "hello").await.unwrap();
    let mut ids = Vec::new();
    for number in 0..5 {
        let reference = related("m.reference", &said, &number.to_string());
        ids.push(room.send("alice", reference).await.unwrap().to_string());
    }
    let reaction = room.react("bob", &said, "👍").await.unwrap();
    ids.push(reaction.to_string());
    for direction in [Direction::Forward, Direction::Backward] {
        let mut wish = RelationsRequest {
            limit: 2,
            ..wish(direction)
        };
        let mut found = Vec::new();
        loop {
            let page = room.relations("bob", &said, &wish).unwrap();
            assert!(page.chunk.len() <= 2);
            assert_eq!(page.recursion_depth, None);
            found.extend(page.chunk.iter().map(|json| super::event_id(json)));
            match page.end {
                Some(end) => wish.from = Some(end),
                None => break,
            }
        }
        if direction == Direction::Backward {
            found.reverse();
        }
        assert_eq!(found, ids, "{direction:?}");
    }
    let mut only = wish(Direction::Backward);
    only.rel_type = Some("m.annotation".to_owned());
    assert_eq!(room.related_ids("bob", &said, &only), [reaction.as_str()]);
    only.event_type = Some("m.room.message".to_owned());
    assert!(room.related_ids("bob", &said, &only).is_empty());
}

#[tokio::test]
async fn children_of_children_are_found_three_levels_deep() {
    let room = TestRoom::with(["alice"]).await;
    let mut chain = vec![room.say("alice", "root").await.unwrap()];
    for level in 1..=4 {
        let next = related("m.reference", chain.last().unwrap(), &level.to_string());
        chain.push(room.send("alice", next).await.unwrap());
    }
    let mut wish = wish(Direction::Forward);
    wish.recurse = true;
    let page = room.relations("alice", &chain[0], &wish).unwrap();
    assert_eq!(page.recursion_depth, Some(3));
    let ids: Vec<_> = page
        .chunk
        .iter()
        .map(|json| super::event_id(json))
        .collect();
    let expected: Vec<_> = chain[1..=3].iter().map(ToString::to_string).collect();
    assert_eq!(ids, expected);
    wish.direction = Direction::Backward;
    wish.limit = 2;
    let page = room.relations("alice", &chain[0], &wish).unwrap();
    wish.from = page.end;
    let rest = room.related_ids("alice", &chain[0], &wish);
    assert_eq!(rest, [chain[1].as_str()]);
}

#[tokio::test]
async fn nobody_sees_relations_that_they_may_not_see() {
    let mut room = TestRoom::server(["alice", "bob", "carol"]).await;
    let rule = json!({ "history_visibility": "joined" });
    let wished = CreateRoom {
        preset: Some(Preset::PublicChat),
        initial_state: vec![super::state("m.room.history_visibility", "", rule)],
        ..CreateRoom::default()
    };
    room.create("alice", wished).await.unwrap();
    room.join("bob").await.unwrap();
    let said = room.say("alice", "hello").await.unwrap();
    room.send("alice", edit(&said, "before")).await.unwrap();
    room.leave("bob").await.unwrap();
    room.clock.advance(1000);
    room.send("alice", edit(&said, "after")).await.unwrap();
    let late = room
        .send("alice", related("m.thread", &said, "late"))
        .await
        .unwrap();
    let bundled = room.bundled("bob", &said);
    assert_eq!(
        bundled["m.replace"]["content"]["m.new_content"]["body"],
        "before"
    );
    assert_eq!(bundled["m.thread"], Value::Null, "{bundled}");
    assert_eq!(
        room.related_ids("bob", &said, &wish(Direction::Forward))
            .len(),
        1
    );
    for name in ["bob", "carol"] {
        let result = room.relations(name, &late, &wish(Direction::Forward));
        assert!(matches!(result, Err(ReadError::NotFound(_))), "{name}");
    }
    let result = room.relations("carol", &said, &wish(Direction::Forward));
    assert!(matches!(result, Err(ReadError::NotFound(_))));
}

#[tokio::test]
async fn a_target_that_is_unknown_or_elsewhere_is_nobodys() {
    let mut room = TestRoom::with(["alice"]).await;
    let said = room.say("alice", "here").await.unwrap();
    let unknown = OwnedEventId::try_from("$unknown").unwrap();
    room.send("alice", related("m.reference", &unknown, "to nothing"))
        .await
        .unwrap();
    room.create("alice", CreateRoom::default()).await.unwrap();
    let here = room.room_id.clone();
    room.send("alice", related("m.reference", &said, "from elsewhere"))
        .await
        .unwrap();
    assert!(
        room.relations("alice", &said, &wish(Direction::Forward))
            .is_err()
    );
    let view = room.rooms.store().snapshot();
    let rows = view.scan(&tables::BUNDLE_BY_TARGET, &()).count();
    assert_eq!(rows, 2, "{here}");
}
