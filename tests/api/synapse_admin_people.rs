//! People, devices, invitations and reports by the endpoints that Synapse's tools ask.

use serde_json::{Value, json};

use crate::administered::house;

const V1: &str = "/_synapse/admin/v1";
const V2: &str = "/_synapse/admin/v2";

fn names(page: &Value) -> Vec<&str> {
    let users = page["users"].as_array().unwrap().iter();
    users.map(|user| user["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn people_are_listed_searched_and_paged() {
    let (_server, boss, anna, _) = house().await;
    let all = boss.get(format!("{V2}/users")).await.ok();
    let everybody = ["@anna:localhost", "@boss:localhost", "@otto:localhost"];
    assert_eq!(
        (names(&all), &all["total"]),
        (everybody.to_vec(), &json!(3))
    );
    assert_eq!(all["users"][1]["admin"], true);
    assert!(all["users"][0]["creation_ts"].as_u64().unwrap() > 1_600_000_000_000);
    let page = boss.get(format!("{V2}/users?limit=2")).await.ok();
    assert_eq!((names(&page).len(), &page["next_token"]), (2, &json!("2")));
    let rest = boss.get(format!("{V2}/users?limit=2&from=2")).await.ok();
    assert_eq!(names(&rest), ["@otto:localhost"]);
    assert!(rest.get("next_token").is_none());
    let name = json!({ "displayname": "Anna Ärger" });
    anna.put(format!("v3/profile/{}/displayname", anna.user_id), name)
        .await
        .ok();
    for (query, expected) in [
        ("name=ÄRGER", &["@anna:localhost"][..]),
        ("name=ott", &["@otto:localhost"]),
        ("user_id=boss:local", &["@boss:localhost"]),
        ("admins=true", &["@boss:localhost"]),
        ("admins=false", &["@anna:localhost", "@otto:localhost"]),
        (
            "order_by=creation_ts&dir=b",
            &["@otto:localhost", "@anna:localhost", "@boss:localhost"],
        ),
        ("order_by=displayname&dir=b&limit=1", &["@anna:localhost"]),
    ] {
        let found = boss.get(format!("{V2}/users?{query}")).await.ok();
        assert_eq!(names(&found), expected, "{query}");
    }
    for query in ["order_by=shoe", "dir=x", "limit=x", "deactivated=maybe"] {
        let refused = boss.get(format!("{V2}/users?{query}")).await;
        refused.refused(400, "M_INVALID_PARAM");
    }
    anna.get(format!("{V2}/users"))
        .await
        .refused(403, "M_FORBIDDEN");
    boss.anonymous()
        .get(format!("{V2}/users"))
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn accounts_are_made_changed_and_closed() {
    let (server, boss, anna, _) = house().await;
    let path = format!("{V2}/users/@rita:localhost");
    boss.get(&path).await.refused(404, "M_NOT_FOUND");
    let body = json!({
        "password": "quite a long one", "displayname": "Rita",
        "threepids": [{ "medium": "email", "address": "Rita@council.example" }],
    });
    let made = boss.put(&path, body.clone()).await;
    assert_eq!(made.status, 201);
    let made = made.body;
    assert_eq!(
        (
            &made["displayname"],
            &made["admin"],
            &made["threepids"][0]["address"]
        ),
        (
            &json!("Rita"),
            &json!(false),
            &json!("rita@council.example")
        )
    );
    let known = boss.put(&path, json!({ "displayname": "" })).await;
    assert_eq!(
        (known.status, &known.ok()["displayname"]),
        (200, &Value::Null)
    );
    let api = server.api();
    api.try_login("rita", "quite a long one", json!({}))
        .await
        .ok();
    let whose = format!("{V1}/threepid/email/users/rita@council.example");
    assert_eq!(boss.get(&whose).await.ok()["user_id"], "@rita:localhost");
    // What cannot be had is refused before anything is done.
    for refused in [
        json!({ "displayname": "X", "password": "short" }),
        json!({ "displayname": "X", "user_type": "bot" }),
        json!({ "displayname": "X", "external_ids": [{ "auth_provider": "a", "external_id": "b" }] }),
        json!({ "displayname": "X", "threepids": [{ "medium": "msisdn", "address": "1" }] }),
        json!({ "displayname": "X", "threepids": [{ "medium": "email", "address": "none" }] }),
    ] {
        boss.put(&path, refused).await.refused_with(&[400]);
    }
    assert_eq!(boss.get(&path).await.ok()["displayname"], Value::Null);
    let anna_path = format!("{V2}/users/{}", anna.user_id);
    let taken = json!({ "threepids": [{ "medium": "email", "address": "rita@council.example" }] });
    boss.put(&anna_path, taken).await.refused_with(&[400]);
    let locked = boss
        .put(&path, json!({ "locked": true, "admin": true }))
        .await
        .ok();
    assert_eq!(
        (&locked["locked"], &locked["admin"]),
        (&json!(true), &json!(true))
    );
    let is = boss
        .get(format!("{V1}/users/@rita:localhost/admin"))
        .await
        .ok();
    assert_eq!(is, json!({ "admin": true }));
    let admin = format!("{V1}/users/@rita:localhost/admin");
    boss.put(&admin, json!({ "admin": false })).await.ok();
    let own = format!("{V1}/users/{}/admin", boss.user_id);
    boss.put(&own, json!({ "admin": false }))
        .await
        .refused(403, "M_FORBIDDEN");
    let closed = boss.put(&path, json!({ "deactivated": true })).await.ok();
    assert_eq!(closed["deactivated"], true);
    boss.put(&path, json!({ "deactivated": false }))
        .await
        .refused_with(&[400, 403, 404]);
    let reset = format!("{V1}/reset_password/{}", anna.user_id);
    let body = json!({ "new_password": "another long one", "logout_devices": false });
    boss.post(&reset, body).await.ok();
    anna.get("v3/account/whoami").await.ok();
    boss.post(&reset, json!({ "new_password": "one more long one" }))
        .await
        .ok();
    anna.get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    let erase = json!({ "erase": true });
    boss.post(format!("{V1}/deactivate/{}", anna.user_id), erase)
        .await
        .ok();
    assert_eq!(boss.get(&anna_path).await.ok()["erased"], true);
    let listed = boss.get(format!("{V2}/users")).await.ok();
    assert_eq!(listed["total"], 2);
    let listed = boss
        .get("/_synapse/admin/v3/users?deactivated=true&locked=true")
        .await
        .ok();
    assert_eq!(names(&listed), ["@anna:localhost", "@rita:localhost"]);
    let told = server.cairn_json(&["audit", "show", "--on", "@rita:localhost", "--by", "boss"]);
    let verbs: Vec<&str> = told["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["verb"].as_str().unwrap())
        .collect();
    for verb in [
        "person.created",
        "person.emails",
        "person.lock",
        "person.roles",
        "person.deactivated",
    ] {
        assert!(verbs.contains(&verb), "{verb} in {verbs:?}");
    }
}

#[tokio::test]
async fn devices_are_shown_named_and_signed_out() {
    let (_server, boss, anna, _) = house().await;
    let phone = anna.another_device().await;
    let devices = format!("{V2}/users/{}/devices", anna.user_id);
    let listed = boss.get(&devices).await.ok();
    assert_eq!(listed["total"], 2);
    let path = format!("{devices}/{}", phone.device_id);
    boss.put(&path, json!({ "display_name": "found on a train" }))
        .await
        .ok();
    let shown = boss.get(&path).await.ok();
    assert_eq!(shown["display_name"], "found on a train");
    assert_eq!(shown["user_id"], anna.user_id.as_str());
    boss.delete(&path, json!({})).await.ok();
    phone
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    boss.get(&path).await.refused(404, "M_NOT_FOUND");
    let all = json!({ "devices": [anna.device_id] });
    let many = format!("{V2}/users/{}/delete_devices", anna.user_id);
    boss.post(many, all).await.ok();
    anna.get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    let whois = boss.get(format!("{V1}/whois/{}", boss.user_id)).await.ok();
    let connection = &whois["devices"][&boss.device_id]["sessions"][0]["connections"][0];
    assert_eq!(connection["ip"], "127.0.0.1");
    let pushers = boss
        .get(format!("{V1}/users/{}/pushers", boss.user_id))
        .await
        .ok();
    assert_eq!(pushers, json!({ "pushers": [], "total": 0 }));
}

#[tokio::test]
async fn invitations_are_tokens_of_which_only_the_beginning_is_known() {
    let (_server, boss, _, _) = house().await;
    let tokens = format!("{V1}/registration_tokens");
    let made = boss
        .post(format!("{tokens}/new"), json!({ "uses_allowed": 3 }))
        .await
        .ok();
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(token.len() > 20, "{token}");
    let listed = boss.get(&tokens).await.ok();
    let one = &listed["registration_tokens"][0];
    assert_eq!(
        (&one["uses_allowed"], &one["completed"]),
        (&json!(3), &json!(0))
    );
    assert!(token.starts_with(one["token"].as_str().unwrap()));
    let shown = boss.get(format!("{tokens}/{token}")).await.ok();
    assert_eq!(&shown, one);
    assert_eq!(
        boss.get(format!("{tokens}?valid=false")).await.ok()["registration_tokens"],
        json!([])
    );
    boss.put(format!("{tokens}/{token}"), json!({ "uses_allowed": 9 }))
        .await
        .refused(400, "M_UNKNOWN");
    boss.delete(format!("{tokens}/{token}"), json!({}))
        .await
        .ok();
    boss.get(format!("{tokens}/{token}"))
        .await
        .refused(404, "M_NOT_FOUND");
    boss.post(format!("{tokens}/new"), json!({ "token": "easy" }))
        .await
        .refused(400, "M_UNKNOWN");
}

#[tokio::test]
async fn reports_are_read_and_closed() {
    let (server, boss, anna, otto) = house().await;
    let room = anna.room_with(&[&otto]).await;
    let said = anna.say(&room, "something bad").await;
    let report = format!("v3/rooms/{room}/report/{said}");
    otto.post(&report, json!({ "reason": "it is bad" }))
        .await
        .ok();
    let user = format!("v3/users/{}/report", anna.user_id);
    otto.post(&user, json!({ "reason": "always" })).await.ok();
    let listed = boss.get(format!("{V1}/event_reports")).await.ok();
    assert_eq!(listed["total"], 1);
    let one = &listed["event_reports"][0];
    assert_eq!(
        json!([
            one["event_id"],
            one["room_id"],
            one["user_id"],
            one["sender"],
            one["reason"]
        ]),
        json!([said, room, otto.user_id, anna.user_id, "it is bad"])
    );
    assert!(one.get("event_json").is_none());
    let path = format!("{V1}/event_reports/{}", one["id"]);
    let shown = boss.get(&path).await.ok();
    assert_eq!(shown["event_json"]["content"]["body"], "something bad");
    let none = boss
        .get(format!("{V1}/event_reports?user_id=@x:localhost"))
        .await
        .ok();
    assert_eq!(none["total"], 0);
    boss.delete(&path, json!({})).await.ok();
    boss.get(&path).await.refused(404, "M_NOT_FOUND");
    boss.delete(&path, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
    let told = server.cairn_json(&["audit", "show", "--verb", "report.closed"]);
    assert_eq!(told["entries"][0]["by"], boss.user_id.as_str());
    assert_eq!(
        server.cairn_json(&["reports"])["reports"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn reports_of_people_are_read_and_closed() {
    let (_server, boss, anna, otto) = house().await;
    let room = anna.room_with(&[&otto]).await;
    let said = anna.say(&room, "something bad").await;
    let event = format!("v3/rooms/{room}/report/{said}");
    otto.post(&event, json!({ "reason": "it is bad" }))
        .await
        .ok();
    for (by, of) in [(&otto, &anna), (&anna, &otto)] {
        let report = format!("v3/users/{}/report", of.user_id);
        by.post(&report, json!({ "reason": "always" })).await.ok();
    }
    let listed = boss.get(format!("{V1}/user_reports?dir=f")).await.ok();
    assert_eq!(listed["total"], 2, "{listed}");
    let one = &listed["user_reports"][0];
    assert_eq!(
        json!([one["user_id"], one["target_user_id"], one["reason"]]),
        json!([otto.user_id, anna.user_id, "always"])
    );
    assert!(one["received_ts"].as_u64().unwrap() > 1_600_000_000_000);
    let about = format!("{V1}/user_reports?target_user_id={}", otto.user_id);
    let found = boss.get(about).await.ok();
    assert_eq!(found["total"], 1);
    assert_eq!(found["user_reports"][0]["user_id"], anna.user_id.as_str());
    let path = format!("{V1}/user_reports/{}", one["id"]);
    assert_eq!(&boss.get(&path).await.ok(), one);
    // A report of an event is none of a person.
    let events = boss.get(format!("{V1}/event_reports")).await.ok();
    let other = format!("{V1}/user_reports/{}", events["event_reports"][0]["id"]);
    boss.get(&other).await.refused(404, "M_NOT_FOUND");
    boss.delete(&other, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
    anna.get(&path).await.refused(403, "M_FORBIDDEN");
    boss.delete(&path, json!({})).await.ok();
    boss.get(&path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_has_no_meaning_here_says_so() {
    let (_server, boss, anna, _) = house().await;
    let user = &anna.user_id;
    let empty = || json!({});
    for path in [
        format!("{V1}/users/{user}/login"),
        format!("{V1}/users/{user}/shadow_ban"),
        format!("{V1}/users/{user}/_allow_cross_signing_replacement_without_uia"),
        format!("{V2}/users/{user}/devices"),
        format!("{V1}/background_updates/start_job"),
    ] {
        let refused = boss.post(&path, empty()).await.refused(400, "M_UNKNOWN");
        assert!(refused["error"].as_str().unwrap().len() > 20, "{path}");
        anna.post(&path, empty()).await.refused(403, "M_FORBIDDEN");
    }
    // Accounts have no end here, so there is none to renew one to.
    let renewed = json!({ "user_id": user });
    boss.post(format!("{V1}/account_validity/validity"), renewed)
        .await
        .refused(400, "M_INVALID_PARAM");
    let none = format!("{V1}/users/{user}/override_ratelimit");
    assert_eq!(boss.get(&none).await.ok(), empty());
    let features = format!("{V1}/experimental_features/{user}");
    assert_eq!(boss.get(&features).await.ok(), json!({ "features": {} }));
    boss.get(format!("{V1}/auth_providers/x/users/y"))
        .await
        .refused(404, "M_NOT_FOUND");
    let available = format!("{V1}/username_available?username=");
    assert_eq!(
        boss.get(format!("{available}free")).await.ok()["available"],
        true
    );
    boss.get(format!("{available}anna"))
        .await
        .refused(400, "M_USER_IN_USE");
    boss.get(format!("{available}An na"))
        .await
        .refused(400, "M_INVALID_USERNAME");
}
