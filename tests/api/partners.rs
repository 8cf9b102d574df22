//! Partners, people from outside: what they do not see, and where they do not come.

use serde_json::{Value, json};

use crate::administered::{house, house_with};

fn names(list: &Value, field: &str) -> Vec<String> {
    let entries = list.as_array().unwrap().iter();
    let names = entries.map(|entry| match field {
        "" => entry.as_str().unwrap().to_owned(),
        field => entry[field].as_str().unwrap().to_owned(),
    });
    names.collect()
}

#[tokio::test]
async fn a_partner_comes_only_where_partners_may() {
    let (server, boss, anna, paul) = house().await;
    let by = [
        "partner",
        "add",
        "otto",
        "--organisation",
        "Bridge Ltd",
        "--reason",
        "contract",
    ];
    let made = server.cairn_json(&by);
    assert_eq!(
        (&made["kind"], &made["organisation"]),
        (&json!("partner"), &json!("Bridge Ltd"))
    );
    paul.post("v3/createRoom", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let direct = json!({ "is_direct": true, "invite": [anna.user_id] });
    paul.post("v3/createRoom", direct)
        .await
        .refused(403, "M_FORBIDDEN");
    let search = json!({ "search_term": "anna" });
    paul.post("v3/user_directory/search", search.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    paul.post("v3/publicRooms", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let found = anna.post("v3/user_directory/search", search).await.ok();
    assert_eq!(found["results"].as_array().unwrap().len(), 0, "oneself");
    let room = boss.public_room().await;
    let join = format!("v3/join/{}", harness::escape(&room));
    let refused = paul
        .post(&join, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("opened to partners"),
        "{refused}"
    );
    boss.act_on("invite", &room, &paul)
        .await
        .refused(403, "M_FORBIDDEN");
    let with_partner = json!({ "invite": [paul.user_id] });
    boss.post("v3/createRoom", with_partner)
        .await
        .refused(403, "M_FORBIDDEN");
    server.cairn_json(&["partner", "open", &room]);
    assert_eq!(
        names(
            &server.cairn_json(&["partner", "rooms"])["rooms"],
            "room_id"
        ),
        [&*room]
    );
    boss.act_on("invite", &room, &paul).await.ok();
    paul.join(&room).await;
    paul.say(&room, "hello").await;
    // The register says for whom they were there.
    let register = server.cairn_json(&["register", "room", &room]);
    assert!(register.to_string().contains("Bridge Ltd"), "{register}");
    server.cairn_json(&["partner", "close", &room]);
    paul.say(&room, "still here").await;
    paul.leave(&room).await;
    paul.post(&join, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let put = json!({ "user_type": null });
    boss.put(format!("/_synapse/admin/v2/users/{}", paul.user_id), put)
        .await
        .ok();
    paul.join(&room).await;
}

#[tokio::test]
async fn partners_may_have_direct_chats_where_that_is_allowed() {
    let (server, boss, anna, paul) = house_with("[rooms]\npartner_direct_chats = true").await;
    server.cairn_json(&["partner", "add", "otto"]);
    let chat = paul
        .create_room(json!({ "is_direct": true, "invite": [anna.user_id] }))
        .await;
    anna.join(&chat).await;
    let other = boss
        .create_room(json!({ "is_direct": true, "invite": [paul.user_id] }))
        .await;
    paul.join(&other).await;
    let group = json!({ "invite": [anna.user_id, boss.user_id] });
    paul.post("v3/createRoom", group)
        .await
        .refused(403, "M_FORBIDDEN");
}
