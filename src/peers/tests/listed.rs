//! Signed lists of servers.

use audit::Act;
use std::collections::BTreeMap;

use runtime::{Clock, Timestamp};

use super::{NOW, name, open, peers, signing_key};
use crate::{AuthorityKey, DraftServer, FederationOptions, PeerList, PeerListError, Refused};

const DAY: u64 = 86_400_000;

/// A list of `a.test`, signed with the key of a seed.
fn list(serial: u64, seed: u8) -> String {
    let key = signing_key(7).public_base64();
    let server = DraftServer {
        keys: vec![format!("ed25519:k7 {key}")],
        address: Some("127.0.0.1:1".parse().unwrap()),
        certificate_authority: None,
    };
    let servers = BTreeMap::from([("a.test".to_owned(), server)]);
    let times = (NOW.0, NOW.0 + 90 * DAY);
    let list = PeerList::new("North".to_owned(), serial, times, servers).unwrap();
    list.sign(&signing_key(seed)).unwrap()
}

fn options(seed: u8) -> FederationOptions {
    FederationOptions {
        peer_list_key: AuthorityKey::of(&signing_key(seed)).to_text(),
        only_peer_list: true,
        ..FederationOptions::default()
    }
}

#[test]
fn only_what_was_signed_is_read() {
    let authority = AuthorityKey::of(&signing_key(9));
    let text = list(3, 9);
    let read = PeerList::read(text.as_bytes(), &authority).unwrap();
    assert_eq!((read.serial, read.servers.len()), (3, 1));
    let changed = text.replace("127.0.0.1:1", "127.0.0.2:1");
    assert_ne!(changed, text);
    for wrong in [changed.as_str(), &list(3, 8), &text[..text.len() / 2], "{}"] {
        let refused = PeerList::read(wrong.as_bytes(), &authority).unwrap_err();
        assert!(
            matches!(
                refused,
                PeerListError::Signature(_) | PeerListError::Unusable(_)
            ),
            "{refused}"
        );
    }
    let draft = |keys: &[&str], ca: Option<&str>| {
        let server = DraftServer {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            address: None,
            certificate_authority: ca.map(str::to_owned),
        };
        let servers = BTreeMap::from([("a.test".to_owned(), server)]);
        PeerList::new("x".to_owned(), 1, (1, 2), servers)
    };
    let key = format!("ed25519:k7 {}", signing_key(7).public_base64());
    assert!(draft(&[&key], None).is_ok());
    assert!(draft(&[], None).is_err());
    assert!(draft(&["ed25519:k7 AAAA"], None).is_err());
    assert!(draft(&[&key], Some("no certificate")).is_err());
}

#[tokio::test]
async fn a_list_counts_until_a_newer_one_comes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let store = open(folder.path(), &clock);
    let house = peers(store.clone(), clock.clone(), options(9));
    let (listed, other) = (name("a.test"), name("b.test"));
    assert_eq!(house.may_speak_to(&listed), Err(Refused::Denied));
    let (known, was) = house
        .import_list(&Act::operator(), list(3, 9).as_bytes())
        .await
        .unwrap();
    assert_eq!((known.list.serial, was), (3, false));
    assert_eq!(house.may_speak_to(&listed), Ok(()));
    assert_eq!(house.may_speak_to(&other), Err(Refused::Denied));
    // Its keys are those of the list: nobody is asked for them, and no others count.
    let key = house.key(&listed, "ed25519:k7", NOW).await;
    assert_eq!(key.unwrap(), signing_key(7).public_base64());
    house.key(&listed, "ed25519:k8", NOW).await.unwrap_err();

    let (_, again) = house
        .import_list(&Act::operator(), list(3, 9).as_bytes())
        .await
        .unwrap();
    assert!(again);
    let older = house
        .import_list(&Act::operator(), list(2, 9).as_bytes())
        .await;
    assert!(
        matches!(
            older,
            Err(PeerListError::Older {
                serial: 2,
                known: 3
            })
        ),
        "{older:?}"
    );
    clock.advance(91 * DAY);
    let ended = house
        .import_list(&Act::operator(), list(4, 9).as_bytes())
        .await;
    assert!(
        matches!(ended, Err(PeerListError::Ended(Timestamp(_)))),
        "{ended:?}"
    );
    // The last good one stays, even after its time and a restart.
    let restarted = peers(store.clone(), clock.clone(), options(9));
    assert_eq!(restarted.may_speak_to(&listed), Ok(()));
    let signed = restarted.signed_list().await.unwrap().unwrap();
    assert_eq!(String::from_utf8(signed).unwrap(), list(3, 9));
    // Of another authority it is not.
    let elsewhere = peers(store.clone(), clock.clone(), options(8));
    assert_eq!(elsewhere.may_speak_to(&listed), Err(Refused::Denied));
    let unknown = peers(store, clock.clone(), FederationOptions::default());
    let nobody = unknown
        .import_list(&Act::operator(), list(5, 9).as_bytes())
        .await;
    assert!(matches!(nobody, Err(PeerListError::NoAuthority)));
}
