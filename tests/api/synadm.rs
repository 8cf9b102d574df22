//! synadm, the command line for Synapse's administrators, drives the server unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use harness::{PASSWORD, Server, python_with};
use serde_json::{Value, json};

/// What is installed from PyPI, the first time, into the target folder.
const SYNADM: &str = "synadm==0.49.2";

fn synadm() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let python = python_with(Path::new(env!("CARGO_TARGET_TMPDIR")), SYNADM);
        python.with_file_name("synadm")
    })
}

struct Tool {
    config: PathBuf,
}

impl Tool {
    /// What synadm prints.
    fn does(&self, words: &[&str]) -> String {
        let output = Command::new(synadm())
            .args(["--batch", "-o", "json", "-c"])
            .arg(&self.config)
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it prints of the server's answer.
    fn asks(&self, words: &[&str]) -> Value {
        let text = self.does(words);
        // Before its answer it may say what it does.
        let start = text.rfind("\n{").or(text.rfind("\n["));
        let answer = &text[start.map_or(0, |place| place + 1)..];
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }
}

#[tokio::test]
async fn synadm_administers_people_rooms_files_and_invitations() {
    let server = Server::start();
    let api = server.api();
    let boss = api.register_as("boss").await;
    let (anna, otto) = (api.register_as("anna").await, api.register_as("otto").await);
    server.cairn_json(&["user", "promote", "boss"]);
    let room = anna.room_with(&[&otto]).await;
    let config = server.data_dir().join("../synadm.yaml");
    let settings = json!({
        "user": boss.user_id, "token": boss.access_token, "base_url": server.url(),
        "admin_path": "/_synapse/admin", "matrix_path": "/_matrix", "timeout": 30,
        "server_discovery": "well-known", "homeserver": "localhost", "format": "json",
        "ssl_verify": false,
    });
    // JSON is YAML.
    fs::write(&config, settings.to_string()).unwrap();
    let tool = Tool { config };
    let (a, o) = (anna.user_id.as_str(), otto.user_id.as_str());

    let version = tool.asks(&["version"]);
    assert!(
        version["server_version"]
            .as_str()
            .unwrap()
            .starts_with("Cairn")
    );
    assert_eq!(tool.asks(&["user", "list"])["total"], 3);
    assert_eq!(tool.asks(&["user", "details", a])["name"], a);
    assert_eq!(tool.asks(&["user", "list", "-n", "ann"])["total"], 1);
    let made = tool.asks(&["user", "modify", "rita", "-n", "Rita", "-P", PASSWORD]);
    assert_eq!(made["displayname"], "Rita", "{made}");
    assert_eq!(tool.asks(&["user", "whois", a])["user_id"], a);
    assert_eq!(tool.asks(&["user", "membership", "--ids", a])["total"], 1);
    tool.asks(&["user", "password", "rita", "-p", "another long one"]);
    tool.asks(&["user", "suspend", "rita"]);
    tool.asks(&["user", "deactivate", "rita"]);

    // The other one is where the server has told Rita that she is suspended.
    assert_eq!(tool.asks(&["room", "list"])["total_rooms"], 2);
    assert_eq!(tool.asks(&["room", "details", &room])["joined_members"], 2);
    assert_eq!(tool.asks(&["room", "members", &room])["total"], 2);
    assert!(tool.asks(&["room", "state", &room])["state"].is_array());
    tool.asks(&["room", "make-admin", &room, "-u", o]);
    let levels = otto.state(&room, "m.room.power_levels", "").await.ok();
    assert!(levels["users"][o].as_i64().unwrap() >= 100, "{levels}");
    tool.asks(&["room", "block", &room]);
    assert_eq!(tool.asks(&["room", "block-status", &room])["block"], true);
    tool.asks(&["room", "block", &room, "-u"]);
    let private = anna.create_room(json!({})).await;
    tool.asks(&["room", "join", &private, o]);
    otto.say(&private, "here I am").await;

    let made = tool.asks(&["regtok", "new", "-u", "2"]);
    let token = made["token"].as_str().unwrap().to_owned();
    let listed = tool.asks(&["regtok", "list"]);
    let listed = listed["registration_tokens"]
        .as_array()
        .or(listed.as_array())
        .cloned();
    assert_eq!(listed.unwrap().len(), 1);
    let deleted = tool.does(&["regtok", "delete", &token]);
    assert!(deleted.contains("successfully"), "{deleted}");

    assert_eq!(tool.asks(&["media", "list", "-u", a])["total"], 0);
    tool.asks(&["notice", "send", a, "Good morning"]);
    let told = server.cairn_json(&["audit", "show", "--by", "boss", "--limit", "1000"]);
    assert!(told["entries"].as_array().unwrap().len() >= 10, "{told}");
}
