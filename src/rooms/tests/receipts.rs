//! Receipts, unread counts and typing.

use std::time::Duration;

use ruma_common::OwnedEventId;
use runtime::Tasks;
use serde_json::{Value, json};

use super::{TestRoom, is_forbidden, parsed};
use crate::{
    AppendError, Counts, ReadMarkers, ReceiptKind, ReceiptViewer, Unread, receipts, room_serial,
};

impl TestRoom {
    pub(super) async fn read(
        &self,
        name: &str,
        kind: ReceiptKind,
        event: &OwnedEventId,
        thread: Option<&str>,
    ) -> Result<(), AppendError> {
        let thread = thread.map(str::to_owned);
        self.rooms
            .set_receipt(self.who(name), &self.room_id, kind, event, thread)
            .await
    }

    pub(super) fn serial(&self) -> model::RoomSerial {
        let view = self.rooms.store().snapshot();
        room_serial(&view, self.room_id.as_str()).unwrap().unwrap()
    }

    pub(super) fn receipts(&self, name: &str) -> Value {
        let view = self.rooms.store().snapshot();
        let contents = self.contents(&view, name);
        assert!(contents.len() < 2, "{contents:?}");
        contents
            .first()
            .map_or(Value::Null, |content| parsed(content))
    }

    /// The contents of all `m.receipt` events of the room.
    fn contents(&self, view: &store::Snapshot, name: &str) -> Vec<String> {
        let user = self.who(name).user;
        let viewer = ReceiptViewer {
            user,
            ignored: &self.rooms.ignored_by(view, user).unwrap(),
        };
        let told = receipts(view, self.serial(), viewer).unwrap();
        told.contents(view).unwrap()
    }

    pub(super) fn unread(&self, name: &str) -> Unread {
        let view = self.rooms.store().snapshot();
        let user = self.who(name).user;
        self.rooms.unread(&view, self.serial(), user).unwrap()
    }

    pub(super) fn unread_pair(&self, name: &str) -> (u64, u64) {
        let counts = self.unread(name).main;
        (counts.notifications, counts.highlights)
    }
}

#[tokio::test]
async fn receipts_move_forward_only() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let first = room.say("alice", "first").await.unwrap();
    let second = room.say("alice", "second").await.unwrap();
    room.read("bob", ReceiptKind::Read, &second, None)
        .await
        .unwrap();
    room.read("bob", ReceiptKind::Read, &first, None)
        .await
        .unwrap();
    let at = room.clock.now().0;
    let expected = json!({ second.as_str(): { "m.read": { "@bob:cairn.test": { "ts": at } } } });
    assert_eq!(room.receipts("alice"), expected);
    assert_eq!(room.receipts("bob"), expected);
    // The change row of an earlier receipt goes with it.
    let third = room.say("alice", "third").await.unwrap();
    room.read("bob", ReceiptKind::Read, &third, None)
        .await
        .unwrap();
    let view = room.rooms.store().snapshot();
    let rows = store::Read::scan(&view, &model::tables::CHANGE_BY_ROOM, &(room.serial(),));
    let receipts = rows.filter(|row| matches!(row, Ok((_, model::RoomChange::Receipt { .. }))));
    assert_eq!(receipts.count(), 1);
}

#[tokio::test]
async fn private_receipts_are_private() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let event = room.say("alice", "hello").await.unwrap();
    room.read("bob", ReceiptKind::ReadPrivate, &event, None)
        .await
        .unwrap();
    assert_eq!(room.receipts("alice"), Value::Null);
    assert!(room.receipts("bob")[event.as_str()]["m.read.private"].is_object());
    assert_eq!(room.unread_pair("bob"), (0, 0));
}

#[tokio::test]
async fn a_private_receipt_wakes_its_user_alone() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let first = room.say("alice", "one").await.unwrap();
    let second = room.say("alice", "two").await.unwrap();
    let store = room.rooms.store();
    let [alice, bob] = ["alice", "bob"].map(|name| model::user_scope(room.who(name).user));
    let everybody = model::room_scope(room.serial());
    for (kind, event, wakes_everybody) in [
        (ReceiptKind::ReadPrivate, &first, false),
        (ReceiptKind::ReadPrivate, &second, false),
        (ReceiptKind::Read, &second, true),
    ] {
        let before = store.snapshot().position();
        room.read("bob", kind, event, None).await.unwrap();
        assert_eq!(store.changed_since(everybody, before), wakes_everybody);
        assert_eq!(store.changed_since(bob, before), !wakes_everybody);
        assert!(!store.changed_since(alice, before));
    }
    // The rows of an earlier receipt go with it.
    let view = store.snapshot();
    let rows = store::Read::scan(&view, &model::tables::CHANGE_BY_ROOM, &(room.serial(),));
    let receipts = rows.filter(|row| matches!(row, Ok((_, model::RoomChange::Receipt { .. }))));
    assert_eq!(receipts.count(), 2);
    let user = room.who("bob").user;
    let rows = store::Read::scan(&view, &model::tables::CHANGE_BY_USER, &(user,));
    let own = rows.filter(|row| {
        let serial = room.serial();
        matches!(row, Ok((_, model::UserChange::PrivateReceipt { room })) if *room == serial)
    });
    assert_eq!(own.count(), 1);
}

#[tokio::test]
async fn receipts_are_checked() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    room.arrive("carol").await;
    let event = room.say("alice", "hello").await.unwrap();
    assert!(is_forbidden(
        room.read("carol", ReceiptKind::Read, &event, None).await
    ));
    let unknown = OwnedEventId::try_from("$unknown").unwrap();
    let result = room.read("bob", ReceiptKind::Read, &unknown, None).await;
    assert!(matches!(result, Err(AppendError::NotFound(_))));
    for (kind, thread) in [
        (ReceiptKind::Read, ""),
        (ReceiptKind::Read, "$elsewhere"),
        (ReceiptKind::FullyRead, "main"),
    ] {
        let result = room.read("bob", kind, &event, Some(thread)).await;
        assert!(matches!(result, Err(AppendError::Invalid(_))), "{thread}");
    }
}

#[tokio::test]
async fn markers_move_together() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let first = room.say("alice", "first").await.unwrap();
    let second = room.say("alice", "second").await.unwrap();
    let set = async |fully_read: &OwnedEventId, read: &OwnedEventId| {
        let markers = ReadMarkers {
            fully_read: Some(fully_read.clone()),
            read: Some(read.clone()),
            read_private: None,
        };
        let who = room.who("bob");
        room.rooms
            .set_read_markers(who, &room.room_id, markers)
            .await
            .unwrap();
    };
    let fully_read = || {
        let view = room.rooms.store().snapshot();
        let user = room.who("bob").user;
        let entry = accounts::account_data(&view, user, Some(room.serial()), "m.fully_read");
        let entry = entry.unwrap().unwrap();
        serde_json::from_slice::<Value>(&entry.json).unwrap()
    };
    set(&second, &first).await;
    assert_eq!(fully_read(), json!({ "event_id": second }));
    assert_eq!(room.unread_pair("bob"), (1, 0));
    set(&first, &second).await;
    assert_eq!(fully_read(), json!({ "event_id": second }));
    assert_eq!(room.unread_pair("bob"), (0, 0));
}

#[tokio::test]
async fn what_was_not_read_is_counted() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    assert_eq!(room.unread_pair("bob"), (0, 0));
    let first = room.say("alice", "one").await.unwrap();
    room.say("alice", "two").await.unwrap();
    assert_eq!(room.unread_pair("bob"), (2, 0));
    let mention = json!({
        "msgtype": "m.text", "body": "bob!", "m.mentions": { "user_ids": ["@bob:cairn.test"] },
    });
    room.send("alice", mention).await.unwrap();
    assert_eq!(room.unread_pair("bob"), (3, 1));
    assert_eq!(room.unread_pair("carol"), (3, 0));
    // Notices and edits do not notify, nor does a mention of all without the power to.
    room.send("alice", json!({ "msgtype": "m.notice", "body": "beep" }))
        .await
        .unwrap();
    let edit = json!({
        "msgtype": "m.text", "body": "* one", "m.new_content": {},
        "m.relates_to": { "rel_type": "m.replace", "event_id": first },
    });
    room.send("alice", edit).await.unwrap();
    assert_eq!(room.unread_pair("bob"), (3, 1));
    let all = json!({ "msgtype": "m.text", "body": "all!", "m.mentions": { "room": true } });
    room.send("carol", all.clone()).await.unwrap();
    assert_eq!(room.unread_pair("bob"), (4, 1));
    room.send("alice", all).await.unwrap();
    assert_eq!(room.unread_pair("bob"), (5, 2));
    room.read("bob", ReceiptKind::Read, &first, None)
        .await
        .unwrap();
    assert_eq!(room.unread_pair("bob"), (4, 2));
    // Who speaks has read.
    let own = room.say("bob", "answer").await.unwrap();
    assert_eq!(room.unread_pair("bob"), (0, 0));
    room.say("alice", "three").await.unwrap();
    assert_eq!(room.unread_pair("bob"), (1, 0));
    room.read("bob", ReceiptKind::ReadPrivate, &own, None)
        .await
        .unwrap();
    assert_eq!(room.unread_pair("bob"), (1, 0));
    // Who comes in finds nothing unread; who is out has nothing to read.
    room.leave("carol").await.unwrap();
    assert_eq!(room.unread_pair("carol"), (0, 0));
    room.join("carol").await.unwrap();
    assert_eq!(room.unread_pair("carol"), (0, 0));
}

#[tokio::test]
async fn threads_are_counted_apart() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let root = room.say("alice", "root").await.unwrap();
    let reply = |text: &str| {
        json!({
            "msgtype": "m.text", "body": text,
            "m.relates_to": { "rel_type": "m.thread", "event_id": root },
        })
    };
    let first = room.send("alice", reply("one")).await.unwrap();
    room.send("alice", reply("two")).await.unwrap();
    let counts = |notifications| Counts {
        notifications,
        highlights: 0,
    };
    let expected = Unread {
        main: counts(1),
        threads: vec![(root.to_string(), counts(2))],
    };
    assert_eq!(room.unread("bob"), expected);
    assert_eq!(expected.total(), counts(3));
    let wrong = room
        .read("bob", ReceiptKind::Read, &first, Some("main"))
        .await;
    assert!(matches!(wrong, Err(AppendError::Invalid(_))));
    room.read("bob", ReceiptKind::Read, &root, Some("main"))
        .await
        .unwrap();
    assert_eq!(room.unread("bob").main, counts(0));
    assert_eq!(room.unread("bob").total(), counts(2));
    room.read("bob", ReceiptKind::Read, &first, Some(root.as_str()))
        .await
        .unwrap();
    assert_eq!(room.unread("bob").total(), counts(1));
    let last = room.say("alice", "after").await.unwrap();
    room.read("bob", ReceiptKind::Read, &last, None)
        .await
        .unwrap();
    assert_eq!(room.unread("bob").total(), counts(0));
}

#[tokio::test]
async fn typing_ends_by_itself() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let serial = room.serial();
    let set = async |name, typing, seconds| {
        let timeout = Some(Duration::from_secs(seconds));
        room.rooms
            .set_typing(room.who(name), &room.room_id, typing, timeout)
            .await
            .unwrap();
    };
    let names = || room.rooms.typing(serial).0;
    let mut watch = room.rooms.store().watch(&[model::room_scope(serial)]);
    let before = room.rooms.typing_sequence();
    set("alice", true, 20).await;
    set("bob", true, 100_000).await;
    watch.changed().await;
    assert_eq!(names(), ["@alice:cairn.test", "@bob:cairn.test"]);
    let (_, sequence) = room.rooms.typing(serial);
    assert!(sequence > before);
    let tasks = Tasks::new();
    let rooms = room.rooms.clone();
    tasks.spawn(
        "typing",
        |stop| async move { rooms.expire_typing(stop).await },
    );
    room.clock.advance(21_000);
    watch.changed().await;
    assert_eq!(names(), ["@bob:cairn.test"]);
    // However long a client asks for.
    room.clock.advance(120_000);
    watch.changed().await;
    assert!(names().is_empty());
    assert!(room.rooms.typing(serial).1 > sequence);
    set("bob", true, 20).await;
    room.kick("alice", "bob").await.unwrap();
    assert!(names().is_empty());
    assert!(tasks.shutdown(Duration::from_secs(10)).await.is_empty());
}
