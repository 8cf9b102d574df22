//! The operator's rules for rooms, protective markings, freezing, and ban lists.

use harness::{Config, Server, User};
use serde_json::{Value, json};

const RULES: &str = r#"
[rooms]
freeze_abandoned = true
default_marking = "OFFICIAL"
markings = [
  { name = "OFFICIAL" },
  { name = "OFFICIAL-SENSITIVE", federation = false, external_members = false, public = false, encryption = "required" },
]
rules = [
  { kinds = ["direct"], members_max = 2 },
  { kinds = ["public"], made_by = "roles" },
  { kinds = ["private", "public"], name_required = true },
]
"#;

async fn house() -> (Server, User, User, User) {
    let server = Server::with(Config {
        more: RULES.to_owned(),
        ..Config::default()
    });
    let api = server.api();
    let boss = api.register_as("boss").await;
    let (anna, otto) = (api.register_as("anna").await, api.register_as("otto").await);
    server.cairn_json(&["user", "promote", "boss"]);
    (server, boss, anna, otto)
}

async fn refused(user: &User, wish: Value) -> String {
    let answer = user.post("v3/createRoom", wish).await;
    let answer = answer.refused(403, "M_FORBIDDEN");
    answer["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn rooms_keep_to_the_operators_rules() {
    let (_server, boss, anna, otto) = house().await;
    let wish = json!({ "preset": "public_chat", "name": "Square" });
    let why = refused(&anna, wish.clone()).await;
    assert!(
        why.to_lowercase().contains("public rooms are made by"),
        "{why}"
    );
    boss.create_room(wish).await;
    let why = refused(&anna, json!({})).await;
    assert!(why.contains("must have a name"), "{why}");
    let both = json!({ "is_direct": true, "invite": [otto.user_id, boss.user_id] });
    let why = refused(&anna, both).await;
    assert!(why.contains("at most 2"), "{why}");
    let two = json!({ "is_direct": true, "invite": [otto.user_id] });
    let direct = anna.create_room(two).await;
    otto.join(&direct).await;
    anna.act_on("invite", &direct, &boss)
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_marking_is_shown_and_lowering_it_needs_a_right_and_a_reason() {
    let (server, boss, anna, otto) = house().await;
    let room = anna.create_room(json!({ "name": "Plans" })).await;
    anna.invite(&room, &otto).await;
    let marking = anna.state(&room, "cairn.room.marking", "").await.ok();
    assert_eq!(marking["marking"], "OFFICIAL");
    let listed = server.cairn_json(&["room", "list", "--search", "plans"]);
    assert_eq!(listed["rooms"][0]["marking"], "OFFICIAL");
    let high = [
        "room",
        "mark",
        &room,
        "OFFICIAL-SENSITIVE",
        "--reason",
        "names",
    ];
    let refused = server.cairn(&high);
    assert!(!refused.status.success());
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    anna.set_state(&room, "m.room.encryption", "", algorithm)
        .await;
    server.cairn_json(&high);
    let marking = otto.sync().await;
    let stripped = marking.invited(&room)["invite_state"]["events"].to_string();
    assert!(stripped.contains("OFFICIAL"), "{stripped}");
    let open = json!({ "join_rule": "public" });
    let refused = anna
        .try_set_state(&room, "m.room.join_rules", "", open)
        .await;
    let refused = refused.refused(403, "M_FORBIDDEN");
    let why = refused["error"].as_str().unwrap();
    assert!(why.contains("marked OFFICIAL-SENSITIVE"), "{why}");
    // Their own power is not enough to lower it.
    let low = json!({ "marking": "OFFICIAL" });
    anna.try_set_state(&room, "cairn.room.marking", "", low)
        .await
        .refused(403, "M_FORBIDDEN");
    for (words, expected) in [(&[][..], "lowered"), (&["--lower"], "reason")] {
        let words = [&["room", "mark", &room, "OFFICIAL"], words].concat();
        let without = server.cairn(&words);
        assert!(!without.status.success());
        let text = String::from_utf8_lossy(&without.stderr).into_owned();
        assert!(text.contains(expected), "{text}");
    }
    let low = [
        "room",
        "mark",
        &room,
        "OFFICIAL",
        "--lower",
        "--reason",
        "published",
    ];
    server.cairn_json(&low);
    let shown = boss
        .get(format!("/_synapse/admin/v1/rooms/{room}"))
        .await
        .ok();
    assert_eq!(shown["cairn.marking"], "OFFICIAL");
    let told = server.cairn_json(&["audit", "show", "--verb", "room.marked"]);
    let told = &told["entries"];
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
    assert_eq!(
        json!([told[0]["reason"], told[0]["before"]["marking"]]),
        json!(["published", "OFFICIAL-SENSITIVE"])
    );
    let markings = server.cairn_json(&["room", "mark"]);
    assert_eq!(markings["markings"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_frozen_room_is_handed_over() {
    let (server, _boss, anna, otto) = house().await;
    let room = anna.create_room(json!({ "name": "Plans" })).await;
    anna.invite(&room, &otto).await;
    otto.join(&room).await;
    otto.say(&room, "before").await;
    anna.leave(&room).await;
    let message = json!({ "msgtype": "m.text", "body": "frozen" });
    otto.try_send_event(&room, "m.room.message", message)
        .await
        .refused(403, "M_FORBIDDEN");
    let abandoned = server.cairn_json(&["room", "abandoned"]);
    assert_eq!(
        json!([
            abandoned["rooms"][0]["room_id"],
            abandoned["rooms"][0]["frozen"],
            abandoned["rooms"].as_array().unwrap().len()
        ]),
        json!([room, true, 1])
    );
    server.cairn_json(&["room", "hand-over", &room, "otto", "--reason", "asked"]);
    otto.say(&room, "thawed").await;
    otto.set_state(&room, "m.room.topic", "", json!({ "topic": "mine" }))
        .await;
    let none = server.cairn_json(&["room", "abandoned"]);
    assert_eq!(none["rooms"], json!([]));
    let told = server.cairn_json(&["audit", "show", "--verb", "room.taken_over"]);
    assert_eq!(told["entries"][0]["on"], otto.user_id.as_str());
    // A direct chat is not frozen: who is left may go on.
    let two = json!({ "is_direct": true, "invite": [otto.user_id] });
    let direct = anna.create_room(two).await;
    otto.join(&direct).await;
    anna.leave(&direct).await;
    otto.say(&direct, "alone").await;
}

#[tokio::test]
async fn ban_lists_keep_out_whom_they_name() {
    let (server, boss, anna, otto) = house().await;
    let list = boss
        .create_room(json!({ "preset": "public_chat", "name": "List", "room_alias_name": "list" }))
        .await;
    let rule = json!({ "entity": "@otto:*", "recommendation": "m.ban", "reason": "spam" });
    boss.set_state(&list, "m.policy.rule.user", "otto", rule)
        .await;
    let heed = ["moderation", "lists", "subscribe", "#list:localhost"];
    assert_eq!(server.cairn_json(&heed)["room_id"], list.as_str());
    let room = anna.create_room(json!({ "name": "Plans" })).await;
    let refused = anna.act_on("invite", &room, &otto).await;
    let refused = refused.refused(403, "M_FORBIDDEN");
    assert!(refused["error"].as_str().unwrap().contains("spam"));
    otto.post(format!("v3/join/{list}"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let shown = server.cairn_json(&["moderation", "lists", "show"]);
    assert_eq!(
        shown["lists"][0]["rules"],
        json!([{ "about": "user", "entity": "@otto:*", "reason": "spam" }])
    );
    // A room that a list names.
    let rule = json!({ "entity": room, "recommendation": "m.ban" });
    boss.set_state(&list, "m.policy.rule.room", "x", rule).await;
    anna.act_on("invite", &room, &boss)
        .await
        .refused(403, "M_FORBIDDEN");
    server.cairn_json(&["moderation", "lists", "unsubscribe", &list]);
    for other in [&otto, &boss] {
        anna.invite(&room, other).await;
    }
    let told = server.cairn_json(&["audit", "show", "--verb", "room.ban_list"]);
    assert_eq!(told["entries"].as_array().unwrap().len(), 2);
}
