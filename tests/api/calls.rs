//! Where calls find the servers that carry them (MSC4143).

use harness::{Config, Server};
use serde_json::json;

const TRANSPORTS: &str = "unstable/org.matrix.msc4143/rtc/transports";

#[tokio::test]
async fn clients_find_the_servers_of_calls() {
    let more = r#"[well_known]
client = "https://matrix.example"

[rtc]
livekit_service_urls = ["https://one.example", "https://two.example"]
"#;
    let server = Server::with(Config {
        more: more.into(),
        ..Config::default()
    });
    let api = server.api();
    let alice = api.register("alice").await;
    let transports = json!([
        { "type": "livekit", "livekit_service_url": "https://one.example" },
        { "type": "livekit", "livekit_service_url": "https://two.example" },
    ]);
    let answer = alice.get(TRANSPORTS).await.ok();
    assert_eq!(answer, json!({ "rtc_transports": transports }));
    api.anonymous()
        .get(TRANSPORTS)
        .await
        .refused(401, "M_MISSING_TOKEN");
    let page = api.get("/.well-known/matrix/client").await.ok();
    assert_eq!(page["org.matrix.msc4143.rtc_foci"], transports);
    assert_eq!(page["m.homeserver"]["base_url"], "https://matrix.example");
    let versions = api.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4143"], true);
}

#[tokio::test]
async fn a_server_without_calls_says_so() {
    let more = "[well_known]\nclient = \"https://matrix.example\"\n";
    let server = Server::with(Config {
        more: more.into(),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    let answer = alice.get(TRANSPORTS).await.ok();
    assert_eq!(answer, json!({ "rtc_transports": [] }));
    let page = alice.get("/.well-known/matrix/client").await.ok();
    assert!(page.get("org.matrix.msc4143.rtc_foci").is_none(), "{page}");
}
