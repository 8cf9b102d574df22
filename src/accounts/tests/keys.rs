//! Device keys are checked; one-time keys are given out once.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OneTimeKeyAlgorithm, OwnedOneTimeKeyId, encryption::OneTimeKey, serde::Raw};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::house::{House, Key};
use crate::{ClaimedKeys, Session, UploadKeysError, key_counts, query_keys};

type Keys = BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>;

pub(super) fn raw<T>(value: &Value) -> Raw<T> {
    Raw::from_json(serde_json::value::to_raw_value(value).unwrap())
}

pub(super) fn device_keys(session: &Session, key: &Key) -> Value {
    let device = &session.device_id;
    let keys = json!({
        "user_id": session.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("ed25519:{device}"): key.public, format!("curve25519:{device}"): "c" },
        "org.example.more": { "kept": true },
    });
    key.sign(&session.user_id, keys)
}

fn one_time(ids: std::ops::Range<u32>, mark: &str) -> Keys {
    ids.map(|id| {
        let id = format!("signed_curve25519:{id}").try_into().unwrap();
        (id, raw(&json!({ "key": mark, "signatures": {} })))
    })
    .collect()
}

async fn upload(house: &House, session: &Session, keys: Value) -> Result<(), UploadKeysError> {
    let upload = house
        .accounts
        .upload_keys(session, Some(raw(&keys)), Keys::new(), Keys::new());
    upload.await.map(|_| ())
}

#[tokio::test]
async fn only_a_devices_own_signed_keys_are_taken() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let key = Key::of_device("PHONE");
    let good = device_keys(&alice, &key);

    let mut changed = good.clone();
    changed["algorithms"] = json!([]);
    assert!(matches!(
        upload(&house, &alice, changed).await,
        Err(UploadKeysError::InvalidSignature(_))
    ));
    // Keys without a signature are taken: whom to trust is for clients to decide.
    let mut unsigned = good.clone();
    unsigned["signatures"] = json!({});
    upload(&house, &alice, unsigned).await.unwrap();
    assert!(matches!(
        upload(&house, &bob, good.clone()).await,
        Err(UploadKeysError::Invalid(_))
    ));

    upload(&house, &alice, good.clone()).await.unwrap();
    house
        .accounts
        .set_device_display_name(
            &audit::Act::operator(),
            alice.user,
            &alice.device_id,
            Some("Phone".to_owned()),
        )
        .await
        .unwrap();
    let snapshot = house.accounts.store().snapshot();
    let wanted = [
        (alice.user_id.clone(), Vec::new()),
        ("@carol:b.test".try_into().unwrap(), Vec::new()),
        ("@nobody:a.test".try_into().unwrap(), Vec::new()),
    ];
    let server = house.accounts.server_name();
    let found = query_keys(&snapshot, server, bob.user, &wanted.into_iter().collect()).unwrap();
    assert_eq!(found.remote.len(), 1);
    assert_eq!(found.device_keys.len(), 1);
    let shown = &found.device_keys[&alice.user_id][&alice.device_id];
    let shown: Value = serde_json::from_str(shown.json().get()).unwrap();
    let mut expected = good;
    expected["unsigned"] = json!({ "device_display_name": "Phone" });
    assert_eq!(shown, expected);
}

fn all_keys(claimed: &ClaimedKeys) -> impl Iterator<Item = String> {
    let devices = claimed.one_time_keys.values().flat_map(BTreeMap::values);
    devices.flat_map(|keys| keys.keys().map(ToString::to_string))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_time_keys_are_given_out_once() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let fallback = one_time(900..901, "fallback");
    let upload = house
        .accounts
        .upload_keys(&alice, None, one_time(0..40, "k"), fallback);
    assert_eq!(upload.await.unwrap()["signed_curve25519"], 40);
    let latest = house.accounts.store().latest();
    assert_eq!(
        key_counts(&latest, alice.device).unwrap().unused_fallback,
        ["signed_curve25519"]
    );

    let mut claims = JoinSet::new();
    for _ in 0..50 {
        let accounts = house.accounts.clone();
        let devices = [(
            alice.device_id.clone(),
            OneTimeKeyAlgorithm::SignedCurve25519,
        )];
        let wanted = [(alice.user_id.clone(), devices.into_iter().collect())];
        claims.spawn(async move { accounts.claim_keys(wanted.into_iter().collect()).await });
    }
    let claimed = claims.join_all().await;
    let given: Vec<String> = claimed
        .iter()
        .flat_map(|claimed| all_keys(claimed.as_ref().unwrap()))
        .collect();
    assert_eq!(given.len(), 50);
    let fallbacks = given
        .iter()
        .filter(|id| *id == "signed_curve25519:900")
        .count();
    assert_eq!(fallbacks, 10);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 41);
    let counts = key_counts(&latest, alice.device).unwrap();
    assert!(counts.one_time.is_empty() && counts.unused_fallback.is_empty());
}

#[tokio::test]
async fn keys_are_given_out_in_their_order_whatever_came_and_went_before() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let upload = async |identity: Option<Value>, keys: Keys| {
        let identity = identity.map(|keys| raw(&keys));
        let accounts = &house.accounts;
        let upload = accounts.upload_keys(&alice, identity, keys, Keys::new());
        upload.await.unwrap();
    };
    let claim = async || {
        let algorithm = OneTimeKeyAlgorithm::SignedCurve25519;
        let devices = [(alice.device_id.clone(), algorithm)];
        let wanted = [(alice.user_id.clone(), devices.into_iter().collect())];
        let claimed = house.accounts.claim_keys(wanted.into_iter().collect());
        all_keys(&claimed.await.unwrap()).next()
    };
    let mut given = Vec::new();
    upload(None, one_time(8..12, "k")).await;
    given.extend(claim().await);
    upload(None, one_time(1..3, "k")).await;
    for _ in 0..6 {
        given.extend(claim().await);
    }
    upload(None, one_time(5..6, "k")).await;
    given.extend(claim().await);
    // Another identity begins anew, with ids that were given out already.
    for _ in 0..2 {
        let identity = device_keys(&alice, &Key::of_device("PHONE"));
        upload(Some(identity), one_time(1..3, "k")).await;
        given.extend(claim().await);
    }
    let expected = [8, 9, 10, 11, 1, 2, 5, 1, 1];
    assert_eq!(given, expected.map(|id| format!("signed_curve25519:{id}")));
}

#[tokio::test]
async fn uploads_can_be_repeated_but_not_changed() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let upload = async |keys: Keys| {
        house
            .accounts
            .upload_keys(&alice, None, keys, Keys::new())
            .await
    };
    for _ in 0..2 {
        assert_eq!(
            upload(one_time(0..5, "k")).await.unwrap()["signed_curve25519"],
            5
        );
    }
    let other = upload(one_time(4..6, "other")).await;
    assert!(matches!(other, Err(UploadKeysError::KeyExists(id)) if id == "signed_curve25519:4"));
    assert!(matches!(
        upload(one_time(10..600, "k")).await,
        Err(UploadKeysError::TooMany { .. })
    ));
    // Other identity keys on the same device make the old one-time keys useless.
    for rest in [5, 0] {
        let key = Key::of_device("PHONE");
        let keys = raw(&device_keys(&alice, &key));
        let left = house
            .accounts
            .upload_keys(&alice, Some(keys), Keys::new(), Keys::new());
        let left = left.await.unwrap();
        assert_eq!(left.get("signed_curve25519").copied().unwrap_or(0), rest);
    }
}
