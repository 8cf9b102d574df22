//! The console, as a council's clerk opens it: at a desk, on a phone, by keyboard.

use harness::{Config, PASSWORD, Server, one_time_code};
use serde_json::json;

use crate::axe;
use crate::checks::look;
use crate::driver::{Browser, ENTER, TAB};

/// A server with an administrator, a few people, a room and a report. Passkeys are made for
/// `localhost`, as its address is called.
async fn council() -> Server {
    let server = Server::with(Config {
        server_name: "council.example".into(),
        more: "[well_known]\nclient = \"http://localhost\"\n".into(),
        ..Config::default()
    });
    let api = server.api();
    api.register_as("clerk").await;
    server.cairn_json(&[
        "user",
        "promote",
        "clerk",
        "--reason",
        "looks after the server",
    ]);
    let anna = api.register_as("anna.berg").await;
    let name = json!({ "displayname": "Anna Berg" });
    anna.put(format!("v3/profile/{}/displayname", anna.user_id), name)
        .await
        .ok();
    let ben = api.register_as("ben.adeyemi").await;
    let name = json!({ "displayname": "Ben Adeyemi" });
    ben.put(format!("v3/profile/{}/displayname", ben.user_id), name)
        .await
        .ok();
    server.cairn_json(&["user", "promote", "ben.adeyemi", "--role", "helpdesk"]);
    server.cairn_json(&["user", "suspend", "ben.adeyemi", "--reason", "on leave"]);
    let options = json!({
        "name": "Planning committee",
        "topic": "Agendas and papers of the planning committee",
        "room_alias_name": "planning",
        "preset": "public_chat",
        "visibility": "public",
    });
    let room = anna.create_room(options).await;
    ben_reports(&server, &anna, &room).await;
    let works = "Works and parks";
    server.cairn_json(&["department", "create", works]);
    server.cairn_json(&["department", "add", works, "anna.berg"]);
    server.cairn_json(&["department", "add-room", works, &room]);
    anna.create_room(json!({ "name": "Allotments" })).await;
    server.cairn_json(&[
        "invite",
        "create",
        "--uses",
        "3",
        "--expires-after-days",
        "14",
    ]);
    server
}

async fn ben_reports(server: &Server, anna: &harness::User, room: &str) {
    let carl = server.api().register_as("carl.diaz").await;
    carl.post(format!("v3/join/{room}"), json!({})).await.ok();
    let content = json!({ "msgtype": "m.text", "body": "Buy cheap watches" });
    let path = format!("v3/rooms/{room}/send/m.room.message/one");
    let sent = anna.put(path, content).await.ok();
    let event = sent["event_id"].as_str().unwrap();
    let reason = json!({ "reason": "This is advertising" });
    carl.post(format!("v3/rooms/{room}/report/{event}"), reason)
        .await
        .ok();
}

fn address(server: &Server, path: &str) -> String {
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    format!("http://localhost:{port}/console/{path}")
}

async fn give_password(browser: &Browser, server: &Server, path: &str) {
    browser.open(&address(server, path)).await;
    browser.find("#user").await.write("clerk").await;
    browser.find("#password").await.write(PASSWORD).await;
    browser.find("form button").await.tap().await;
}

/// Signs in for the first time, with codes from an app.
async fn sign_in(browser: &Browser, server: &Server) {
    give_password(browser, server, "").await;
    set_up(browser).await;
}

/// Sets up codes from an app, for who has given the password for the first time.
async fn set_up(browser: &Browser) {
    assert_eq!(
        browser.title().await,
        "Set up a second factor · council.example"
    );
    let secret = browser.find("#secret").await.text().await;
    browser
        .find("#code")
        .await
        .write(&one_time_code(&secret))
        .await;
    browser.find("#password").await.write(PASSWORD).await;
    browser.find("form[action$=codes] button").await.tap().await;
    assert_eq!(
        browser.title().await,
        "Your recovery codes · council.example"
    );
    browser.find(".button").await.tap().await;
    assert_eq!(browser.title().await, "Overview · council.example");
}

const PAGES: [(&str, &str); 19] = [
    ("overview", ""),
    ("people", "people"),
    ("person", "people/@anna.berg:council.example"),
    ("invitations", "invitations"),
    ("import", "import"),
    ("departments", "departments"),
    ("department", "departments/Works%20and%20parks"),
    ("moderation", "moderation"),
    ("abandoned", "abandoned-rooms"),
    ("rooms", "rooms"),
    ("register", "register?room=%23planning:council.example"),
    ("register-person", "register?person=anna.berg"),
    ("reports", "reports"),
    ("media", "media?user=anna.berg"),
    ("federation", "federation"),
    ("audit", "audit"),
    ("settings", "settings"),
    ("backups", "backups"),
    ("account", "account"),
];

/// Opens everything that can be opened on a page.
const UNFOLD: &str = "document.querySelectorAll('details').forEach((one) => { one.open = true; })";

#[tokio::test]
async fn every_page_can_be_read_at_a_desk_and_on_a_phone() {
    let server = council().await;
    let browser = Browser::phone().await;
    browser.at_desk().await;
    browser.open(&address(&server, "sign-in")).await;
    look(&browser, "console-sign-in").await;
    axe::check(&browser, "sign-in").await;
    give_password(&browser, &server, "sign-in").await;
    look(&browser, "console-set-up").await;
    axe::check(&browser, "set-up").await;
    set_up(&browser).await;
    for (name, path) in PAGES {
        browser.at_desk().await;
        browser.open(&address(&server, path)).await;
        assert!(browser.find("h1").await.text().await.len() > 3, "{name}");
        look(&browser, &format!("console-{name}")).await;
        axe::check(&browser, name).await;
        browser.examine(UNFOLD).await;
        axe::check(&browser, &format!("{name}, unfolded")).await;
        browser.on_phone().await;
        browser.open(&address(&server, path)).await;
        look(&browser, &format!("console-{name}-phone")).await;
    }
    browser.at_desk().await;
    browser.open(&address(&server, "rooms")).await;
    browser.find("tbody a").await.tap().await;
    look(&browser, "console-room").await;
    browser.examine(UNFOLD).await;
    axe::check(&browser, "room").await;
    look(&browser, "console-room-unfolded").await;
    browser.on_phone().await;
    look(&browser, "console-room-unfolded-phone").await;
    browser.at_desk().await;
    browser.open(&address(&server, "people/anna.berg")).await;
    browser.examine(UNFOLD).await;
    look(&browser, "console-person-unfolded").await;
    browser.open(&address(&server, "reports")).await;
    browser.find("tbody a").await.tap().await;
    look(&browser, "console-report").await;
    axe::check(&browser, "report").await;
}

#[tokio::test]
async fn a_clerk_does_a_morning_s_work() {
    let server = council().await;
    let browser = Browser::phone().await;
    browser.at_desk().await;
    sign_in(&browser, &server).await;
    // The chart draws itself.
    let drawn = "return document.querySelectorAll('.chart svg path').length";
    assert_eq!(browser.examine(drawn).await, json!(3));
    assert_eq!(
        browser.find(".numbers .number strong").await.text().await,
        "4"
    );

    // Somebody is found and locked, with a reason.
    browser.open(&address(&server, "people")).await;
    browser.find("#q").await.write("anna").await;
    browser.find("main form button").await.tap().await;
    browser.find("tbody a").await.tap().await;
    assert_eq!(browser.find("h1").await.text().await, "Anna Berg");
    browser.find("form[action$=lock]").await;
    browser.examine(UNFOLD).await;
    browser
        .find("#lock-reason")
        .await
        .write("Phone stolen")
        .await;
    browser
        .find("form[action$='/lock'] button")
        .await
        .tap()
        .await;
    assert!(
        browser
            .find(".note.done")
            .await
            .text()
            .await
            .contains("audit trail")
    );
    assert_eq!(browser.find(".badge.bad").await.text().await, "Locked");

    // What is dangerous wants the name to be typed.
    browser.examine(UNFOLD).await;
    browser
        .find("#password-reason")
        .await
        .write("Forgotten")
        .await;
    browser.find("#password-typed").await.write("ben").await;
    browser
        .find("form[action$='/password'] button")
        .await
        .tap()
        .await;
    assert!(
        browser
            .find(".note.wrong")
            .await
            .text()
            .await
            .contains("another one")
    );
    browser.examine(UNFOLD).await;
    browser
        .find("#password-reason")
        .await
        .write("Forgotten")
        .await;
    browser
        .find("#password-typed")
        .await
        .write("anna.berg")
        .await;
    browser
        .find("form[action$='/password'] button")
        .await
        .tap()
        .await;
    assert!(browser.find("#secret").await.text().await.len() >= 16);
    look(&browser, "console-new-password").await;

    // A report is read and closed.
    browser.open(&address(&server, "reports")).await;
    browser.find("tbody a").await.tap().await;
    assert_eq!(
        browser.find("blockquote").await.text().await,
        "Buy cheap watches"
    );
    browser.examine(UNFOLD).await;
    browser
        .find("#close-reason")
        .await
        .write("Talked to her")
        .await;
    browser.find("form[action$=close] button").await.tap().await;
    assert!(
        browser
            .find("main")
            .await
            .text()
            .await
            .contains("Nothing was reported.")
    );

    // An invitation as a link with its picture.
    browser.open(&address(&server, "invitations")).await;
    browser.find("button[value=links]").await.tap().await;
    assert!(
        browser
            .find(".note.link code")
            .await
            .text()
            .await
            .contains("/join/")
    );
    look(&browser, "console-new-invitation").await;

    // Who could read this? And the trail has it all.
    browser.open(&address(&server, "register")).await;
    browser
        .find("#room")
        .await
        .write("#planning:council.example")
        .await;
    browser.find("main form button").await.tap().await;
    assert!(
        browser
            .find("table")
            .await
            .text()
            .await
            .contains("@carl.diaz:council.example")
    );
    browser
        .open(&address(&server, "audit?verb=person.lock"))
        .await;
    assert!(
        browser
            .find("tbody")
            .await
            .text()
            .await
            .contains("Phone stolen")
    );
    browser
        .find("form[action$=verify] button")
        .await
        .tap()
        .await;
    assert!(
        browser
            .find(".note.done")
            .await
            .text()
            .await
            .contains("The trail is whole")
    );
    browser
        .find("form[action$=sign-out] button")
        .await
        .tap()
        .await;
    assert_eq!(
        browser.title().await,
        "Sign in to the console · council.example"
    );
}

#[tokio::test]
async fn a_new_department_is_brought_in() {
    let server = council().await;
    let browser = Browser::phone().await;
    browser.at_desk().await;
    sign_in(&browser, &server).await;
    // From the spreadsheet: looked at, done, and on paper.
    browser.open(&address(&server, "people")).await;
    browser.find("a[href$=import]").await.tap().await;
    let table = "localpart,display_name\nrita,Rita Okoye\npaul,Paul Lind";
    browser.find("#table").await.write(table).await;
    browser.find("button[value=check]").await.tap().await;
    let report = browser.find("section[role=status]").await.text().await;
    assert!(report.contains("This is what would be done"), "{report}");
    look(&browser, "console-import-checked").await;
    axe::check(&browser, "import, checked").await;
    browser.find("#reason").await.write("New department").await;
    browser.find("button[value=apply]").await.tap().await;
    let report = browser.find("section[role=status]").await.text().await;
    assert!(report.contains("2 have no password yet"), "{report}");
    axe::check(&browser, "import, done").await;
    browser.find("button[value=paper]").await.tap().await;
    let paper = browser.find("main").await.text().await;
    assert!(paper.contains("Rita Okoye"), "{paper}");

    // More of them from a file.
    let file = server
        .data_dir()
        .parent()
        .expect("a folder")
        .join("more.csv");
    let more: String = (0..300).map(|number| format!("m{number}\n")).collect();
    std::fs::write(&file, format!("localpart\n{more}")).expect("a file");
    browser.open(&address(&server, "import")).await;
    let path = file.to_str().expect("a path of text");
    browser.find("#file").await.write(path).await;
    browser.find("form[action$=file] button").await.tap().await;
    let report = browser.find("section[role=status]").await.text().await;
    assert!(report.contains("This is what would be done"), "{report}");
    look(&browser, "console-import-file").await;
    axe::check(&browser, "import, a file that was looked at").await;
    browser
        .find("#file-reason")
        .await
        .write("New department")
        .await;
    browser.find("form[action$=kept] button").await.tap().await;
    let report = browser.find("section[role=status]").await.text().await;
    assert!(report.contains("300 have no password yet"), "{report}");
    axe::check(&browser, "import, a file that was imported").await;

    // Their department, with its room.
    browser.open(&address(&server, "departments")).await;
    browser.examine(UNFOLD).await;
    browser.find("#name").await.write("Libraries").await;
    browser.find("main form button").await.tap().await;
    assert_eq!(browser.find("h1").await.text().await, "Libraries");
    browser.examine(UNFOLD).await;
    browser.find("#user").await.write("rita").await;
    browser.find("#in-reason").await.write("New").await;
    browser
        .find("form[action$=put-in] button")
        .await
        .tap()
        .await;
    browser.find(".note.done").await;
    browser.examine(UNFOLD).await;
    browser
        .find("#room")
        .await
        .write("#planning:council.example")
        .await;
    browser.find("#room-reason").await.write("Agreed").await;
    browser
        .find("form[action$=get-room] button")
        .await
        .tap()
        .await;
    let shown = browser.find("main").await.text().await;
    assert!(shown.contains("@rita:council.example"), "{shown}");
    look(&browser, "console-new-department").await;

    // A room is deleted; how far it is stands among what is under way.
    browser.open(&address(&server, "rooms?q=allotments")).await;
    browser.find("tbody a").await.tap().await;
    browser.examine(UNFOLD).await;
    let id = browser.find("dd code").await.text().await;
    browser.find("#delete-typed").await.write(&id).await;
    browser.find("#delete-why").await.write("Over").await;
    browser
        .find("form[action$='/delete'] button")
        .await
        .tap()
        .await;
    let shown = browser.find("main").await.text().await;
    assert!(shown.contains("Delete a room"), "{shown}");
    look(&browser, "console-under-way").await;
    axe::check(&browser, "under way").await;
}

#[tokio::test]
async fn a_passkey_lets_in() {
    let server = council().await;
    let browser = Browser::phone().await;
    browser.at_desk().await;
    browser.with_authenticator().await;
    give_password(&browser, &server, "sign-in").await;
    browser.find("#name").await.write("This laptop").await;
    browser
        .find("#passkey-password")
        .await
        .write(PASSWORD)
        .await;
    browser
        .find("form[data-passkey=new] button")
        .await
        .tap()
        .await;
    assert_eq!(
        browser.title().await,
        "Your recovery codes · council.example"
    );
    browser.find(".button").await.tap().await;
    browser
        .find("form[action$=sign-out] button")
        .await
        .tap()
        .await;

    give_password(&browser, &server, "people").await;
    assert_eq!(browser.title().await, "Second factor · council.example");
    look(&browser, "console-second-factor").await;
    axe::check(&browser, "second factor").await;
    browser
        .find("form[data-passkey=known] button")
        .await
        .tap()
        .await;
    // Where one wanted to go.
    assert_eq!(browser.title().await, "People · council.example");
    browser.open(&address(&server, "account")).await;
    let text = browser.find("main").await.text().await;
    assert!(text.contains("Passkey: This laptop"), "{text}");
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let server = council().await;
    let browser = Browser::phone().await;
    browser.at_desk().await;
    sign_in(&browser, &server).await;
    browser.open(&address(&server, "people/anna.berg")).await;
    browser.press(TAB).await;
    assert_eq!(browser.focused().await.label().await, "Skip to the content");
    browser.press(ENTER).await;
    assert!(browser.url().await.ends_with("#content"));
    // To the act, into it, and done.
    let mut seen = Vec::new();
    loop {
        browser.press(TAB).await;
        let label = browser.focused().await.text().await;
        seen.push(label.clone());
        assert!(seen.len() < 60, "{seen:?}");
        if label == "Suspend" {
            break;
        }
    }
    browser.press(ENTER).await;
    browser.press(TAB).await;
    let reason = browser.focused().await;
    assert_eq!(reason.label().await, "Why?");
    reason.write("Rude").await;
    browser.press(ENTER).await;
    let mut badge = String::new();
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if browser.has(".badge.warn").await {
            badge = browser.find(".badge.warn").await.text().await;
            break;
        }
    }
    assert_eq!(badge, "Suspended");
}
