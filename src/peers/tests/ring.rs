//! Finding keys, with fake sources.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use ruma_common::ServerName;
use runtime::{Clock, Timestamp};
use serde_json::json;
use store::Store;

use super::{NOW, name, open, signing_key};
use crate::{
    FederationOptions, KeyError,
    keys::{Document, Pinned, Ring, Sources},
    listed::Listed,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// A server that publishes one key for some time, or does not answer.
#[derive(Default)]
struct Fake {
    /// Seed of the key, and how long from its fetch on it counts.
    published: Mutex<Option<(u8, u64)>>,
    fetches: AtomicUsize,
    clock: Option<Clock>,
}

impl Fake {
    fn new(clock: &Clock, seed: u8, lifetime: u64) -> Self {
        Self {
            published: Mutex::new(Some((seed, lifetime))),
            clock: Some(clock.clone()),
            ..Self::default()
        }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Sources for Fake {
    async fn fetch(&self, server: &ServerName) -> Result<Document, String> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        // Long enough for others to come meanwhile.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let (seed, lifetime) = self.published.lock().ok_or("it is gone")?;
        let now = self.clock.as_ref().unwrap().now();
        let key = signing_key(seed);
        let keys = BTreeMap::from([(key.key_id(), json!({ "key": key.public_base64() }))]);
        let document = json!({
            "server_name": server,
            "verify_keys": keys,
            "valid_until_ts": now.0 + lifetime,
        });
        let mut object = graph::canonical(document.to_string().as_bytes(), 20).unwrap();
        key.sign_json(server, &mut object).unwrap();
        Document::check(server, object, now)
    }
}

fn ring(store: Store, clock: &Clock) -> Ring {
    let pinned = Pinned::new(&FederationOptions::default(), Listed::default()).unwrap();
    Ring::new(store, clock.clone(), pinned)
}

#[tokio::test]
async fn a_key_is_fetched_once_and_kept_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let server = name("a.test");
    let fake = Fake::new(&clock, 5, HOUR);
    let key = signing_key(5).public_base64();
    {
        let ring = ring(open(folder.path(), &clock), &clock);
        let ask = || ring.key(&server, "ed25519:k5", NOW, &fake);
        let (one, other) = tokio::join!(ask(), ask());
        assert_eq!((one.unwrap(), other.unwrap()), (key.clone(), key.clone()));
        assert_eq!(fake.fetches(), 1, "those who come meanwhile wait");
    }
    // The server is gone for good, and years pass: what it signed still counts.
    *fake.published.lock() = None;
    clock.advance(1_000 * 24 * HOUR);
    let ring = ring(open(folder.path(), &clock), &clock);
    let found = ring.key(&server, "ed25519:k5", NOW, &fake).await;
    assert_eq!(found.unwrap(), key);
    assert_eq!(fake.fetches(), 1);
    // What it would sign today does not.
    let refused = ring.key(&server, "ed25519:k5", clock.now(), &fake).await;
    assert!(
        matches!(refused, Err(KeyError::Unreachable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_key_that_has_ended_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let server = name("a.test");
    let fake = Fake::new(&clock, 5, HOUR);
    let ring = ring(open(folder.path(), &clock), &clock);
    ring.key(&server, "ed25519:k5", NOW, &fake).await.unwrap();
    clock.advance(2 * HOUR);
    let found = ring.key(&server, "ed25519:k5", clock.now(), &fake).await;
    assert_eq!(found.unwrap(), signing_key(5).public_base64());
    assert_eq!(fake.fetches(), 2);
    // A document that had ended when it came gives no key.
    *fake.published.lock() = Some((6, 0));
    clock.advance(HOUR);
    let later = Timestamp(clock.now().0 + 1);
    let refused = ring.key(&server, "ed25519:k6", later, &fake).await;
    assert!(
        matches!(refused, Err(KeyError::Expired { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nobody_can_have_a_server_asked_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let server = name("a.test");
    let fake = Fake::new(&clock, 5, HOUR);
    let ring = ring(open(folder.path(), &clock), &clock);
    for number in 0..20 {
        let id = format!("ed25519:invented{number}");
        let refused = ring.key(&server, &id, NOW, &fake).await;
        assert!(
            matches!(refused, Err(KeyError::Unknown { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(fake.fetches(), 1);
    // A new key is found a minute later.
    *fake.published.lock() = Some((6, HOUR));
    let refused = ring.key(&server, "ed25519:k6", NOW, &fake).await;
    assert!(
        matches!(refused, Err(KeyError::Unknown { .. })),
        "{refused:?}"
    );
    clock.advance(MINUTE);
    ring.key(&server, "ed25519:k6", clock.now(), &fake)
        .await
        .unwrap();
    // A failure is remembered as well, for each server alone.
    let gone = Fake::default();
    for _ in 0..5 {
        let refused = ring.key(&name("b.test"), "ed25519:k5", NOW, &gone).await;
        assert!(
            matches!(refused, Err(KeyError::Unreachable { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(gone.fetches(), 1);
}

#[tokio::test]
async fn pinned_keys_are_never_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let key = signing_key(7).public_base64();
    let options = FederationOptions {
        pinned_keys: BTreeMap::from([("a.test".to_owned(), vec![format!("ed25519:k7 {key}")])]),
        ..FederationOptions::default()
    };
    let pinned = Pinned::new(&options, Listed::default()).unwrap();
    let ring = Ring::new(open(folder.path(), &clock), clock.clone(), pinned);
    let fake = Fake::new(&clock, 5, HOUR);
    let server = name("a.test");
    let much_later = Timestamp(NOW.0 * 2);
    let found = ring.key(&server, "ed25519:k7", much_later, &fake).await;
    assert_eq!(found.unwrap(), key);
    let refused = ring.key(&server, "ed25519:k5", NOW, &fake).await;
    assert!(
        matches!(refused, Err(KeyError::Unknown { .. })),
        "{refused:?}"
    );
    assert_eq!(fake.fetches(), 0);
}
