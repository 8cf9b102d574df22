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

/// Whose signatures on the device PHONE are shown: the ids of the keys.
fn signers(found: &QueriedKeys, user_id: &OwnedUserId) -> Vec<String> {
    let phone = found.device_keys[user_id].values().next().unwrap();
    let phone: Value = serde_json::from_str(phone.json().get()).unwrap();
    let signatures = phone["signatures"][user_id.as_str()].as_object().unwrap();
    signatures.keys().cloned().collect()
}

#[tokio::test]
async fn device_keys_may_bring_the_owners_signature_along() {
    let house = House::open();
    let (alice, keys, device) = set_up(&house, "alice").await;
    let accounts = &house.accounts;
    let upload = async |keys: Value| {
        let keys = Some(raw(&keys));
        accounts
            .upload_keys(&alice, keys, BTreeMap::new(), BTreeMap::new())
            .await
            .unwrap()
    };
    let plain = device_keys(&alice, &device);
    let own = format!("ed25519:{}", keys.self_signing.public);
    let signed = keys.self_signing.sign(&alice.user_id, plain.clone());
    let before = house.position();
    upload(signed.clone()).await;
    let found = query(&house, &alice, &alice.user_id);
    assert!(signers(&found, &alice.user_id).contains(&own));
    let announced = crate::device_list_position(&accounts.store().snapshot(), alice.user).unwrap();
    assert!(announced > Some(before), "others must look again");
    // The same again is no news.
    upload(signed).await;
    let again = crate::device_list_position(&accounts.store().snapshot(), alice.user).unwrap();
    assert_eq!(again, announced);

    // A signature of somebody else's key is not taken.
    let stranger = Key::of_user();
    upload(stranger.sign(&alice.user_id, plain)).await;
    let found = query(&house, &alice, &alice.user_id);
    let forged = format!("ed25519:{}", stranger.public);
    assert!(!signers(&found, &alice.user_id).contains(&forged));
}

#[tokio::test]
async fn a_reset_forgets_what_the_old_keys_have_signed() {
    let house = House::open();
    let (alice, keys, device) = set_up(&house, "alice").await;
    let accounts = &house.accounts;
    let own = format!("ed25519:{}", keys.self_signing.public);
    let signed = keys
        .self_signing
        .sign(&alice.user_id, device_keys(&alice, &device));
    let body = json!({ "PHONE": signed });
    let signatures: SignedKeys = serde_json::from_value(body).unwrap();
    let failures = accounts
        .upload_signatures(
            &alice,
            BTreeMap::from([(alice.user_id.clone(), signatures)]),
        )
        .await
        .unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    let shown = || signers(&query(&house, &alice, &alice.user_id), &alice.user_id);
    assert!(shown().contains(&own));

    // Another self-signing key under the same master key.
    let other = Key::of_user();
    let object = json_key(&alice.user_id, &other, "self_signing");
    let upload = CrossSigningUpload {
        self_signing_key: Some(raw(&keys.master.sign(&alice.user_id, object))),
        ..CrossSigningUpload::default()
    };
    accounts
        .upload_cross_signing_keys(&alice, &upload, true)
        .await
        .unwrap();
    assert_eq!(shown(), ["ed25519:PHONE"]);

    // All of them: only what was uploaded is left.
    let new = Keys::new();
    accounts
        .upload_cross_signing_keys(&alice, &new.upload(&alice.user_id), true)
        .await
        .unwrap();
    let found = query(&house, &alice, &alice.user_id);
    for (keys, key) in [
        (&found.master_keys, &new.master),
        (&found.self_signing_keys, &new.self_signing),
        (&found.user_signing_keys, &new.user_signing),
    ] {
        assert!(keys[&alice.user_id].json().get().contains(&key.public));
    }
    assert_eq!(shown(), ["ed25519:PHONE"]);
}
