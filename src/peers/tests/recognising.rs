//! Requests that come in.

use std::collections::BTreeMap;

use runtime::Clock;

use super::{NOW, name, open, peers, signing_key};
use crate::{FederationOptions, Peers, Unauthorized, json::canonical, signing};

/// Peers that know the key of `a.test`, so that nothing is fetched.
fn knowing(folder: &std::path::Path) -> Peers {
    let clock = Clock::manual(NOW);
    let key = format!("ed25519:k5 {}", signing_key(5).public_base64());
    let pinned = ["a.test", "own.test"].map(|name| (name.to_owned(), vec![key.clone()]));
    let options = FederationOptions {
        pinned_keys: BTreeMap::from(pinned),
        denied_servers: vec!["bad.test".to_owned()],
        ..FederationOptions::default()
    };
    peers(open(folder, &clock), clock, options)
}

fn header(origin: &str, destination: &str, content: Option<&str>) -> String {
    let content = content.map(|content| canonical(content.as_bytes()).unwrap());
    let servers = (&*name(origin), &*name(destination));
    let request = ("PUT", "/_matrix/federation/v1/send/1?a=%20b");
    signing::authorization(&signing_key(5), request, servers, content.as_deref())
}

#[tokio::test]
async fn a_right_request_has_an_origin() {
    let folder = tempfile::tempdir().unwrap();
    let peers = knowing(folder.path());
    let header = header("a.test", "own.test", Some(r#"{"b":[1],"a":"é"}"#));
    let claim = peers.claim([header.as_str()].into_iter()).await.unwrap();
    let uri = "/_matrix/federation/v1/send/1?a=%20b";
    // The same content, written in another way.
    let body = "{ \"a\": \"\\u00e9\", \"b\": [ 1 ] }";
    let origin = claim.verify("PUT", uri, body.as_bytes()).unwrap();
    assert_eq!(origin, "a.test");
    for (method, uri, body) in [
        ("POST", uri, body),
        ("PUT", "/_matrix/federation/v1/send/2?a=%20b", body),
        ("PUT", "/_matrix/federation/v1/send/1?a= b", body),
        ("PUT", "/_matrix/federation/v1/send/1", body),
        ("PUT", uri, r#"{"a":"e","b":[1]}"#),
        ("PUT", uri, r#"{"a":"é","b":[1],"c":1}"#),
        ("PUT", uri, ""),
    ] {
        let refused = claim.verify(method, uri, body.as_bytes());
        assert!(
            matches!(refused, Err(Unauthorized::Signature)),
            "{method} {uri} {body}: {refused:?}"
        );
    }
    let refused = claim.verify("PUT", uri, b"{\"a\":1,\"a\":2}");
    assert!(
        matches!(refused, Err(Unauthorized::Content(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn claims_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let peers = knowing(folder.path());
    let right = header("a.test", "own.test", None);
    for (header, expected) in [
        (String::new(), "needs an Authorization header"),
        ("Bearer abc".to_owned(), "needs an Authorization header"),
        (
            right.replace("a.test", "a b"),
            "needs an Authorization header",
        ),
        (
            right.replace("ed25519:k5", "other:k5"),
            "needs an Authorization header",
        ),
        (right.replace("own.test", "c.test"), "signed for c.test"),
        (right.replace("own.test", "OWN.test"), "signed for OWN.test"),
        (
            right.replace("a.test", "bad.test"),
            "does not speak to that one",
        ),
        (right.replace("a.test", "own.test"), "the server itself"),
        (
            right.replace("ed25519:k5", "ed25519:k6"),
            "has no key ed25519:k6",
        ),
    ] {
        let refused = peers.claim([header.as_str()].into_iter()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{header}: {refused}");
    }
    // One good header is enough, and the destination may be left out.
    let old = right.replace("destination=\"own.test\",", "");
    let claim = peers.claim(["Bearer x", &old].into_iter()).await.unwrap();
    let uri = "/_matrix/federation/v1/send/1?a=%20b";
    assert!(claim.verify("PUT", uri, b"").is_ok());
    let forged = right.replace("sig=\"", "sig=\"A");
    let claim = peers.claim([forged.as_str()].into_iter()).await.unwrap();
    assert!(claim.verify("PUT", uri, b"").is_err());
}
