//! A server that was restored from a backup, among others who remember what it does not.

use std::path::Path;

use harness::neighbours::{Neighbour, World};
use harness::signing::DeviceKeys;
use harness::{Api, Server, User, escape, eventually};
use serde_json::json;

/// The devices of somebody as another sees them.
async fn devices(seen_by: &User, whose: &User) -> Vec<String> {
    let query = json!({ "device_keys": { &whose.user_id: [] } });
    let answer = seen_by.post("v3/keys/query", query).await.ok();
    let keys = answer["device_keys"][&whose.user_id].as_object();
    let mut found: Vec<String> = keys.into_iter().flatten().map(|it| it.0.clone()).collect();
    found.sort();
    found
}

async fn sees(seen_by: &User, whose: &User, expected: &[&User]) {
    let mut expected: Vec<_> = expected.iter().map(|it| it.device_id.clone()).collect();
    expected.sort();
    let what = format!("{} sees {expected:?}", seen_by.user_id);
    eventually(&what, 30, async || {
        (devices(seen_by, whose).await == expected).then_some(())
    })
    .await;
}

async fn with_keys(user: User) -> User {
    DeviceKeys::of(&user).upload(&user, 1).await;
    user
}

/// Lays a backup out in a new folder.
fn restore(from: &str, at: &Path) {
    let output = std::process::Command::new(Server::binary())
        .args(["backup", "restore", from, "--json", "--into"])
        .arg(at.join("data"))
        .arg("--config")
        .arg(at.join("cairn.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_true_on_both_sides_after_a_restore() {
    let world = World::of(&["a.test", "b.test"]);
    let soon = "retry_delay_max = 1";
    let mut a = world.start_with("a.test", soon);
    let b = world.start_with("b.test", soon);
    let mut alice = with_keys(a.api.register("alice").await).await;
    let bob = with_keys(b.api.register("bob").await).await;
    let options = json!({ "preset": "public_chat" });
    let room = alice.create_room(options).await;
    let path = format!("v3/join/{}?via=a.test", escape(&room));
    bob.post(path, json!({})).await.ok();
    sees(&bob, &alice, &[&alice]).await;
    sees(&alice, &bob, &[&bob]).await;

    let backups = tempfile::tempdir().unwrap();
    let to = backups.path().to_str().unwrap();
    a.server.cairn_json(&["backup", "create", to]);
    // What comes now the backup does not know.
    let lost = with_keys(alice.another_device().await).await;
    let kept = with_keys(bob.another_device().await).await;
    sees(&bob, &alice, &[&alice, &lost]).await;
    sees(&alice, &bob, &[&bob, &kept]).await;

    let elsewhere = tempfile::tempdir().unwrap();
    a.server.kill9();
    restore(to, elsewhere.path());
    let server = Server::on(elsewhere.path(), world.config("a.test", soon));
    let a = Neighbour {
        api: server.api(),
        door: Api::new(&server.urls()[2]),
        server,
    };
    alice.api = a.server.api().with_token(&alice.access_token);
    sees(&bob, &alice, &[&alice]).await;
    sees(&alice, &bob, &[&bob, &kept]).await;
    // And it goes on from there, both ways.
    let new = with_keys(alice.another_device().await).await;
    sees(&bob, &alice, &[&alice, &new]).await;
    let newer = with_keys(bob.another_device().await).await;
    sees(&alice, &bob, &[&bob, &kept, &newer]).await;
}
