//! The register of groups: who was in which room, and when.

use harness::{Server, User, eventually};
use serde_json::{Value, json};

/// The time of the server, as the command line writes it, with a moment of quiet around it.
async fn moment() -> String {
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let seconds = now.as_secs();
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S"])
        .output()
        .unwrap();
    let date = String::from_utf8(date.stdout).unwrap();
    format!("{}.{:03}Z", date.trim(), now.subsec_millis())
}

fn room_at(server: &Server, room: &str, at: &str) -> Value {
    server.cairn_json(&["register", "room", room, "--at", at])["room"].clone()
}

/// Who was in it, each with membership, power and who invited them.
fn members(room: &Value) -> Value {
    let members = room["members"].as_array().unwrap().iter();
    members
        .map(|member| {
            let power = match member["is_creator"] == true {
                true => json!("creator"),
                false => member["power"].clone(),
            };
            json!([
                member["user_id"],
                member["membership"],
                power,
                member["invited_by"]
            ])
        })
        .collect()
}

async fn three(server: &Server) -> (User, User, User) {
    let api = server.api();
    let boss = api.register_as("boss").await;
    (
        boss,
        api.register_as("anna").await,
        api.register_as("otto").await,
    )
}

#[tokio::test]
async fn for_any_moment_it_says_who_was_in_a_room() {
    let mut server = Server::start();
    let (boss, anna, otto) = three(&server).await;
    let before = moment().await;
    let room = boss
        .create_room(json!({ "name": "Roads", "room_version": "11", "room_alias_name": "roads" }))
        .await;
    boss.invite(&room, &anna).await;
    let invited = moment().await;
    anna.join(&room).await;
    let mut levels = boss.state(&room, "m.room.power_levels", "").await.ok();
    levels["users"][&anna.user_id] = 50.into();
    boss.set_state(&room, "m.room.power_levels", "", levels)
        .await;
    let visible = json!({ "history_visibility": "joined" });
    boss.set_state(&room, "m.room.history_visibility", "", visible)
        .await;
    anna.invite(&room, &otto).await;
    otto.join(&room).await;
    let full = moment().await;
    boss.act_on("kick", &room, &otto).await.ok();
    boss.set_state(&room, "m.room.name", "", json!({ "name": "Paths" }))
        .await;
    anna.leave(&room).await;
    let late = moment().await;
    // What it says does not depend on how the server ended.
    server.kill9();
    server.restart();
    let (b, a, o) = (&boss.user_id, &anna.user_id, &otto.user_id);
    assert_eq!(members(&room_at(&server, &room, &before)), json!([]));
    let then = room_at(&server, &room, &invited);
    let expected = json!([[a, "invite", 0, b], [b, "join", 100, null]]);
    assert_eq!(members(&then), expected, "{then:#}");
    assert_eq!(
        (&then["name"], &then["history_visibility"]),
        (&json!("Roads"), &json!("shared"))
    );
    let then = room_at(&server, &room, &full);
    let expected = json!([
        [a, "join", 50, b],
        [b, "join", 100, null],
        [o, "join", 0, a]
    ]);
    assert_eq!(members(&then), expected, "{then:#}");
    assert_eq!(
        (&then["name"], &then["history_visibility"]),
        (&json!("Roads"), &json!("joined"))
    );
    assert_eq!(then["members"][0]["organisation"], "localhost");
    let then = room_at(&server, "#roads:localhost", &late);
    assert_eq!(members(&then), json!([[b, "join", 100, null]]));
    assert_eq!(then["name"], "Paths");
    let now = server.cairn_json(&["register", "room", &room]);
    assert_eq!(members(&now["room"]), json!([[b, "join", 100, null]]));

    let person = server.cairn_json(&["register", "person", "otto"]);
    let stay = &person["stays"][0];
    assert_eq!(person["stays"].as_array().unwrap().len(), 1);
    assert_eq!(
        json!([
            stay["room_id"],
            stay["name"],
            stay["invited_by"],
            stay["ended_by"],
            stay["ended_with"]
        ]),
        json!([room, "Paths", a, b, "leave"])
    );
    assert!(stay["since"].as_u64() < stay["until"].as_u64());
    let mine = server.cairn_json(&["register", "person", b]);
    assert!(mine["stays"][0]["until"].is_null());

    let csv = server.cairn(&["register", "room", &room, "--at", &full, "--csv"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "user_id,organisation,membership,since,power,invited_by"
    );
    assert!(
        lines[1].starts_with(&format!("{a},localhost,join,2")),
        "{csv}"
    );
    assert_eq!(lines.len(), 4, "{csv}");
    // Who asked is told.
    let asked = server.cairn_json(&["audit", "show", "--verb", "register"]);
    assert_eq!(asked["entries"].as_array().unwrap().len(), 8, "{asked:#}");
}

#[tokio::test]
async fn creators_stand_above_all_levels_and_strangers_are_unknown() {
    let server = Server::start();
    let (boss, anna, _) = three(&server).await;
    let room = boss
        .create_room(json!({ "room_version": "12", "preset": "public_chat" }))
        .await;
    anna.join(&room).await;
    let now = server.cairn_json(&["register", "room", &room]);
    let expected = json!([
        [anna.user_id, "join", 0, null],
        [boss.user_id, "join", "creator", null],
    ]);
    assert_eq!(members(&now["room"]), expected);
    for words in [
        ["room", "!nobody:localhost"],
        ["room", "#none:localhost"],
        ["person", "nobody"],
    ] {
        let refused = server.cairn(&["register", words[0], words[1]]);
        assert_eq!(refused.status.code(), Some(1), "{words:?}");
    }
}

#[tokio::test]
async fn a_closed_account_ends_its_stays() {
    let server = Server::start();
    let (boss, anna, _) = three(&server).await;
    let room = boss.room_with(&[&anna]).await;
    server.cairn_json(&["user", "deactivate", "anna"]);
    let ended = async || {
        let person = server.cairn_json(&["register", "person", "anna"]);
        person["stays"][0]["until"].is_u64().then_some(person)
    };
    let person = eventually("the stay has ended", 10, ended).await;
    assert_eq!(person["stays"][0]["room_id"], room.as_str());
}
