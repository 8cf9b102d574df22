//! What an operator sees: `cairn federation`.

use serde_json::Value;

use crate::peer::{Behaviour, Peer};
use harness::neighbours::World;

fn steps(answer: &Value) -> Vec<(String, bool)> {
    let steps = answer["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            (
                step["step"].as_str().unwrap().to_owned(),
                step["ok"] == true,
            )
        })
        .collect()
}

fn step(name: &str, ok: bool) -> (String, bool) {
    (name.to_owned(), ok)
}

// The command is waited for without letting others run: they need a thread of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_is_wrong() {
    let world = World::of(&["a.test", "b.test", "odd.test", "gone.test"]);
    let (mut a, _b) = (world.start("a.test"), world.start("b.test"));
    let odd = Peer::start(&world, "odd.test").await;
    let version = "/_matrix/federation/v1/version";
    odd.on(
        version,
        Behaviour::Bytes(
            b"HTTP/1.1 200 X\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 2\r\n\r\n{}"
                .to_vec(),
        ),
    );
    odd.publish(odd.document(1_000));
    let check = |name: &str| a.server.cairn_json(&["federation", "check", name]);
    let good = check("b.test");
    assert_eq!(good["ok"], true, "{good}");
    let expected = ["rules", "place", "connection", "clock", "keys", "signature"];
    assert_eq!(steps(&good), expected.map(|name| step(name, true)));
    let found = good.to_string();
    for part in [
        "HTTP/2.0 over TLS from 127.0.0.1",
        "Cairn",
        "ed25519:",
        "the configuration says",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let bad = check("odd.test");
    assert_eq!(bad["ok"], false);
    let expected = [
        step("rules", true),
        step("place", true),
        step("connection", true),
        step("clock", false),
        step("keys", false),
        // It answers that there is no such profile.
        step("signature", true),
    ];
    assert_eq!(steps(&bad), expected, "{bad}");
    let gone = check("gone.test");
    assert_eq!(
        steps(&gone).last(),
        Some(&step("connection", false)),
        "{gone}"
    );
    let own = check("a.test");
    assert_eq!(steps(&own), [step("rules", false)], "{own}");

    // For people, with an exit code.
    let told = a.server.cairn(&["federation", "check", "b.test"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success() && text.contains("ok   signature"),
        "{text}"
    );
    let told = a.server.cairn(&["federation", "check", "gone.test"]);
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1));
    assert!(text.contains("FAIL connection"), "{text}");
    let told = a.server.cairn(&["federation", "check", "no name"]);
    assert_eq!(told.status.code(), Some(1));
    let told = a.server.cairn(&["federation", "status"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("This server signs with ed25519:"), "{text}");

    // A stopped server does the same, but cannot be asked for its keys meanwhile.
    a.server.stop();
    let good = a.server.cairn_json(&["federation", "check", "b.test"]);
    assert_eq!(good["steps"][2]["ok"], true, "{good}");
}

// The command is waited for without letting others run: they need a thread of their own.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_must_be_for_the_name_and_from_somebody_trusted() {
    let world = World::of(&["a.test", "b.test"]);
    // Two authorities that do not know each other; the same places.
    let stranger = World::of(&["b.test"]);
    let mut config = world.config("a.test", "");
    let (own, other) = (world.port("b.test"), stranger.port("b.test"));
    config.more = config.more.replace(&own.to_string(), &other.to_string());
    let a = harness::Server::with(config);
    let peer = Peer::start(&stranger, "b.test").await;
    let check = a.cairn_json(&["federation", "check", "b.test"]);
    let found = check["steps"][2]["found"].as_str().unwrap().to_owned();
    assert_eq!(check["steps"][2]["ok"], false, "{check}");
    assert!(found.contains("invalid peer certificate"), "{found}");
    assert_eq!(peer.asked(), [""; 0]);
    a.api()
        .get("v3/profile/@x:b.test")
        .await
        .refused(502, "M_UNKNOWN");

    // Somebody with a certificate for another name.
    let world = World::of(&["a.test", "b.test"]);
    let mut config = world.config("a.test", "");
    let place = format!("\"b.test\" = \"127.0.0.1:{}\"", world.port("b.test"));
    config.more = config
        .more
        .replace(&place, &place.replace("b.test", "c.test"));
    let a = harness::Server::with(config);
    let peer = Peer::start(&world, "b.test").await;
    let check = a.cairn_json(&["federation", "check", "c.test"]);
    let found = check["steps"][2]["found"].as_str().unwrap().to_owned();
    assert!(found.contains("c.test"), "{found}");
    assert!(found.to_lowercase().contains("name"), "{found}");
    assert_eq!(peer.asked(), [""; 0]);
}
