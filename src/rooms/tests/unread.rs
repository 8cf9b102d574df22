//! Unread counts: of long absences, over restarts, written down.

use model::{UnreadCount, UnreadRecord, tables};
use ruma_common::OwnedEventId;
use serde_json::json;
use store::{Read as _, StoreError};

use super::TestRoom;
use crate::{Counts, ReceiptKind};

/// More than is counted without being written down.
const MANY: u64 = 1_100;

impl TestRoom {
    /// Says something many times; returns the first and the last event.
    async fn chatter(&self, name: &str, times: u64) -> (OwnedEventId, OwnedEventId) {
        let first = self.say(name, "first").await.unwrap();
        for number in 2..times {
            self.say(name, &number.to_string()).await.unwrap();
        }
        (first, self.say(name, "last").await.unwrap())
    }

    fn kept(&self, name: &str) -> Option<UnreadRecord> {
        let view = self.rooms.store().snapshot();
        let key = (self.who(name).user, self.serial());
        view.get(&tables::UNREAD_BY_USER, &key).unwrap()
    }

    /// Writes counts down and waits until they can be read.
    async fn keep(&self) {
        self.rooms.keep_unread_counts().await.unwrap();
        let store = self.rooms.store();
        store
            .commit(|_, _, _| Ok::<_, StoreError>(()))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_long_absence_is_counted_whole_and_the_same_after_a_restart() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    assert_eq!(room.unread_pair("bob"), (0, 0));
    let mention = json!({
        "msgtype": "m.text", "body": "bob!", "m.mentions": { "user_ids": ["@bob:cairn.test"] },
    });
    room.send("alice", mention).await.unwrap();
    assert_eq!(room.unread_pair("bob"), (1, 1));
    room.chatter("alice", MANY).await;
    let expected = (MANY + 1, 1);
    assert_eq!(room.unread_pair("bob"), expected);
    room.restart();
    assert_eq!(room.unread_pair("bob"), expected);
    assert!(room.kept("bob").is_none());
    room.keep().await;
    assert!(room.kept("bob").is_some());
    room.restart();
    assert_eq!(room.unread_pair("bob"), expected);
    room.say("alice", "more").await.unwrap();
    room.restart();
    assert_eq!(room.unread_pair("bob"), (MANY + 2, 1));
}

#[tokio::test]
async fn what_was_written_down_is_not_counted_again() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    room.chatter("alice", MANY).await;
    assert_eq!(room.unread_pair("bob"), (MANY, 0));
    room.keep().await;
    // A mark by which to see that the count goes on from the row.
    let mut kept = room.kept("bob").unwrap();
    assert_eq!(kept.counts[0].notifications, MANY);
    kept.counts[0].notifications = 7;
    let key = (room.who("bob").user, room.serial());
    let marked = kept.clone();
    room.rooms
        .store()
        .commit(move |_, _, batch| {
            batch.put(&tables::UNREAD_BY_USER, &key, &marked);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    room.restart();
    room.say("alice", "more").await.unwrap();
    assert_eq!(room.unread_pair("bob"), (8, 0));
    // Another stay begins anew.
    room.leave("bob").await.unwrap();
    room.join("bob").await.unwrap();
    room.restart();
    assert_eq!(room.unread_pair("bob"), (0, 0));
}

#[tokio::test]
async fn receipts_that_moved_make_a_written_count_void() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    let (first, last) = room.chatter("alice", MANY).await;
    assert_eq!(room.unread_pair("bob"), (MANY, 0));
    room.keep().await;
    for (event, left) in [(&first, MANY - 1), (&last, 0)] {
        room.read("bob", ReceiptKind::Read, event, None)
            .await
            .unwrap();
        assert_eq!(room.unread_pair("bob"), (left, 0));
        room.restart();
        assert_eq!(room.unread_pair("bob"), (left, 0));
    }
}

#[tokio::test]
async fn a_receipt_of_one_thread_leaves_the_counts_of_the_others() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    let root = room.say("alice", "root").await.unwrap();
    let reply = json!({
        "msgtype": "m.text", "body": "reply",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let first = room.send("alice", reply.clone()).await.unwrap();
    room.send("alice", reply.clone()).await.unwrap();
    let (_, last) = room.chatter("alice", MANY).await;
    let counts = |notifications| Counts {
        notifications,
        highlights: 0,
    };
    let check = |room: &TestRoom, main: u64, thread: u64| {
        let unread = room.unread("bob");
        assert_eq!(unread.main, counts(main));
        let threads: Vec<_> = unread.threads.iter().map(|(_, counts)| *counts).collect();
        let expected = (thread > 0).then(|| counts(thread));
        assert_eq!(threads, Vec::from_iter(expected));
    };
    check(&room, MANY + 1, 2);
    room.keep().await;
    let expected = |thread, notifications| UnreadCount {
        thread,
        notifications,
        highlights: 0,
    };
    let kept = room.kept("bob").unwrap();
    let thread = kept.counts[1].thread;
    assert!(thread.is_some());
    assert_eq!(kept.counts, [expected(None, MANY + 1), expected(thread, 2)]);

    room.read("bob", ReceiptKind::Read, &last, Some("main"))
        .await
        .unwrap();
    check(&room, 0, 2);
    room.say("alice", "after").await.unwrap();
    check(&room, 1, 2);
    room.restart();
    check(&room, 1, 2);
    room.read("bob", ReceiptKind::Read, &first, Some(root.as_str()))
        .await
        .unwrap();
    check(&room, 1, 1);
    room.restart();
    check(&room, 1, 1);
    room.send("alice", reply).await.unwrap();
    check(&room, 1, 2);
    room.restart();
    check(&room, 1, 2);
}
