//! What the server writes to people about accounts that were made for them, and that end.

use harness::{Config, PASSWORD};
use serde_json::json;

use super::{Post, relay::link_of};

#[tokio::test]
async fn the_imported_get_their_invitations_by_mail() {
    let post = Post::start();
    let table = post.server.data_dir().with_file_name("people.csv");
    let text = "localpart,display_name,email\nrita,Rita,rita@council.example\npaul,Paul,\n";
    std::fs::write(&table, text).unwrap();
    let words = ["user", "import", table.to_str().unwrap(), "--mail"];
    let done = post.server.cairn_json(&words);
    assert_eq!(
        (&done["sent"], &done["without_invitation"]),
        (&json!(1), &json!(1)),
        "{done}"
    );
    let letter = post.relay.letter();
    assert_eq!(letter["to"], json!(["rita@council.example"]));
    let link = link_of(&letter);
    // Who has a letter gets no second one.
    let again = post.server.cairn_json(&words);
    assert_eq!(
        (&again["sent"], &again["unchanged"]),
        (&json!(0), &json!(2)),
        "{again}"
    );
    post.relay.is_quiet();
    let chosen = [("password", PASSWORD), ("again", PASSWORD)];
    let page = post.server.visitor().submit(&link, &chosen).await;
    assert_eq!(page.status, 303);
    post.api().try_login("rita", PASSWORD, json!({})).await.ok();
}

#[tokio::test]
async fn an_account_is_renewed_by_the_link_of_its_letter() {
    let post = Post::with(Config {
        more: "[accounts]\nvalidity_days = 100".to_owned(),
        ..Config::default()
    });
    let anna = post.api().register_as("anna").await;
    post.give(&anna, "anna@council.example").await;
    let send = "/_matrix/client/unstable/account_validity/send_mail";
    anna.post(send, json!({})).await.ok();
    let link = post.relay.link();
    // It has ended meanwhile, and another link comes all the same.
    post.server.cairn_json(&[
        "user",
        "expire",
        "anna",
        "--at",
        "2020-01-01",
        "--renewable",
    ]);
    anna.get("v3/account/whoami")
        .await
        .refused(401, "M_USER_LOCKED");
    let visitor = post.server.visitor();
    visitor.open(&link).await.shows(404, &["cannot be used"]);
    anna.post(send, json!({})).await.ok();
    let link = post.relay.link();
    let page = visitor.open(&link).await;
    page.shows(200, &["@anna:localhost", "Renew your account"]);
    // Opening it has changed nothing.
    anna.get("v3/account/whoami")
        .await
        .refused(401, "M_USER_LOCKED");
    visitor
        .submit(&link, &[])
        .await
        .shows(200, &["Your account is renewed"]);
    anna.get("v3/account/whoami").await.ok();
    visitor
        .submit(&link, &[])
        .await
        .shows(404, &["cannot be used"]);
    let shown = post.server.cairn_json(&["user", "show", "anna"]);
    assert_eq!(shown["about"]["renewable"], true);
    // What an administrator ends for good nobody renews.
    post.server
        .cairn_json(&["user", "expire", "anna", "--at", "2020-01-01"]);
    anna.post(send, json!({})).await.refused(403, "M_FORBIDDEN");
}
