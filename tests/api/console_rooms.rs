//! The console's pages about what is done with rooms: marking, opening to partners, closing,
//! shrinking, deleting, redacting, ban lists, and rooms that nobody administers.

use harness::{Clerk, Config, Server, User, eventually};
use serde_json::json;

use crate::console::{audit, clerk, house};

const MARKINGS: &str = r#"
[rooms]
freeze_abandoned = true
default_marking = "OFFICIAL"
markings = [
  { name = "OFFICIAL" },
  { name = "OFFICIAL-SENSITIVE", federation = false },
]
"#;

/// Waits until nothing is under way any more.
async fn settled(clerk: &mut Clerk) {
    for _ in 0..200 {
        let page = clerk.open("/console/moderation").await.shows(200, &[]);
        if !page.text.contains("Under way</span>") && !page.text.contains("Waits</span>") {
            page.hides(&["Failed</span>"]);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it is still under way");
}

async fn has_event(user: &User, room: &str, event: &str) -> bool {
    let answer = user.get(format!("v3/rooms/{room}/event/{event}")).await;
    answer.status == 200
}

#[tokio::test]
async fn rooms_are_marked_opened_and_closed() {
    let server = Server::with(Config {
        more: MARKINGS.into(),
        ..Config::default()
    });
    for role in ["administrator", "moderator"] {
        server.api().register_as(role).await;
        server.cairn_json(&["user", "promote", role, "--role", role]);
    }
    let anna = server.api().register_as("anna").await;
    let room = anna.create_room(json!({ "name": "Plans" })).await;
    let here = format!("/console/rooms/{room}");
    let mut moderator = clerk(&server, "moderator").await;
    moderator
        .open(&here)
        .await
        .shows(200, &["OFFICIAL", "Open to partners", "Close the room"])
        .hides(&["Delete the room", "It may be lower"]);
    let mark = format!("{here}/mark");
    let fields = [("marking", "OFFICIAL-SENSITIVE"), ("reason", "names")];
    let page = moderator.submit(&mark, &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    let fields = [("marking", "OFFICIAL"), ("reason", "published")];
    moderator
        .submit(&mark, &fields)
        .await
        .shows(400, &["marking is to be lowered"]);
    let fields = [
        ("marking", "OFFICIAL"),
        ("lower", "1"),
        ("reason", "published"),
    ];
    moderator
        .submit(&mark, &fields)
        .await
        .shows(403, &["lower the markings"]);
    let mut administrator = clerk(&server, "administrator").await;
    administrator
        .open(&here)
        .await
        .shows(200, &["It may be lower"]);
    assert_eq!(administrator.submit(&mark, &fields).await.status, 303);
    assert_eq!(audit(&server, "room.marked")[0]["reason"], "published");

    moderator.open(&here).await;
    for (verb, shown) in [
        ("open", "Close to partners"),
        ("unopen", "Open to partners"),
    ] {
        let path = format!("{here}/{verb}");
        assert_eq!(
            moderator.submit(&path, &[("reason", "x")]).await.status,
            303
        );
        moderator.open(&here).await.shows(200, &[shown]);
    }
    let path = format!("{here}/close");
    assert_eq!(
        moderator.submit(&path, &[("reason", "over")]).await.status,
        303
    );
    moderator
        .open(&here)
        .await
        .shows(200, &["Closed", "Open the room again"]);
    let said = json!({ "msgtype": "m.text", "body": "after" });
    anna.try_send_event(&room, "m.room.message", said)
        .await
        .refused(403, "M_FORBIDDEN");
    let path = format!("{here}/reopen");
    assert_eq!(
        moderator
            .submit(&path, &[("reason", "a mistake")])
            .await
            .status,
        303
    );
    anna.say(&room, "again").await;

    // One whose last administrator goes is found, and given to somebody.
    let otto = server.api().register_as("otto").await;
    anna.invite(&room, &otto).await;
    otto.join(&room).await;
    anna.leave(&room).await;
    moderator
        .open("/console/rooms")
        .await
        .shows(200, &["/console/abandoned-rooms"]);
    moderator
        .open("/console/abandoned-rooms")
        .await
        .shows(200, &["Plans", "Frozen"]);
    moderator
        .open(&here)
        .await
        .shows(200, &["nobody administers it"]);
    let fields = [("user", "otto"), ("reason", "is there")];
    let page = moderator
        .submit(&format!("{here}/take-over"), &fields)
        .await;
    assert_eq!(page.status, 303, "{page:?}");
    moderator
        .open("/console/abandoned-rooms")
        .await
        .shows(200, &["There is no such room."]);
}

#[tokio::test]
async fn rooms_are_shrunk_and_deleted_and_people_redacted() {
    let (server, anna) = house().await;
    let room = anna.create_room(json!({ "name": "Roads" })).await;
    let early = anna.say(&room, "early").await;
    anna.say(&room, "late").await;
    let here = format!("/console/rooms/{room}");
    let mut administrator = clerk(&server, "administrator").await;
    administrator
        .open("/console/moderation")
        .await
        .shows(200, &["Nothing is under way."]);
    administrator.open(&here).await;
    let shrink = format!("{here}/shrink");
    let other = [
        ("typed", "!x:localhost"),
        ("before", "2099-01-01"),
        ("reason", "x"),
    ];
    administrator
        .submit(&shrink, &other)
        .await
        .shows(400, &["another one"]);
    let wrong = [("typed", room.as_str()), ("before", ""), ("reason", "x")];
    administrator
        .submit(&shrink, &wrong)
        .await
        .shows(400, &["Write a time", "Roads"]);
    assert!(has_event(&anna, &room, &early).await);
    let fields = [
        ("typed", room.as_str()),
        ("before", "2099-01-01"),
        ("local", "1"),
        ("reason", "kept long enough"),
    ];
    let page = administrator.submit(&shrink, &fields).await;
    let way = "/console/moderation?done=1";
    assert_eq!((page.status, page.header("location")), (303, way));
    settled(&mut administrator).await;
    administrator.open(way).await.shows(
        200,
        &[
            "Remove what was said earlier",
            "Done</span>",
            "@administrator:",
        ],
    );
    assert!(!has_event(&anna, &room, &early).await);

    let mut moderator = clerk(&server, "moderator").await;
    let spam = anna.say(&room, "spam").await;
    moderator.open("/console/moderation").await;
    let redact = "/console/moderation/redact";
    let other = [("user", "anna"), ("typed", "ann"), ("reason", "spam")];
    moderator
        .submit(redact, &other)
        .await
        .shows(400, &["another one"]);
    let fields = [("user", "anna"), ("typed", "anna"), ("reason", "spam")];
    moderator
        .submit(redact, &fields[..2])
        .await
        .shows(400, &["Say why"]);
    let page = moderator.submit(redact, &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    eventually("it is redacted", 20, async || {
        let path = format!("v3/rooms/{room}/event/{spam}");
        let event = anna.get(path).await.ok();
        event["content"]["body"].is_null().then_some(())
    })
    .await;
    settled(&mut moderator).await;
    moderator
        .open(&here)
        .await
        .shows(200, &["Roads"])
        .hides(&["Delete the room"]);
    let fields = [("typed", room.as_str()), ("reason", "over")];
    moderator
        .submit(&format!("{here}/delete"), &fields)
        .await
        .shows(403, &["delete rooms"]);

    administrator.open(&here).await;
    let page = administrator
        .submit(&format!("{here}/delete"), &fields)
        .await;
    assert_eq!(page.header("location"), way, "{page:?}");
    settled(&mut administrator).await;
    administrator.open("/console/rooms").await.hides(&["Roads"]);
    assert_eq!(audit(&server, "room.removed")[0]["reason"], "over");
}

#[tokio::test]
async fn ban_lists_are_heeded_and_not_any_more() {
    let (server, anna) = house().await;
    let otto = server.api().register_as("otto").await;
    let list = anna
        .create_room(json!({ "preset": "public_chat", "name": "List", "room_alias_name": "list" }))
        .await;
    let rule = json!({ "entity": "@otto:*", "recommendation": "m.ban", "reason": "spam" });
    anna.set_state(&list, "m.policy.rule.user", "otto", rule)
        .await;
    let room = anna.public_room().await;
    let mut moderator = clerk(&server, "moderator").await;
    moderator.open("/console/moderation").await;
    let heed = "/console/moderation/heed";
    let fields = [("room", "#nowhere:localhost"), ("reason", "spam")];
    moderator
        .submit(heed, &fields)
        .await
        .shows(404, &["This was not done"]);
    let fields = [("room", "#list:localhost"), ("reason", "spam")];
    let page = moderator.submit(heed, &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    moderator
        .open("/console/moderation")
        .await
        .shows(200, &[&list, "Rules: 1", "@moderator:"]);
    otto.post(format!("v3/join/{room}"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let mut auditor = clerk(&server, "auditor").await;
    auditor
        .open("/console/moderation")
        .await
        .shows(200, &["Rules: 1"])
        .hides(&["Heed no more", "Redact what"]);
    let ignore = "/console/moderation/ignore";
    let fields = [("room", list.as_str()), ("reason", "too broad")];
    let page = moderator.submit(ignore, &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    otto.join(&room).await;
    assert_eq!(audit(&server, "room.ban_list").len(), 2);
}
