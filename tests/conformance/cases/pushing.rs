//! Push rules, pushers, notifications.

use serde_json::{Value, json};

use crate::call::Call;
use crate::walk::Walk;
use crate::world::{World, text};

pub(super) async fn walk(walk: &Walk, world: &World) {
    pushers(walk, world).await;
    rules(walk, world).await;
    parts(walk, world).await;
    notifications(walk, world).await;
}

async fn pushers(walk: &Walk, world: &World) {
    let set = |data: Value| {
        walk.to("postPusher").by(&world.alice).json(json!({
            "pushkey": "key", "kind": "http", "app_id": "org.example.app", "lang": "en",
            "app_display_name": "An app", "device_display_name": "A phone",
            "profile_tag": "tag", "data": data, "append": false,
        }))
    };
    let url = format!("http://{}/_matrix/push/v1/notify", world.companion);
    set(json!({ "url": url, "format": "event_id_only" }))
        .valid()
        .await;
    set(json!({}))
        .refused_as(
            "without a URL",
            &[(400, "M_MISSING_PARAM"), (400, "M_INVALID_PARAM")],
        )
        .await;
    walk.to("getPushers").by(&world.alice).valid().await;
}

fn rule<'a>(walk: &'a Walk, world: &World, id: &str, kind: &str, rule: &str) -> Call<'a> {
    walk.to(id)
        .with("kind", kind)
        .with("ruleId", rule)
        .by(&world.alice)
}

async fn rules(walk: &Walk, world: &World) {
    let set =
        |kind: &str, id: &str, body: Value| rule(walk, world, "setPushRule", kind, id).json(body);
    let loud = json!(["notify", { "set_tweak": "sound", "value": "default" }]);
    set(
        "content",
        "words",
        json!({ "actions": loud, "pattern": "coffee" }),
    )
    .valid()
    .await;
    let conditions = json!([
        { "kind": "event_match", "key": "type", "pattern": "m.room.message" },
        { "kind": "room_member_count", "is": "2" },
        { "kind": "event_property_is", "key": "content.a", "value": true },
    ]);
    let body = json!({ "actions": ["notify"], "conditions": conditions });
    set("override", "mine", body.clone()).valid().await;
    set("underride", "also", body.clone()).valid().await;
    let loud = json!({ "actions": ["notify"] });
    set("room", &world.secret, loud.clone()).valid().await;
    set("sender", &world.carol.user_id, loud).valid().await;
    set("override", ".mine", body.clone())
        .refused("with a name that begins with a dot", 400, "M_INVALID_PARAM")
        .await;
    set("nonsense", "mine", body.clone())
        .refused_as(
            "of a kind that is none",
            &[(400, "M_INVALID_PARAM"), (400, "M_UNKNOWN")],
        )
        .await;
    set("override", "mine", body)
        .query("before", "nothing")
        .refused_as(
            "before one that is not there",
            &[
                (404, "M_NOT_FOUND"),
                (400, "M_UNKNOWN"),
                (400, "M_INVALID_PARAM"),
            ],
        )
        .await;
    walk.to("getPushRules").by(&world.alice).valid().await;
    walk.to("getPushRulesGlobal").by(&world.alice).valid().await;
    for (kind, id) in [("content", "words"), ("override", "mine")] {
        rule(walk, world, "getPushRule", kind, id).valid().await;
    }
}

async fn parts(walk: &Walk, world: &World) {
    let of = |id: &str| rule(walk, world, id, "content", "words");
    let nothing = |id: &str| rule(walk, world, id, "content", "nothing");
    let missing = "of a rule that is not there";
    nothing("getPushRule")
        .refused(missing, 404, "M_NOT_FOUND")
        .await;
    for (get, set, body) in [
        (
            "isPushRuleEnabled",
            "setPushRuleEnabled",
            json!({ "enabled": false }),
        ),
        (
            "getPushRuleActions",
            "setPushRuleActions",
            json!({ "actions": ["notify", { "set_tweak": "highlight" }] }),
        ),
    ] {
        of(set).json(body.clone()).valid().await;
        of(get).valid().await;
        nothing(set)
            .json(body)
            .refused(missing, 404, "M_NOT_FOUND")
            .await;
        nothing(get).refused(missing, 404, "M_NOT_FOUND").await;
    }
    of("deletePushRule").valid().await;
    of("deletePushRule")
        .refused(missing, 404, "M_NOT_FOUND")
        .await;
}

async fn notifications(walk: &Walk, world: &World) {
    let direct = world.bob.room_with(&[&world.carol]).await;
    for number in 0..3 {
        let mut content = text(&format!("carol, {number}"));
        content["m.mentions"] = json!({ "user_ids": [world.carol.user_id] });
        world
            .bob
            .send_event(&direct, "m.room.message", content)
            .await;
    }
    let list = || walk.to("getNotifications").by(&world.carol);
    harness::eventually("a notification", 10, async || {
        let listed = world.carol.get("v3/notifications").await;
        let known = listed.body["notifications"].as_array()?;
        (known.len() >= 3).then_some(())
    })
    .await;
    list().valid().await;
    let first = list().query("limit", "1").valid().await;
    if let Some(next) = first["next_token"].as_str() {
        list().query("from", next).valid().await;
    }
    list().query("only", "highlight").valid().await;
    list()
        .query("from", "no token")
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
}
