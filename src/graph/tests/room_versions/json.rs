//! What clients may send as JSON, and signatures over JSON.

use graph::{MAX_JSON_DEPTH, Reason, SigningKey, canonical, canonical_text, verify_json};
use ruma_common::{CanonicalJsonObject, ServerName};

#[test]
fn numbers_are_integers_that_every_client_can_hold() {
    for (json, allowed) in [
        ("0", true),
        ("9007199254740991", true),
        ("-9007199254740991", true),
        ("9007199254740992", false),
        ("-9007199254740992", false),
        ("18446744073709551615", false),
        ("99999999999999999999999", false),
        ("1.5", false),
        ("1.0", false),
        ("1e3", false),
        ("-0", false),
        ("[[{\"deep\":2.5}]]", false),
    ] {
        let result = canonical(format!("{{\"a\":{json}}}").as_bytes(), 10);
        assert_eq!(result.is_ok(), allowed, "{json}");
        if !allowed {
            assert!(
                matches!(result, Err(Reason::BadFormat(text)) if text.contains("integer")),
                "{json}"
            );
        }
    }
}

#[test]
fn what_is_not_json_and_what_is_the_wrong_json() {
    for text in [
        "",
        "{",
        "{\"a\":}",
        "{\"a\":01}",
        "nonsense",
        "{} {}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":NaN}",
        "{'a':1}",
    ] {
        assert!(
            matches!(canonical(text.as_bytes(), 10), Err(Reason::NotJson(_))),
            "{text}"
        );
    }
    assert!(matches!(
        canonical(b"{\"a\":\"\xff\"}", 10),
        Err(Reason::NotJson(_))
    ));
    for text in [
        "[]",
        "1",
        "\"a\"",
        "null",
        "{\"a\":1,\"a\":2}",
        "{\"b\":{\"a\":1,\"\\u0061\":2}}",
    ] {
        assert!(
            matches!(canonical(text.as_bytes(), 10), Err(Reason::BadFormat(_))),
            "{text}"
        );
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| {
        format!(
            "{}{}",
            "{\"a\":".repeat(depth - 1) + "{}",
            "}".repeat(depth - 1)
        )
    };
    assert!(canonical(nested(5).as_bytes(), 5).is_ok());
    assert!(matches!(
        canonical(nested(6).as_bytes(), 5),
        Err(Reason::BadFormat(_))
    ));
    assert!(canonical(nested(MAX_JSON_DEPTH).as_bytes(), usize::MAX).is_ok());
    assert!(canonical(nested(MAX_JSON_DEPTH + 1).as_bytes(), usize::MAX).is_err());
    assert!(canonical(nested(100_000).as_bytes(), usize::MAX).is_err());
    assert!(
        canonical(
            format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes(),
            usize::MAX
        )
        .is_err()
    );
}

#[test]
fn the_canonical_text_is_sorted_and_short() {
    let read = canonical(
        r#" { "b" : "\u65E5\/\u0007" , "日": 1, "本": 2, "a": [ true, null ] } "#.as_bytes(),
        10,
    )
    .unwrap();
    assert_eq!(
        canonical_text(&read).unwrap(),
        "{\"a\":[true,null],\"b\":\"日/\\u0007\",\"日\":1,\"本\":2}"
    );
}

#[test]
fn signatures_are_those_of_the_specification() {
    // Appendices, "Cryptographic test vectors".
    let key = SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n").unwrap();
    assert_eq!(
        key.public_base64(),
        "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"
    );
    // The vector's last character has bits beyond the 32nd byte set: they are read over, and not written.
    assert_eq!(
        key.to_text(),
        "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0\n"
    );
    let domain = ServerName::parse("domain").unwrap();
    for (json, signature) in [
        (
            "{}",
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ",
        ),
        (
            "{\"one\":1,\"two\":\"Two\"}",
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ] {
        let mut object = canonical(json.as_bytes(), 10).unwrap();
        key.sign_json(&domain, &mut object).unwrap();
        assert!(canonical_text(&object).unwrap().contains(signature));
        let verified = |object: &CanonicalJsonObject, public: &str| {
            verify_json("domain", "ed25519:1", public, object)
        };
        assert_eq!(verified(&object, &key.public_base64()), Ok(()));
        // What is unsigned may change; another signature does not matter.
        object.insert("unsigned".to_owned(), "x".into());
        assert_eq!(verified(&object, &key.public_base64()), Ok(()));
        assert!(verified(&object, "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").is_err());
        assert!(verify_json("other", "ed25519:1", &key.public_base64(), &object).is_err());
        assert!(verify_json("domain", "ed25519:2", &key.public_base64(), &object).is_err());
        object.insert("one".to_owned(), "changed".into());
        assert!(verified(&object, &key.public_base64()).is_err());
    }
}

#[test]
fn key_files_and_names() {
    let key = SigningKey::generate([255; 32], "a_B9".to_owned()).unwrap();
    let again = SigningKey::parse(&key.to_text()).unwrap();
    assert_eq!(
        (again.key_id(), again.public_base64()),
        ("ed25519:a_B9", key.public_base64())
    );
    assert!(!format!("{key:?}").contains("//"));
    let padded = "  ed25519 a_B9 //////////////////////////////////////////8=  \n\n";
    assert_eq!(
        SigningKey::parse(padded).unwrap().public_base64(),
        key.public_base64()
    );
    for wrong in [
        "",
        "ed25519",
        "ed25519 1",
        "ed25519 1 AAAA",
        "ed25519 1 ?",
        "rsa 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
        "ed25519 a:b YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
        "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1 more",
        "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\ned25519 2 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
    ] {
        assert!(
            matches!(SigningKey::parse(wrong), Err(Reason::BadKey(_))),
            "{wrong}"
        );
    }
    for wrong in ["", "a b", "a-b", "ü"] {
        assert!(
            SigningKey::generate([1; 32], wrong.to_owned()).is_err(),
            "{wrong}"
        );
    }
}
