//! Invitations on paper.

use std::path::Path;

use harness::{Config, Registration, Server};

use crate::checks::look;
use crate::driver::Browser;
use crate::paper::{Side, print};

/// Makes `count` invitations to the server of this name and address, opens their sheet
/// and prints it.
async fn printed(name: &str, address: &str, count: usize, picture: &str) -> Vec<Side> {
    let server = Server::with(Config {
        server_name: name.into(),
        registration: Registration::Invite,
        more: format!("[well_known]\nclient = \"{address}\""),
        ..Config::default()
    });
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("sheet.html");
    let made = server.cairn(&[
        "invite",
        "create",
        "--count",
        &count.to_string(),
        "--expires-after-days",
        "14",
        "--sheet",
        file.to_str().expect("a name"),
    ]);
    assert!(made.status.success(), "{made:?}");
    let browser = Browser::phone().await;
    browser.open(&format!("file://{}", file.display())).await;
    look(&browser, picture).await;
    let sides = print(&browser, picture).await;
    assert_eq!(sides.len(), count, "one side of paper for each invitation");
    for side in &sides {
        is_complete(side, name, address, &file);
    }
    sides
}

/// The text of a side in one line, as it may be broken anywhere.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_complete(side: &Side, name: &str, address: &str, file: &Path) {
    let text = words(&side.text);
    let [link] = &side.codes[..] else {
        panic!("not one code: {:?}\n{text}", side.codes);
    };
    let token = link.strip_prefix(&format!("{address}/join/"));
    assert!(token.is_some_and(|token| token.len() > 10), "{link}");
    let unbroken = text.replace(' ', "");
    for part in [link, &format!("Join{name}")] {
        assert!(unbroken.contains(part), "{part}: {text}");
    }
    for part in ["Valid until ", "For one person."] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&file.display().to_string()), "{text}");
    // Printers leave the outermost millimetres white: 10 of 210 and of 297.
    let [left, top, right, bottom] = side.margins;
    assert!(left > 0.047 && right > 0.047, "{:?}", side.margins);
    assert!(top > 0.033 && bottom > 0.033, "{:?}", side.margins);
}

#[tokio::test]
async fn each_invitation_is_one_side_of_paper() {
    let sides = printed(
        "council.example",
        "https://chat.council.example",
        3,
        "sheet",
    )
    .await;
    let mut links: Vec<&String> = sides.iter().flat_map(|side| &side.codes).collect();
    links.sort();
    links.dedup();
    assert_eq!(links.len(), 3);
}

#[tokio::test]
async fn long_names_stay_on_one_side_of_paper() {
    let name = "chat.with-a-long-name.of-a-department.in-the-district.council.example";
    let address = format!("https://{name}:8448");
    printed(name, &address, 1, "sheet-long").await;
}
