//! What services are asked: users, aliases, other networks.

use harness::{AppService, Server, escape};
use serde_json::{Value, json};

use super::{Scene, config};

const NOT_FOUND: &str = "M_NOT_FOUND";

fn not_found() -> Value {
    json!({ "errcode": "M_NOT_FOUND", "error": "No" })
}

#[tokio::test]
async fn a_room_is_made_when_somebody_wants_to_come_in() {
    let scene = Scene::new("irc", "").await;
    let (api, service) = (&scene.api, &scene.service);
    let alice = scene.server.api().register_as("alice").await;
    let asked_for = "/_matrix/app/v1/rooms/%23_irc_tea:localhost";
    let answer = service.holds(asked_for);
    let target = escape("#_irc_tea:localhost");
    let coming = alice.post(format!("v3/join/{target}"), json!({}));
    let making = async {
        let asked = service.asked_for(asked_for).await;
        assert_eq!(asked[0].method, "GET");
        assert_eq!(asked[0].token.as_deref(), Some(&*service.hs_token()));
        let wish = json!({ "room_alias_name": "_irc_tea", "preset": "public_chat" });
        let made = api.post("v3/createRoom", wish).await.ok();
        answer.send(Some((200, json!({})))).unwrap();
        made["room_id"].clone()
    };
    let (came, made) = tokio::join!(coming, making);
    assert_eq!(came.ok()["room_id"], made);
    // Now it is there, and nobody is asked any more.
    let found = alice.get(format!("v3/directory/room/{target}")).await.ok();
    assert_eq!(found["room_id"], made);
    assert_eq!(service.asked_for(asked_for).await.len(), 1);
}

#[tokio::test]
async fn a_service_may_not_know_an_alias_or_not_answer() {
    let scene = Scene::new("irc", "").await;
    let alice = scene.server.api().register_as("alice").await;
    let path = |alias: &str| format!("v3/directory/room/{}", escape(alias));
    let unknown = path("#_irc_nothing:localhost");
    alice.get(&unknown).await.refused(404, NOT_FOUND);
    assert_eq!(scene.service.asked().len(), 1);
    alice
        .get(path("#other:localhost"))
        .await
        .refused(404, NOT_FOUND);
    // The service itself is not asked back.
    scene.api.get(&unknown).await.refused(404, NOT_FOUND);
    assert_eq!(scene.service.asked().len(), 1);

    let Scene {
        service,
        server: _server,
        ..
    } = scene;
    drop(service);
    alice.get(&unknown).await.refused(408, "M_UNKNOWN");
    let target = escape("#_irc_nothing:localhost");
    let refused = alice.post(format!("v3/join/{target}"), json!({})).await;
    refused.refused(408, "M_UNKNOWN");
    alice
        .get(path("#other:localhost"))
        .await
        .refused(404, NOT_FOUND);
}

#[tokio::test]
async fn older_services_are_asked_under_older_paths() {
    let scene = Scene::new("old", "").await;
    let service = &scene.service;
    service.answers("/_matrix/app/v1/", 404, json!("no such page"));
    service.answers("/rooms/", 404, not_found());
    let alice = scene.server.api().register_as("alice").await;
    let path = format!("v3/directory/room/{}", escape("#_old_tea:localhost"));
    alice.get(path).await.refused(404, NOT_FOUND);
    let asked = service.asked();
    assert_eq!(asked[1].path, "/rooms/%23_old_tea:localhost");
    service.answers("/transactions/", 200, json!({}));
    let room = alice.public_room().await;
    service.user(&scene.server, "bob").await.join(&room).await;
    let asked = service.asked_for("/transactions/").await;
    assert_eq!(asked[0].events()[0]["type"], "m.room.member");
}

#[tokio::test]
async fn a_user_is_made_when_somebody_looks() {
    let scene = Scene::new("irc", "").await;
    let (api, service) = (&scene.api, &scene.service);
    let alice = scene.server.api().register_as("alice").await;
    let asked_for = "/_matrix/app/v1/users/@_irc_bob:localhost";
    let answer = service.holds(asked_for);
    let user_id = escape("@_irc_bob:localhost");
    let looking = alice.get(format!("v3/profile/{user_id}"));
    let making = async {
        service.asked_for(asked_for).await;
        let puppet = service.puppet(&scene.server, "bob").await;
        let path = format!("v3/profile/{user_id}/displayname?{puppet}");
        api.put(path, json!({ "displayname": "Bob" })).await.ok();
        answer.send(Some((200, json!({})))).unwrap();
    };
    let (profile, ()) = tokio::join!(looking, making);
    assert_eq!(profile.ok()["displayname"], "Bob");
    let path = format!("v3/profile/{}", escape("@_irc_nobody:localhost"));
    alice.get(path).await.refused(404, NOT_FOUND);
}

#[tokio::test]
async fn who_is_invited_is_asked_for_first() {
    let scene = Scene::new("irc", "").await;
    let alice = scene.server.api().register_as("alice").await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    let path = format!("v3/rooms/{room}/invite");
    let nobody = json!({ "user_id": "@_irc_new:localhost" });
    alice.post(path, nobody).await.ok();
    let is_it = |event: &Value| event["state_key"] == "@_irc_new:localhost";
    scene.service.event("the invitation", is_it).await;
    let asked = scene.service.asked();
    assert_eq!(asked[0].path, "/_matrix/app/v1/users/@_irc_new:localhost");
    assert!(asked[1].transaction_id().is_some());
}

/// Two services that lead to one network, and one that leads nowhere.
async fn networks() -> (
    Server,
    AppService,
    AppService,
    AppService,
    tempfile::TempDir,
) {
    let folder = tempfile::tempdir().unwrap();
    let first = AppService::start("first").await;
    let second = AppService::start("second").await;
    let third = AppService::start("third").await;
    for (service, more) in [
        (&first, "protocols: [irc, gone]"),
        (&second, "protocols: [irc]"),
        (&third, ""),
    ] {
        service.register_in(folder.path(), &service.usual_registration(more));
    }
    let server = Server::with(config(&folder, ""));
    (server, first, second, third, folder)
}

fn protocol(network: &str) -> Value {
    json!({
        "user_fields": ["nickname"], "location_fields": ["channel"], "icon": "mxc://a/b",
        "field_types": { "nickname": { "regexp": ".*", "placeholder": "me" } },
        "instances": [{ "network_id": network, "desc": network, "fields": { "network": network } }],
    })
}

#[tokio::test]
async fn networks_are_put_together() {
    let (server, first, second, third, _folder) = networks().await;
    let alice = server.api().register_as("alice").await;
    let path = "/_matrix/app/v1/thirdparty/protocol/irc";
    first.answers(path, 200, protocol("libera"));
    second.answers(path, 200, protocol("oftc"));
    let irc = alice.get("v3/thirdparty/protocol/irc").await.ok();
    let ids: Vec<_> = irc["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["instance_id"].clone())
        .collect();
    assert_eq!(ids, ["first|libera", "second|oftc"]);
    assert_eq!(irc["user_fields"], json!(["nickname"]));
    let all = alice.get("v3/thirdparty/protocols").await.ok();
    assert_eq!(all, json!({ "irc": irc }));
    alice
        .get("v3/thirdparty/protocol/gone")
        .await
        .refused(404, NOT_FOUND);
    alice
        .get("v3/thirdparty/protocol/none")
        .await
        .refused(404, NOT_FOUND);
    let nobody = server.api();
    nobody
        .get("v3/thirdparty/protocols")
        .await
        .refused(401, "M_MISSING_TOKEN");
    assert!(third.asked().is_empty());
}

#[tokio::test]
async fn places_and_users_of_networks_are_found() {
    let (server, first, second, third, _folder) = networks().await;
    let alice = server.api().register_as("alice").await;
    let place =
        json!({ "alias": "#_first_a:localhost", "protocol": "irc", "fields": { "channel": "#a" } });
    let person = json!({ "userid": "@_second_b:localhost", "protocol": "irc", "fields": { "nickname": "b" } });
    first.answers("/_matrix/app/v1/thirdparty/location", 200, json!([place]));
    second.answers("/_matrix/app/v1/thirdparty/location", 200, json!([]));
    first.answers("/_matrix/app/v1/thirdparty/user", 200, json!([]));
    second.answers("/_matrix/app/v1/thirdparty/user", 200, json!([person]));

    let token = escape(&alice.access_token);
    let search = format!("v3/thirdparty/location/irc?channel=%23a&access_token={token}");
    assert_eq!(server.api().get(search).await.ok(), json!([place]));
    let asked = first.asked_for("/_matrix/app/v1/thirdparty/location").await;
    // What is about the caller stays here.
    assert_eq!(
        asked[0].path,
        "/_matrix/app/v1/thirdparty/location/irc?channel=%23a"
    );
    let found = alice.get("v3/thirdparty/user/irc?nickname=b").await.ok();
    assert_eq!(found, json!([person]));
    let alias = escape("#_first_a:localhost");
    let found = alice
        .get(format!("v3/thirdparty/location?alias={alias}"))
        .await
        .ok();
    assert_eq!(found, json!([place]));
    let user = escape("@_second_b:localhost");
    let found = alice
        .get(format!("v3/thirdparty/user?userid={user}"))
        .await
        .ok();
    assert_eq!(found, json!([person]));
    alice
        .get("v3/thirdparty/user/none?nickname=b")
        .await
        .refused(404, NOT_FOUND);
    second.answers("/_matrix/app/v1/thirdparty/user", 500, json!({}));
    alice
        .get("v3/thirdparty/user/irc?nickname=b")
        .await
        .refused(404, NOT_FOUND);
    assert!(third.asked().is_empty());
}
