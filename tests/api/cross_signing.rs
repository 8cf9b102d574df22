//! Cross-signing keys and their authentication.

use harness::signing::{CrossSigning, Key};
use harness::{Api, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server;

const PATH: &str = "v3/keys/device_signing/upload";

async fn query(user: &User, of: &User) -> Value {
    let body = json!({ "device_keys": { &of.user_id: [] } });
    user.post("v3/keys/query", body).await.ok()
}

async fn with_cross_signing(api: &Api, name: &str) -> (User, CrossSigning) {
    let user = api.register(name).await;
    let keys = CrossSigning::of(&user);
    user.post(PATH, keys.upload.clone()).await.ok();
    (user, keys)
}

#[tokio::test]
async fn the_first_keys_need_no_password_and_are_found() {
    let api = server();
    let (alice, keys) = with_cross_signing(&api, "alice").await;
    let bob = api.register("bob").await;
    let own = query(&alice, &alice).await;
    for (part, answer) in [
        ("master_key", "master_keys"),
        ("self_signing_key", "self_signing_keys"),
        ("user_signing_key", "user_signing_keys"),
    ] {
        assert_eq!(
            own[answer][&alice.user_id]["keys"], keys.upload[part]["keys"],
            "{own}"
        );
    }
    let others = query(&bob, &alice).await;
    assert!(others["master_keys"][&alice.user_id].is_object());
    assert!(others["self_signing_keys"][&alice.user_id].is_object());
    assert!(
        others["user_signing_keys"][&alice.user_id].is_null(),
        "it is the owner's secret"
    );
}

#[tokio::test]
async fn the_same_keys_again_need_no_password() {
    let (alice, keys) = with_cross_signing(&server(), "alice").await;
    alice.post(PATH, keys.upload).await.ok();
}

#[tokio::test]
async fn other_keys_need_the_password() {
    let (alice, old) = with_cross_signing(&server(), "alice").await;
    let new = CrossSigning::of(&alice);
    let wrong = alice
        .with_this_password(Method::POST, PATH, new.upload.clone(), "wrong")
        .await;
    assert_eq!(wrong.asks_for_auth()["errcode"], "M_FORBIDDEN");
    let found = query(&alice, &alice).await;
    assert_eq!(
        found["master_keys"][&alice.user_id]["keys"],
        old.upload["master_key"]["keys"]
    );
    alice
        .with_password(Method::POST, PATH, new.upload.clone())
        .await
        .ok();
    let found = query(&alice, &alice).await;
    assert_eq!(
        found["master_keys"][&alice.user_id]["keys"],
        new.upload["master_key"]["keys"]
    );
    let signing = &found["self_signing_keys"][&alice.user_id]["keys"];
    assert_eq!(signing, &new.upload["self_signing_key"]["keys"]);
}

#[tokio::test]
async fn keys_that_the_master_key_did_not_sign_are_refused() {
    let alice = server().register("alice").await;
    let (keys, stranger) = (CrossSigning::of(&alice), Key::new());
    let mut forged = keys.upload.clone();
    let object = &mut forged["self_signing_key"];
    object["signatures"] = json!({});
    stranger.sign(object, &alice.user_id, &keys.master.public());
    alice
        .post(PATH, forged)
        .await
        .refused(400, "M_INVALID_SIGNATURE");
    let mut bare = keys.upload.clone();
    bare["user_signing_key"]
        .as_object_mut()
        .unwrap()
        .remove("signatures");
    let answer = alice.post(PATH, bare).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let found = query(&alice, &alice).await;
    assert!(
        found["master_keys"][&alice.user_id].is_null(),
        "nothing of it was taken: {found}"
    );
}

#[tokio::test]
async fn keys_without_a_master_key_are_refused() {
    let alice = server().register("alice").await;
    let mut upload = CrossSigning::of(&alice).upload;
    upload.as_object_mut().unwrap().remove("master_key");
    alice
        .post(PATH, upload)
        .await
        .refused(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn keys_that_say_they_are_something_else_are_refused() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let others = CrossSigning::of(&alice).upload;
    let answer = mallory.post(PATH, others).await;
    assert!((400..=403).contains(&answer.status), "{answer:?}");
    let mut usage = CrossSigning::of(&alice).upload;
    usage["master_key"]["usage"] = json!(["self_signing"]);
    let answer = alice.post(PATH, usage).await;
    assert!((400..=403).contains(&answer.status), "{answer:?}");
    let mut two = CrossSigning::of(&alice).upload;
    let more = Key::new().public();
    two["master_key"]["keys"][format!("ed25519:{more}")] = json!(more);
    let answer = alice.post(PATH, two).await;
    assert!((400..=403).contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn a_key_must_not_be_named_like_a_device() {
    let alice = server().register("alice").await;
    let upload = CrossSigning::of(&alice);
    let public = upload.master.public();
    let again = json!({ "device_id": public });
    let twin = alice
        .try_login(&alice.user_id, harness::PASSWORD, again)
        .await
        .ok();
    assert_eq!(twin["device_id"], public.as_str());
    let answer = alice.post(PATH, upload.upload).await;
    answer.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn new_keys_are_news_for_those_who_share_a_room() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    alice.room_with(&[&bob]).await;
    let (before, elsewhere) = (bob.sync().await, carol.sync().await);
    alice.post(PATH, CrossSigning::of(&alice).upload).await.ok();
    bob.sync_until(&before, "alice's keys", |synced| {
        synced
            .changed()
            .contains(&alice.user_id.as_str())
            .then_some(())
    })
    .await;
    assert!(carol.sync_since(&elsewhere).await.changed().is_empty());
}
