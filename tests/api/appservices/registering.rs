//! Registration files, tokens, and whose names are whose.

use harness::{AppService, Server, escape, eventually};
use serde_json::{Value, json};

use super::{Scene, config};

fn as_user(name: &str) -> Value {
    json!({ "type": "m.login.application_service", "username": name, "inhibit_login": true })
}

#[tokio::test]
async fn a_service_has_a_user_and_makes_more() {
    let scene = Scene::new("irc", "").await;
    let (api, server) = (&scene.api, &scene.server);
    let me = api.get("v3/account/whoami").await.ok();
    assert_eq!(me, json!({ "user_id": "@ircbot:localhost" }));

    let made = api.post("v3/register", as_user("_irc_bob")).await.ok();
    assert_eq!(made["user_id"], "@_irc_bob:localhost");
    assert!(made.get("access_token").is_none());
    let again = api.post("v3/register", as_user("_irc_bob")).await;
    again.refused(400, "M_USER_IN_USE");
    let bob = format!("user_id={}", escape("@_irc_bob:localhost"));
    let me = api.get(format!("v3/account/whoami?{bob}")).await.ok();
    assert_eq!(me["user_id"], "@_irc_bob:localhost");
    // The token is taken from the query too.
    let token = escape(&scene.service.as_token());
    let path = format!("v3/account/whoami?access_token={token}&{bob}");
    let me = server.api().get(path).await.ok();
    assert_eq!(me["user_id"], "@_irc_bob:localhost");

    // Neither somebody else nor somebody who is not there.
    server.api().register_as("alice").await;
    for (user, words) in [
        ("@alice:localhost", "@alice:localhost"),
        ("@_irc_nobody:localhost", "@_irc_nobody:localhost"),
        ("@_irc_bob:elsewhere", "@_irc_bob:elsewhere"),
        ("nonsense", "nonsense"),
    ] {
        let path = format!("v3/account/whoami?user_id={}", escape(user));
        let refused = api.get(path).await.refused(403, "M_FORBIDDEN");
        assert!(refused["error"].as_str().unwrap().contains(words));
    }
}

#[tokio::test]
async fn a_service_can_sign_its_users_in() {
    let scene = Scene::new("irc", "").await;
    let (api, server) = (&scene.api, &scene.server);
    let bob = scene.service.user(server, "bob").await;
    let me = bob.get("v3/account/whoami").await.ok();
    assert_eq!(me["user_id"], "@_irc_bob:localhost");
    assert_eq!(me["device_id"], bob.device_id);

    let login = |user: &str| {
        json!({
            "type": "m.login.application_service", "device_id": "BRIDGE",
            "identifier": { "type": "m.id.user", "user": user },
        })
    };
    let session = api.post("v3/login", login("_irc_bob")).await.ok();
    assert_eq!(session["device_id"], "BRIDGE");
    let session = api.user_of(session);
    session.get("v3/account/whoami").await.ok();
    server.api().register_as("alice").await;
    let refused = api.post("v3/login", login("alice")).await;
    refused.refused(400, "M_EXCLUSIVE");
    let refused = api.post("v3/login", login("_irc_nobody")).await;
    refused.refused(403, "M_FORBIDDEN");
    let flows = api.anonymous().get("v3/login").await.ok();
    let types: Vec<_> = flows["flows"].as_array().unwrap().iter().collect();
    assert!(types.contains(&&json!({ "type": "m.login.application_service" })));
}

#[tokio::test]
async fn without_the_token_nobody_is_a_service() {
    let scene = Scene::new("irc", "").await;
    let nobody = scene.api.anonymous();
    let stranger = nobody.with_token("as-token-of-ir");
    let login = json!({
        "type": "m.login.application_service",
        "identifier": { "type": "m.id.user", "user": "_irc_bob" },
    });
    for (path, body) in [("v3/register", as_user("_irc_bob")), ("v3/login", login)] {
        let refused = nobody.post(path, body.clone()).await;
        refused.refused(401, "M_MISSING_TOKEN");
        let refused = stranger.post(path, body.clone()).await;
        refused.refused(401, "M_UNKNOWN_TOKEN");
    }
    let missing = json!({ "type": "m.login.application_service" });
    let refused = scene.api.post("v3/register", missing).await;
    refused.refused(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn reserved_names_are_for_one_alone() {
    let service = AppService::start("irc").await;
    let namespaces = "  users:\n    - { exclusive: true, regex: '@bridged-.*' }\n    \
                      - { exclusive: false, regex: '@shared-.*' }";
    let text = service.registration(namespaces, "");
    let scene = Scene::with(service, &text, "");
    let (api, anybody) = (&scene.api, scene.server.api());

    let human = |name: &str| json!({ "username": name, "password": "a long password", "auth": { "type": "m.login.dummy" } });
    let refused = anybody.post("v3/register", human("bridged-a")).await;
    refused.refused(400, "M_EXCLUSIVE");
    let refused = anybody.post("v3/register", human("ircbot")).await;
    refused.refused(400, "M_USER_IN_USE");
    let path = "v3/register/available?username=bridged-a";
    anybody.get(path).await.refused(400, "M_EXCLUSIVE");
    anybody.post("v3/register", human("shared-a")).await.ok();
    api.post("v3/register", as_user("shared-b")).await.ok();
    api.post("v3/register", as_user("bridged-a")).await.ok();
    let refused = api.post("v3/register", as_user("outside")).await;
    refused.refused(400, "M_EXCLUSIVE");
}

#[tokio::test]
async fn reserved_aliases_are_for_one_alone() {
    let scene = Scene::new("irc", "").await;
    let (api, server) = (&scene.api, &scene.server);
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let ours = format!("v3/directory/room/{}", escape("#_irc_tea:localhost"));
    let free = format!("v3/directory/room/{}", escape("#tea:localhost"));
    let to = json!({ "room_id": room });
    alice
        .put(&ours, to.clone())
        .await
        .refused(400, "M_EXCLUSIVE");
    let wish = json!({ "room_alias_name": "_irc_tea" });
    let refused = alice.post("v3/createRoom", wish.clone()).await;
    refused.refused(400, "M_EXCLUSIVE");
    alice.put(&free, to.clone()).await.ok();

    let bob = scene.service.puppet(server, "bob").await;
    api.post(format!("v3/join/{room}?{bob}"), json!({}))
        .await
        .ok();
    let refused = api.put(format!("{free}x?{bob}"), to.clone()).await;
    refused.refused(400, "M_EXCLUSIVE");
    api.put(format!("{ours}?{bob}"), to).await.ok();
    alice
        .delete(&ours, Value::Null)
        .await
        .refused(400, "M_EXCLUSIVE");
    // The service's own user may take away what another user of it has made.
    api.delete(&ours, Value::Null).await.ok();
    api.get(&ours).await.refused(404, "M_NOT_FOUND");
    let made = api.post(format!("v3/createRoom?{bob}"), wish).await.ok();
    let found = alice.get(&ours).await.ok();
    assert_eq!(found["room_id"], made["room_id"]);
}

#[tokio::test]
async fn a_bad_file_is_named_with_its_line_and_field() {
    let scene = Scene::new("irc", "").await;
    let (server, folder) = (&scene.server, scene.folder.path());
    let check = || {
        let output = server.cairn(&["config", "check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    assert_eq!(check(), (true, String::new()));
    for (text, expected) in [
        (
            "id: other\nurl: null\n",
            "other.yaml:1: `namespaces` is missing",
        ),
        ("id: [", "other.yaml:2: this is no YAML"),
        (
            "id: other\nurl: here\nas_token: a\nhs_token: b\nsender_localpart: c\nnamespaces: {}\n",
            "other.yaml:2: `url` is \"here\"",
        ),
        (
            "id: irc\nurl: null\nas_token: a\nhs_token: b\nsender_localpart: c\nnamespaces: {}\n",
            "two application services have the id `irc`",
        ),
        (
            "id: other\nurl: null\nas_token: as-token-of-irc\nhs_token: b\nsender_localpart: c\n\
             namespaces: {}\n",
            "the application services `irc` and `other` have the same as_token",
        ),
    ] {
        std::fs::write(folder.join("other.yaml"), text).unwrap();
        let (is_good, said) = check();
        assert!(!is_good && said.contains(expected), "{expected}: {said}");
    }
    // What is no registration file by its name is left alone.
    std::fs::rename(folder.join("other.yaml"), folder.join("other.txt")).unwrap();
    assert!(check().0);
}

#[tokio::test]
async fn services_are_read_again_with_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with(config(&folder, ""));
    let service = AppService::start("late").await;
    let api = service.api(&server);
    let refused = api.get("v3/account/whoami").await;
    refused.refused(401, "M_UNKNOWN_TOKEN");
    service.register_in(folder.path(), &service.usual_registration(""));
    let signalled = std::process::Command::new("sh")
        .args(["-c", &format!("kill -HUP {}", server.process_id())])
        .status()
        .unwrap();
    assert!(signalled.success());
    let me = eventually("the service", 20, async || {
        let answer = api.get("v3/account/whoami").await;
        (answer.status == 200).then(|| answer.ok())
    })
    .await;
    assert_eq!(me["user_id"], "@latebot:localhost");
    // It is told events from then on.
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let bob = service.user(&server, "bob").await;
    bob.join(&room).await;
    let event_id = alice.say(&room, "welcome").await;
    service.event_of(&event_id).await;
}

#[tokio::test]
async fn a_service_has_its_user_whoever_else_claims_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let greedy = AppService::start("greedy").await;
    let modest = AppService::start("modest").await;
    let all = greedy.registration("  users: [{ exclusive: true, regex: '@.*' }]", "");
    greedy.register_in(folder.path(), &all);
    modest.register_in(folder.path(), &modest.usual_registration(""));
    let server = Server::with(config(&folder, ""));
    for (service, user_id) in [
        (&greedy, "@greedybot:localhost"),
        (&modest, "@modestbot:localhost"),
    ] {
        let me = service.api(&server).get("v3/account/whoami").await.ok();
        assert_eq!(me["user_id"], user_id);
    }
    // More names than its own it does not get.
    let refused = modest
        .api(&server)
        .post("v3/register", as_user("_modest_a"))
        .await;
    refused.refused(400, "M_EXCLUSIVE");
}
