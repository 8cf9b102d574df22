//! People beyond their accounts: imported from tables, invited, ended and renewed, put into
//! rooms by department, partners, limits of their own, closed with a handover.

use std::path::{Path, PathBuf};

use harness::{PASSWORD, Server, User, escape, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::administered::{house, house_with};

const NAMED: &str = "[well_known]\nclient = \"https://chat.council.example\"";

/// A table in a file of the server's folder.
fn table(server: &Server, name: &str, text: &str) -> PathBuf {
    let path = server.data_dir().parent().unwrap().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn import(server: &Server, file: &Path, more: &[&str]) -> Value {
    let mut words = vec!["user", "import", file.to_str().unwrap()];
    words.extend(more);
    server.cairn_json(&words)
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let entries = list.as_array().unwrap().iter();
    let names = entries.map(|entry| match field {
        "" => entry.as_str().unwrap().to_owned(),
        field => entry[field].as_str().unwrap().to_owned(),
    });
    names.collect()
}

async fn joined(user: &User) -> Vec<String> {
    names(&user.get("v3/joined_rooms").await.ok()["joined_rooms"], "")
}

/// Waits until somebody is in a room, or is not any more.
async fn is_in(user: &User, room: &str, expected: bool) {
    let what = format!("{} in {room}: {expected}", user.user_id);
    eventually(&what, 20, async || {
        let is = joined(user).await.iter().any(|known| known == room);
        (is == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_table_becomes_people_who_choose_their_passwords() {
    let (server, boss, _, _) = house_with(NAMED).await;
    server.cairn_json(&["department", "create", "Works"]);
    let people = table(
        &server,
        "people.csv",
        "localpart;display_name;email;department;kind;organisation;expires\n\
         rita;\"Berg; Rita\";Rita@council.example;Works;;;2099-03-31\n\
         paul;Paul;;;partner;Bridge Ltd;\n\
         anna;Anna Ärger;;;;;\n",
    );
    let dry = import(&server, &people, &["--dry-run"]);
    assert_eq!((&dry["new"], &dry["changed"]), (&json!(2), &json!(1)));
    boss.get("/_synapse/admin/v2/users/@rita:localhost")
        .await
        .refused(404, "M_NOT_FOUND");
    let sheet = people.with_file_name("sheet.html");
    let done = import(&server, &people, &["--sheet", sheet.to_str().unwrap()]);
    assert_eq!(
        (&done["new"], &done["to_be_given_out"]),
        (&json!(2), &json!(2))
    );
    let printed = std::fs::read_to_string(&sheet).unwrap();
    assert!(
        printed.contains("Berg; Rita (@rita:localhost)"),
        "{printed}"
    );
    // The same table again changes nothing, and nobody is invited twice.
    let again = import(&server, &people, &[]);
    assert_eq!(
        (&again["unchanged"], &again["without_invitation"]),
        (&json!(3), &json!(0))
    );
    let rita = boss
        .get("/_synapse/admin/v2/users/@rita:localhost")
        .await
        .ok();
    assert_eq!(rita["threepids"][0]["address"], "rita@council.example");
    // The end of the last day.
    assert_eq!(rita["cairn.expires_at"], 4_078_684_800_000_u64);
    let paul = boss
        .get("/_synapse/admin/v2/users/@paul:localhost")
        .await
        .ok();
    assert_eq!(
        (&paul["user_type"], &paul["cairn.organisation"]),
        (&json!("partner"), &json!("Bridge Ltd"))
    );
    let works = server.cairn_json(&["department", "show", "works"]);
    assert_eq!(names(&works["members"], ""), ["@rita:localhost"]);

    let link = printed
        .split("https://chat.council.example")
        .nth(1)
        .unwrap();
    let path = link.split(['<', '"']).next().unwrap().to_owned();
    let visitor = server.visitor();
    let page = visitor.open(&path).await;
    page.shows(200, &["Hello Berg; Rita", "@rita:localhost"]);
    let short = [("name", "x"), ("password", "x"), ("again", "x")];
    visitor
        .submit(&path, &short)
        .await
        .shows(400, &["password"]);
    let chosen = [("name", ""), ("password", PASSWORD), ("again", PASSWORD)];
    let page = visitor.submit(&path, &chosen).await;
    assert_eq!(page.status, 303);
    visitor.open(&path).await.shows(404, &["cannot be used"]);
    server
        .api()
        .try_login("rita", PASSWORD, json!({}))
        .await
        .ok();
    // With such a token nobody makes an account of another name.
    let left = printed
        .split("https://chat.council.example/join/")
        .nth(2)
        .unwrap();
    let token = left.split(['<', '"']).next().unwrap();
    let valid = format!("v1/register/m.login.registration_token/validity?token={token}");
    assert_eq!(server.api().get(valid).await.ok()["valid"], false);
}

#[tokio::test]
async fn bad_lines_are_told_by_line_and_nothing_is_half_done() {
    let (server, boss, _, _) = house().await;
    let people = table(
        &server,
        "bad.csv",
        "localpart,email,department,expires\n\
         rita,rita@council.example,,\n\
         Bad Name,,,\n\
         paul,no address,,\n\
         otto,rita@council.example,,\n\
         eva,,Nowhere,\n\
         uwe,,,soon\n\
         too,many,columns,in,here\n",
    );
    let output = server.cairn(&["user", "import", people.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in [3, 4, 5, 6, 7, 8] {
        assert!(
            told.contains(&format!("line {line}: ")),
            "line {line}: {told}"
        );
    }
    assert!(
        !told.contains("line 2: ") && told.contains("nothing was imported"),
        "{told}"
    );
    let rita = "/_synapse/admin/v2/users/@rita:localhost";
    boss.get(rita).await.refused(404, "M_NOT_FOUND");
    let done = import(&server, &people, &["--skip-bad"]);
    assert_eq!(
        (&done["new"], done["bad"].as_array().unwrap().len()),
        (&json!(1), 6)
    );
    boss.get(rita).await.ok();
    for (name, text) in [
        ("empty.csv", ""),
        ("column.csv", "localpart,pasword\na,b\n"),
    ] {
        let file = table(&server, name, text);
        let output = server.cairn(&["user", "import", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_where_it_stopped() {
    let (mut server, boss, _, _) = house_with(NAMED).await;
    let mut text = "localpart,display_name\n".to_owned();
    for number in 0..3_000 {
        text += &format!("person{number},Person {number}\n");
    }
    let people = table(&server, "many.csv", &text);
    let config = server.config_file();
    let mut running = std::process::Command::new(Server::binary())
        .args(["user", "import", people.to_str().unwrap(), "--config"])
        .arg(config)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let list = "/_synapse/admin/v2/users?limit=1&name=person";
    eventually("some people", 60, async || {
        let total = boss.get(list).await.ok()["total"].as_u64().unwrap();
        (total > 0).then_some(())
    })
    .await;
    running.kill().unwrap();
    running.wait().unwrap();
    server.kill9();
    server.restart();
    let boss = server.api().with_token(&boss.access_token);
    let before = boss.get(list).await.ok()["total"].as_u64().unwrap();
    assert!(before > 0 && before % 250 == 0, "whole pieces: {before}");
    let done = import(&server, &people, &[]);
    assert_eq!(done["new"].as_u64().unwrap() + before, 3_000);
    assert_eq!(done["unchanged"], before);
    assert_eq!(boss.get(list).await.ok()["total"], 3_000);
    let verified = server.cairn_json(&["audit", "verify"]);
    assert_eq!(verified["ok"], true);
}

#[tokio::test]
async fn an_account_ends_and_is_renewed() {
    let (server, boss, anna, _) = house_with("[accounts]\nvalidity_days = 365").await;
    let validity = "/_synapse/admin/v1/account_validity/validity";
    let body = json!({ "user_id": anna.user_id, "expiration_ts": 1_000 });
    let by_anna = anna.post(validity, body.clone()).await;
    by_anna.refused(403, "M_FORBIDDEN");
    let set = boss.post(validity, body).await.ok();
    assert_eq!(set["expiration_ts"], 1_000);
    let refused = anna.get("v3/sync").await.refused(401, "M_USER_LOCKED");
    assert_eq!(
        (&refused["soft_logout"], &refused["cairn.expired_at"]),
        (&json!(true), &json!(1_000))
    );
    let login = server.api().try_login("anna", PASSWORD, json!({})).await;
    login.refused(401, "M_USER_LOCKED");
    let renewed = server.cairn_json(&["user", "renew", "anna"]);
    assert_eq!(renewed["renewable"], true);
    // The token has waited, and everything is there.
    anna.get("v3/account/whoami").await.ok();
    let never = server.cairn_json(&["user", "expire", "anna", "--never", "--reason", "permanent"]);
    assert_eq!(never["expires_at"], Value::Null);
    let day = server.cairn_json(&["user", "expire", "anna", "--at", "2099-03-31"]);
    assert_eq!(day["expires"], "2099-04-01T00:00:00.000Z");
    let audit = server.cairn_json(&["audit", "show", "--verb", "person.end", "--on", "anna"]);
    assert_eq!(audit["entries"].as_array().unwrap().len(), 4);
    // Whoever registers now has an end of their own.
    let rita = server.api().register_as("rita").await;
    let shown = boss
        .get(format!("/_synapse/admin/v2/users/{}", rita.user_id))
        .await
        .ok();
    assert!(shown["cairn.expires_at"].as_u64().unwrap() > 1_800_000_000_000);
}

#[tokio::test]
async fn the_notice_of_an_end_comes_from_the_server() {
    let (mut server, _, anna, _) = house_with("[accounts]\nvalidity_days = 7").await;
    // Seven days are less than the fourteen of the notice; it comes when the server looks.
    server.kill9();
    server.restart();
    let anna = server.api().with_token(&anna.access_token);
    let first = json!({ "room": { "timeline": { "limit": 10 } } });
    let room = eventually("an invitation of the server", 20, async || {
        let synced = anna.get(format!(
            "v3/sync?filter={}",
            harness::escape(&first.to_string())
        ));
        let synced = synced.await.ok();
        let invited = synced["rooms"]["invite"].as_object()?;
        invited.keys().next().cloned()
    })
    .await;
    anna.post(
        format!("v3/rooms/{}/join", harness::escape(&room)),
        json!({}),
    )
    .await
    .ok();
    let messages = anna
        .get(format!(
            "v3/rooms/{}/messages?dir=b",
            harness::escape(&room)
        ))
        .await
        .ok();
    let text = messages.to_string();
    assert!(
        text.contains("your account @anna:localhost on localhost ends on"),
        "{text}"
    );
}

#[tokio::test]
async fn people_come_and_go_with_their_department() {
    let (mut server, boss, anna, otto) = house().await;
    let closed = boss.create_room(json!({ "preset": "private_chat" })).await;
    let space = boss
        .create_room(json!({ "preset": "private_chat", "creation_content": { "type": "m.space" } }))
        .await;
    for words in [
        &["department", "create", "Works"][..],
        &["department", "create", "Parks"],
        &["department", "add", "Works", "anna", "--reason", "new here"],
        &["department", "add-room", "Works", &closed],
        &["department", "add-room", "Works", &space],
    ] {
        server.cairn_json(words);
    }
    is_in(&anna, &closed, true).await;
    is_in(&anna, &space, true).await;
    // Whoever comes later comes in too, also where the server is killed in between.
    server.cairn_json(&["department", "add", "Works", "otto"]);
    server.cairn_json(&["department", "add-room", "Parks", &closed]);
    server.cairn_json(&["department", "add", "Parks", "otto"]);
    server.kill9();
    server.restart();
    let api = server.api();
    let (anna, otto) = (api.login("anna").await, {
        let _ = otto;
        api.login("otto").await
    });
    is_in(&otto, &closed, true).await;
    is_in(&otto, &space, true).await;
    server.cairn_json(&["department", "remove", "Works", "anna"]);
    is_in(&anna, &closed, false).await;
    // Otto belongs into the room for Parks still, and into the space no more.
    server.cairn_json(&["department", "remove", "Works", "otto"]);
    is_in(&otto, &space, false).await;
    assert!(joined(&otto).await.contains(&closed));
    let listed = server.cairn_json(&["department", "list"]);
    assert_eq!(
        names(&listed["departments"], "department"),
        ["Parks", "Works"]
    );
    let twice = server.cairn(&["department", "create", "parks"]);
    assert_eq!(twice.status.code(), Some(1));
}

#[tokio::test]
async fn a_department_follows_its_room_to_the_next_version_and_forgets_one_that_is_deleted() {
    let (server, boss, anna, otto) = house().await;
    let old = boss.create_room(json!({ "preset": "private_chat" })).await;
    for words in [
        &["department", "create", "Works"][..],
        &["department", "add", "Works", "anna"],
        &["department", "add", "Works", "otto"],
        &["department", "add-room", "Works", &old],
    ] {
        server.cairn_json(words);
    }
    is_in(&anna, &old, true).await;
    is_in(&otto, &old, true).await;
    // Whoever has gone is left alone, in the next room too.
    otto.post(format!("v3/rooms/{}/leave", escape(&old)), json!({}))
        .await
        .ok();
    let upgraded = boss
        .post(
            format!("v3/rooms/{}/upgrade", escape(&old)),
            json!({ "new_version": "12" }),
        )
        .await
        .ok();
    let new = upgraded["replacement_room"].as_str().unwrap();
    is_in(&anna, new, true).await;
    assert!(!joined(&otto).await.iter().any(|room| room == new));
    let works = server.cairn_json(&["department", "show", "Works"]);
    assert_eq!(works["rooms"], json!([new]));
    let trail = server.cairn_json(&["audit", "show", "--room", new]);
    let entries = trail["entries"].as_array().unwrap();
    let added = entries
        .iter()
        .find(|entry| entry["verb"] == "department.room_added");
    let added = added.unwrap();
    assert_eq!(
        (&added["by"], &added["on"], &added["before"]["room"]),
        (&json!(boss.user_id), &json!("Works"), &json!(old))
    );
    // Who comes into the department now comes into the new room alone.
    server.cairn_json(&["department", "remove", "Works", "otto"]);
    server.cairn_json(&["department", "add", "Works", "otto"]);
    is_in(&otto, new, true).await;
    assert!(!joined(&otto).await.contains(&old));
    server.cairn_json(&["room", "delete", new, "--confirm", new]);
    eventually("the department has no room", 20, async || {
        let works = server.cairn_json(&["department", "show", "Works"]);
        (works["rooms"] == json!([]) && works["waiting"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_closed_account_leaves_its_rooms_in_good_hands() {
    let (mut server, boss, anna, otto) = house().await;
    let rita = server.api().register_as("rita").await;
    // In one she is alone, in one others run it too, in two nobody else does.
    let alone = anna.create_room(json!({})).await;
    let shared = anna.room_with(&[&boss]).await;
    let levels = json!({ "users": { anna.user_id.as_str(): 100, boss.user_id.as_str(): 100 } });
    let version = json!({ "room_version": "11", "preset": "public_chat",
        "power_level_content_override": levels });
    let shared_run = anna.create_room(version).await;
    boss.join(&shared_run).await;
    let old = anna
        .create_room(json!({ "room_version": "11", "preset": "public_chat", "name": "Old" }))
        .await;
    for user in [&otto, &rita] {
        user.join(&old).await;
    }
    let planned = server.cairn_json(&["user", "handover", "anna"]);
    let mut rooms = names(&planned["rooms"], "room_id");
    rooms.sort();
    let mut expected = vec![shared.clone(), old.clone()];
    expected.sort();
    assert_eq!(rooms, expected, "{alone} and {shared_run} need nobody");
    let of = |planned: &Value, room: &str| {
        let rooms = planned["rooms"].as_array().unwrap();
        rooms.iter().find(|one| one["room_id"] == room).unwrap()["to"].clone()
    };
    // Who came first.
    assert_eq!(of(&planned, &old), "@otto:localhost");
    let named = server.cairn_json(&["user", "deactivate", "anna", "--to", "rita", "--dry-run"]);
    assert_eq!(of(&named, &shared), "@rita:localhost");
    let wrong = server.cairn(&["user", "deactivate", "anna", "--to", "anna"]);
    assert_eq!(wrong.status.code(), Some(1));
    // Two at once, and the server dies: what was begun goes on.
    let done = server.cairn_json(&[
        "user",
        "deactivate",
        "anna",
        "--to",
        "rita",
        "--reason",
        "left",
    ]);
    assert_eq!(done["rooms"].as_array().unwrap().len(), 2);
    server.kill9();
    server.restart();
    let api = server.api();
    let (rita, otto) = (api.login("rita").await, api.login("otto").await);
    let _ = otto;
    let levels = rita.state(&old, "m.room.power_levels", "").await.ok();
    assert_eq!(levels["users"]["@rita:localhost"], 100);
    // Into the other she was invited.
    rita.join(&shared).await;
    let name = json!({ "name": "Ours now" });
    rita.set_state(&shared, "m.room.name", "", name).await;
    let members = rita
        .get(format!("v3/rooms/{}/joined_members", harness::escape(&old)))
        .await
        .ok();
    assert!(
        members["joined"].get("@anna:localhost").is_none(),
        "{members}"
    );
    let handed = server.cairn_json(&["audit", "show", "--verb", "room.handed_over"]);
    assert_eq!(handed["entries"].as_array().unwrap().len(), 2);
    assert_eq!(handed["entries"][0]["reason"], "left");
}

#[tokio::test]
async fn two_administrators_at_once_leave_nothing_half_done() {
    let (server, boss, anna, otto) = house().await;
    let room = anna.room_with(&[&otto]).await;
    let second = server.api().register_as("second").await;
    server.cairn_json(&["user", "promote", "second"]);
    let path = format!("/_synapse/admin/v1/deactivate/{}", anna.user_id);
    let (one, other) = tokio::join!(
        boss.post(&path, json!({ "erase": false })),
        second.post(&path, json!({ "erase": false })),
    );
    one.ok();
    other.ok();
    let levels = otto.state(&room, "m.room.power_levels", "").await.ok();
    assert_eq!(levels["users"]["@otto:localhost"], 100);
    let people = table(
        &server,
        "same.csv",
        "localpart,display_name\nrita,Rita\nuwe,Uwe\n",
    );
    let words = ["user", "import", people.to_str().unwrap()];
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| server.cairn_json(&words));
        let other = scope.spawn(|| server.cairn_json(&words));
        (one.join().unwrap(), other.join().unwrap())
    });
    let made = one["new"].as_u64().unwrap() + other["new"].as_u64().unwrap();
    assert_eq!(made, 2, "{one} {other}");
    assert_eq!(server.cairn_json(&["audit", "verify"])["ok"], true);
}

#[tokio::test]
async fn limits_of_one_person_hold_for_that_person() {
    let (server, boss, anna, _) = house().await;
    let path = format!(
        "/_synapse/admin/v1/users/{}/override_ratelimit",
        anna.user_id
    );
    assert_eq!(boss.get(&path).await.ok(), json!({}));
    let limits = json!({ "messages_per_second": 0, "burst_count": 0 });
    assert_eq!(boss.post(&path, limits.clone()).await.ok(), limits);
    assert_eq!(boss.get(&path).await.ok(), limits);
    anna.post(&path, limits).await.refused(403, "M_FORBIDDEN");
    assert_eq!(boss.delete(&path, json!({})).await.ok(), json!({}));
    assert_eq!(boss.get(&path).await.ok(), json!({}));
    server.cairn_json(&[
        "user",
        "limit",
        "anna",
        "--devices",
        "1",
        "--media-bytes",
        "10",
    ]);
    let login = server.api().try_login("anna", PASSWORD, json!({})).await;
    login.refused_with(&[400, 403]);
    let upload = |bytes: &'static str| anna.raw(Method::POST, "/_matrix/media/v3/upload", bytes);
    upload("123456789").await.ok();
    upload("12").await.refused_with(&[403]);
    server.cairn_json(&["user", "limit", "anna", "--reset"]);
    server
        .api()
        .try_login("anna", PASSWORD, json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn the_suspended_and_the_locked_are_told() {
    let (server, _, anna, _) = house().await;
    let why = ["--tell", "Call the helpdesk.", "--reason", "case 7"];
    let mut words = vec!["user", "suspend", "anna"];
    words.extend(why);
    server.cairn_json(&words);
    let synced = anna.get("v3/sync").await.ok();
    let room = synced["rooms"]["invite"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    // There the suspended may come, to read why.
    anna.join(&room).await;
    anna.post("v3/createRoom", json!({}))
        .await
        .refused(403, "M_USER_SUSPENDED");
    server.cairn_json(&["user", "unsuspend", "anna"]);
    let told = anna
        .get(format!(
            "v3/rooms/{}/messages?dir=b",
            harness::escape(&room)
        ))
        .await
        .ok();
    let told = told.to_string();
    assert!(
        told.contains("Call the helpdesk.") && told.contains("not suspended any more"),
        "{told}"
    );
    assert!(
        !told.contains("case 7"),
        "the audit trail's reason is its own: {told}"
    );
    words[1] = "lock";
    server.cairn_json(&words);
    let refused = anna.get("v3/sync").await.refused(401, "M_USER_LOCKED");
    assert_eq!(
        refused["error"],
        "This account is locked: Call the helpdesk."
    );
}
