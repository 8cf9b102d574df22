//! Other servers are counted with the memberships of their users.

use model::{Membership, RoomServerRecord, UserSerial, tables::SERVER_BY_ROOM};
use ruma_common::{OwnedUserId, server_name};
use serde_json::json;
use store::{Read as _, StoreError};

use super::{TestRoom, content};
use crate::{
    CreateRoom, federates, is_server_in, rooms_shared_with, servers::Servers, servers_in,
    servers_met_by,
};

const JOIN: Membership = Membership::Join;
const LEAVE: Membership = Membership::Leave;

impl TestRoom {
    fn row_of(&self, server: &str) -> Option<RoomServerRecord> {
        let key = (self.serial(), server.to_owned());
        let view = self.rooms.store().snapshot();
        view.get(&SERVER_BY_ROOM, &key).unwrap()
    }

    /// Changes memberships in one commit; returns its position.
    async fn move_members(
        &self,
        moves: Vec<(&'static str, Option<Membership>, Membership)>,
    ) -> u64 {
        let room = self.serial();
        self.rooms
            .store()
            .commit(move |latest, position, batch| {
                let mut servers = Servers::default();
                for (number, (user_id, before, after)) in (1_000..).zip(moves) {
                    let user = UserSerial(number);
                    servers.met(server_name!("cairn.test"), user, user_id);
                    let moved = (before, after);
                    servers.count((room, user), moved, position, latest, batch)?;
                }
                Ok::<_, StoreError>(position.0)
            })
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_server_is_in_a_room_as_long_as_anybody_of_it_is() {
    let room = TestRoom::with(["alice"]).await;
    let serial = room.serial();
    let first = room
        .move_members(vec![
            ("@a:b.test", None, JOIN),
            ("@b:b.test", Some(Membership::Invite), JOIN),
            ("@c:c.test", None, Membership::Invite),
            ("@d:cairn.test", None, JOIN),
        ])
        .await;
    let record = |joined, since, left_at| {
        Some(RoomServerRecord {
            joined,
            since,
            left_at,
        })
    };
    assert_eq!(room.row_of("b.test"), record(2, first, 0));
    assert_eq!(room.row_of("c.test"), record(0, 0, 0));
    assert_eq!(room.row_of("cairn.test"), None);
    let view = room.rooms.store().snapshot();
    assert_eq!(servers_in(&view, serial).unwrap(), ["b.test"]);
    assert_eq!(rooms_shared_with(&view, "b.test").unwrap(), [serial]);
    assert_eq!(rooms_shared_with(&view, "c.test").unwrap(), []);
    let alice = room.who("alice").user;
    let met: Vec<String> = servers_met_by(&view, alice).unwrap().into_iter().collect();
    assert_eq!(met, ["b.test"]);

    room.move_members(vec![("@a:b.test", Some(JOIN), LEAVE)])
        .await;
    assert_eq!(room.row_of("b.test"), record(1, first, 0));
    let last = room
        .move_members(vec![("@b:b.test", Some(JOIN), Membership::Ban)])
        .await;
    assert_eq!(room.row_of("b.test"), record(0, first, last));
    let view = room.rooms.store().snapshot();
    assert_eq!(servers_in(&view, serial).unwrap(), [""; 0]);
    assert!(!is_server_in(&view, serial, "b.test").unwrap());
    let again = room
        .move_members(vec![("@a:b.test", Some(LEAVE), JOIN)])
        .await;
    assert_eq!(room.row_of("b.test"), record(1, again, 0));
    let view = room.rooms.store().snapshot();
    assert!(is_server_in(&view, serial, "b.test").unwrap());
}

#[tokio::test]
async fn whoever_is_kept_out_has_a_row_and_is_not_there() {
    let room = TestRoom::with(["alice"]).await;
    assert_eq!(room.row_of("b.test"), None);
    let bad = OwnedUserId::try_from("@bad:b.test").unwrap();
    let alice = room.who("alice");
    let ban = room.rooms.ban(alice, &room.room_id, &bad, None);
    ban.await.unwrap();
    assert_eq!(room.row_of("b.test"), Some(RoomServerRecord::default()));
    let view = room.rooms.store().snapshot();
    assert_eq!(servers_in(&view, room.serial()).unwrap(), [""; 0]);
}

#[tokio::test]
async fn rooms_say_whether_they_are_for_others() {
    let mut room = TestRoom::with(["alice"]).await;
    let view = room.rooms.store().snapshot();
    assert!(federates(&view, room.serial()).unwrap());
    let wish = CreateRoom {
        creation_content: content(json!({ "m.federate": false })),
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    let view = room.rooms.store().snapshot();
    assert!(!federates(&view, room.serial()).unwrap());
}
