//! What a service does as its users.

use std::time::Duration;

use harness::{AppService, escape};
use reqwest::Method;
use serde_json::{Value, json};

use super::Scene;

#[tokio::test]
async fn users_act_without_a_device_and_with_one() {
    let scene = Scene::new("irc", "").await;
    let api = &scene.api;
    let bob = scene.service.puppet(&scene.server, "bob").await;
    let whoami = format!("v3/account/whoami?{bob}");
    assert!(api.get(&whoami).await.ok().get("device_id").is_none());
    let refused = api.get(format!("{whoami}&device_id=PHONE")).await;
    refused.refused(400, "M_UNKNOWN_DEVICE");

    let device = format!("v3/devices/PHONE?{bob}");
    let made = api.put(&device, json!({ "display_name": "Phone" })).await;
    assert_eq!((made.status, made.body), (201, json!({})));
    let named = api.put(&device, json!({ "display_name": "Bridge" })).await;
    assert_eq!((named.status, named.body), (200, json!({})));
    assert_eq!(api.get(&device).await.ok()["display_name"], "Bridge");
    for parameter in ["device_id", "org.matrix.msc3202.device_id"] {
        let me = api.get(format!("{whoami}&{parameter}=PHONE")).await.ok();
        assert_eq!(me["device_id"], "PHONE");
    }

    let upload = format!("v3/keys/upload?{bob}");
    let keys = json!({ "one_time_keys": { "signed_curve25519:AAAA": { "key": "x" } } });
    let refused = api.post(&upload, keys).await;
    refused.refused(400, "M_MISSING_PARAM");
    let upload = format!("{upload}&device_id=PHONE");
    api.post(upload, json!({})).await.ok();

    // Nothing need be proved again.
    api.delete(&device, Value::Null).await.ok();
    api.get(&device).await.refused(404, "M_NOT_FOUND");
    api.put(&device, json!({})).await;
    let both = json!({ "devices": ["PHONE"] });
    let path = format!("v3/delete_devices?{bob}");
    api.post(path, both).await.ok();
    api.get(&device).await.refused(404, "M_NOT_FOUND");
    let password = json!({ "new_password": "a long password" });
    let path = format!("v3/account/password?{bob}");
    api.post(path, password).await.refused(403, "M_FORBIDDEN");

    // People cannot make devices.
    let alice = scene.server.api().register_as("alice").await;
    let refused = alice.put("v3/devices/PHONE", json!({})).await;
    refused.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_service_says_when_something_was_said() {
    let scene = Scene::new("irc", "").await;
    let api = &scene.api;
    let alice = scene.server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let bob = scene.service.puppet(&scene.server, "bob").await;
    api.post(format!("v3/join/{room}?{bob}"), json!({}))
        .await
        .ok();
    let send = format!("v3/rooms/{room}/send/m.room.message");
    let text = json!({ "msgtype": "m.text", "body": "then" });
    let sent_at = async |event: &Value| {
        let event_id = event["event_id"].as_str().unwrap();
        alice.event(&room, event_id).await.ok()["origin_server_ts"].as_u64()
    };

    let said = api
        .put(format!("{send}/a?{bob}&ts=1234"), text.clone())
        .await
        .ok();
    assert_eq!(sent_at(&said).await, Some(1234));
    // The same transaction makes the same event, though there is no device.
    let again = api
        .put(format!("{send}/a?{bob}&ts=1234"), text.clone())
        .await
        .ok();
    assert_eq!(again, said);
    let path = format!("v3/rooms/{room}/state/org.example/?{bob}&ts=99");
    let refused = api.put(&path, json!({})).await;
    refused.refused(403, "M_FORBIDDEN");
    let of_bob = format!(
        "v3/rooms/{room}/state/m.room.member/{}?{bob}&ts=99",
        escape("@_irc_bob:localhost")
    );
    let named = json!({ "membership": "join", "displayname": "Bob" });
    let named = api.put(of_bob, named).await.ok();
    assert_eq!(sent_at(&named).await, Some(99));
    let refused = api.put(format!("{send}/b?{bob}&ts=-1"), text.clone()).await;
    refused.refused(400, "M_INVALID_PARAM");

    // Others' is not looked at.
    let said = alice.put(format!("{send}/a?ts=1234"), text).await.ok();
    assert!(sent_at(&said).await > Some(1_600_000_000_000));
}

#[tokio::test]
async fn services_may_be_spared_limits() {
    let limits = "requests_per_second_per_account = 1\nburst_per_account = 3";
    for (id, more, is_limited) in [
        ("free", "rate_limited: false", false),
        ("bound", "rate_limited: true", true),
        ("silent", "", true),
    ] {
        let service = AppService::start(id).await;
        let text = service.usual_registration(more);
        let scene = Scene::with(service, &text, limits);
        let bob = scene.service.puppet(&scene.server, "bob").await;
        let mut refused = 0;
        for _ in 0..12 {
            let path = format!("v3/account/whoami?{bob}");
            refused += usize::from(scene.api.get(path).await.status == 429);
            // The service's own user is never limited.
            scene.api.get("v3/account/whoami").await.ok();
        }
        assert_eq!(refused > 0, is_limited, "{id}: {refused}");
    }
}

#[tokio::test]
async fn a_service_is_pinged() {
    let scene = Scene::new("irc", "").await;
    let (api, service) = (&scene.api, &scene.service);
    let ping = "v1/appservice/irc/ping";
    let path = "/_matrix/app/v1/ping";
    let begun = std::time::Instant::now();
    let answer = api
        .post(ping, json!({ "transaction_id": "meow" }))
        .await
        .ok();
    let duration = answer["duration_ms"].as_u64().unwrap();
    assert!(duration <= u64::try_from(begun.elapsed().as_millis()).unwrap());
    let asked = service.asked_for(path).await;
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked[0].body, json!({ "transaction_id": "meow" }));
    assert_eq!(asked[0].token.as_deref(), Some(&*service.hs_token()));
    api.post(ping, json!({})).await.ok();
    assert_eq!(service.asked()[1].body, json!({}));

    service.answers(path, 403, json!({ "errcode": "M_FORBIDDEN" }));
    let refused = api.post(ping, json!({})).await.refused(502, "M_BAD_STATUS");
    assert_eq!(refused["status"], 403);
    assert_eq!(refused["body"], r#"{"errcode":"M_FORBIDDEN"}"#);

    let refused = api.post("v1/appservice/other/ping", json!({})).await;
    refused.refused(403, "M_FORBIDDEN");
    let alice = scene.server.api().register_as("alice").await;
    alice
        .post(ping, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let refused = api.anonymous().post(ping, json!({})).await;
    refused.refused(401, "M_MISSING_TOKEN");

    let Scene {
        service,
        api,
        server: _server,
        ..
    } = scene;
    drop(service);
    let refused = api.post(ping, json!({})).await;
    refused.refused(502, "M_CONNECTION_FAILED");
}

#[tokio::test]
async fn a_ping_does_not_wait_for_ever() {
    let scene = Scene::new("irc", "").await;
    let _silence = scene.service.holds("/_matrix/app/v1/ping");
    let request = scene.api.request(Method::POST, "v1/appservice/irc/ping");
    let request = request.json(&json!({})).timeout(Duration::from_secs(90));
    let refused = scene.api.send_request(request).await;
    refused.refused(504, "M_CONNECTION_TIMEOUT");
}

#[tokio::test]
async fn a_service_without_an_address_is_told_so() {
    let service = AppService::start("mute").await;
    let url = format!("'http://{}'", service.address());
    let text = service.usual_registration("").replace(&url, "null");
    let scene = Scene::with(service, &text, "");
    let refused = scene.api.post("v1/appservice/mute/ping", json!({})).await;
    refused.refused(400, "M_URL_NOT_SET");
    // It acts all the same.
    scene.service.puppet(&scene.server, "bob").await;
    assert!(scene.service.asked().is_empty());
}

#[tokio::test]
async fn services_have_lists_of_rooms_for_their_networks() {
    let scene = Scene::new("irc", "protocols: [irc]").await;
    let (api, alice) = (&scene.api, scene.server.api().register_as("alice").await);
    let bridged = alice.public_room().await;
    let listed = alice
        .create_room(json!({ "preset": "public_chat", "visibility": "public" }))
        .await;
    let place = format!("v3/directory/list/appservice/libera/{bridged}");
    let public = json!({ "visibility": "public" });
    alice
        .put(&place, public.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    alice
        .api
        .with_token("nobody's")
        .put(&place, public.clone())
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    let unknown = "v3/directory/list/appservice/libera/!nothing:localhost";
    api.put(unknown, public.clone())
        .await
        .refused(404, "M_NOT_FOUND");
    api.put(&place, public).await.ok();

    let rooms = async |wish: Value| {
        let page = alice.post("v3/publicRooms", wish).await.ok();
        let chunk = page["chunk"].as_array().unwrap().clone();
        let mut ids: Vec<_> = chunk
            .iter()
            .map(|room| room["room_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(rooms(json!({})).await, std::slice::from_ref(&listed));
    let network = json!({ "third_party_instance_id": "irc|libera" });
    assert_eq!(rooms(network.clone()).await, std::slice::from_ref(&bridged));
    let other = json!({ "third_party_instance_id": "irc|other" });
    assert!(rooms(other).await.is_empty());
    let mut both = vec![listed, bridged];
    both.sort();
    assert_eq!(rooms(json!({ "include_all_networks": true })).await, both);

    api.put(&place, json!({ "visibility": "private" }))
        .await
        .ok();
    assert!(rooms(network).await.is_empty());
}
