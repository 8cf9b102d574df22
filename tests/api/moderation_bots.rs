//! What a moderation bot asks of Synapse's administration, in the shapes that it takes: Draupnir
//! refuses an answer of another one as a whole.

use harness::{escape, eventually};
use serde_json::{Value, json};

use crate::administered::house;

const V1: &str = "/_synapse/admin/v1";
const V2: &str = "/_synapse/admin/v2";

/// Whether a value is of one of the kinds that are named, parted by `|`.
fn is(value: &Value, kinds: &str) -> bool {
    kinds.split('|').any(|kind| match kind {
        "text" => value.is_string(),
        "number" => value.is_u64(),
        "flag" => value.is_boolean(),
        "null" => value.is_null(),
        "list" => value.is_array(),
        literal => value == literal,
    })
}

/// Each field is there and of its kind.
fn has(answer: &Value, fields: &[(&str, &str)]) {
    for (field, kinds) in fields {
        let value = answer.get(*field);
        assert!(
            value.is_some_and(|value| is(value, kinds)),
            "{field} is no {kinds}: {answer}"
        );
    }
}

const PERSON: &[(&str, &str)] = &[
    ("name", "text"),
    ("is_guest", "flag"),
    ("admin", "flag"),
    ("user_type", "support|bot|null"),
    ("deactivated", "flag"),
    ("erased", "flag"),
    ("shadow_banned", "flag"),
    ("creation_ts", "number"),
    ("last_seen_ts", "number"),
    ("locked", "flag"),
    ("suspended", "flag"),
];

const ROOM: &[(&str, &str)] = &[
    ("room_id", "text"),
    ("name", "text|null"),
    ("canonical_alias", "text|null"),
    ("joined_members", "number"),
    ("joined_local_members", "number"),
    ("version", "text"),
    ("creator", "text"),
    ("encryption", "text|null"),
    ("federatable", "flag"),
    ("public", "flag"),
    ("join_rules", "text"),
    ("guest_access", "can_join|forbidden|null"),
    (
        "history_visibility",
        "invited|joined|shared|world_readable|null",
    ),
    ("state_events", "number"),
    ("room_type", "text|null"),
];

const REPORT: &[(&str, &str)] = &[
    ("id", "number"),
    ("room_id", "text"),
    ("name", "text|null"),
    ("event_id", "text"),
    ("sender", "text"),
    ("user_id", "text"),
    ("reason", "text|null"),
];

#[tokio::test]
async fn a_bot_looks_at_people_rooms_and_reports() {
    let (_server, boss, anna, otto) = house().await;
    let room = anna.public_room().await;
    otto.join(&room).await;
    let said = anna.say(&room, "cheap watches").await;
    let report = format!("v3/rooms/{room}/report/{said}");
    otto.post(report, json!({ "reason": "spam" })).await.ok();

    let (bot, person) = (escape(&boss.user_id), escape(&anna.user_id));
    let who = boss.get(format!("{V1}/users/{bot}/admin")).await.ok();
    assert_eq!(who["admin"], true);
    eventually("it is known when she was seen", 10, async || {
        let details = boss.get(format!("{V2}/users/{person}")).await.ok();
        details["last_seen_ts"].is_u64().then_some(())
    })
    .await;
    let details = boss.get(format!("{V2}/users/{person}")).await.ok();
    has(&details, PERSON);

    let listed = boss
        .get(format!("{V1}/rooms?from=0&limit=10&dir=f"))
        .await
        .ok();
    has(
        &listed,
        &[
            ("rooms", "list"),
            ("offset", "number"),
            ("total_rooms", "number"),
        ],
    );
    has(&listed["rooms"][0], ROOM);
    let shown = boss.get(format!("{V1}/rooms/{room}")).await.ok();
    has(&shown, ROOM);
    has(&shown, &[("topic", "text|null"), ("avatar", "text|null")]);
    boss.get(format!("{V1}/rooms/!nowhere:localhost"))
        .await
        .refused(404, "M_NOT_FOUND");

    let reports = boss
        .get(format!("{V1}/event_reports?dir=f&limit=100"))
        .await
        .ok();
    has(&reports, &[("event_reports", "list"), ("total", "number")]);
    has(&reports["event_reports"][0], REPORT);
    let context = format!("{V1}/rooms/{room}/context/{}", escape(&said));
    let context = boss.get(context).await.ok();
    assert_eq!(context["event"]["content"]["body"], "cheap watches");
}

#[tokio::test]
async fn a_bot_suspends_redacts_and_takes_a_room_down() {
    let (_server, boss, anna, otto) = house().await;
    let room = anna.public_room().await;
    otto.join(&room).await;
    anna.say(&room, "cheap watches").await;
    let person = escape(&anna.user_id);
    for suspend in [true, false] {
        let path = format!("{V1}/suspend/{person}");
        boss.put(path, json!({ "suspend": suspend })).await.ok();
        let details = boss.get(format!("{V2}/users/{person}")).await.ok();
        assert_eq!(details["suspended"], suspend);
    }
    let begun = boss.post(format!("{V1}/user/{person}/redact"), json!({ "rooms": [] }));
    let begun = begun.await.ok();
    has(&begun, &[("redact_id", "text")]);
    let id = begun["redact_id"].as_str().unwrap();
    let status = eventually("all is redacted", 20, async || {
        let status = boss.get(format!("{V1}/user/redact_status/{id}")).await.ok();
        has(&status, &[("status", "scheduled|active|complete|failed")]);
        assert!(status["failed_redactions"].is_object(), "{status}");
        (status["status"] == "complete").then_some(status)
    })
    .await;
    assert_eq!(status["failed_redactions"], json!({}));
    boss.get(format!("{V1}/user/redact_status/none"))
        .await
        .refused(404, "M_NOT_FOUND");

    let made = boss.post(
        format!("{V1}/rooms/{room}/make_room_admin"),
        json!({ "user_id": boss.user_id }),
    );
    made.await.ok();
    let block = format!("{V1}/rooms/{room}/block");
    assert_eq!(boss.get(&block).await.ok()["block"], false);
    let down = json!({ "block": true, "purge": true, "message": "taken down" });
    let begun = boss.delete(format!("{V2}/rooms/{room}"), down).await.ok();
    has(&begun, &[("delete_id", "text")]);
    eventually("the room is gone", 20, async || {
        let shown = boss.get(format!("{V1}/rooms/{room}")).await;
        (shown.status == 404).then_some(())
    })
    .await;
    let blocked = boss.get(&block).await.ok();
    has(&blocked, &[("block", "flag"), ("user_id", "text")]);
    assert_eq!(blocked["block"], true);
    otto.post(format!("v3/join/{room}"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    boss.post(
        format!("{V1}/deactivate/{person}"),
        json!({ "erase": false }),
    )
    .await
    .ok();
    let details = boss.get(format!("{V2}/users/{person}")).await.ok();
    assert_eq!(details["deactivated"], true);
}
