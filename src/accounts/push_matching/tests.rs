//! The rules as tables of cases.

use std::convert::Infallible;

use ruma_common::{push::Ruleset, user_id};
use serde_json::{Value, json};

use super::{Pattern, Place, PushContext, lower_case, matching_rule, property};

struct Room {
    event: Value,
    members: u64,
    display_name: Option<String>,
    /// Kinds of notification that the sender has the power for.
    powers: Vec<&'static str>,
    /// Whether the user follows the event's thread, if it is in one.
    follows: Option<bool>,
}

impl PushContext for Room {
    type Error = Infallible;

    fn event(&self) -> &Value {
        &self.event
    }
    fn members(&self) -> Result<u64, Infallible> {
        Ok(self.members)
    }
    fn display_name(&self) -> Result<Option<String>, Infallible> {
        Ok(self.display_name.clone())
    }
    fn sender_may_notify(&self, kind: &str) -> Result<bool, Infallible> {
        Ok(self.powers.contains(&kind))
    }
    fn follows_thread(&self) -> Result<Option<bool>, Infallible> {
        Ok(self.follows)
    }
}

fn room(event_type: &str, content: Value) -> Room {
    Room {
        event: json!({
            "type": event_type, "content": content, "sender": "@bob:a.test",
            "room_id": "!room:a.test", "event_id": "$event", "origin_server_ts": 1,
        }),
        members: 5,
        display_name: Some("Alice A.".to_owned()),
        powers: Vec::new(),
        follows: None,
    }
}

fn message(content: Value) -> Room {
    let mut content = content;
    content["msgtype"] = content.get("msgtype").cloned().unwrap_or("m.text".into());
    room("m.room.message", content)
}

fn defaults() -> Ruleset {
    Ruleset::server_default(user_id!("@alice:a.test"))
}

fn matched(rules: &Ruleset, room: &Room) -> Option<String> {
    let Ok(rule) = matching_rule(rules, room);
    rule.map(|rule| rule.rule_id().to_owned())
}

/// Whether one override rule with this condition matches.
fn meets(condition: Value, room: &Room) -> bool {
    let rule = json!({
        "rule_id": "own", "default": false, "enabled": true, "actions": [],
        "conditions": [condition],
    });
    let rules: Ruleset = serde_json::from_value(json!({ "override": [rule] })).unwrap();
    matched(&rules, room).is_some()
}

#[test]
fn the_default_rules_of_the_specification() {
    let mentioned = json!({ "user_ids": ["@alice:a.test"] });
    let mut invite = room("m.room.member", json!({ "membership": "invite" }));
    invite.event["state_key"] = json!("@alice:a.test");
    let mut other_invite = room("m.room.member", json!({ "membership": "invite" }));
    other_invite.event["state_key"] = json!("@carol:a.test");
    let mut tombstone = room("m.room.tombstone", json!({}));
    tombstone.event["state_key"] = json!("");
    let mut acl = room("m.room.server_acl", json!({ "allow": [] }));
    acl.event["state_key"] = json!("");
    let mut pair = message(json!({ "body": "hello" }));
    pair.members = 2;
    let mut encrypted_pair = room("m.room.encrypted", json!({}));
    encrypted_pair.members = 2;
    let mut at_room = message(json!({ "body": "all", "m.mentions": { "room": true } }));
    let unpowered = matched(&defaults(), &at_room);
    assert_eq!(unpowered.as_deref(), Some(".m.rule.message"));
    at_room.powers.push("room");
    for (room, expected) in [
        (message(json!({ "body": "hi" })), ".m.rule.message"),
        (pair, ".m.rule.room_one_to_one"),
        (room("m.room.encrypted", json!({})), ".m.rule.encrypted"),
        (encrypted_pair, ".m.rule.encrypted_room_one_to_one"),
        (room("m.call.invite", json!({})), ".m.rule.call"),
        (invite, ".m.rule.invite_for_me"),
        (other_invite, ".m.rule.member_event"),
        (tombstone, ".m.rule.tombstone"),
        (acl, ".m.rule.room.server_acl"),
        (at_room, ".m.rule.is_room_mention"),
        (
            message(json!({ "body": "you", "m.mentions": mentioned })),
            ".m.rule.is_user_mention",
        ),
        (
            message(json!({ "msgtype": "m.notice", "m.mentions": mentioned })),
            ".m.rule.suppress_notices",
        ),
        (
            message(json!({ "body": "* x", "m.relates_to": { "rel_type": "m.replace" } })),
            ".m.rule.suppress_edits",
        ),
        (
            room("m.reaction", json!({ "m.relates_to": { "key": "x" } })),
            ".m.rule.reaction",
        ),
    ] {
        let found = matched(&defaults(), &room);
        assert_eq!(found.as_deref(), Some(expected), "{}", room.event);
    }
    assert_eq!(matched(&defaults(), &room("m.room.topic", json!({}))), None);
    // The old rules that looked for names in the text are gone.
    let named = message(json!({ "body": "alice: Alice A. @room" }));
    assert_eq!(
        matched(&defaults(), &named).as_deref(),
        Some(".m.rule.message")
    );
}

#[test]
fn the_master_rule_is_above_all_when_it_is_on() {
    let mut rules = serde_json::to_value(defaults()).unwrap();
    rules["override"][0]["enabled"] = json!(true);
    let rules: Ruleset = serde_json::from_value(rules).unwrap();
    let found = matched(&rules, &message(json!({ "body": "hi" })));
    assert_eq!(found.as_deref(), Some(".m.rule.master"));
}

#[test]
fn kinds_are_asked_in_their_order() {
    let simple =
        |id: &str| json!({ "rule_id": id, "default": false, "enabled": true, "actions": [] });
    let mut content = simple("word");
    content["pattern"] = json!("lunch");
    let mut under = simple("under");
    under["conditions"] = json!([]);
    let mut over = simple("over");
    over["conditions"] = json!([{ "kind": "event_match", "key": "sender", "pattern": "@x:*" }]);
    let mut rules = json!({
        "override": [over], "content": [content], "room": [simple("!room:a.test")],
        "sender": [simple("@bob:a.test")], "underride": [under],
    });
    let event = message(json!({ "body": "Lunch?" }));
    for (kind, expected) in [
        ("content", "word"),
        ("room", "!room:a.test"),
        ("sender", "@bob:a.test"),
        ("underride", "under"),
    ] {
        let parsed: Ruleset = serde_json::from_value(rules.clone()).unwrap();
        assert_eq!(matched(&parsed, &event).as_deref(), Some(expected));
        rules[kind][0]["enabled"] = json!(false);
    }
    let parsed: Ruleset = serde_json::from_value(rules).unwrap();
    assert_eq!(matched(&parsed, &event), None);
}

#[test]
fn ids_of_rooms_and_senders_are_no_patterns() {
    let rule =
        |id: &str| json!({ "rule_id": id, "default": false, "enabled": true, "actions": [] });
    for (kind, id, expected) in [
        ("room", "!room:a.test", true),
        ("room", "!ROOM:a.test", false),
        ("room", "!*:a.test", false),
        ("sender", "@bob:a.test", true),
        ("sender", "@*:a.test", false),
    ] {
        let rules: Ruleset = serde_json::from_value(json!({ kind: [rule(id)] })).unwrap();
        let found = matched(&rules, &message(json!({ "body": "hi" })));
        assert_eq!(found.is_some(), expected, "{kind} {id}");
    }
}

#[test]
fn event_match_compares_whole_values_but_words_of_the_body() {
    for (key, value, pattern, expected) in [
        ("topic", json!("Lunch plans"), "lunc?*", true),
        ("topic", json!("LUNCH"), "lunc?*", true),
        ("topic", json!(" lunch"), "lunc?*", false),
        ("topic", json!("lunc"), "lunc?*", false),
        ("topic", Value::Null, "lunc?*", false),
        ("topic", Value::Null, "*", false),
        ("topic", json!(5), "5", false),
        ("topic", json!("plan"), "pla", false),
        ("topic", json!(""), "", true),
        ("body", json!("An example event."), "ex*ple", true),
        ("body", json!("exple"), "ex*ple", true),
        ("body", json!("An exciting triple-whammy"), "ex*ple", true),
        ("body", json!("inexample"), "ex*ple", false),
        ("body", json!("It is Time for cake!"), "CAKE", true),
        ("body", json!("pancake, cake"), "cake", true),
        ("body", json!("pancakes"), "cake", false),
        ("body", json!("cake_lie"), "cake", false),
        ("body", json!("écake"), "cake", true),
        ("body", json!("ask @bob:a.test now"), "@bob:a.test", true),
        ("body", json!("x@bob"), "@bob", true),
        ("body", json!("grüße AN ALLE"), "GRÜSSE", false),
        ("body", json!("grüße AN ALLE"), "grüße", true),
        ("body", json!("c?t"), "c?t", true),
        ("body", json!("a cot"), "c?t", true),
        ("body", json!("coat"), "c?t", false),
        ("body", json!("x"), "*", true),
        ("body", json!(7), "*", false),
        ("body", json!("one two"), "one***two", true),
    ] {
        let event = message(json!({ key: value }));
        let path = format!("content.{key}");
        let condition = json!({ "kind": "event_match", "key": path, "pattern": pattern });
        assert_eq!(meets(condition, &event), expected, "{value} {pattern}");
    }
}

#[test]
fn properties_are_compared_exactly() {
    let event = room(
        "m.room.create",
        json!({
            "m.federate": true, "text": "true", "number": 1, "nothing": null, "list": ["a", 2, true, null, {}],
            "back\\slash": "x", "deep": { "er": { "m.x": 3 } },
        }),
    );
    for (kind, key, value, expected) in [
        (
            "event_property_is",
            "content.m\\.federate",
            json!(true),
            true,
        ),
        (
            "event_property_is",
            "content.m\\.federate",
            json!("true"),
            false,
        ),
        ("event_property_is", "content.m\\.federate", json!(1), false),
        (
            "event_property_is",
            "content.m.federate",
            json!(true),
            false,
        ),
        ("event_property_is", "content.text", json!(true), false),
        ("event_property_is", "content.number", json!(1), true),
        ("event_property_is", "content.nothing", Value::Null, true),
        ("event_property_is", "content.missing", Value::Null, false),
        ("event_property_is", "content.list", json!("a"), false),
        (
            "event_property_is",
            "content.back\\\\slash",
            json!("x"),
            true,
        ),
        ("event_property_is", "content.deep.er.m\\.x", json!(3), true),
        ("event_property_contains", "content.list", json!("a"), true),
        ("event_property_contains", "content.list", json!(2), true),
        ("event_property_contains", "content.list", json!(true), true),
        ("event_property_contains", "content.list", Value::Null, true),
        ("event_property_contains", "content.list", json!("A"), false),
        (
            "event_property_contains",
            "content.text",
            json!("true"),
            false,
        ),
    ] {
        let condition = json!({ "kind": kind, "key": key, "value": value });
        assert_eq!(meets(condition.clone(), &event), expected, "{condition}");
    }
}

#[test]
fn members_are_counted() {
    for (is, members, expected) in [
        ("2", 2, true),
        ("2", 3, false),
        ("==2", 2, true),
        ("<3", 2, true),
        ("<3", 3, false),
        (">3", 4, true),
        (">3", 3, false),
        (">=3", 3, true),
        ("<=3", 4, false),
    ] {
        let mut event = message(json!({}));
        event.members = members;
        let condition = json!({ "kind": "room_member_count", "is": is });
        assert_eq!(meets(condition, &event), expected, "{is} {members}");
    }
}

#[test]
fn the_senders_power_is_asked_by_its_kind() {
    let mut event = message(json!({}));
    event.powers = vec!["room", "org.example"];
    for (key, expected) in [("room", true), ("org.example", true), ("other", false)] {
        let condition = json!({ "kind": "sender_notification_permission", "key": key });
        assert_eq!(meets(condition, &event), expected, "{key}");
    }
}

#[test]
fn the_display_name_is_no_pattern() {
    for (name, body, expected) in [
        (Some("Alice A."), "hello alice a. there", true),
        (Some("Alice A."), "malice a.", false),
        (Some("*"), "anything", false),
        (Some(""), "anything", false),
        (None, "Alice A.", false),
    ] {
        let mut event = message(json!({ "body": body }));
        event.display_name = name.map(str::to_owned);
        let condition = json!({ "kind": "contains_display_name" });
        assert_eq!(meets(condition, &event), expected, "{name:?} {body}");
    }
}

#[test]
fn unknown_conditions_match_nothing() {
    assert!(!meets(
        json!({ "kind": "org.example.moon_phase" }),
        &message(json!({}))
    ));
}

#[test]
fn patterns_have_a_limit_and_take_one_pass() {
    let text = lower_case(&"xa ".repeat(20_000));
    let within = |pattern: &str| Pattern::glob(pattern).is_in(&text, Place::Words);
    assert!(!within("a"));
    assert!(within("x?"));
    assert!(!within(&"*a".repeat(60).replace('a', "b")));
    assert!(within(&"*a".repeat(63)));
    assert!(!within(&"*a".repeat(64)), "too long");
    assert!(!within(&"?".repeat(10_000)));
}

#[test]
fn paths_end_at_what_is_no_object() {
    let event = json!({ "content": { "": 1, "a": "b" } });
    assert_eq!(property(&event, "content."), Some(&json!(1)));
    assert_eq!(property(&event, "content.a.b"), None);
    assert_eq!(property(&event, ""), None);
}

#[test]
fn threads_notify_those_who_follow_them_and_polls_everybody() {
    let rules = defaults();
    for (follows, expected) in [
        (None, ".m.rule.message"),
        (Some(true), ".io.element.msc4306.rule.subscribed_thread"),
        (Some(false), ".io.element.msc4306.rule.unsubscribed_thread"),
    ] {
        let mut room = message(json!({ "body": "hi" }));
        room.follows = follows;
        assert_eq!(matched(&rules, &room).as_deref(), Some(expected));
        // Who is mentioned is told whatever they follow.
        let mentions = json!({ "user_ids": ["@alice:a.test"] });
        room.event["content"]["m.mentions"] = mentions;
        let mention = Some(".m.rule.is_user_mention");
        assert_eq!(matched(&rules, &room).as_deref(), mention);
    }
    for (kind, expected) in [
        ("start", ".org.matrix.msc3930.rule.poll_start"),
        ("response", ".org.matrix.msc3930.rule.poll_response"),
        ("end", ".org.matrix.msc3930.rule.poll_end"),
    ] {
        let poll = room(&format!("org.matrix.msc3381.poll.{kind}"), json!({}));
        assert_eq!(matched(&rules, &poll).as_deref(), Some(expected));
    }
}
