//! What an operator does with the command, and what that means for users.

use std::time::Duration;

use harness::{Config, PASSWORD, Registration, Server, eventually};
use serde_json::json;

fn closed() -> Server {
    Server::with(Config {
        registration: Registration::Closed,
        ..Config::default()
    })
}

#[tokio::test]
async fn an_operator_makes_a_user_while_the_server_runs() {
    let server = closed();
    let made = server.cairn_with_input(
        &["user", "create", "clerk", "--password-from-stdin"],
        PASSWORD,
    );
    assert!(made.status.success(), "{made:?}");
    let api = server.api();
    api.login("clerk").await;
    let again = server.cairn_with_input(
        &["user", "create", "clerk", "--password-from-stdin"],
        PASSWORD,
    );
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let list = server.cairn_json(&["user", "list"]);
    assert!(list.to_string().contains("@clerk:localhost"), "{list}");
    let shown = server.cairn_json(&["user", "show", "clerk"]);
    assert!(shown.to_string().contains("@clerk:localhost"), "{shown}");
}

#[tokio::test]
async fn a_password_that_was_reset_ends_the_old_one() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let reset = server.cairn_with_input(
        &["user", "reset-password", "alice", "--password-from-stdin"],
        "a reset password",
    );
    assert!(reset.status.success(), "{reset:?}");
    api.try_login("alice", PASSWORD, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    api.try_login("alice", "a reset password", json!({}))
        .await
        .ok();
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_user_deactivated_by_the_operator_is_out() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let done = server.cairn(&["user", "deactivate", "alice"]);
    assert!(done.status.success(), "{done:?}");
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    let answer = api.try_login("alice", PASSWORD, json!({})).await;
    answer.refused(403, "M_USER_DEACTIVATED");
}

#[tokio::test]
async fn invitations_are_made_listed_and_revoked() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        ..Config::default()
    });
    let token = server.invitation();
    let listed = server.cairn_json(&["invite", "list"]);
    assert!(!listed.to_string().is_empty());
    let revoked = server.cairn(&["invite", "revoke", &token]);
    assert!(revoked.status.success(), "{revoked:?}");
    let path = format!("v1/register/m.login.registration_token/validity?token={token}");
    assert_eq!(server.api().get(path).await.ok()["valid"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_with_people_waiting_and_nothing_is_lost() {
    let mut server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "before the stop").await;
    let first = alice.sync().await;
    let path = format!("v3/sync?timeout=30000&since={}", first.next_batch());
    let waiting = tokio::spawn({
        let alice = alice.clone();
        async move {
            alice
                .try_request(alice.request(reqwest::Method::GET, &path))
                .await
                .is_ok()
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.stop();
    let _ = waiting.await;
    server.restart();
    assert_eq!(
        alice.event(&room, &said).await.ok()["content"]["body"],
        "before the stop"
    );
    let next = alice.say(&room, "after the stop").await;
    let synced = alice.sync_since(&first).await;
    assert_eq!(harness::event_ids(synced.timeline(&room)), [next.as_str()]);
}

#[tokio::test]
async fn a_second_server_does_not_open_the_same_data() {
    let server = Server::start();
    let second = server.cairn(&["serve"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    server.api().get("versions").await.ok();
}

#[tokio::test]
async fn a_changed_server_name_is_refused() {
    let mut server = Server::start();
    server.api().register_as("alice").await;
    server.stop();
    let file = server.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("\"localhost\"", "\"elsewhere.example\""),
    )
    .unwrap();
    let other = server.cairn(&["serve"]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let words = String::from_utf8_lossy(&other.stderr);
    assert!(
        words.contains("localhost") && words.contains("elsewhere.example"),
        "{words}"
    );
}

#[tokio::test]
async fn a_wrong_key_in_the_configuration_is_named_with_its_neighbour() {
    let server = Server::start();
    let file = server.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("sever_name = \"x\"\n{text}")).unwrap();
    let checked = server.cairn(&["config", "check"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let words = String::from_utf8_lossy(&checked.stderr);
    for part in ["sever_name", "server_name", "cairn.toml", "1"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_one_sentence() {
    let server = Server::start();
    let folder = new_folder();
    let file = folder.join("cairn.toml");
    let address = server.url().replace("http://", "");
    std::fs::write(
        &file,
        Config::default().text(&folder.join("data"), &address),
    )
    .unwrap();
    let output = std::process::Command::new(Server::binary())
        .args(["serve", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(&folder);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(&address), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

fn new_folder() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("taken-port");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn wrong_words_on_the_command_line_are_wrong_usage() {
    let output = std::process::Command::new(Server::binary())
        .arg("nonsense")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = std::process::Command::new(Server::binary())
        .arg("version")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn sighup_leaves_the_conversation_alone() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -HUP {}", server.process_id())])
        .status()
        .unwrap();
    assert!(sent.success());
    tokio::time::sleep(Duration::from_millis(300)).await;
    eventually("the server still answers", 5, async || {
        (alice.get("v3/account/whoami").await.status == 200).then_some(())
    })
    .await;
}
