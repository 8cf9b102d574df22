//! Push rules and the unread counts that follow them; third-party addresses.

use harness::{Synced, User, escape};
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn everybody_has_the_rules_of_the_specification() {
    let alice = server().register("alice").await;
    let rules = alice.get("v3/pushrules/").await.ok();
    for kind in ["override", "underride"] {
        assert!(rules["global"][kind].is_array(), "{kind}: {rules}");
    }
    let text = rules.to_string();
    for rule in [
        ".m.rule.master",
        ".m.rule.is_user_mention",
        ".m.rule.encrypted",
    ] {
        assert!(text.contains(rule), "{rule}");
    }
    let global = alice.get("v3/pushrules/global/").await.ok();
    assert_eq!(global["override"], rules["global"]["override"]);
}

#[tokio::test]
async fn a_rule_is_made_changed_and_deleted() {
    let alice = server().register("alice").await;
    let path = "v3/pushrules/global/content/hungry";
    alice.get(path).await.refused(404, "M_NOT_FOUND");
    let rule = json!({ "pattern": "lunch", "actions": ["notify"] });
    alice.put(path, rule).await.ok();
    let stored = alice.get(path).await.ok();
    assert_eq!(stored["pattern"], "lunch");
    assert_eq!(stored["enabled"], true);
    alice
        .put(format!("{path}/enabled"), json!({ "enabled": false }))
        .await
        .ok();
    let enabled = alice.get(format!("{path}/enabled")).await.ok();
    assert_eq!(enabled["enabled"], false);
    let actions = json!({ "actions": ["notify", { "set_tweak": "highlight" }] });
    alice.put(format!("{path}/actions"), actions).await.ok();
    let actions = alice.get(format!("{path}/actions")).await.ok();
    assert_eq!(actions["actions"].as_array().unwrap().len(), 2);
    alice.delete(path, Value::Null).await.ok();
    alice.get(path).await.refused(404, "M_NOT_FOUND");
    alice
        .delete(path, Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_rules_of_the_specification_stay() {
    let alice = server().register("alice").await;
    let path = "v3/pushrules/global/override/.m.rule.master";
    alice
        .delete(path, Value::Null)
        .await
        .refused_with(&[400, 404]);
    let rule = json!({ "conditions": [], "actions": [] });
    alice.put(path, rule).await.refused_with(&[400]);
    alice
        .put(format!("{path}/enabled"), json!({ "enabled": true }))
        .await
        .ok();
    let enabled = alice.get(format!("{path}/enabled")).await.ok();
    assert_eq!(enabled["enabled"], true);
}

#[tokio::test]
async fn changed_rules_come_with_the_sync() {
    let alice = server().register("alice").await;
    let first = alice.sync().await;
    assert!(
        first.account_data("m.push_rules").is_some(),
        "{:?}",
        first.0
    );
    let rule = json!({ "pattern": "lunch", "actions": ["notify"] });
    alice
        .put("v3/pushrules/global/content/hungry", rule)
        .await
        .ok();
    let next = alice.sync_since(&first).await;
    let event = next.account_data("m.push_rules").expect("the rules");
    assert!(event["content"].to_string().contains("hungry"), "{event}");
}

#[tokio::test]
async fn rules_are_ones_own() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rule = json!({ "pattern": "lunch", "actions": ["notify"] });
    let path = "v3/pushrules/global/content/hungry";
    alice.put(path, rule).await.ok();
    bob.get(path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn nobody_has_third_party_addresses() {
    let alice = server().register("alice").await;
    assert_eq!(
        alice.get("v3/account/3pid").await.ok()["threepids"],
        json!([])
    );
}

/// The ids of a kind's own rules, in their order.
async fn own_rules(user: &User, kind: &str) -> Vec<String> {
    let rules = user.get("v3/pushrules/global/").await.ok();
    let rules = rules[kind].as_array().cloned().unwrap_or_default();
    let ids = rules.iter().map(|rule| rule["rule_id"].as_str().unwrap());
    ids.filter(|id| !id.starts_with('.'))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn rules_have_an_order_that_can_be_changed() {
    let alice = server().register("alice").await;
    let put = async |kind: &str, id: &str, place: &str| {
        let path = format!("v3/pushrules/global/{kind}/{id}{place}");
        let rule = json!({ "pattern": id, "conditions": [], "actions": ["notify"] });
        alice.put(path, rule).await
    };
    for kind in ["content", "override", "underride"] {
        for id in ["a", "b", "c"] {
            put(kind, id, "").await.ok();
        }
        assert_eq!(own_rules(&alice, kind).await, ["c", "b", "a"], "{kind}");
        put(kind, "c", "?after=a").await.ok();
        assert_eq!(own_rules(&alice, kind).await, ["b", "a", "c"], "{kind}");
        put(kind, "b", "?before=c").await.ok();
        assert_eq!(own_rules(&alice, kind).await, ["a", "b", "c"], "{kind}");
        put(kind, "c", "?before=b&after=a").await.ok();
        assert_eq!(own_rules(&alice, kind).await, ["a", "c", "b"], "{kind}");
        // Changed in its place, and as it was switched.
        let enabled = format!("v3/pushrules/global/{kind}/c/enabled");
        alice.put(&enabled, json!({ "enabled": false })).await.ok();
        put(kind, "c", "").await.ok();
        assert_eq!(own_rules(&alice, kind).await, ["a", "c", "b"], "{kind}");
        put(kind, "c", "?after=b").await.ok();
        assert_eq!(alice.get(&enabled).await.ok()["enabled"], false, "{kind}");
        for place in ["?before=nothing", "?after=nothing", "?before=c"] {
            put(kind, "c", place).await.refused(400, "M_UNKNOWN");
        }
        put(kind, "a", "?after=.m.rule.master")
            .await
            .refused(400, "M_INVALID_PARAM");
    }
    let rules = alice.get("v3/pushrules/global/").await.ok();
    assert_eq!(rules["override"][0]["rule_id"], ".m.rule.master");
}

#[tokio::test]
async fn rules_are_checked() {
    let alice = server().register("alice").await;
    let put = async |path: &str, rule: Value| {
        let path = format!("v3/pushrules/global/{path}");
        alice.put(path, rule).await
    };
    let rule = || json!({ "pattern": "x", "conditions": [], "actions": [] });
    for (path, rule, errcode) in [
        ("content/.own", rule(), "M_INVALID_PARAM"),
        ("content/a%5Cb", rule(), "M_INVALID_PARAM"),
        ("content/a%2Fb", rule(), "M_INVALID_PARAM"),
        ("nonsense/a", rule(), "M_INVALID_PARAM"),
        ("room/no-room", rule(), "M_INVALID_PARAM"),
        ("sender/nobody", rule(), "M_INVALID_PARAM"),
        ("content/a", json!({ "actions": [] }), "M_BAD_JSON"),
        ("content/a", json!({ "pattern": "x" }), "M_BAD_JSON"),
        (
            "content/a",
            json!({ "pattern": 1, "actions": [] }),
            "M_BAD_JSON",
        ),
        (
            "content/a",
            json!({ "pattern": "x".repeat(9_000), "actions": [] }),
            "M_INVALID_PARAM",
        ),
    ] {
        put(path, rule).await.refused(400, errcode);
    }
    let long = format!("content/{}", "x".repeat(256));
    put(&long, rule()).await.refused(400, "M_INVALID_PARAM");
    assert!(own_rules(&alice, "content").await.is_empty());
    for (path, body) in [
        ("content/a/enabled", json!({ "enabled": true })),
        ("content/a/actions", json!({ "actions": [] })),
    ] {
        put(path, body).await.refused(404, "M_NOT_FOUND");
        let path = format!("v3/pushrules/global/{path}");
        alice.get(path).await.refused(404, "M_NOT_FOUND");
    }
    // Historical actions mean nothing, and are kept as the client sent them.
    let rule = json!({ "pattern": "x", "actions": ["dont_notify", "coalesce", "notify"] });
    put("content/a", rule).await.ok();
    let stored = alice.get("v3/pushrules/global/content/a").await.ok();
    assert_eq!(
        stored["actions"],
        json!(["dont_notify", "coalesce", "notify"])
    );
}

/// What the sync says is unread in a room: notifications and highlights.
fn unread(synced: &Synced, room: &str) -> (u64, u64) {
    let counts = &synced.joined(room)["unread_notifications"];
    let number = |name: &str| counts[name].as_u64().unwrap();
    (number("notification_count"), number("highlight_count"))
}

#[tokio::test]
async fn a_rule_changes_what_counts_as_unread() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let other_room = alice.room_with(&[&bob]).await;
    let mention = json!({
        "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [bob.user_id] },
    });
    for room in [&room, &other_room] {
        alice.say(room, "hello").await;
        alice.say(room, "it is time for lunch").await;
        alice
            .send_event(room, "m.room.message", mention.clone())
            .await;
    }
    let counts = async || {
        let synced = bob.sync().await;
        (unread(&synced, &room), unread(&synced, &other_room))
    };
    assert_eq!(counts().await, ((3, 1), (3, 1)));
    let id = escape(&room);
    let sender = escape(&alice.user_id);
    let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": room });
    let highlight = json!(["notify", { "set_tweak": "highlight" }]);
    for (path, rule, expected) in [
        // Muted, as clients do it.
        (
            "override/mute".to_owned(),
            json!({ "conditions": [condition], "actions": [] }),
            ((0, 0), (3, 1)),
        ),
        // Mentions alone.
        (
            format!("room/{id}"),
            json!({ "actions": [] }),
            ((1, 1), (3, 1)),
        ),
        // A keyword.
        (
            "content/hungry".to_owned(),
            json!({ "pattern": "LUNCH", "actions": highlight }),
            ((3, 2), (3, 2)),
        ),
        // Somebody who says too much; a mention is still one.
        (
            format!("sender/{sender}"),
            json!({ "actions": [] }),
            ((1, 1), (1, 1)),
        ),
        (
            "underride/all".to_owned(),
            json!({ "conditions": [], "actions": highlight }),
            ((3, 3), (3, 3)),
        ),
    ] {
        let path = format!("v3/pushrules/global/{path}");
        bob.put(&path, rule).await.ok();
        assert_eq!(counts().await, expected, "{path}");
        bob.delete(&path, Value::Null).await.ok();
    }
    assert_eq!(counts().await, ((3, 1), (3, 1)));
    for (rule, expected) in [
        ("override/.m.rule.master", ((0, 0), (0, 0))),
        ("underride/.m.rule.message", ((3, 1), (3, 1))),
    ] {
        let path = format!("v3/pushrules/global/{rule}/enabled");
        let before = bob.get(&path).await.ok()["enabled"].as_bool().unwrap();
        bob.put(&path, json!({ "enabled": !before })).await.ok();
        assert_eq!(counts().await, expected, "{rule}");
        bob.put(&path, json!({ "enabled": before })).await.ok();
    }
}

#[tokio::test]
async fn a_rule_counts_in_the_sync_that_brings_the_event() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let rule = json!({ "pattern": "fire", "actions": ["notify", { "set_tweak": "highlight" }] });
    bob.put("v3/pushrules/global/content/alarm", rule)
        .await
        .ok();
    let first = bob.sync().await;
    alice.say(&room, "there is no smoke").await;
    let next = bob.sync_since(&first).await;
    assert_eq!(unread(&next, &room), (1, 0));
    alice.say(&room, "without fire").await;
    let next = bob.sync_since(&next).await;
    assert_eq!(next.timeline(&room).len(), 1);
    assert_eq!(unread(&next, &room), (2, 1));
}
