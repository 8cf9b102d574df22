//! Administrators as clients: whois, locks and suspensions; and the same by command.

use harness::{Server, User};
use serde_json::json;

/// A server with an administrator and two others.
async fn house() -> (Server, User, User, User) {
    let server = Server::start();
    let api = server.api();
    let admin = api.register_as("admin").await;
    let (alice, bob) = (api.register_as("alice").await, api.register_as("bob").await);
    server.cairn_json(&["user", "promote", "admin"]);
    (server, admin, alice, bob)
}

fn path(what: &str, user: &User) -> String {
    format!("v1/admin/{what}/{}", user.user_id)
}

#[tokio::test]
async fn a_locked_user_can_sign_out_and_nothing_else() {
    let (mut server, admin, alice, _) = house().await;
    let locked = |locked: bool| json!({ "locked": locked });
    assert_eq!(admin.get(path("lock", &alice)).await.ok(), locked(false));
    let set = admin.put(path("lock", &alice), locked(true)).await;
    assert_eq!(set.ok(), locked(true));
    let refused = alice.get("v3/sync").await.refused(401, "M_USER_LOCKED");
    assert_eq!(refused["soft_logout"], true);
    let login = server
        .api()
        .try_login(&alice.user_id, harness::PASSWORD, json!({}))
        .await;
    login.refused(401, "M_USER_LOCKED");
    server.kill9();
    server.restart();
    let api = server.api();
    let (admin, alice) = (
        api.with_token(&admin.access_token),
        api.with_token(&alice.access_token),
    );
    let lock_path = "v1/admin/lock/@alice:localhost";
    assert_eq!(admin.get(lock_path).await.ok(), locked(true));
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_USER_LOCKED");
    admin.put(lock_path, locked(false)).await.ok();
    // The token has waited.
    alice.get("v3/account/whoami").await.ok();
    admin.put(lock_path, locked(true)).await.ok();
    alice.post("v3/logout", json!({})).await.ok();
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    admin.put(lock_path, locked(false)).await.ok();
    let first = api.login("@alice:localhost").await;
    let second = api.login("@alice:localhost").await;
    admin.put(lock_path, locked(true)).await.ok();
    first.post("v3/logout/all", json!({})).await.ok();
    admin.put(lock_path, locked(false)).await.ok();
    second
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_suspended_user_reads_leaves_and_takes_back_and_no_more() {
    let (mut server, admin, alice, bob) = house().await;
    let room = bob.room_with(&[&alice]).await;
    let other = bob.room_with(&[&alice]).await;
    let public = bob.public_room().await;
    let own = alice.say(&room, "mine").await;
    let suspended = |suspended: bool| json!({ "suspended": suspended });
    let suspend = path("suspend", &alice);
    assert_eq!(admin.get(&suspend).await.ok(), suspended(false));
    let set = admin.put(&suspend, suspended(true)).await;
    assert_eq!(set.ok(), suspended(true));
    assert_eq!(admin.get(&suspend).await.ok(), suspended(true));
    // What they may not do.
    let text = json!({ "msgtype": "m.text", "body": "x" });
    for refused in [
        alice
            .try_send_event(&room, "m.room.message", text.clone())
            .await,
        alice
            .try_set_state(&room, "m.room.topic", "", json!({ "topic": "x" }))
            .await,
        alice.post(format!("v3/join/{public}"), json!({})).await,
        alice.post("v3/createRoom", json!({})).await,
        alice.act_on("invite", &room, &admin).await,
        alice
            .put(
                format!("v3/profile/{}/displayname", alice.user_id),
                json!({ "displayname": "x" }),
            )
            .await,
    ] {
        refused.refused(403, "M_USER_SUSPENDED");
    }
    // What they may.
    let answer = alice.sync().await;
    assert!(answer.joined(&room).is_object());
    alice.redact(&room, &own).await;
    alice.leave(&other).await;
    let second = alice.another_device().await;
    second
        .try_send_event(&room, "m.room.message", text.clone())
        .await
        .refused(403, "M_USER_SUSPENDED");
    // It lasts, and ends.
    server.kill9();
    server.restart();
    let api = server.api();
    let alice = User {
        api: api.with_token(&alice.access_token),
        ..alice
    };
    alice
        .try_send_event(&room, "m.room.message", text.clone())
        .await
        .refused(403, "M_USER_SUSPENDED");
    server.cairn_json(&["user", "unsuspend", "alice"]);
    alice
        .try_send_event(&room, "m.room.message", text)
        .await
        .ok();
}

#[tokio::test]
async fn only_administrators_restrain_and_not_each_other() {
    let (server, admin, alice, bob) = house().await;
    server.api().register_as("second").await;
    server.cairn_json(&["user", "promote", "second"]);
    for (what, field) in [("lock", "locked"), ("suspend", "suspended")] {
        let body = json!({ field: true });
        let of = |user: &str| format!("v1/admin/{what}/{user}");
        // Whoever is none learns nothing of who there is.
        for target in [&*bob.user_id, "@nobody:localhost", "@a:elsewhere.test"] {
            alice.get(of(target)).await.refused(403, "M_FORBIDDEN");
            let set = alice.put(of(target), body.clone()).await;
            set.refused(403, "M_FORBIDDEN");
        }
        for (target, status, errcode) in [
            ("@a:elsewhere.test", 400, "M_INVALID_PARAM"),
            ("@nobody:localhost", 404, "M_NOT_FOUND"),
            ("@second:localhost", 403, "M_FORBIDDEN"),
            (&*admin.user_id, 403, "M_FORBIDDEN"),
        ] {
            let set = admin.put(of(target), body.clone()).await;
            set.refused(status, errcode);
        }
        let second = admin.get(of("@second:localhost")).await;
        second.refused(403, "M_FORBIDDEN");
        admin
            .put(of(&bob.user_id), json!({}))
            .await
            .refused_with(&[400]);
    }
    server.cairn_json(&["user", "deactivate", "bob"]);
    admin
        .get(path("lock", &bob))
        .await
        .refused(404, "M_NOT_FOUND");
    let able = admin.get("v3/capabilities").await.ok();
    assert_eq!(
        able["capabilities"]["m.account_moderation"],
        json!({ "lock": true, "suspend": true })
    );
    let able = alice.get("v3/capabilities").await.ok();
    assert_eq!(
        able["capabilities"]["m.account_moderation"],
        json!({ "lock": false, "suspend": false })
    );
}

#[tokio::test]
async fn the_command_locks_and_suspends_too() {
    let (server, _, alice, _) = house().await;
    server.cairn_json(&["user", "lock", "alice"]);
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_USER_LOCKED");
    assert_eq!(
        server.cairn_json(&["user", "show", "alice"])["locked"],
        true
    );
    server.cairn_json(&["user", "unlock", "alice"]);
    server.cairn_json(&["user", "suspend", "alice"]);
    let shown = server.cairn_json(&["user", "show", "alice"]);
    assert_eq!(
        (&shown["locked"], &shown["suspended"]),
        (&json!(false), &json!(true))
    );
    alice
        .post("v3/createRoom", json!({}))
        .await
        .refused(403, "M_USER_SUSPENDED");
    let unknown = server.cairn(&["user", "lock", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn whois_tells_oneself_and_administrators() {
    let (_server, admin, alice, bob) = house().await;
    let of_alice = format!("v3/admin/whois/{}", alice.user_id);
    // When a device was seen is written a moment later.
    alice.get("v3/account/whoami").await.ok();
    harness::eventually("alice is seen", 10, async || {
        let told = alice.get(&of_alice).await.ok();
        let sessions = &told["devices"][&alice.device_id]["sessions"][0];
        sessions["connections"][0].is_object().then_some(())
    })
    .await;
    for asker in [&alice, &admin] {
        let told = asker.get(&of_alice).await.ok();
        assert_eq!(told["user_id"], alice.user_id.as_str());
        let device = &told["devices"][&alice.device_id]["sessions"][0]["connections"][0];
        assert_eq!(device["ip"], "127.0.0.1", "{told}");
        assert!(device["last_seen"].as_u64().unwrap() > 1_600_000_000_000);
        // Others' ids of devices are not for everybody.
        assert_eq!(told["devices"].as_object().unwrap().len(), 1);
    }
    bob.get(&of_alice).await.refused(403, "M_FORBIDDEN");
    admin
        .get("v3/admin/whois/@nobody:localhost")
        .await
        .refused(404, "M_NOT_FOUND");
}
