//! Signatures that an event gets after it was made.

use graph::{SigningKey, Unchecked, Version};
use ruma_common::{CanonicalJsonObject, ServerName};
use serde_json::Value;

use crate::room::{ALICE, Room, key};

const KEY: &str = "ed25519:policy_server";

fn policy_key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], "policy_server".to_owned()).unwrap()
}

#[test]
fn a_policy_server_signs_beside_the_sender_under_whatever_name() {
    for version in [Version::V6, Version::V10, Version::V12] {
        let event = Room::new(version).say(ALICE, "hello").unwrap();
        for name in ["a.example", "b.example"] {
            let server = ServerName::parse(name).unwrap();
            let key_of_it = policy_key(1);
            let redacted = graph::redact(&event).unwrap();
            let mut redacted: CanonicalJsonObject = serde_json::from_str(redacted.json()).unwrap();
            key_of_it.sign_json(&server, &mut redacted).unwrap();
            let signed: Value = serde_json::to_value(&redacted).unwrap();
            let signature = signed["signatures"][name][KEY].as_str().unwrap();

            let public = key_of_it.public_base64();
            assert!(!event.is_signed_by(&server, KEY, &public));
            let signed = event.with_signature(&server, KEY, signature).unwrap();
            assert!(signed.is_signed_by(&server, KEY, &public), "{version}");
            // As people write keys, too.
            let written = format!("{}=", public.replace('+', "-").replace('/', "_"));
            assert!(signed.is_signed_by(&server, KEY, &written));
            for (key_id, public) in [
                (KEY, policy_key(2).public_base64()),
                ("ed25519:other", public.clone()),
                (KEY, "no key".to_owned()),
            ] {
                assert!(!signed.is_signed_by(&server, key_id, &public));
            }
            assert!(!signed.is_signed_by(&ServerName::parse("c.example").unwrap(), KEY, &public));
            // It is the same event, and its sender's signature stands.
            assert_eq!(signed.event_id(), event.event_id());
            let unchecked = Unchecked::read(signed.json().as_bytes(), version).unwrap();
            assert_eq!(unchecked.event_id(), event.event_id());
            let own = key().public_base64();
            let known = |_: &ServerName, key_id: &str, _: u64| {
                (key_id != KEY).then(|| graph::VerifyKey {
                    public_key: own.clone(),
                    valid_until: u64::MAX,
                })
            };
            assert!(unchecked.check(known).is_ok(), "{version}");
        }
    }
}

#[test]
fn a_signature_counts_as_size() {
    let mut room = Room::new(Version::V12);
    let event = room.say(ALICE, &"x".repeat(64_000)).unwrap();
    let server = ServerName::parse("b.example").unwrap();
    let large = event.with_signature(&server, KEY, &"A".repeat(2_000));
    assert!(matches!(large, Err(graph::Reason::TooLarge { .. })));
}
