//! `cairn invite create`: links, QR codes and printed sheets.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Config, PASSWORD, Registration, Server, qr};

const NAMED: &str = "[well_known]\nclient = \"https://chat.council.example\"";

fn named() -> Server {
    Server::with(Config {
        registration: Registration::Invite,
        more: NAMED.into(),
        ..Config::default()
    })
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The path behind the server's address in a link.
fn path_of(link: &str) -> &str {
    link.strip_prefix("https://chat.council.example")
        .unwrap_or_else(|| panic!("{link} does not begin with the server's address"))
}

#[tokio::test]
async fn an_invitation_is_a_link_with_its_code() {
    let server = named();
    let told = printed(&server.cairn(&["invite", "create", "--expires-after-days", "7"]));
    assert!(
        told.starts_with("Invitation for one person, until "),
        "{told}"
    );
    let link = qr::in_blocks(&told);
    assert!(told.contains(&format!("  {link}\n")), "{told}");
    assert!(!told.contains('\x1b'), "colours outside of a terminal");
    let page = server.visitor().open(path_of(&link)).await;
    page.shows(200, &["Join localhost"]);
}

#[tokio::test]
async fn programs_get_the_link_beside_the_token() {
    let server = named();
    let made = server.cairn_json(&["invite", "create", "--uses", "3"]);
    let token = made["token"].as_str().unwrap();
    let link = format!("https://chat.council.example/join/{token}");
    assert_eq!(made["link"], link.as_str());
    assert_eq!(made["uses"], 3);
    assert!(made["expires_at"].is_null());
    assert_eq!(made["warnings"], serde_json::json!([]));

    let made = server.cairn_json(&["invite", "create", "--count", "2"]);
    let list = made["invitations"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    for one in list {
        let page = server
            .visitor()
            .open(path_of(one["link"].as_str().unwrap()))
            .await;
        page.shows(200, &[]);
    }
    assert_ne!(list[0]["token"], list[1]["token"]);
}

#[tokio::test]
async fn a_sheet_has_a_page_for_each_invitation() {
    let server = named();
    let folder = folder("sheet");
    let file = folder.join("sheet.html");
    let name = file.to_str().unwrap();
    let words = [
        "invite",
        "create",
        "--count",
        "3",
        "--expires-after-days",
        "14",
        "--sheet",
        name,
    ];
    let told = printed(&server.cairn(&words));
    assert!(told.contains(name), "{told}");
    assert!(!told.contains("/join/"), "the sheet alone has them: {told}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others may read it");
    let sheet = std::fs::read_to_string(&file).unwrap();
    assert!(sheet.starts_with("<!DOCTYPE html>"), "{sheet}");
    assert_eq!(sheet.matches("<section>").count(), 3);
    for part in ["Join localhost", "Valid until ", "For one person."] {
        assert_eq!(sheet.matches(part).count(), 3, "{part}");
    }
    let mut links = qr::in_page(&sheet);
    links.sort();
    links.dedup();
    assert_eq!(links.len(), 3);
    let visitor = server.visitor();
    for (number, link) in links.iter().enumerate() {
        assert!(sheet.contains(&format!("<code>{link}</code>")), "{link}");
        let token = path_of(link).trim_start_matches("/join/");
        let name = format!("printed{number}");
        let done = visitor.join(token, &name, PASSWORD).await;
        assert_eq!(done.status, 303, "{done:?}");
    }

    // A second time the file is there, and nothing is made.
    let before = server.cairn_json(&["invite", "list"]);
    let again = server.cairn(&words);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains(name));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), sheet);
    assert_eq!(server.cairn_json(&["invite", "list"]), before);
    let nowhere = folder.join("missing/sheet.html");
    let words = ["invite", "create", "--sheet", nowhere.to_str().unwrap()];
    assert_eq!(server.cairn(&words).status.code(), Some(1));
    assert_eq!(server.cairn_json(&["invite", "list"]), before);
}

#[tokio::test]
async fn without_a_known_address_there_is_no_link_and_a_word_about_it() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        ..Config::default()
    });
    let made = server.cairn_json(&["invite", "create"]);
    assert!(
        made["token"].is_string() && made["link"].is_null(),
        "{made}"
    );
    let warning = made["warnings"][0].as_str().unwrap();
    assert!(warning.contains("[well_known] client"), "{warning}");
    let folder = folder("no-address");
    let file = folder.join("sheet.html");
    let words = ["invite", "create", "--sheet", file.to_str().unwrap()];
    let refused = server.cairn(&words);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_listeners_own_address_is_used_and_said_so() {
    let folder = folder("listener");
    let config = folder.join("cairn.toml");
    let cairn = |words: &[&str]| {
        let mut command = Command::new(Server::binary());
        command.args(words).arg("--config").arg(&config);
        printed(&command.output().unwrap())
    };
    let data = folder.join("store");
    cairn(&[
        "init",
        "--server-name",
        "council.example",
        "--data-dir",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:18008",
    ]);
    // No server runs: the command does it by itself.
    let told = cairn(&["invite", "create"]);
    let link = qr::in_blocks(&told);
    assert!(link.starts_with("http://127.0.0.1:18008/join/"), "{link}");
    assert!(
        told.contains("No address of this server is configured"),
        "{told}"
    );

    let text = std::fs::read_to_string(&config).unwrap();
    let closed = text.replace("mode = \"invite\"", "mode = \"closed\"");
    std::fs::write(&config, closed).unwrap();
    let told = cairn(&["invite", "create"]);
    assert!(told.contains("Nobody can register now"), "{told}");
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("invitations-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
