//! Cross-signing keys and signatures are verified, and seen by whom they concern.

use std::collections::BTreeMap;

use ruma_client_api::keys::upload_signatures::v3::SignedKeys;
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Value, json};

use super::{
    house::{House, Key},
    keys::{device_keys, raw},
};
use crate::{
    CrossSigningError, CrossSigningUpload, QueriedKeys, Session, SignatureFailure, query_keys,
    users_signed,
};

struct Keys {
    master: Key,
    self_signing: Key,
    user_signing: Key,
}

impl Keys {
    fn new() -> Self {
        Self {
            master: Key::of_user(),
            self_signing: Key::of_user(),
            user_signing: Key::of_user(),
        }
    }

    fn master(&self, user_id: &UserId) -> Value {
        json_key(user_id, &self.master, "master")
    }

    fn upload(&self, user_id: &UserId) -> CrossSigningUpload {
        let signed = |key, usage| self.master.sign(user_id, json_key(user_id, key, usage));
        CrossSigningUpload {
            master_key: Some(raw(&self.master(user_id))),
            self_signing_key: Some(raw(&signed(&self.self_signing, "self_signing"))),
            user_signing_key: Some(raw(&signed(&self.user_signing, "user_signing"))),
        }
    }
}

fn json_key(user_id: &UserId, key: &Key, usage: &str) -> Value {
    json!({
        "user_id": user_id,
        "usage": [usage],
        "keys": { format!("ed25519:{}", key.public): key.public },
    })
}

async fn set_up(house: &House, name: &str) -> (Session, Keys, Key) {
    let session = house.person(name, "PHONE").await;
    let (keys, device) = (Keys::new(), Key::of_device("PHONE"));
    let identity = Some(raw(&device_keys(&session, &device)));
    let accounts = &house.accounts;
    accounts
        .upload_keys(&session, identity, BTreeMap::new(), BTreeMap::new())
        .await
        .unwrap();
    accounts
        .upload_cross_signing_keys(&session, &keys.upload(&session.user_id), false)
        .await
        .unwrap();
    (session, keys, device)
}

fn query(house: &House, viewer: &Session, user_id: &OwnedUserId) -> QueriedKeys {
    let wanted = [(user_id.clone(), Vec::new())].into_iter().collect();
    let snapshot = house.accounts.store().snapshot();
    query_keys(
        &snapshot,
        house.accounts.server_name(),
        viewer.user,
        &wanted,
    )
    .unwrap()
}

#[tokio::test]
async fn the_first_keys_are_free_and_others_need_authentication() {
    let house = House::open();
    let (alice, keys, _) = set_up(&house, "alice").await;
    let accounts = &house.accounts;
    let same = keys.upload(&alice.user_id);
    assert!(
        !accounts
            .cross_signing_needs_authentication(&alice, &same)
            .await
            .unwrap()
    );
    accounts
        .upload_cross_signing_keys(&alice, &same, false)
        .await
        .unwrap();

    let other_keys = Keys::new();
    let other = other_keys.upload(&alice.user_id);
    assert!(
        accounts
            .cross_signing_needs_authentication(&alice, &other)
            .await
            .unwrap()
    );
    assert!(matches!(
        accounts
            .upload_cross_signing_keys(&alice, &other, false)
            .await,
        Err(CrossSigningError::AuthenticationRequired)
    ));
    // A new master key alone leaves nothing of the old keys.
    let alone = CrossSigningUpload {
        master_key: other.master_key.clone(),
        ..Default::default()
    };
    accounts
        .upload_cross_signing_keys(&alice, &alone, true)
        .await
        .unwrap();
    let found = query(&house, &alice, &alice.user_id);
    assert!(found.master_keys.contains_key(&alice.user_id));
    assert!(found.self_signing_keys.is_empty() && found.user_signing_keys.is_empty());
}

#[tokio::test]
async fn keys_that_the_master_key_did_not_sign_are_refused() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let keys = Keys::new();
    let good = keys.upload(&alice.user_id);
    let stranger = Key::of_user();
    let wrong = json_key(&alice.user_id, &keys.self_signing, "self_signing");
    let wrong = raw(&stranger.sign(&alice.user_id, wrong));
    let bob: &UserId = "@bob:a.test".try_into().unwrap();
    let upload = |master_key, self_signing_key| CrossSigningUpload {
        master_key,
        self_signing_key,
        user_signing_key: None,
    };
    let check = async |upload: CrossSigningUpload| {
        house
            .accounts
            .upload_cross_signing_keys(&alice, &upload, true)
            .await
    };
    assert!(matches!(
        check(upload(good.master_key.clone(), Some(wrong))).await,
        Err(CrossSigningError::InvalidSignature(_))
    ));
    assert!(matches!(
        check(upload(None, good.self_signing_key.clone())).await,
        Err(CrossSigningError::MissingMaster)
    ));
    for master in [
        keys.master(bob),
        json_key(&alice.user_id, &keys.master, "self_signing"),
        json!({ "user_id": alice.user_id, "usage": ["master"], "keys": {} }),
        json!({ "user_id": alice.user_id, "usage": ["master"], "keys": { "ed25519:a": "a" } }),
    ] {
        assert!(matches!(
            check(upload(Some(raw(&master)), None)).await,
            Err(CrossSigningError::Invalid(_))
        ));
    }
    house
        .login("alice", &keys.master.public, super::house::PASSWORD)
        .await
        .unwrap();
    assert!(matches!(
        check(good).await,
        Err(CrossSigningError::KeyIdInUse)
    ));
}

#[tokio::test]
async fn signatures_are_verified_and_shown_to_whom_they_concern() {
    let house = House::open();
    let (alice, keys, device) = set_up(&house, "alice").await;
    let (bob, bobs, _) = set_up(&house, "bob").await;
    let carol = house.person("carol", "PHONE").await;
    let accounts = &house.accounts;
    let before = house.position();

    let phone = keys
        .self_signing
        .sign(&alice.user_id, device_keys(&alice, &device));
    let master = device.sign(&alice.user_id, keys.master(&alice.user_id));
    let bobs_master = bobs.master(&bob.user_id);
    let trusted = keys.user_signing.sign(&alice.user_id, bobs_master.clone());
    let forged = Key::of_user().sign(&alice.user_id, bobs_master);
    let send = async |entries: &[(&OwnedUserId, &str, &Value)]| {
        let mut signed = BTreeMap::<OwnedUserId, SignedKeys>::new();
        for (user_id, key, value) in entries {
            let keys = signed.entry((*user_id).clone()).or_default();
            keys.add_cross_signing_keys((*key).into(), raw(value));
        }
        accounts.upload_signatures(&alice, signed).await.unwrap()
    };
    let bobs_key = bobs.master.public.as_str();
    let failures = send(&[
        (&alice.user_id, "PHONE", &phone),
        (&alice.user_id, &keys.master.public, &master),
        (&bob.user_id, bobs_key, &trusted),
        (&alice.user_id, "LAPTOP", &phone),
    ])
    .await;
    assert_eq!(failures.len(), 1);
    assert_eq!(
        failures[&alice.user_id]["LAPTOP"],
        SignatureFailure::NotFound
    );
    let failures = send(&[(&bob.user_id, bobs_key, &forged)]).await;
    assert!(matches!(
        failures[&bob.user_id][bobs_key],
        SignatureFailure::Invalid(_)
    ));

    let signers = |viewer: &Session, of: &Session| {
        let found = query(&house, viewer, &of.user_id);
        let master: Value =
            serde_json::from_str(found.master_keys[&of.user_id].json().get()).unwrap();
        let signed = master
            .get("signatures")
            .and_then(|all| all.get(alice.user_id.as_str()));
        (signed.is_some(), found.user_signing_keys.len())
    };
    // Whom alice trusts only alice sees; that her device is hers, everybody.
    assert_eq!(signers(&alice, &bob), (true, 0));
    assert_eq!(signers(&bob, &bob), (false, 1));
    assert_eq!(signers(&carol, &bob), (false, 0));
    assert_eq!(signers(&carol, &alice), (true, 0));
    let found = query(&house, &carol, &alice.user_id);
    let shown: Value = serde_json::from_str(
        found.device_keys[&alice.user_id][&alice.device_id]
            .json()
            .get(),
    )
    .unwrap();
    assert_eq!(shown, phone);
    // Alice's other devices are told to read bob's keys again.
    let snapshot = accounts.store().snapshot();
    let told = users_signed(&snapshot, alice.user, before, snapshot.position()).unwrap();
    assert_eq!(told, [bob.user]);
}
