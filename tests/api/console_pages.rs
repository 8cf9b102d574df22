//! What the pages of the console show and do: people, rooms, the register, the trail, invitations.

use harness::{Config, Server};
use serde_json::{Value, json};

use crate::console::{audit, clerk, house};

#[tokio::test]
async fn people_are_found_looked_at_and_helped() {
    let (server, anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    helpdesk
        .open("/console/people?q=ann")
        .await
        .shows(200, &["@anna:localhost"])
        .hides(&["@auditor:"]);
    helpdesk
        .open("/console/people?which=roles")
        .await
        .shows(200, &["@auditor:"])
        .hides(&["@anna:"]);
    let page = helpdesk.open("/console/people/anna").await;
    page.shows(
        200,
        &["@anna:localhost", &anna.device_id, "Set a new password"],
    );
    // One who has a role is out of reach.
    helpdesk
        .open("/console/people/auditor")
        .await
        .shows(200, &["Auditor"])
        .hides(&["Set a new password"]);
    let path = "/console/people/@auditor:localhost/password";
    let fields = [("reason", "x"), ("typed", "auditor")];
    helpdesk
        .submit(path, &fields)
        .await
        .shows(403, &["administrators can do this"]);

    let path = "/console/people/@anna:localhost/password";
    helpdesk.open("/console/people/anna").await;
    let fields = [("reason", "forgot it"), ("typed", "ben")];
    helpdesk
        .submit(path, &fields)
        .await
        .shows(400, &["another one"]);
    let fields = [("reason", "forgot it"), ("typed", "anna")];
    let page = helpdesk
        .submit(path, &fields)
        .await
        .shows(200, &["new password of"]);
    let password = page.text.split("<code id=\"secret\">").nth(1).unwrap();
    let password = password.split('<').next().unwrap();
    let answer = server.api().try_login("anna", password, json!({})).await;
    answer.ok();
    let fields = [("user", "ben"), ("reason", "new colleague")];
    let page = helpdesk.submit("/console/people", &fields).await;
    page.shows(200, &["The account @ben:localhost was made"]);
    helpdesk
        .submit("/console/people", &fields)
        .await
        .shows(400, &["This was not done"]);
    helpdesk
        .open("/console/people/@nobody:localhost")
        .await
        .shows(404, &["There is nothing here"]);
}

#[tokio::test]
async fn lists_go_on_where_a_page_ended() {
    let server = Server::start();
    server.api().register_as("administrator").await;
    server.cairn_json(&["user", "promote", "administrator"]);
    for number in 0..60 {
        server
            .api()
            .register_as(&format!("person-{number:03}"))
            .await;
    }
    let mut clerk = clerk(&server, "administrator").await;
    let mut path = "/console/people?q=person".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = clerk.open(&path).await.shows(200, &[]);
        let ids = page.text.split("<th scope=\"row\"><a href=\"").skip(1);
        let ids: Vec<String> = ids
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect();
        assert!(ids.len() <= 50);
        seen.extend(ids);
        let Some(next) = page.text.split("class=\"pager\"><a href=\"").nth(1) else {
            break;
        };
        path = next.split('"').next().unwrap().replace("&amp;", "&");
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), sorted), (60, seen));
}

#[tokio::test]
async fn rooms_are_looked_at_and_the_register_answers() {
    let (server, anna) = house().await;
    let room = anna.create_room(json!({ "name": "Allotments <b>" })).await;
    let mut moderator = clerk(&server, "moderator").await;
    let page = moderator.open("/console/rooms?q=allot").await;
    page.shows(200, &["Allotments &lt;b&gt;"]).hides(&["<b>"]);
    let here = format!("/console/rooms/{room}");
    moderator
        .open(&here)
        .await
        .shows(200, &["Allotments", "@anna:localhost", "Not encrypted"]);
    let fields = [("user", "auditor"), ("reason", "asked by the mayor")];
    let page = moderator.submit(&format!("{here}/add"), &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    moderator
        .open(&here)
        .await
        .shows(200, &["@auditor:localhost"]);
    let page = moderator
        .submit(&format!("{here}/take-over"), &fields)
        .await;
    assert_eq!(page.status, 303, "{page:?}");
    let page = moderator
        .submit(&format!("{here}/block"), &[("reason", "x")])
        .await;
    assert_eq!(page.status, 303, "{page:?}");
    moderator
        .open(&here)
        .await
        .shows(200, &["Blocked", "Let people in again"]);

    let mut auditor = clerk(&server, "auditor").await;
    let page = auditor
        .open(&format!("/console/register?room={room}"))
        .await;
    // An id may be broken before its server's name.
    page.shows(
        200,
        &["@anna:<wbr>localhost", "@auditor:<wbr>localhost", "creator"],
    );
    let page = auditor
        .open(&format!(
            "/console/register?room={room}&at=2020-01-01&as=csv"
        ))
        .await;
    assert!(
        page.header("content-disposition").starts_with("attachment"),
        "{page:?}"
    );
    assert_eq!(
        page.text.lines().count(),
        1,
        "nobody was there then: {page:?}"
    );
    let page = auditor
        .open(&format!("/console/register?room={room}&as=json"))
        .await;
    let told: Value = serde_json::from_str(&page.text).unwrap();
    assert_eq!(told["members"].as_array().unwrap().len(), 2);
    let page = auditor.open("/console/register?person=anna").await;
    page.shows(200, &["Allotments", "still there"]);
    auditor
        .open("/console/register?room=!x:y&at=soon")
        .await
        .shows(400, &["2026-03-03"]);
    auditor
        .open("/console/register?room=!x:y")
        .await
        .shows(404, &["This was not done"]);
    assert!(audit(&server, "register.read").len() >= 4);
}

#[tokio::test]
async fn the_trail_is_searched_checked_and_copied() {
    let (server, _anna) = house().await;
    let mut auditor = clerk(&server, "auditor").await;
    let page = auditor
        .open("/console/audit?verb=person.roles&on=auditor")
        .await;
    page.shows(200, &["person.roles", "operator"])
        .hides(&["console.opened"]);
    let page = auditor.submit("/console/audit/verify", &[]).await;
    page.shows(200, &["The trail is whole"]);
    let page = auditor.submit("/console/audit/export", &[]).await;
    let file = server.data_dir().join("copy.jsonl");
    std::fs::write(&file, &page.text).unwrap();
    let checked = server.cairn_json(&["audit", "verify", "--file", file.to_str().unwrap()]);
    assert!(checked["entries"].as_u64().unwrap() > 5, "{checked}");
    assert_eq!(audit(&server, "audit.exported").len(), 1);
}

#[tokio::test]
async fn invitations_become_links_and_sheets() {
    let (server, _anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    helpdesk.open("/console/invitations").await;
    let fields = [
        ("count", "2"),
        ("uses", "1"),
        ("days", "7"),
        ("as", "links"),
    ];
    let page = helpdesk.submit("/console/invitations", &fields).await;
    let page = page.shows(200, &["An invitation"]);
    let link = page
        .text
        .split("/join/")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    server
        .visitor()
        .open(&format!("/join/{link}"))
        .await
        .shows(200, &["Join localhost"]);
    let fields = [
        ("count", "2"),
        ("uses", "1"),
        ("days", "7"),
        ("as", "sheet"),
    ];
    let page = helpdesk.submit("/console/invitations", &fields).await;
    assert_eq!(page.text.matches("<svg").count(), 2, "{page:?}");
    let name: String = link.chars().take(8).collect();
    helpdesk
        .open("/console/invitations")
        .await
        .shows(200, &[&name]);
    helpdesk
        .submit("/console/invitations/end", &[("invitation", &name)])
        .await;
    server
        .visitor()
        .open(&format!("/join/{link}"))
        .await
        .shows(404, &[]);
    let fields = [("count", "0"), ("uses", "1"), ("days", "7")];
    helpdesk
        .submit("/console/invitations", &fields)
        .await
        .shows(400, &["1 to 100"]);
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let server = Server::with(Config {
        registration_more: "shared_secret = \"very secret words\"".into(),
        ..Config::default()
    });
    server.api().register_as("administrator").await;
    server.cairn_json(&["user", "promote", "administrator"]);
    let mut clerk = clerk(&server, "administrator").await;
    let page = clerk.open("/console/settings").await;
    page.shows(200, &["shared_secret", "(hidden)", "server_name"])
        .hides(&["very secret"]);
    let page = clerk.open("/console/backups").await;
    page.shows(200, &["/var/backups/cairn"]);
}

#[tokio::test]
async fn servers_are_blocked_and_unblocked() {
    let (server, _) = house().await;
    let mut boss = clerk(&server, "administrator").await;
    boss.open("/console/federation").await;
    let form = [("server", "Spam.example"), ("reason", "advertising")];
    let page = boss.submit("/console/federation/block", &form[..1]).await;
    assert_eq!(page.status, 400, "without a reason: {page:?}");
    let own = [("server", "localhost"), ("reason", "a try")];
    let page = boss.submit("/console/federation/block", &own).await;
    assert_eq!(page.status, 400, "{page:?}");
    assert!(page.text.contains("this server itself"), "{page:?}");
    let page = boss.submit("/console/federation/block", &form).await;
    assert_eq!(page.status, 303, "{page:?}");
    let page = boss.open("/console/federation").await;
    for text in ["spam.example", "advertising"] {
        assert!(page.text.contains(text), "{page:?}");
    }
    let mut auditor = clerk(&server, "auditor").await;
    let seen = auditor.open("/console/federation").await;
    assert!(!seen.text.contains("/console/federation/block"), "{seen:?}");
    let unblock = "/console/federation/spam.example/unblock";
    for expected in [303, 404] {
        let page = boss.submit(unblock, &[("reason", "a mistake")]).await;
        assert_eq!(page.status, expected, "{page:?}");
    }
    for (verb, reason) in [
        ("federation.blocked", "advertising"),
        ("federation.unblocked", "a mistake"),
    ] {
        let told = audit(&server, verb);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["reason"], reason);
        assert_eq!(told[0]["by"], "@administrator:localhost");
        assert_eq!(told[0]["on"], "spam.example");
    }
}
