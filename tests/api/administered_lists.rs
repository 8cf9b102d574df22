//! The console's lists: they go on where a page ended, and each row stands on one of them.

use harness::{Clerk, escape};
use serde_json::json;

use crate::console::{clerk, house};

/// How many pages a list has, and what stands on all of them.
async fn all_pages(clerk: &mut Clerk, first: &str) -> (usize, String) {
    let (mut next, mut pages, mut text) = (Some(first.to_owned()), 0, String::new());
    while let Some(path) = next {
        let page = clerk.open(&path).await.shows(200, &[]);
        let pager = page.text.split("class=\"pager\"><a href=\"").nth(1);
        let to = pager.and_then(|rest| rest.split('"').next());
        next = to.map(|to| to.replace("&amp;", "&"));
        text += &page.text;
        pages += 1;
        assert!(pages < 10, "{path} leads in a circle");
    }
    (pages, text)
}

#[tokio::test]
async fn the_register_and_invitations_go_on_where_a_page_ended() {
    let (server, anna) = house().await;
    let room = anna.public_room().await;
    for number in 0..60 {
        let name = format!("guest{number}");
        server.api().register_as(&name).await.join(&room).await;
    }
    for number in 0..60 {
        anna.create_room(json!({ "name": format!("Plot {number}.") }))
            .await;
    }
    for _ in 0..2 {
        server.cairn_json(&["invite", "create", "--count", "40"]);
    }
    let mut administrator = clerk(&server, "administrator").await;
    let here = format!("/console/register?room={}", escape(&room));
    let (pages, text) = all_pages(&mut administrator, &here).await;
    assert_eq!(pages, 2);
    for number in 0..60 {
        let id = format!("@guest{number}:<wbr>localhost</");
        assert_eq!(text.matches(&id).count(), 1, "{id}");
    }
    let (pages, text) = all_pages(&mut administrator, "/console/register?person=anna").await;
    assert_eq!(pages, 2);
    for number in 0..60 {
        let name = format!(">Plot {number}.</");
        assert_eq!(text.matches(&name).count(), 1, "{name}");
    }
    let (pages, text) = all_pages(&mut administrator, "/console/invitations").await;
    assert_eq!(
        (pages, text.matches("name=\"invitation\"").count()),
        (2, 80)
    );
}

#[tokio::test]
async fn a_person_is_in_rooms_by_what_these_are_called() {
    let (server, anna) = house().await;
    anna.create_room(json!({ "name": "Allotments <b>" })).await;
    let mut auditor = clerk(&server, "auditor").await;
    auditor
        .open("/console/people/anna")
        .await
        .shows(200, &[">Allotments &lt;b&gt;</"]);
}
