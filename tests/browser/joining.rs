//! A colleague joins by a link.

use harness::{Config, PASSWORD, Registration, Server};

use crate::checks::look;
use crate::driver::{Browser, ENTER, TAB};

const CLIENTS: &str = r#"
[joining]
clients = [
  { name = "Element X", platform = "Android", address = "https://files.council.example/element-x.apk" },
  { name = "Element X", platform = "iPhone", address = "https://apps.apple.com/app/element-x/id1631335820" },
  { name = "Element", platform = "Windows", address = "https://files.council.example/element.exe" },
]
"#;

fn council(more: &str) -> Server {
    Server::with(Config {
        server_name: "council.example".into(),
        registration: Registration::Invite,
        more: more.into(),
        ..Config::default()
    })
}

#[tokio::test]
async fn a_colleague_joins_by_a_link() {
    let server = council(CLIENTS);
    let link = format!("{}/join/{}", server.url(), server.invitation());
    let browser = Browser::phone().await;

    browser.open(&link).await;
    assert_eq!(browser.title().await, "Join council.example");
    look(&browser, "join").await;
    for (id, label, role) in [
        ("#name", "User name", "textbox"),
        ("#password", "Password", "textbox"),
        ("#again", "Password again", "textbox"),
        ("button", "Create my account", "button"),
        ("h1", "Join council.example", "heading"),
    ] {
        let found = browser.find(id).await;
        assert_eq!(
            (found.label().await, found.role().await),
            (label.into(), role.into())
        );
    }

    browser.find("#name").await.write("Anna.Berg").await;
    browser.find("#password").await.write(PASSWORD).await;
    browser.find("#again").await.write(PASSWORD).await;
    browser.find("button").await.tap().await;
    let done = format!("{}/joined?name=anna.berg", server.url());
    assert_eq!(browser.url().await, done);
    assert_eq!(browser.title().await, "Welcome, anna.berg");
    let id = browser.find("#user-id").await.text().await;
    assert_eq!(id, "@anna.berg:council.example");
    assert_eq!(browser.find("#address").await.text().await, server.url());
    let client = browser.find(".clients a").await;
    assert_eq!(client.label().await, "Element X for Android");
    let code = browser.find("svg").await;
    assert_eq!(code.role().await, "image");
    assert!(code.label().await.ends_with(&done));
    look(&browser, "joined").await;
    // Neither loading it again nor the link makes another account.
    browser.reload().await;
    assert_eq!(browser.title().await, "Welcome, anna.berg");
    browser.open(&link).await;
    assert_eq!(browser.title().await, "This invitation cannot be used");
    look(&browser, "gone").await;
    browser.find("a").await.tap().await;
    assert_eq!(browser.title().await, "Sign in to council.example");

    let user = server.api().login("anna.berg").await;
    assert_eq!(user.user_id, "@anna.berg:council.example");
}

#[tokio::test]
async fn mistakes_are_shown_beside_their_fields() {
    let server = council("");
    let taken = server.visitor();
    taken.join(&server.invitation(), "anna", PASSWORD).await;
    let browser = Browser::phone().await;
    browser
        .open(&format!("{}/join/{}", server.url(), server.invitation()))
        .await;
    browser.find("#name").await.write("anna").await;
    browser.find("#password").await.write("short").await;
    browser.find("button").await.tap().await;

    assert_eq!(browser.title().await, "Look again: Join council.example");
    assert_eq!(browser.find(".summary").await.role().await, "alert");
    let summary = browser.find(".summary").await.text().await;
    for mistake in [
        "The name anna is taken. Choose another one.",
        "This password is too short: it needs at least 8 characters.",
    ] {
        assert!(summary.contains(mistake), "{summary}");
    }
    assert_eq!(browser.find("#name").await.property("value").await, "anna");
    assert_eq!(browser.find("#password").await.property("value").await, "");
    assert_eq!(browser.focused().await.property("id").await, "name");
    let described = "return document.querySelector('#name').getAttribute('aria-describedby') \
                     .split(' ').map((id) => document.getElementById(id).textContent)";
    let described = browser.examine(described).await.to_string();
    assert!(described.contains("The name anna is taken"), "{described}");
    look(&browser, "mistakes").await;
    browser.find(".summary li:last-child a").await.tap().await;
    assert!(browser.url().await.ends_with("#password"));
    look(&browser, "mistakes-followed").await;
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let server = council("");
    let browser = Browser::phone().await;
    browser
        .open(&format!("{}/join/{}", server.url(), server.invitation()))
        .await;
    for (id, text) in [("name", "bea"), ("password", PASSWORD), ("again", PASSWORD)] {
        browser.press(TAB).await;
        let field = browser.focused().await;
        assert_eq!(field.property("id").await, id);
        field.write(text).await;
    }
    browser.press(TAB).await;
    assert_eq!(browser.focused().await.text().await, "Create my account");
    browser.press(ENTER).await;
    harness::eventually("the page after joining", 10, async || {
        (browser.title().await == "Welcome, bea").then_some(())
    })
    .await;
    server.api().login("bea").await;
}

#[tokio::test]
async fn long_names_do_not_break_the_page() {
    let server = council(
        "[well_known]\nclient = \"https://chat.with-a-long-name.department.council.example:8448\"",
    );
    let name = "a.very-long.name/".repeat(10);
    let browser = Browser::phone().await;
    let url = format!("{}/joined?name={}", server.url(), harness::escape(&name));
    browser.open(&url).await;
    assert!(browser.find("#user-id").await.text().await.contains(&name));
    look(&browser, "long").await;
    let url = format!("{}/join/{}", server.url(), server.invitation());
    browser.open(&url).await;
    browser.find("#name").await.write(&"ö".repeat(200)).await;
    browser.find("#name").await.empty().await;
    browser.find("#name").await.write(&"x y".repeat(60)).await;
    browser.find("button").await.tap().await;
    look(&browser, "long-mistake").await;
}

#[tokio::test]
async fn who_cannot_join_is_told_kindly() {
    let server = Server::with(Config {
        server_name: "council.example".into(),
        registration: Registration::Closed,
        ..Config::default()
    });
    let browser = Browser::phone().await;
    browser.open(&format!("{}/join/x", server.url())).await;
    assert_eq!(browser.title().await, "Nobody can join at the moment");
    browser.find("h1").await;
}
