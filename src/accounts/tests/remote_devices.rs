//! What is kept of the devices of other servers' users: as long as it is true.

use std::collections::BTreeMap;

use model::{
    EventSerial, Membership, MembershipRecord, RoomSerial, UserSerial,
    tables::{MEMBER_BY_ROOM, MEMBERSHIP_BY_USER},
};
use ruma_common::{OwnedUserId, UserId};
use ruma_federation_api::device::get_devices::v1::Response;
use serde_json::{Value, json};
use store::StoreError;

use super::{
    house::{House, Key},
    keys::raw,
};
use crate::{DeviceListToFetch, Session, devices_changed, kept_keys};

const ROOM: RoomSerial = RoomSerial(901);

/// Alice, who shares a room with Bob of another server.
struct Neighbours {
    house: House,
    alice: Session,
    bob: UserSerial,
    bob_id: OwnedUserId,
}

fn keys_of(user_id: &UserId, device_id: &str) -> Value {
    let user_id = user_id.as_str();
    json!({
        "user_id": user_id, "device_id": device_id, "algorithms": [],
        "keys": { format!("ed25519:{device_id}"): device_id },
        "signatures": { user_id: { "ed25519:x": "y" }, "@mallory:c.test": { "ed25519:x": "y" } },
    })
}

impl Neighbours {
    async fn new() -> Self {
        let house = House::open();
        let alice = house.person("alice", "PHONE").await;
        let serial = house.accounts.store().next_serial();
        let bob = house.accounts.store().commit(move |latest, _, batch| {
            model::intern_user(latest, batch, "@bob:b.test", serial)
        });
        let bob = bob.await.unwrap();
        let this = Self {
            house,
            alice,
            bob,
            bob_id: "@bob:b.test".try_into().unwrap(),
        };
        this.moves(this.alice.user, Membership::Join).await;
        this.moves(this.bob, Membership::Join).await;
        this
    }

    /// Somebody comes or goes.
    async fn moves(&self, user: UserSerial, membership: Membership) {
        let moved = self
            .house
            .accounts
            .store()
            .commit(move |_, position, batch| {
                let record = MembershipRecord {
                    membership,
                    event: EventSerial(1),
                    position: position.0,
                    sender: user,
                    forgotten: false,
                    last_join: position.0,
                    left_at: 0,
                };
                batch.put(&MEMBERSHIP_BY_USER, &(user, ROOM), &record);
                batch.put(&MEMBER_BY_ROOM, &(ROOM, user), &membership);
                Ok::<_, StoreError>(())
            });
        moved.await.unwrap();
    }

    async fn follow(&self) -> bool {
        let users = vec![self.bob_id.clone()];
        let accounts = &self.house.accounts;
        let followed = accounts.follow_devices(self.alice.user, users).await;
        accounts.settled().await.unwrap();
        followed.unwrap()
    }

    async fn to_fetch(&self) -> Vec<DeviceListToFetch> {
        let lists = self.house.accounts.device_lists_to_fetch(10).await;
        lists.unwrap().now
    }

    /// Bob's server answers with these devices.
    async fn fetched(&self, list: &DeviceListToFetch, stream_id: u32, devices: &[&str]) {
        let mut answer = Response::new(self.bob_id.clone(), stream_id.into());
        let devices = devices.iter().map(|device_id| {
            let keys = keys_of(&self.bob_id, device_id);
            serde_json::from_value(json!({ "device_id": device_id, "keys": keys })).unwrap()
        });
        answer.devices = devices.collect();
        self.answered(list, answer).await;
    }

    async fn answered(&self, list: &DeviceListToFetch, answer: Response) {
        let accounts = &self.house.accounts;
        accounts.device_list_fetched(list, answer).await.unwrap();
        accounts.settled().await.unwrap();
    }

    /// Bob's server tells of a device. Returns whether the list must be fetched.
    async fn update(&self, device_id: &str, stream_id: u32, earlier: &[u32], more: Value) -> bool {
        let mut update = json!({
            "user_id": self.bob_id, "device_id": device_id,
            "stream_id": stream_id, "prev_id": earlier,
        });
        update
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let accounts = &self.house.accounts;
        let update = serde_json::from_value(update).unwrap();
        let is_stale = accounts.remote_device_changed(update).await.unwrap();
        accounts.settled().await.unwrap();
        is_stale
    }

    /// The devices that are kept; none if they are not to be trusted.
    fn kept(&self) -> Option<Vec<String>> {
        let snapshot = self.house.accounts.store().snapshot();
        let wanted = BTreeMap::from([(self.bob_id.clone(), Vec::new())]);
        let mut found = kept_keys(&snapshot, self.alice.user, &wanted).unwrap();
        assert_eq!(found.kept.len() + found.unknown.len(), 1);
        let keys = found.kept.remove(&self.bob_id)?;
        Some(keys.devices.keys().map(ToString::to_string).collect())
    }

    /// Whether those in the room are told that Bob's devices changed after that.
    fn is_told(&self, after: store::Position) -> bool {
        let snapshot = self.house.accounts.store().snapshot();
        let told = devices_changed(&snapshot, ROOM, after, snapshot.position()).unwrap();
        assert!(told.iter().all(|user| *user == self.bob));
        !told.is_empty()
    }
}

#[tokio::test]
async fn a_list_is_fetched_once_and_follows_the_updates() {
    let n = Neighbours::new().await;
    assert_eq!(n.kept(), None);
    assert!(n.to_fetch().await.is_empty(), "nobody has asked");
    assert!(n.follow().await);
    let lists = n.to_fetch().await;
    assert_eq!(lists.len(), 1);
    assert_eq!(lists[0].user_id, n.bob_id);
    n.fetched(&lists[0], 3, &["A", "B"]).await;
    assert_eq!(n.kept().unwrap(), ["A", "B"]);
    assert!(n.to_fetch().await.is_empty());
    assert!(!n.follow().await, "it is true");
    assert_eq!(n.kept().unwrap(), ["A", "B"]);

    let keys = |id: &str| json!({ "keys": keys_of(&n.bob_id, id) });
    let before = n.house.position();
    assert!(!n.update("C", 4, &[3], keys("C")).await);
    assert_eq!(n.kept().unwrap(), ["A", "B", "C"]);
    assert!(n.is_told(before));
    // Again.
    let before = n.house.position();
    assert!(!n.update("C", 4, &[3], keys("C")).await);
    assert!(!n.is_told(before));
    assert!(!n.update("A", 6, &[4], json!({ "deleted": true })).await);
    // Another device's keys are nobody's.
    assert!(!n.update("B", 7, &[6], keys("C")).await);
    assert_eq!(n.kept().unwrap(), ["C"]);

    // One was missed.
    let before = n.house.position();
    assert!(n.update("D", 9, &[8], keys("D")).await);
    assert_eq!(n.kept(), None);
    assert!(n.is_told(before));
    let lists = n.to_fetch().await;
    let before = n.house.position();
    n.fetched(&lists[0], 9, &["C", "D"]).await;
    assert_eq!(n.kept().unwrap(), ["C", "D"]);
    assert!(n.is_told(before), "the list is another one");
    // One that says of none that it came before.
    assert!(n.update("D", 10, &[], keys("D")).await);
}

#[tokio::test]
async fn a_device_without_keys_is_no_news_where_nobody_knows_it() {
    let n = Neighbours::new().await;
    let keys = json!({ "keys": keys_of(&n.bob_id, "A") });
    let before = n.house.position();
    assert!(!n.update("A", 2, &[], json!({})).await);
    assert!(!n.is_told(before), "its user has just come into the room");
    assert!(!n.update("A", 3, &[2], keys).await);
    assert!(n.is_told(before));
    n.follow().await;
    n.fetched(&n.to_fetch().await[0], 3, &["A"]).await;
    let before = n.house.position();
    assert!(!n.update("B", 4, &[3], json!({})).await);
    assert!(!n.is_told(before));
    // The list follows nevertheless.
    assert!(!n.update("A", 5, &[4], json!({ "deleted": true })).await);
    assert!(n.is_told(before));
    assert_eq!(n.kept().unwrap(), Vec::<String>::new());
    // What is gone was there for somebody, perhaps.
    let before = n.house.position();
    assert!(!n.update("B", 6, &[5], json!({ "deleted": true })).await);
    assert!(n.is_told(before));
}

#[tokio::test]
async fn a_list_that_changed_while_it_was_fetched_is_fetched_again() {
    let n = Neighbours::new().await;
    n.follow().await;
    let lists = n.to_fetch().await;
    assert!(n.update("B", 5, &[4], json!({})).await);
    n.fetched(&lists[0], 4, &["A"]).await;
    assert_eq!(n.kept(), None);
    let lists = n.to_fetch().await;
    assert_eq!(lists.len(), 1);
    n.fetched(&lists[0], 5, &["B"]).await;
    assert_eq!(n.kept().unwrap(), ["B"]);
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_tried_later_and_later() {
    let n = Neighbours::new().await;
    n.follow().await;
    let mut waits = Vec::new();
    for _ in 0..3 {
        let lists = n.to_fetch().await;
        let accounts = &n.house.accounts;
        accounts.device_list_not_fetched(&lists[0]).await.unwrap();
        let due = accounts.device_lists_to_fetch(10).await.unwrap();
        assert!(due.now.is_empty());
        let wait = due.next.unwrap().since(n.house.clock.now());
        n.house
            .clock
            .advance(u64::try_from(wait.as_millis()).unwrap());
        waits.push(wait.as_secs());
    }
    assert_eq!(waits, [30, 60, 120]);
    // Its server shows that it is there.
    n.house
        .accounts
        .device_list_not_fetched(&n.to_fetch().await[0])
        .await
        .unwrap();
    assert!(n.update("B", 5, &[4], json!({})).await);
    assert_eq!(n.to_fetch().await.len(), 1);
    n.house.clock.advance(1_000);
    // An answer about somebody else is none.
    let list = n.to_fetch().await.remove(0);
    let other = Response::new("@carol:b.test".try_into().unwrap(), 1_u32.into());
    n.answered(&list, other).await;
    assert_eq!((n.kept(), n.to_fetch().await.len()), (None, 0));
}

#[tokio::test]
async fn a_list_is_true_only_while_a_room_is_shared() {
    let n = Neighbours::new().await;
    n.follow().await;
    n.fetched(&n.to_fetch().await[0], 1, &["A"]).await;
    assert_eq!(n.kept().unwrap(), ["A"]);
    // Who comes back may have changed meanwhile, and told nobody here.
    n.moves(n.bob, Membership::Leave).await;
    assert_eq!(n.kept(), None);
    n.moves(n.bob, Membership::Join).await;
    assert_eq!(n.kept(), None);
    assert!(n.follow().await);
    n.fetched(&n.to_fetch().await[0], 2, &["B"]).await;
    assert_eq!(n.kept().unwrap(), ["B"]);
    // Another one here comes later: that the first was there is enough.
    let carol = n.house.person("carol", "PHONE").await;
    n.moves(carol.user, Membership::Join).await;
    let wanted = BTreeMap::from([(n.bob_id.clone(), Vec::new())]);
    let snapshot = n.house.accounts.store().snapshot();
    let found = kept_keys(&snapshot, carol.user, &wanted).unwrap();
    assert_eq!(found.kept.len(), 1);

    assert_eq!(
        n.house.accounts.forget_strangers_devices().await.unwrap(),
        0
    );
    n.moves(n.alice.user, Membership::Leave).await;
    n.moves(carol.user, Membership::Leave).await;
    n.house.accounts.settled().await.unwrap();
    assert_eq!(n.kept(), None);
    assert!(!n.follow().await, "nobody here shares a room");
    assert_eq!(
        n.house.accounts.forget_strangers_devices().await.unwrap(),
        1
    );
    n.moves(n.alice.user, Membership::Join).await;
    assert_eq!(n.kept(), None);
}

#[tokio::test]
async fn only_keys_that_are_the_users_are_kept() {
    let n = Neighbours::new().await;
    n.follow().await;
    let (master, own, forged) = (Key::of_user(), Key::of_user(), Key::of_user());
    let object = |key: &Key, usage: &str, user_id: &str| {
        json!({
            "user_id": user_id, "usage": [usage],
            "keys": { format!("ed25519:{}", key.public): key.public },
        })
    };
    let bob = n.bob_id.as_str();
    let signed = master.sign(&n.bob_id, object(&own, "self_signing", bob));
    let mut answer = Response::new(n.bob_id.clone(), 1_u32.into());
    answer.master_key = Some(raw(&object(&master, "master", bob)));
    answer.self_signing_key = Some(raw(&signed));
    n.answered(&n.to_fetch().await[0], answer).await;
    let keys = || {
        let wanted = BTreeMap::from([(n.bob_id.clone(), Vec::new())]);
        let snapshot = n.house.accounts.store().snapshot();
        let found = kept_keys(&snapshot, n.alice.user, &wanted).unwrap();
        let keys = found.kept.into_values().next()?;
        let json = |key: Option<ruma_common::serde::Raw<_>>| {
            key.map(
                |key: ruma_common::serde::Raw<ruma_common::encryption::CrossSigningKey>| {
                    serde_json::from_str::<Value>(key.json().get()).unwrap()
                },
            )
        };
        Some((json(keys.master), json(keys.self_signing)))
    };
    let (found_master, found_own) = keys().unwrap();
    assert_eq!(found_master, Some(object(&master, "master", bob)));
    assert_eq!(found_own, Some(signed));

    let change = |keys: Value| {
        let mut update = json!({ "user_id": bob });
        update
            .as_object_mut()
            .unwrap()
            .extend(keys.as_object().unwrap().clone());
        serde_json::from_value(update).unwrap()
    };
    let before = n.house.position();
    let accounts = &n.house.accounts;
    let other = Key::of_user();
    let new = master.sign(&n.bob_id, object(&other, "self_signing", bob));
    let update = change(json!({ "self_signing_key": new }));
    assert!(!accounts.remote_signing_keys_changed(update).await.unwrap());
    accounts.settled().await.unwrap();
    assert!(n.is_told(before));
    assert_eq!(keys().unwrap().1, Some(new));
    // Not signed by the master key; another's: what is true has to be fetched.
    for wrong in [
        json!({ "self_signing_key": forged.sign(&n.bob_id, object(&other, "self_signing", bob)) }),
        json!({ "master_key": object(&master, "master", "@carol:b.test") }),
    ] {
        assert!(
            accounts
                .remote_signing_keys_changed(change(wrong))
                .await
                .unwrap()
        );
        accounts.settled().await.unwrap();
        assert_eq!(keys(), None);
        n.fetched(&n.to_fetch().await[0], 2, &["A"]).await;
        assert_eq!(keys().unwrap(), (None, None));
    }
}
