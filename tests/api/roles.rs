//! Roles: what administrators, moderators, helpdesk and auditors may do by the API.

use harness::{Server, User};
use reqwest::Method;
use serde_json::{Value, json};

/// A server with one person of each role, and somebody without.
async fn house() -> (Server, Vec<(&'static str, User)>, User) {
    let server = Server::start();
    let api = server.api();
    let mut people = Vec::new();
    for role in [
        "administrator",
        "moderator",
        "helpdesk",
        "auditor",
        "nobody",
    ] {
        let person = api.register_as(role).await;
        if role != "nobody" {
            server.cairn_json(&["user", "promote", role, "--role", role]);
        }
        people.push((role, person));
    }
    let anna = api.register_as("anna").await;
    (server, people, anna)
}

async fn status(user: &User, method: &Method, path: &str, body: &Value) -> u16 {
    let mut request = user.request(method.clone(), path);
    if *method != Method::GET {
        request = request.json(body);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn each_role_does_its_own_and_nothing_else() {
    let (_server, people, anna) = house().await;
    let user = &anna.user_id;
    let admin = "/_synapse/admin/v1";
    let message = json!({ "user_id": user, "content": { "msgtype": "m.text", "body": "x" } });
    // What is asked, and who may.
    let asked: Vec<(Method, String, Value, &[&str])> = vec![
        (
            Method::GET,
            format!("v1/admin/lock/{user}"),
            json!({}),
            &["administrator", "moderator", "helpdesk", "auditor"],
        ),
        (
            Method::PUT,
            format!("v1/admin/lock/{user}"),
            json!({ "locked": false }),
            &["administrator", "moderator", "helpdesk"],
        ),
        (
            Method::PUT,
            format!("v1/admin/suspend/{user}"),
            json!({ "suspended": false }),
            &["administrator", "moderator", "helpdesk"],
        ),
        (
            Method::GET,
            format!("v3/admin/whois/{user}"),
            json!({}),
            &["administrator", "helpdesk", "auditor"],
        ),
        (
            Method::POST,
            format!("{admin}/send_server_notice"),
            message,
            &["administrator", "moderator", "helpdesk"],
        ),
        (
            Method::GET,
            format!("{admin}/users/{user}/media"),
            json!({}),
            &["administrator", "moderator"],
        ),
        (
            Method::POST,
            format!("{admin}/user/{user}/media/quarantine"),
            json!({}),
            &["administrator", "moderator"],
        ),
        (
            Method::POST,
            format!("{admin}/purge_media_cache?before_ts=1"),
            json!({}),
            &["administrator", "moderator"],
        ),
    ];
    for (method, path, body, may) in &asked {
        for (role, person) in &people {
            let expected = if may.contains(role) { 200 } else { 403 };
            let found = status(person, method, path, body).await;
            assert_eq!(found, expected, "{role} {method} {path}");
        }
    }
}

#[tokio::test]
async fn roles_are_given_and_taken_and_protect_who_has_them() {
    let (server, people, _) = house().await;
    let of = |role: &str| &people.iter().find(|(name, _)| *name == role).unwrap().1;
    // Who could lock an administrator out would be one.
    let lock = format!("v1/admin/lock/{}", of("administrator").user_id);
    let locked = json!({ "locked": true });
    for role in ["moderator", "helpdesk"] {
        of(role)
            .put(&lock, locked.clone())
            .await
            .refused(403, "M_FORBIDDEN");
    }
    let lock = format!("v1/admin/lock/{}", of("auditor").user_id);
    of("helpdesk")
        .put(&lock, locked.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    of("administrator").put(&lock, locked).await.ok();
    let shown = server.cairn_json(&["user", "promote", "helpdesk", "--role", "moderator"]);
    assert_eq!(shown["roles"], json!(["moderator", "helpdesk"]));
    let shown = server.cairn_json(&["user", "demote", "helpdesk", "--role", "helpdesk"]);
    assert_eq!(shown["roles"], json!(["moderator"]));
    let whois = format!("v3/admin/whois/{}", of("nobody").user_id);
    // The session has it at once.
    of("helpdesk").get(&whois).await.refused(403, "M_FORBIDDEN");
    let shown = server.cairn_json(&["user", "demote", "helpdesk"]);
    assert_eq!(shown["roles"], json!([]));
    let shown = server.cairn_json(&["user", "show", "moderator"]);
    assert_eq!(
        (&shown["roles"], &shown["administrator"]),
        (&json!(["moderator"]), &json!(false))
    );
    let unknown = server.cairn(&["user", "promote", "anna", "--role", "king"]);
    assert_eq!(unknown.status.code(), Some(2));
}
