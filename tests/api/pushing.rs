//! What push gateways are sent, and when.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{Config, Gateway, Server, User, escape, eventually};
use serde_json::{Value, json};

/// A server that may speak to these networks.
fn reaching(networks: &str) -> Server {
    Server::with(config(networks))
}

fn config(networks: &str) -> Config {
    Config {
        more: format!("[outgoing]\nprivate_networks = {networks}"),
        ..Config::default()
    }
}

fn open() -> Server {
    reaching("[\"127.0.0.0/8\"]")
}

async fn set_pusher(user: &User, url: &str, key: &str, data: Value) {
    let mut wish = json!({
        "kind": "http", "app_id": "test.app", "pushkey": key, "lang": "en",
        "app_display_name": "App", "device_display_name": "Phone", "data": data,
    });
    wish["data"]["url"] = url.into();
    user.post("v3/pushers/set", wish).await.ok();
}

/// Alice, and bob with a pusher, in one room of three.
struct Scene {
    server: Server,
    alice: User,
    bob: User,
    room: String,
}

impl Scene {
    async fn on(server: Server, url: &str) -> Self {
        Self::with_data(server, url, json!({})).await
    }

    async fn with_data(server: Server, url: &str, data: Value) -> Self {
        let api = server.api();
        let alice = api.register_as("alice").await;
        let bob = api.register_as("bob").await;
        let carol = api.register_as("carol").await;
        let room = alice.room_with(&[&bob, &carol]).await;
        set_pusher(&bob, url, "bobs-key", data).await;
        Self {
            server,
            alice,
            bob,
            room,
        }
    }
}

/// What a metric says; zero if it is not there.
async fn metric(server: &Server, line: &str) -> u64 {
    let text = server.api().get("/metrics").await.text;
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |number| number.trim().parse().unwrap())
}

async fn until_metric(server: &Server, line: &str, least: u64) {
    eventually(line, 20, async || {
        (metric(server, line).await >= least).then_some(())
    })
    .await;
}

fn refused_addresses() -> &'static str {
    "cairn_outgoing_requests_total{outcome=\"address\",purpose=\"push\"}"
}

async fn read(user: &User, room: &str, event: &str) {
    let path = format!("v3/rooms/{room}/receipt/m.read/{event}");
    user.post(path, json!({})).await.ok();
}

#[tokio::test]
async fn a_notification_tells_everything() {
    let gateway = Gateway::start().await;
    let scene = Scene::with_data(open(), &gateway.url(), json!({ "own": "data" })).await;
    let (alice, room) = (&scene.alice, &scene.room);
    let name = json!({ "name": "The Council" });
    alice.set_state(room, "m.room.name", "", name).await;
    let path = format!("v3/profile/{}/displayname", alice.user_id);
    alice
        .put(path, json!({ "displayname": "Alice A." }))
        .await
        .ok();
    let event_id = alice.say(room, "hello").await;
    let told = gateway.next().await;
    let pushed_at = told["devices"][0]["pushkey_ts"].as_u64().unwrap();
    assert!(
        (1_600_000_000..4_000_000_000).contains(&pushed_at),
        "{told}"
    );
    let expected = json!({
        "event_id": event_id, "room_id": room, "type": "m.room.message",
        "sender": alice.user_id, "sender_display_name": "Alice A.",
        "room_name": "The Council", "prio": "low",
        "content": { "msgtype": "m.text", "body": "hello" },
        "counts": { "unread": 1 },
        "devices": [{
            "app_id": "test.app", "pushkey": "bobs-key", "pushkey_ts": pushed_at,
            "data": { "own": "data" }, "tweaks": {},
        }],
    });
    assert_eq!(told, expected);
    let mention = json!({
        "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [scene.bob.user_id] },
    });
    alice.send_event(room, "m.room.message", mention).await;
    let told = gateway.next().await;
    assert_eq!(told["prio"], "high");
    assert_eq!(told["counts"]["unread"], 2);
    let tweaks = json!({ "sound": "default", "highlight": true });
    assert_eq!(told["devices"][0]["tweaks"], tweaks);
    until_metric(
        &scene.server,
        "cairn_push_notifications_total{outcome=\"delivered\"}",
        2,
    )
    .await;
}

#[tokio::test]
async fn a_gateway_may_want_the_id_alone() {
    let gateway = Gateway::start().await;
    let data = json!({ "format": "event_id_only" });
    let scene = Scene::with_data(open(), &gateway.url(), data.clone()).await;
    let event_id = scene.alice.say(&scene.room, "a secret").await;
    let told = gateway.next().await;
    assert_eq!(told["event_id"], event_id.as_str());
    assert_eq!(told["room_id"], scene.room.as_str());
    assert_eq!(told["counts"], json!({ "unread": 1 }));
    assert_eq!(told["devices"][0]["data"], data);
    for name in [
        "content",
        "sender",
        "type",
        "sender_display_name",
        "room_name",
    ] {
        assert_eq!(told[name], Value::Null, "{name}");
    }
    assert!(!told.to_string().contains("secret"));
}

#[tokio::test]
async fn what_is_encrypted_stays_encrypted_and_is_urgent() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    let content = json!({
        "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEn", "session_id": "s",
    });
    let room = &scene.room;
    let sent = scene
        .alice
        .send_event(room, "m.room.encrypted", content.clone())
        .await;
    let told = gateway.next().await;
    assert_eq!(told["event_id"], sent.as_str());
    assert_eq!(told["type"], "m.room.encrypted");
    assert_eq!(told["content"], content);
    assert_eq!(told["prio"], "high");
}

#[tokio::test]
async fn a_failed_notification_comes_again_and_in_order() {
    let gateway = Gateway::start().await;
    gateway.answer_next(500, "", "");
    gateway.answer_next(200, "", "<html>Please sign in</html>");
    let scene = Scene::on(open(), &gateway.url()).await;
    let first = scene.alice.say(&scene.room, "first").await;
    let second = scene.alice.say(&scene.room, "second").await;
    for expected in [&first, &first, &first, &second] {
        assert_eq!(gateway.next().await["event_id"], expected.as_str());
    }
    let count = |outcome| format!("cairn_push_notifications_total{{outcome=\"{outcome}\"}}");
    until_metric(&scene.server, &count("delivered"), 2).await;
    assert_eq!(metric(&scene.server, &count("delivered")).await, 2);
    assert_eq!(metric(&scene.server, &count("failed")).await, 2);
}

#[tokio::test]
async fn a_gateway_that_comes_late_gets_what_waited() {
    let address = Gateway::nowhere().await;
    let scene = Scene::on(open(), &Gateway::url_at(address)).await;
    let sent = scene.alice.say(&scene.room, "is anybody there?").await;
    let failed = "cairn_push_notifications_total{outcome=\"failed\"}";
    until_metric(&scene.server, failed, 1).await;
    let gateway = Gateway::start_at(address).await;
    assert_eq!(gateway.next().await["event_id"], sent.as_str());
}

#[tokio::test]
async fn a_kill_between_message_and_notification_loses_nothing() {
    let address = Gateway::nowhere().await;
    let mut scene = Scene::on(open(), &Gateway::url_at(address)).await;
    let sent = scene.alice.say(&scene.room, "before the kill").await;
    scene.server.kill9();
    let gateway = Gateway::start_at(address).await;
    scene.server.restart();
    assert_eq!(gateway.next().await["event_id"], sent.as_str());
    let next = scene.alice.say(&scene.room, "after the kill").await;
    assert_eq!(gateway.next().await["event_id"], next.as_str());
}

#[tokio::test]
async fn what_was_delivered_does_not_come_again_after_a_stop() {
    let gateway = Gateway::start().await;
    let mut scene = Scene::on(open(), &gateway.url()).await;
    let first = scene.alice.say(&scene.room, "first").await;
    assert_eq!(gateway.next().await["event_id"], first.as_str());
    scene.server.restart();
    // So that the client sees that its connection has ended.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = scene.alice.say(&scene.room, "second").await;
    assert_eq!(gateway.next().await["event_id"], second.as_str());
}

#[tokio::test]
async fn a_rejected_push_key_ends_its_pusher() {
    let gateway = Gateway::start().await;
    gateway.answer_next(200, "", "{\"rejected\":[\"bobs-key\"]}");
    let scene = Scene::on(open(), &gateway.url()).await;
    scene.alice.say(&scene.room, "hello").await;
    gateway.next().await;
    eventually("the pusher is gone", 10, async || {
        let list = scene.bob.get("v3/pushers").await.ok();
        list["pushers"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    scene.alice.say(&scene.room, "nobody is told").await;
    // Set anew, it hears of what comes then.
    set_pusher(&scene.bob, &gateway.url(), "new-key", json!({})).await;
    let sent = scene.alice.say(&scene.room, "hello again").await;
    let told = gateway.next().await;
    assert_eq!(told["event_id"], sent.as_str());
    assert_eq!(told["devices"][0]["pushkey"], "new-key");
}

#[tokio::test]
async fn the_count_is_told_when_it_falls() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    let elsewhere = scene.alice.room_with(&[&scene.bob]).await;
    let mut last = String::new();
    for (room, expected) in [(&scene.room, 1), (&elsewhere, 2), (&scene.room, 3)] {
        last = scene.alice.say(room, "unread").await;
        assert_eq!(gateway.next().await["counts"]["unread"], expected);
    }
    read(&scene.bob, &scene.room, &last).await;
    let told = gateway.next().await;
    assert_eq!(told["counts"], json!({ "unread": 1 }));
    assert_eq!(told["prio"], "low");
    assert_eq!(told["event_id"], Value::Null);
    assert_eq!(told["devices"][0]["pushkey"], "bobs-key");
    // Who answers has read; a private receipt counts as well.
    let answer = scene.bob.say(&elsewhere, "an answer").await;
    assert_eq!(gateway.next().await["counts"], json!({ "unread": 0 }));
    let more = scene.alice.say(&elsewhere, "more").await;
    assert_eq!(gateway.next().await["counts"]["unread"], 1);
    let path = format!("v3/rooms/{elsewhere}/receipt/m.read.private/{more}");
    scene.bob.post(path, json!({})).await.ok();
    assert_eq!(gateway.next().await["counts"], json!({ "unread": 0 }));
    // What changes nothing is not told.
    read(&scene.bob, &elsewhere, &answer).await;
    read(&scene.bob, &elsewhere, &more).await;
    let next = scene.alice.say(&scene.room, "next").await;
    assert_eq!(gateway.next().await["event_id"], next.as_str());
}

#[tokio::test]
async fn what_was_read_meanwhile_is_not_told() {
    let address = Gateway::nowhere().await;
    let scene = Scene::on(open(), &Gateway::url_at(address)).await;
    let old = scene.alice.say(&scene.room, "old").await;
    let failed = "cairn_push_notifications_total{outcome=\"failed\"}";
    until_metric(&scene.server, failed, 1).await;
    read(&scene.bob, &scene.room, &old).await;
    let gateway = Gateway::start_at(address).await;
    let new = scene.alice.say(&scene.room, "new").await;
    assert_eq!(gateway.next().await["event_id"], new.as_str());
}

#[tokio::test]
async fn private_addresses_are_not_reached_unless_they_are_listed() {
    let gateway = Gateway::start().await;
    let url = gateway.url().replace("http://", "https://");
    let scene = Scene::on(Server::start(), &url).await;
    scene.alice.say(&scene.room, "hello").await;
    until_metric(&scene.server, refused_addresses(), 1).await;
    assert_eq!(gateway.connections(), 0);
}

#[tokio::test]
async fn a_redirect_leads_nowhere_private_either() {
    let gateway = Gateway::start().await;
    let inside: SocketAddr = "127.0.0.2:0".parse().unwrap();
    let inside = Gateway::start_at(inside).await;
    let scene = Scene::on(reaching("[\"127.0.0.1\"]"), &gateway.url()).await;
    let location = format!("location: {}\r\n", inside.url());
    gateway.answer_next(307, &location, "");
    let sent = scene.alice.say(&scene.room, "hello").await;
    assert_eq!(gateway.next().await["event_id"], sent.as_str());
    until_metric(&scene.server, refused_addresses(), 1).await;
    assert_eq!(inside.connections(), 0);
    // It counts as failed, and comes again.
    assert_eq!(gateway.next().await["event_id"], sent.as_str());
}

#[tokio::test]
async fn rules_decide_what_is_pushed() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    let (alice, bob, room) = (&scene.alice, &scene.bob, &scene.room);
    let quiet = alice.room_with(&[bob]).await;
    let path = format!("v3/pushrules/global/room/{}", escape(&quiet));
    bob.put(path, json!({ "actions": [] })).await.ok();
    let rule = json!({ "pattern": "fire", "actions": ["notify", { "set_tweak": "sound", "value": "siren" }] });
    bob.put("v3/pushrules/global/content/alarm", rule)
        .await
        .ok();
    alice.say(&quiet, "muted").await;
    let notice = json!({ "msgtype": "m.notice", "body": "beep" });
    alice.send_event(room, "m.room.message", notice).await;
    alice
        .set_state(room, "m.room.topic", "", json!({ "topic": "t" }))
        .await;
    let reaction =
        json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": "$x", "key": "k" } });
    alice.send_event(room, "m.reaction", reaction).await;
    let loud = alice.say(&quiet, "FIRE!").await;
    let told = gateway.next().await;
    assert_eq!(told["event_id"], loud.as_str());
    assert_eq!(told["devices"][0]["tweaks"], json!({ "sound": "siren" }));
    // Everything off: as soon as somebody else in the room was told, bob's rules were
    // asked too.
    let elsewhere = Gateway::start().await;
    let dave = scene.server.api().register_as("dave").await;
    dave.join(room).await;
    set_pusher(&dave, &elsewhere.url(), "daves-key", json!({})).await;
    let master = "v3/pushrules/global/override/.m.rule.master/enabled";
    bob.put(master, json!({ "enabled": true })).await.ok();
    let hidden = alice.say(room, "nothing for bob").await;
    assert_eq!(elsewhere.next().await["event_id"], hidden.as_str());
    bob.put(master, json!({ "enabled": false })).await.ok();
    let last = alice.say(room, "again").await;
    assert_eq!(gateway.next().await["event_id"], last.as_str());
}

#[tokio::test]
async fn only_those_are_told_whom_it_concerns() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    let (alice, bob, room) = (&scene.alice, &scene.bob, &scene.room);
    let mallory = scene.server.api().register_as("mallory").await;
    set_pusher(&mallory, &gateway.url(), "mallorys-key", json!({})).await;
    let left = alice.room_with(&[bob]).await;
    bob.leave(&left).await;
    let list = json!({ "ignored_users": { mallory.user_id.clone(): {} } });
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", bob.user_id);
    bob.put(path, list).await.ok();
    mallory.join(room).await;
    mallory.say(room, "buy something").await;
    mallory.leave(room).await;
    alice.say(&left, "bob has left").await;
    bob.say(room, "one's own").await;
    let sent = alice.say(room, "for bob").await;
    loop {
        let told = gateway.next().await;
        let key = told["devices"][0]["pushkey"].as_str().unwrap();
        assert_eq!(key, "bobs-key", "{told}");
        if told["event_id"] == sent.as_str() {
            break;
        }
        assert_eq!(told["event_id"], Value::Null, "only counts: {told}");
    }
}

#[tokio::test]
async fn an_invitation_is_pushed() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    let options = json!({ "name": "A Talk", "invite": [scene.bob.user_id] });
    let room = scene.alice.create_room(options).await;
    let told = gateway.next().await;
    assert_eq!(told["room_id"], room.as_str());
    assert_eq!(told["type"], "m.room.member");
    assert_eq!(told["user_is_target"], true);
    assert_eq!(told["membership"], "invite");
    assert_eq!(told["room_name"], "A Talk");
    assert_eq!(told["devices"][0]["tweaks"], json!({ "sound": "default" }));
    // Before the invitation is taken, the room's messages are not for bob.
    scene.alice.say(&room, "hidden").await;
    let sent = scene.alice.say(&scene.room, "seen").await;
    assert_eq!(gateway.next().await["event_id"], sent.as_str());
}

#[tokio::test]
async fn a_deleted_device_is_not_told() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    let phone = scene.bob.another_device().await;
    set_pusher(&phone, &gateway.url(), "phone-key", json!({})).await;
    scene.alice.say(&scene.room, "both").await;
    let keys = [gateway.next().await, gateway.next().await];
    let mut keys = keys.map(|told| told["devices"][0]["pushkey"].to_string());
    keys.sort();
    assert_eq!(keys, ["\"bobs-key\"", "\"phone-key\""]);
    phone.post("v3/logout", json!({})).await.ok();
    for text in ["one", "two", "three"] {
        scene.alice.say(&scene.room, text).await;
        let told = gateway.next().await;
        assert_eq!(told["devices"][0]["pushkey"], "bobs-key");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gateway.try_next(), None);
}

#[tokio::test]
async fn a_dead_gateway_delays_nobody_else() {
    let gateway = Gateway::start().await;
    let scene = Scene::on(open(), &gateway.url()).await;
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Gateway::url_at(silent.local_addr().unwrap());
    for number in 0..20 {
        set_pusher(&scene.bob, &silent, &format!("silent-{number}"), json!({})).await;
    }
    let begun = std::time::Instant::now();
    for text in ["one", "two", "three"] {
        let sent = scene.alice.say(&scene.room, text).await;
        assert_eq!(gateway.next().await["event_id"], sent.as_str());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
