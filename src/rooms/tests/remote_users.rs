//! What other servers say of their users.

use std::time::Duration;

use model::{
    EventSerial, Membership, MembershipRecord,
    tables::{MEMBER_BY_ROOM, MEMBERSHIP_BY_USER},
};
use ruma_common::{OwnedUserId, ServerName, owned_user_id, presence::PresenceState, server_name};
use serde_json::json;
use store::StoreError;

use super::TestRoom;
use crate::{RemotePresence, RemoteReceipt, ShownPresence};

impl TestRoom {
    /// Lets somebody of another server be in the room.
    async fn guest(&self, user_id: &str) {
        let (room, store) = (self.serial(), self.rooms.store());
        let (name, serial) = (user_id.to_owned(), store.next_serial());
        let joined = store.commit(move |latest, position, batch| {
            let user = model::intern_user(latest, batch, &name, serial)?;
            let record = MembershipRecord {
                membership: Membership::Join,
                event: EventSerial(1),
                position: position.0,
                sender: user,
                forgotten: false,
                last_join: position.0,
                left_at: 0,
            };
            batch.put(&MEMBERSHIP_BY_USER, &(user, room), &record);
            batch.put(&MEMBER_BY_ROOM, &(room, user), &Membership::Join);
            Ok::<_, StoreError>(())
        });
        joined.await.unwrap();
    }

    async fn types(&self, origin: &ServerName, user_id: &OwnedUserId, typing: bool) -> bool {
        let set = self
            .rooms
            .set_remote_typing(origin, &self.room_id, user_id, typing);
        set.await.unwrap()
    }
}

#[tokio::test]
async fn a_server_speaks_for_its_own_users_in_the_room() {
    let room = TestRoom::with(["alice"]).await;
    room.guest("@bob:b.test").await;
    let (b, bob) = (server_name!("b.test"), owned_user_id!("@bob:b.test"));
    let alice = room.who("alice").user_id.clone();
    assert!(!room.types(server_name!("c.test"), &bob, true).await);
    assert!(!room.types(b, &alice, true).await);
    assert!(!room.types(b, &owned_user_id!("@x:b.test"), true).await);
    assert!(room.rooms.typing(room.serial()).0.is_empty());
    assert!(room.types(b, &bob, true).await);
    assert_eq!(
        room.rooms.typing(room.serial()).0,
        std::slice::from_ref(&bob)
    );
    assert!(room.types(b, &bob, false).await);
    assert!(room.rooms.typing(room.serial()).0.is_empty());
    // Who is not heard of again stops by itself.
    assert!(room.types(b, &bob, true).await);
    room.clock.advance(61_000);
    assert!(room.rooms.typing(room.serial()).0.is_empty());
}

#[tokio::test]
async fn receipts_of_other_servers_move_forward() {
    let room = TestRoom::with(["alice"]).await;
    room.guest("@bob:b.test").await;
    let mut ids = Vec::new();
    for text in ["one", "two"] {
        ids.push(room.say("alice", text).await.unwrap());
    }
    let set = async |origin: &ServerName, user_id: &str, events: &[&str]| {
        let receipt = |event_id: &&str| RemoteReceipt {
            room_id: room.room_id.clone(),
            user_id: user_id.try_into().unwrap(),
            event_id: (*event_id).try_into().unwrap(),
            thread: None,
            at: u64::MAX,
        };
        let receipts = events.iter().map(receipt).collect();
        let set = room.rooms.set_remote_receipts(origin, receipts).await;
        room.rooms
            .store()
            .commit(|_, _, _| Ok::<_, StoreError>(()))
            .await
            .unwrap();
        set.unwrap()
    };
    let b = server_name!("b.test");
    assert_eq!(set(b, "@x:b.test", &[ids[0].as_str()]).await, 0);
    assert_eq!(
        set(server_name!("c.test"), "@bob:b.test", &[ids[0].as_str()]).await,
        0
    );
    assert_eq!(set(b, "@bob:b.test", &["$unknown"]).await, 0);
    // Of several the furthest counts, and no receipt goes back.
    assert_eq!(
        set(b, "@bob:b.test", &[ids[1].as_str(), ids[0].as_str()]).await,
        1
    );
    set(b, "@bob:b.test", &[ids[0].as_str()]).await;
    let now = room.clock.now().0;
    let expected = json!({ ids[1].as_str(): { "m.read": { "@bob:b.test": { "ts": now } } } });
    assert_eq!(room.receipts("alice"), expected);
}

#[tokio::test]
async fn presence_of_other_servers_ends_when_they_say_no_more() {
    let room = TestRoom::with(["alice"]).await;
    room.guest("@bob:b.test").await;
    let (b, bob) = (server_name!("b.test"), owned_user_id!("@bob:b.test"));
    let online = |user_id: &OwnedUserId| RemotePresence {
        user_id: user_id.clone(),
        state: PresenceState::Online,
        status: Some("Hi".to_owned()),
        last_active_ago: Duration::from_secs(5),
        currently_active: true,
    };
    let set = async |origin: &ServerName, user_id: &OwnedUserId| {
        let updates = vec![online(user_id)];
        room.rooms
            .set_remote_presence(origin, updates)
            .await
            .unwrap()
    };
    assert_eq!(set(b, &room.who("alice").user_id).await, 0);
    assert_eq!(set(b, &owned_user_id!("@x:b.test")).await, 0);
    assert_eq!(set(server_name!("c.test"), &bob).await, 0);
    assert_eq!(set(b, &bob).await, 1);
    let shown = || -> ShownPresence {
        let view = room.rooms.store().snapshot();
        let viewer = room.who("alice").viewer();
        room.rooms.presence(&view, viewer, &bob).unwrap()
    };
    assert_eq!(shown().state, PresenceState::Online);
    assert_eq!(shown().last_active_ago, Some(Duration::from_secs(5)));
    // Idle or gone they are when their server says so, not by our clock.
    room.clock.advance(29 * 60 * 1_000);
    assert!(room.rooms.expire_presence_now().is_empty());
    assert_eq!(shown().state, PresenceState::Online);
    room.clock.advance(2 * 60 * 1_000);
    assert_eq!(room.rooms.expire_presence_now().len(), 1);
    assert_eq!(shown().state, PresenceState::Offline);
}
