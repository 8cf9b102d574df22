//! Transaction ids are remembered for a day.

use model::tables;
use ruma_common::OwnedEventId;
use serde_json::json;
use store::{Read as _, StoreError};

use super::TestRoom;
use crate::CreateRoom;

const HOUR: u64 = 60 * 60 * 1_000;

impl TestRoom {
    async fn once(&self, transaction_id: &str) -> OwnedEventId {
        let message = json!({ "msgtype": "m.text", "body": "once" });
        self.send_as("alice", message, transaction_id)
            .await
            .unwrap()
    }

    async fn redact_as(&self, target: &OwnedEventId, transaction_id: &str) -> OwnedEventId {
        self.rooms
            .redact(
                self.who("alice"),
                &self.room_id,
                target,
                transaction_id,
                None,
            )
            .await
            .unwrap()
    }

    /// Forgets what is to be forgotten and waits until that can be read.
    async fn forget_transactions(&self) -> usize {
        let count = self.rooms.forget_transactions().await.unwrap();
        self.rooms
            .store()
            .commit(|_, _, _| Ok::<_, StoreError>(()))
            .await
            .unwrap();
        count
    }

    /// How many rows each of the two tables has.
    fn transactions(&self) -> (usize, usize) {
        let view = self.rooms.store().snapshot();
        (
            view.scan(&tables::EVENT_BY_TRANSACTION, &()).count(),
            view.scan(&tables::TRANSACTION_BY_EVENT, &()).count(),
        )
    }
}

#[tokio::test]
async fn a_transaction_id_is_forgotten_after_a_day() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let first = room.once("1").await;
    room.clock.advance(HOUR);
    let second = room.once("2").await;
    assert_eq!(room.transactions(), (2, 2));
    room.clock.advance(23 * HOUR);
    assert_eq!(room.forget_transactions().await, 0);
    assert_eq!(room.once("1").await, first);
    let seen = room.event("alice", &first).unwrap();
    assert_eq!(seen["unsigned"]["transaction_id"], "1");

    room.clock.advance(1);
    assert_eq!(room.forget_transactions().await, 1);
    assert_eq!(room.transactions(), (1, 1));
    let seen = room.event("alice", &first).unwrap();
    assert_eq!(seen["content"]["body"], "once");
    assert!(seen["unsigned"]["transaction_id"].is_null());
    // The younger one still makes nothing twice.
    assert_eq!(room.once("2").await, second);
    let again = room.once("1").await;
    assert_ne!(again, first);
    assert_eq!(room.once("1").await, again);

    room.clock.advance(23 * HOUR);
    assert_eq!(room.forget_transactions().await, 1);
    assert_eq!(room.once("1").await, again);
    assert_ne!(room.once("2").await, second);
}

#[tokio::test]
async fn redactions_are_forgotten_however_they_were_made() {
    for version in ["10", "11", "12"] {
        let mut room = TestRoom::server(["alice"]).await;
        let wish = CreateRoom {
            version: Some(version.to_owned()),
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        let [one, two] = [room.once("1").await, room.once("2").await];
        // The same id at two endpoints is two ids.
        room.redact_as(&one, "3").await;
        let body = json!({ "redacts": two }).to_string();
        let send = async || {
            let who = room.who("alice");
            room.rooms
                .send(who, &room.room_id, "m.room.redaction", "3", body.as_bytes())
                .await
                .unwrap()
        };
        let sent = send().await;
        assert_eq!(room.transactions(), (4, 4), "{version}");
        room.clock.advance(25 * HOUR);
        assert_eq!(room.forget_transactions().await, 4, "{version}");
        assert_eq!(room.transactions(), (0, 0), "{version}");
        assert_ne!(send().await, sent);
    }
}

#[tokio::test]
async fn many_are_forgotten_and_a_restart_goes_on() {
    let mut room = TestRoom::with(["alice"]).await;
    for number in 0..1_050 {
        room.once(&format!("old {number}")).await;
    }
    room.clock.advance(25 * HOUR);
    room.once("new").await;
    assert_eq!(room.forget_transactions().await, 1_050);
    assert_eq!(room.transactions(), (1, 1));
    room.restart();
    assert_eq!(room.forget_transactions().await, 0);
    room.clock.advance(25 * HOUR);
    assert_eq!(room.forget_transactions().await, 1);
    assert_eq!(room.transactions(), (0, 0));
}
