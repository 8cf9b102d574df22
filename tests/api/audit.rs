//! The audit trail: what is told of whom, and that nobody can change it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use harness::{Server, User, eventually};
use serde_json::{Value, json};

/// The entries of the trail that a filter leaves, the oldest first.
fn entries(server: &Server, filter: &[&str]) -> Vec<Value> {
    let answer = server.cairn_json(&[&["audit", "show"], filter].concat());
    let mut entries = answer["entries"].as_array().unwrap().clone();
    entries.reverse();
    entries
}

/// Waits until a filter leaves so many entries: memberships are written behind the log.
async fn until(server: &Server, filter: &[&str], number: usize) -> Vec<Value> {
    let found = async || {
        let found = entries(server, filter);
        (found.len() >= number).then_some(found)
    };
    let found = eventually("entries of the audit trail", 10, found).await;
    assert_eq!(found.len(), number, "{found:#?}");
    found
}

fn text(server: &Server, words: &[&str]) -> String {
    let output = server.cairn(words);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// As anybody can compute it without us.
fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[tokio::test]
async fn what_is_done_to_people_is_told_with_who_where_and_why() {
    let server = Server::start();
    let api = server.api();
    let (boss, anna) = (api.register_as("boss").await, api.register_as("anna").await);
    let promote = ["user", "promote", "boss", "--reason", "runs the server"];
    server.cairn_json(&promote);
    let lock = format!("v1/admin/lock/{}", anna.user_id);
    boss.put(&lock, json!({ "locked": true })).await.ok();
    server.cairn_json(&["user", "unlock", "anna", "--reason", "came back"]);
    server.cairn_json(&["user", "suspend", "anna", "--reason", "shouts"]);
    server.cairn_json(&["user", "reset-password", "anna"]);
    server.cairn_json(&["user", "deactivate", "anna", "--reason", "left the council"]);
    let told = entries(&server, &["--on", "anna", "--verb", "person"]);
    let told: Vec<Value> = told
        .iter()
        .map(|entry| json!([entry["verb"], entry["by"], entry["before"], entry["after"]]))
        .collect();
    let created = json!({ "roles": [], "is_guest": false, "device_id": anna.device_id });
    assert_eq!(
        told,
        [
            json!(["person.created", anna.user_id, null, created]),
            json!(["person.lock", boss.user_id, false, true]),
            json!(["person.lock", "operator", true, false]),
            json!(["person.suspension", "operator", false, true]),
            json!(["person.password", "operator", null, { "signed_out": true }]),
            json!(["person.closing", "operator", null, { "erase": false, "hands_over": true, "to": null }]),
            json!(["person.deactivated", "operator", { "roles": [] }, { "erased": false }]),
        ]
    );
    let by_boss = entries(&server, &["--by", "boss", "--verb", "person.lock"]);
    assert_eq!(by_boss[0]["from"], "127.0.0.1");
    let roles = entries(&server, &["--on", "boss", "--verb", "person.roles"]);
    assert_eq!(roles[0]["reason"], "runs the server");
    assert_eq!(
        (&roles[0]["before"], &roles[0]["after"]),
        (&json!([]), &json!(["administrator"]))
    );
    // What is written of rooms, where she was told of all this, may come later.
    let last = ["--on", "anna", "--verb", "person", "--limit", "1"];
    let line = text(&server, &[&["audit", "show"], &last[..]].concat());
    assert!(line.contains("because: left the council"), "{line}");
    assert!(line.contains("There is more: --before "), "{line}");
    // Times: all of it is of today.
    assert!(!entries(&server, &["--since", "2020-01-01"]).is_empty());
    assert!(entries(&server, &["--until", "2020-01-01T10:00"]).is_empty());
    let refused = server.cairn(&["audit", "show", "--since", "yesterday"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn sign_ins_failures_and_devices_are_told() {
    let server = Server::start();
    let api = server.api();
    let anna = api.register_as("anna").await;
    let phone = anna.another_device().await;
    for _ in 0..5 {
        let tried = api.try_login("anna", "a wrong password", json!({})).await;
        tried.refused(403, "M_FORBIDDEN");
    }
    // Who types the password where the name should be is not given away.
    let tried = api.try_login(harness::PASSWORD, "anna", json!({})).await;
    tried.refused(403, "M_FORBIDDEN");
    phone.post("v3/logout", json!({})).await.ok();
    let sessions = entries(&server, &["--verb", "session"]);
    let told: Vec<Value> = sessions
        .iter()
        .map(|entry| json!([entry["verb"], entry["by"], entry["on"], entry["from"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["session.opened", anna.user_id, anna.user_id, "127.0.0.1"]),
            json!(["session.refused", "nobody", anna.user_id, "127.0.0.1"]),
            json!(["session.refused", "nobody", null, "127.0.0.1"]),
        ]
    );
    assert_eq!(sessions[0]["after"]["is_new_device"], true);
    assert_eq!(sessions[0]["after"]["device_id"], phone.device_id.as_str());
    assert!(
        !Value::from(sessions)
            .to_string()
            .contains(harness::PASSWORD)
    );
    let devices = entries(&server, &["--verb", "device"]);
    assert_eq!(devices[0]["before"]["devices"], json!([phone.device_id]));
    assert_eq!(devices[0]["from"], "127.0.0.1");
}

/// A room with a history: two come in, one is put out, one gets more power.
async fn eventful(boss: &User, anna: &User, otto: &User) -> String {
    let room = boss.room_with(&[anna, otto]).await;
    let kick = json!({ "user_id": otto.user_id, "reason": "moved on" });
    boss.post(format!("v3/rooms/{room}/kick"), kick).await.ok();
    let levels = boss.state(&room, "m.room.power_levels", "").await.ok();
    let mut levels = levels;
    levels["users"][&anna.user_id] = 50.into();
    boss.set_state(&room, "m.room.power_levels", "", levels)
        .await;
    // Neither a name nor a message is a membership.
    anna.put(
        format!("v3/profile/{}/displayname", anna.user_id),
        json!({ "displayname": "Anna" }),
    )
    .await
    .ok();
    anna.say(&room, "nobody audits this").await;
    room
}

#[tokio::test]
async fn memberships_and_power_are_told_once_whatever_happens() {
    let mut server = Server::start();
    let api = server.api();
    let boss = api.register_as("boss").await;
    let (anna, otto) = (api.register_as("anna").await, api.register_as("otto").await);
    let room = eventful(&boss, &anna, &otto).await;
    server.kill9();
    server.restart();
    let members = ["--room", &room, "--verb", "room.membership"];
    let told = until(&server, &members, 4).await;
    let told: Vec<Value> = told
        .iter()
        .map(|entry| json!([entry["by"], entry["on"], entry["before"], entry["after"]]))
        .collect();
    let (b, a, o) = (&boss.user_id, &anna.user_id, &otto.user_id);
    for expected in [
        json!([b, b, null, "join"]),
        json!([a, a, null, "join"]),
        json!([o, o, null, "join"]),
        json!([b, o, "join", "leave"]),
    ] {
        assert!(told.contains(&expected), "{expected} in {told:#?}");
    }
    let kicked = entries(&server, &["--on", "otto", "--verb", "room.membership"]);
    assert_eq!(kicked.last().unwrap()["reason"], "moved on");
    let power = until(&server, &["--room", &room, "--verb", "room.power"], 2).await;
    assert_eq!(power[1]["before"], json!({}));
    assert_eq!(power[1]["after"], json!({ (format!("users {a}")): 50 }));
    let whole = text(&server, &["audit", "show", "--limit", "10000", "--json"]);
    assert!(!whole.contains("nobody audits this"));
    // Killed again and again, nothing is there twice.
    for _ in 0..2 {
        server.kill9();
        server.restart();
    }
    until(&server, &members, 4).await;
    assert_eq!(server.cairn_json(&["audit", "verify"])["ok"], true);
}

#[tokio::test]
async fn the_trail_is_verified_signed_and_noted_in_the_log() {
    let mut server = Server::start();
    let api = server.api();
    let (boss, anna) = (api.register_as("boss").await, api.register_as("anna").await);
    let otto = api.register_as("otto").await;
    eventful(&boss, &anna, &otto).await;
    server.cairn_json(&[
        "user",
        "lock",
        "anna",
        "--reason",
        "a \"quote\" and\na line",
    ]);
    server.stop();
    let verified = server.cairn_json(&["audit", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    server.restart();
    // The log has said where the trail ended when the server began: that is the noted hash.
    let hash = verified["hash"].as_str().unwrap();
    let told = async || {
        let log = std::fs::read_to_string(server.log_file()).unwrap();
        log.contains(hash).then_some(())
    };
    eventually("the end of the trail in the log", 10, told).await;
    let number = verified["entries"].to_string();
    let noted = ["audit", "verify", "--entry", &number, "--hash", hash];
    assert_eq!(server.cairn_json(&noted)["ok"], true);
    let other = "0".repeat(64);
    let wrong = server.cairn(&["audit", "verify", "--entry", &number, "--hash", &other]);
    assert_eq!(wrong.status.code(), Some(1));
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(told.contains(&format!("Entry {number}")), "{told}");

    let file = server.data_dir().join("../trail.jsonl");
    let name = file.to_str().unwrap();
    let written = server.cairn_json(&["audit", "export", name]);
    let mode = std::fs::metadata(&file).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o077, 0);
    let checked = server.cairn_json(&["audit", "verify", "--file", name]);
    assert_eq!(checked["entries"], written["entries"]);
    assert_eq!(checked["server"], "localhost");
    let lines = std::fs::read_to_string(&file).unwrap();
    // Each line but the last names the hash of the one before it, as anybody can compute.
    let first = lines.lines().next().unwrap();
    let second: Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
    assert_eq!(second["previous"], sha256(first));
    std::fs::write(&file, lines.replacen("@anna", "@otto", 1)).unwrap();
    let changed = server.cairn(&["audit", "verify", "--file", name]);
    assert_eq!(changed.status.code(), Some(1));
    // A file that is there is left alone.
    let again = server.cairn(&["audit", "export", name]);
    assert_eq!(again.status.code(), Some(1));
}
