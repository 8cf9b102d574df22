//! Pushers: setting, listing, deleting, and with what they go.

use harness::{Config, Server, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server;

const URL: &str = "https://push.example/_matrix/push/v1/notify";

fn pusher(app_id: &str, pushkey: &str) -> Value {
    json!({
        "kind": "http", "app_id": app_id, "pushkey": pushkey, "lang": "de",
        "app_display_name": "An App", "device_display_name": "A Phone", "profile_tag": "tag",
        "data": { "url": URL, "format": "event_id_only", "own": { "key": 1 } },
    })
}

async fn pushers(user: &User) -> Vec<Value> {
    let list = user.get("v3/pushers").await.ok();
    list["pushers"].as_array().unwrap().clone()
}

async fn keys(user: &User) -> Vec<String> {
    let keys = pushers(user).await;
    let keys = keys.iter().map(|pusher| pusher["pushkey"].as_str());
    keys.map(|key| key.unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pusher_is_set_listed_changed_and_deleted() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    assert!(pushers(&alice).await.is_empty());
    let mut wish = pusher("app.one", "key-one");
    alice.post("v3/pushers/set", wish.clone()).await.ok();
    assert_eq!(pushers(&alice).await, std::slice::from_ref(&wish));
    assert!(pushers(&bob).await.is_empty(), "it is alice's alone");
    wish["lang"] = json!("en");
    wish["data"] = json!({ "url": URL });
    alice.post("v3/pushers/set", wish.clone()).await.ok();
    assert_eq!(pushers(&alice).await, [wish]);
    let second = pusher("app.two", "key-one");
    alice.post("v3/pushers/set", second.clone()).await.ok();
    assert_eq!(pushers(&alice).await.len(), 2);
    let gone = json!({ "kind": null, "app_id": "app.one", "pushkey": "key-one" });
    alice.post("v3/pushers/set", gone.clone()).await.ok();
    assert_eq!(pushers(&alice).await, [second]);
    // What is not there can be deleted again.
    alice.post("v3/pushers/set", gone).await.ok();
}

#[tokio::test]
async fn pushers_are_checked() {
    let alice = server().register("alice").await;
    let with = |path: &[&str], value: Value| {
        let mut wish = pusher("app", "key");
        let (last, rest) = path.split_last().unwrap();
        let mut place = &mut wish;
        for name in rest {
            place = &mut place[*name];
        }
        place[*last] = value;
        wish
    };
    let url = |url: &str| with(&["data", "url"], url.into());
    for (wish, errcode) in [
        (with(&["kind"], json!("email")), "M_INVALID_PARAM"),
        (with(&["kind"], json!("pigeon")), "M_INVALID_PARAM"),
        (with(&["kind"], json!(7)), "M_INVALID_PARAM"),
        (with(&["app_id"], json!("x".repeat(65))), "M_INVALID_PARAM"),
        (with(&["app_id"], json!("")), "M_INVALID_PARAM"),
        (
            with(&["pushkey"], json!("x".repeat(513))),
            "M_INVALID_PARAM",
        ),
        (with(&["pushkey"], json!("")), "M_INVALID_PARAM"),
        (with(&["lang"], json!("x".repeat(256))), "M_INVALID_PARAM"),
        (
            with(&["data", "own"], json!("x".repeat(5_000))),
            "M_INVALID_PARAM",
        ),
        (with(&["data", "url"], json!(5)), "M_INVALID_PARAM"),
        (
            url("http://push.example/_matrix/push/v1/notify"),
            "M_INVALID_PARAM",
        ),
        (url("https://push.example/notify"), "M_INVALID_PARAM"),
        (
            url("https://a:b@push.example/_matrix/push/v1/notify"),
            "M_INVALID_PARAM",
        ),
        (url("nonsense"), "M_INVALID_PARAM"),
        (with(&["app_id"], json!(5)), "M_BAD_JSON"),
        (with(&["data"], json!([])), "M_BAD_JSON"),
        (with(&["append"], json!("yes")), "M_BAD_JSON"),
    ] {
        let answer = alice.post("v3/pushers/set", wish.clone()).await;
        let error = answer.refused(400, errcode);
        assert!(!error["error"].as_str().unwrap().is_empty(), "{wish}");
    }
    for name in [
        "kind",
        "app_id",
        "pushkey",
        "lang",
        "app_display_name",
        "device_display_name",
        "data",
    ] {
        let mut wish = pusher("app", "key");
        wish.as_object_mut().unwrap().remove(name);
        let error = alice.post("v3/pushers/set", wish).await;
        let error = error.refused(400, "M_MISSING_PARAM");
        assert!(error["error"].as_str().unwrap().contains(name), "{error}");
    }
    let without_url = with(&["data"], json!({}));
    alice
        .post("v3/pushers/set", without_url)
        .await
        .refused(400, "M_MISSING_PARAM");
    alice
        .post("v3/pushers/set", json!({ "kind": null, "app_id": "app" }))
        .await
        .refused(400, "M_MISSING_PARAM");
    alice
        .raw(Method::POST, "v3/pushers/set", "[]")
        .await
        .refused_with(&[400]);
    assert!(pushers(&alice).await.is_empty());
    let anonymous = alice.anonymous();
    anonymous
        .post("v3/pushers/set", pusher("app", "key"))
        .await
        .refused(401, "M_MISSING_TOKEN");
    anonymous
        .get("v3/pushers")
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn gateways_without_tls_are_for_listed_networks() {
    let server = Server::with(Config {
        more: "[outgoing]\nprivate_networks = [\"10.0.0.0/8\"]".to_owned(),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    let mut wish = pusher("app", "key");
    wish["data"]["url"] = json!("http://10.0.0.7/_matrix/push/v1/notify");
    alice.post("v3/pushers/set", wish).await.ok();
    assert_eq!(keys(&alice).await, ["key"]);
}

#[tokio::test]
async fn a_push_key_belongs_to_one_user_unless_it_is_appended() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let key = format!("shared-{}", alice.user_id);
    let mut wish = pusher("app", &key);
    alice.post("v3/pushers/set", wish.clone()).await.ok();
    wish["append"] = json!(true);
    bob.post("v3/pushers/set", wish.clone()).await.ok();
    assert_eq!(keys(&alice).await, [key.as_str()]);
    assert_eq!(keys(&bob).await, [key.as_str()]);
    // Another application's key is another key.
    wish["app_id"] = json!("other");
    alice.post("v3/pushers/set", wish.clone()).await.ok();
    wish["app_id"] = json!("app");
    wish["append"] = json!(false);
    bob.post("v3/pushers/set", wish).await.ok();
    assert_eq!(keys(&bob).await, [key.as_str()]);
    let left = pushers(&alice).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["app_id"], "other");
}

#[tokio::test]
async fn pushers_go_with_their_device() {
    let alice = server().register("alice").await;
    let phone = alice.another_device().await;
    let tablet = alice.another_device().await;
    for (device, key) in [(&alice, "laptop"), (&phone, "phone"), (&tablet, "tablet")] {
        device.post("v3/pushers/set", pusher("app", key)).await.ok();
    }
    assert_eq!(
        keys(&alice).await,
        ["phone", "laptop", "tablet"].map(str::to_owned)
    );
    phone.post("v3/logout", json!({})).await.ok();
    assert_eq!(keys(&alice).await, ["laptop", "tablet"]);
    // Set again, it goes with the device that did that.
    alice
        .post("v3/pushers/set", pusher("app", "tablet"))
        .await
        .ok();
    let path = format!("v3/devices/{}", tablet.device_id);
    alice
        .with_password(Method::DELETE, &path, json!({}))
        .await
        .ok();
    assert_eq!(keys(&alice).await, ["laptop", "tablet"]);
    alice.post("v3/logout/all", json!({})).await.ok();
    let back = alice.api.login(&alice.user_id).await;
    assert!(keys(&back).await.is_empty());
}

#[tokio::test]
async fn a_new_password_ends_the_pushers_of_other_devices() {
    let alice = server().register("alice").await;
    let phone = alice.another_device().await;
    phone
        .post("v3/pushers/set", pusher("app", "phone"))
        .await
        .ok();
    alice
        .post("v3/pushers/set", pusher("app", "laptop"))
        .await
        .ok();
    let change = json!({ "new_password": "another long password", "logout_devices": false });
    alice
        .with_password(Method::POST, "v3/account/password", change)
        .await
        .ok();
    assert_eq!(keys(&alice).await, ["phone", "laptop"]);
    let change = json!({ "new_password": "a third long password" });
    let path = "v3/account/password";
    alice
        .with_this_password(Method::POST, path, change, "another long password")
        .await
        .ok();
    assert_eq!(keys(&alice).await, ["laptop"]);
}
