//! Sign-in, sign-out, who am I, deactivation.

use harness::{PASSWORD, escape};
use reqwest::Method;
use serde_json::json;

use crate::server;

#[tokio::test]
async fn the_ways_to_sign_in_are_listed() {
    let answer = server().get("v3/login").await.ok();
    let flows = answer["flows"].as_array().unwrap();
    assert!(
        flows.iter().any(|flow| flow["type"] == "m.login.password"),
        "{flows:?}"
    );
}

#[tokio::test]
async fn a_password_signs_in_by_name_and_by_id() {
    let api = server();
    let alice = api.register("alice").await;
    for user in [alice.localpart(), &alice.user_id] {
        let answer = api.try_login(user, PASSWORD, json!({})).await.ok();
        assert_eq!(answer["user_id"], alice.user_id.as_str());
        assert!(answer["device_id"].is_string());
        let signed_in = api.user_of(answer);
        assert_ne!(signed_in.device_id, alice.device_id);
        signed_in.get("v3/account/whoami").await.ok();
    }
    alice.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn the_old_way_to_name_the_user_still_works() {
    let api = server();
    let alice = api.register("alice").await;
    let body = json!({ "type": "m.login.password", "user": alice.user_id, "password": PASSWORD });
    assert_eq!(
        api.post("v3/login", body).await.ok()["user_id"],
        alice.user_id.as_str()
    );
}

#[tokio::test]
async fn a_device_that_signs_in_again_gets_a_new_token_for_the_old() {
    let api = server();
    let alice = api.register("alice").await;
    let again = json!({ "device_id": alice.device_id, "initial_device_display_name": "again" });
    let answer = api.try_login(&alice.user_id, PASSWORD, again).await.ok();
    assert_eq!(answer["device_id"], alice.device_id.as_str());
    let second = api.user_of(answer);
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    let devices = second.get("v3/devices").await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_read_the_same() {
    let api = server();
    let alice = api.register("alice").await;
    let wrong = api
        .try_login(&alice.user_id, "wrong", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let unknown = api
        .try_login("@nobody-at-all:localhost", "wrong", json!({}))
        .await;
    let unknown = unknown.refused(403, "M_FORBIDDEN");
    assert_eq!(wrong["error"], unknown["error"]);
    // Who cannot prove to have been a user is not told that there was one; an erased
    // account has nothing left to prove it with.
    let gone = departed(&api, false).await;
    let erased = departed(&api, true).await;
    for (user, password) in [(&gone, "wrong"), (&erased, "wrong"), (&erased, PASSWORD)] {
        let refused = api.try_login(user, password, json!({})).await;
        let refused = refused.refused(403, "M_FORBIDDEN");
        assert_eq!(refused["error"], unknown["error"]);
    }
    api.try_login(&gone, PASSWORD, json!({}))
        .await
        .refused(403, "M_USER_DEACTIVATED");
}

/// A user who has deactivated the account.
async fn departed(api: &harness::Api, erase: bool) -> String {
    let user = api.register("departed").await;
    let body = json!({ "erase": erase });
    user.with_password(Method::POST, "v3/account/deactivate", body)
        .await
        .ok();
    user.user_id
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let api = server();
    let alice = api.register("alice").await;
    let time = async |user: &str| {
        let mut fastest = std::time::Duration::MAX;
        for _ in 0..5 {
            let start = std::time::Instant::now();
            api.try_login(user, "wrong", json!({}))
                .await
                .refused(403, "M_FORBIDDEN");
            fastest = fastest.min(start.elapsed());
        }
        fastest
    };
    let nobody = "@nobody-at-all:localhost".to_owned();
    let others = [
        nobody,
        departed(&api, false).await,
        departed(&api, true).await,
    ];
    let wrong = time(&alice.user_id).await;
    for other in others {
        let unknown = time(&other).await;
        let ratio = unknown.as_secs_f64() / wrong.as_secs_f64();
        assert!(
            (0.4..2.5).contains(&ratio),
            "wrong {wrong:?}, {other} {unknown:?}"
        );
    }
}

#[tokio::test]
async fn a_user_of_another_server_cannot_sign_in_here() {
    let answer = server()
        .try_login("@alice:elsewhere.example", PASSWORD, json!({}))
        .await;
    assert!(answer.status == 400 || answer.status == 403, "{answer:?}");
}

#[tokio::test]
async fn an_unknown_way_to_sign_in_is_refused() {
    let api = server();
    let body = json!({ "type": "m.login.retina", "user": "a", "password": "b" });
    api.post("v3/login", body).await.refused(400, "M_UNKNOWN");
    let body = json!({ "type": "m.login.password", "password": "b" });
    let answer = api.post("v3/login", body).await;
    assert!(answer.status == 400 || answer.status == 403, "{answer:?}");
    let body = json!({ "type": "m.login.token", "token": "nothing" });
    let answer = api.post("v3/login", body).await;
    assert!(answer.status == 400 || answer.status == 403, "{answer:?}");
}

#[tokio::test]
async fn signing_out_ends_this_device_only() {
    let api = server();
    let alice = api.register("alice").await;
    let other = alice.another_device().await;
    alice.post("v3/logout", json!({})).await.ok();
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    alice
        .post("v3/logout", json!({}))
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    other.get("v3/account/whoami").await.ok();
    other
        .get(format!("v3/devices/{}", alice.device_id))
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_device() {
    let api = server();
    let alice = api.register("alice").await;
    let other = alice.another_device().await;
    other.post("v3/logout/all", json!({})).await.ok();
    for device in [&alice, &other] {
        device
            .get("v3/account/whoami")
            .await
            .refused(401, "M_UNKNOWN_TOKEN");
    }
    let back = api.login(&alice.user_id).await;
    let devices = back.get("v3/devices").await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_waiting_sync_ends_when_its_device_signs_out() {
    let alice = server().register("alice").await;
    let first = alice.sync().await;
    let path = format!("v3/sync?timeout=20000&since={}", first.next_batch());
    let waiting = tokio::spawn({
        let alice = alice.clone();
        async move { alice.get(path).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    alice.post("v3/logout", json!({})).await.ok();
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await;
    let answer = answer.expect("still waiting").unwrap();
    assert!(answer.status == 401 || answer.status == 200, "{answer:?}");
}

#[tokio::test]
async fn deactivation_ends_an_account_for_good() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let invited = bob.create_room(json!({ "invite": [alice.user_id] })).await;
    let before = bob.sync().await;
    alice
        .put(
            format!("v3/profile/{}/displayname", alice.user_id),
            json!({ "displayname": "Alice" }),
        )
        .await
        .ok();

    let wrong = alice
        .with_this_password(Method::POST, "v3/account/deactivate", json!({}), "wrong")
        .await
        .asks_for_auth();
    assert_eq!(wrong["errcode"], "M_FORBIDDEN");
    alice.get("v3/account/whoami").await.ok();

    let answer = alice
        .with_password(Method::POST, "v3/account/deactivate", json!({}))
        .await
        .ok();
    assert_eq!(answer["id_server_unbind_result"], "success");
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    api.try_login(&alice.user_id, PASSWORD, json!({}))
        .await
        .refused(403, "M_USER_DEACTIVATED");
    let taken = json!({
        "username": alice.localpart(), "password": PASSWORD, "auth": { "type": "m.login.dummy" },
    });
    api.post("v3/register", taken)
        .await
        .refused(400, "M_USER_IN_USE");

    let left = |event: &serde_json::Value| {
        event["state_key"] == alice.user_id.as_str() && event["content"]["membership"] == "leave"
    };
    bob.sync_until(&before, "alice leaves", |synced| {
        synced.timeline(&room).iter().any(left).then_some(())
    })
    .await;
    let member = bob
        .state(&invited, "m.room.member", &alice.user_id)
        .await
        .ok();
    assert_eq!(
        member["membership"], "leave",
        "the invitation is turned down"
    );
}

#[tokio::test]
async fn erasure_hides_what_was_said_from_those_who_join_later() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let message = alice.say(&room, "to be forgotten").await;
    let path = format!("v3/user/{}/account_data/m.test", alice.user_id);
    alice.put(&path, json!({ "private": true })).await.ok();
    let body = json!({ "erase": true });
    alice
        .with_password(Method::POST, "v3/account/deactivate", body)
        .await
        .ok();

    let seen = bob.event(&room, &message).await.ok();
    assert_eq!(seen["content"]["body"], "to be forgotten", "bob was there");
    let carol = api.register("carol").await;
    carol.join(&room).await;
    let hidden = carol.event(&room, &message).await.ok();
    assert!(hidden["content"]["body"].is_null(), "{hidden}");
    let page = carol
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=50"))
        .await;
    assert!(!page.text.contains("to be forgotten"), "{page:?}");
}

#[tokio::test]
async fn deactivation_without_a_token_is_refused() {
    let answer = server().post("v3/account/deactivate", json!({})).await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn a_step_of_one_request_does_not_serve_another() {
    let api = server();
    let alice = api.register("alice").await;
    let other = alice.another_device().await;
    let path = format!("v3/devices/{}", other.device_id);
    let challenge = alice.delete(&path, json!({})).await.asks_for_auth();
    // The session was opened to delete a device; it must not end the account.
    let body = json!({ "auth": { "session": challenge["session"], "type": "m.login.dummy" } });
    let answer = alice.post("v3/account/deactivate", body).await;
    assert!([400, 401, 403].contains(&answer.status), "{answer:?}");
    alice.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn a_step_of_one_user_does_not_serve_another() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let other = alice.another_device().await;
    let path = format!("v3/devices/{}", other.device_id);
    let challenge = alice.delete(&path, json!({})).await.asks_for_auth();
    let body = json!({ "auth": {
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": mallory.user_id },
        "password": PASSWORD,
        "session": challenge["session"],
    } });
    let answer = alice.delete(&path, body).await;
    assert!(answer.status == 401 || answer.status == 403, "{answer:?}");
    alice.get(&path).await.ok();
}

#[tokio::test]
async fn whoami_takes_no_other_users_word() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let path = format!("v3/account/whoami?user_id={}", escape(&alice.user_id));
    let whoami = bob.get(path).await.ok();
    assert_eq!(whoami["user_id"], bob.user_id.as_str());
}
