//! Threads that people follow (MSC4306), and how their clients learn of it (MSC4308).

use harness::{Answer, Server, User};
use serde_json::{Value, json};

use crate::{relations::related, server};

const EXTENSION: &str = "io.element.msc4308.thread_subscriptions";
const LIST: &str = "unstable/io.element.msc4308/thread_subscriptions";

fn path(room: &str, root: &str) -> String {
    format!("unstable/io.element.msc4306/rooms/{room}/thread/{root}/subscription")
}

async fn subscribe(user: &User, room: &str, root: &str) -> Answer {
    user.put(path(room, root), json!({})).await
}

async fn subscribe_because(user: &User, room: &str, root: &str, reason: &str) -> Answer {
    user.put(path(room, root), json!({ "automatic": reason }))
        .await
}

async fn unsubscribe(user: &User, room: &str, root: &str) -> Answer {
    user.delete(path(room, root), Value::Null).await
}

async fn subscription(user: &User, room: &str, root: &str) -> Answer {
    user.get(path(room, root)).await
}

async fn reply(user: &User, room: &str, root: &str, text: &str) -> String {
    let content = related("m.thread", root, text);
    user.send_event(room, "m.room.message", content).await
}

#[tokio::test]
async fn a_thread_is_followed_and_left() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "root").await;
    subscription(&bob, &room, &root)
        .await
        .refused(404, "M_NOT_FOUND");
    unsubscribe(&bob, &room, &root).await.ok();
    let reason = reply(&alice, &room, &root, "hey bob").await;
    subscribe_because(&bob, &room, &root, &reason).await.ok();
    let automatic = subscription(&bob, &room, &root).await.ok();
    assert_eq!(automatic, json!({ "automatic": true }));
    // What its user does is worth more than what a client does by itself.
    subscribe(&bob, &room, &root).await.ok();
    subscribe_because(&bob, &room, &root, &reason).await.ok();
    let manual = subscription(&bob, &room, &root).await.ok();
    assert_eq!(manual, json!({ "automatic": false }));
    subscription(&alice, &room, &root)
        .await
        .refused(404, "M_NOT_FOUND");
    unsubscribe(&bob, &room, &root).await.ok();
    unsubscribe(&bob, &room, &root).await.ok();
    subscription(&bob, &room, &root)
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn only_what_came_after_the_leaving_brings_somebody_back() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "root").await;
    let before = reply(&alice, &room, &root, "before").await;
    subscribe_because(&bob, &room, &root, &before).await.ok();
    unsubscribe(&bob, &room, &root).await.ok();
    let conflict = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION";
    subscribe_because(&bob, &room, &root, &before)
        .await
        .refused(409, conflict);
    let after = reply(&alice, &room, &root, "after").await;
    subscribe_because(&bob, &room, &root, &after).await.ok();
    unsubscribe(&bob, &room, &root).await.ok();
    subscribe_because(&bob, &room, &root, &after)
        .await
        .refused(409, conflict);
    // A person may come back at any time.
    subscribe(&bob, &room, &root).await.ok();
}

#[tokio::test]
async fn what_is_no_thread_or_not_in_it_is_refused() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let elsewhere = alice.say(&room, "elsewhere").await;
    let not_in = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD";
    for reason in [elsewhere.as_str(), root.as_str(), "$nothing"] {
        subscribe_because(&alice, &room, &root, reason)
            .await
            .refused(400, not_in);
    }
    for (room, root) in [
        (room.as_str(), "$nothing"),
        ("!nowhere:localhost", root.as_str()),
    ] {
        subscribe(&alice, room, root)
            .await
            .refused(404, "M_NOT_FOUND");
        unsubscribe(&alice, room, root)
            .await
            .refused(404, "M_NOT_FOUND");
        subscription(&alice, room, root)
            .await
            .refused(404, "M_NOT_FOUND");
    }
    subscribe(&bob, &room, &root)
        .await
        .refused(404, "M_NOT_FOUND");
    alice
        .put(path(&room, &root), json!({ "automatic": true }))
        .await
        .refused(400, "M_BAD_JSON");
    let anonymous = api.anonymous();
    anonymous
        .put(path(&room, &root), json!({}))
        .await
        .refused(401, "M_MISSING_TOKEN");
}

async fn slide(user: &User, pos: &str, limit: u64) -> Value {
    let body = json!({ "extensions": { EXTENSION: { "enabled": true, "limit": limit } } });
    let path = format!("unstable/org.matrix.simplified_msc3575/sync?timeout=0{pos}");
    user.post(path, body).await.ok()
}

#[tokio::test]
async fn clients_learn_of_changes_by_sliding_syncs_and_pages() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let mut roots = Vec::new();
    for number in 0..4 {
        roots.push(alice.say(&room, &format!("{number}")).await);
    }
    let first = slide(&bob, "", 100).await;
    assert!(first["extensions"][EXTENSION].is_null(), "{first}");
    for root in &roots {
        subscribe(&bob, &room, root).await.ok();
    }
    unsubscribe(&bob, &room, &roots[3]).await.ok();
    let before = first["pos"].as_str().unwrap().to_owned();
    let next = slide(&bob, &format!("&pos={before}"), 2).await;
    let told = &next["extensions"][EXTENSION];
    let subscribed = told["subscribed"][&room].as_object().unwrap();
    assert_eq!(subscribed.keys().collect::<Vec<_>>(), [&roots[2]]);
    assert_eq!(subscribed[&roots[2]]["automatic"], false);
    let left = &told["unsubscribed"][&room][&roots[3]];
    assert!(left["bump_stamp"].as_u64() > subscribed[&roots[2]]["bump_stamp"].as_u64());
    // What did not find room is on the page before.
    let from = told["prev_batch"].as_str().unwrap();
    let page = bob
        .get(format!("{LIST}?dir=b&from={from}&to={before}&limit=1"))
        .await
        .ok();
    let subscribed = page["subscribed"][&room].as_object().unwrap();
    assert_eq!(subscribed.keys().collect::<Vec<_>>(), [&roots[1]]);
    let end = page["end"].as_str().unwrap();
    let page = bob
        .get(format!("{LIST}?dir=b&from={end}&to={before}"))
        .await
        .ok();
    assert!(page["subscribed"][&room][&roots[0]].is_object());
    assert!(page.get("end").is_none() && page.get("unsubscribed").is_none());
    // Nothing is told twice, and nobody else is told.
    let pos = format!("&pos={}", next["pos"].as_str().unwrap());
    let quiet = slide(&bob, &pos, 100).await;
    assert!(quiet["extensions"][EXTENSION].is_null(), "{quiet}");
    let all = bob.get(format!("{LIST}?dir=b")).await.ok();
    assert_eq!(all["subscribed"][&room].as_object().unwrap().len(), 3);
    assert_eq!(alice.get(format!("{LIST}?dir=b")).await.ok(), json!({}));
    for wrong in [
        "",
        "?dir=f",
        "?dir=b&limit=0",
        "?dir=b&from=nonsense",
        "?dir=b&to=x",
    ] {
        bob.get(format!("{LIST}{wrong}"))
            .await
            .refused(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn a_waiting_sync_is_told_at_once_and_subscriptions_survive_a_crash() {
    let mut server = Server::start();
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let first = slide(&alice, "", 100).await;
    let pos = first["pos"].as_str().unwrap();
    let body = json!({ "extensions": { EXTENSION: { "enabled": true } } });
    let waiting = format!("unstable/org.matrix.simplified_msc3575/sync?timeout=20000&pos={pos}");
    let begun = std::time::Instant::now();
    let (answer, ()) = tokio::join!(alice.post(waiting, body), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        subscribe(&alice, &room, &root).await.ok();
    });
    assert!(begun.elapsed().as_secs() < 10);
    let told = &answer.ok()["extensions"][EXTENSION]["subscribed"][&room][&root];
    assert_eq!(told["automatic"], false);
    server.kill9();
    server.restart();
    let api = server.api().with_token(&alice.access_token);
    let kept = api.get(path(&room, &root)).await.ok();
    assert_eq!(kept, json!({ "automatic": false }));
}

/// A server whose threads notify those who follow them.
fn following() -> harness::Config {
    harness::Config {
        more: "[accounts]\nthread_subscriptions = true\n".into(),
        ..harness::Config::default()
    }
}

async fn unread(user: &User, room: &str) -> u64 {
    let synced = user.sync().await;
    let counts = &synced.joined(room)["unread_notifications"];
    counts["notification_count"].as_u64().unwrap()
}

#[tokio::test]
async fn threads_notify_those_who_follow_them() {
    let server = Server::with(following());
    let api = server.api();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let versions = api.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4306"], true);
    let room = alice.room_with(&[&bob, &carol]).await;
    let root = alice.say(&room, "root").await;
    subscribe(&bob, &room, &root).await.ok();
    assert_eq!(
        (unread(&bob, &room).await, unread(&carol, &room).await),
        (1, 1)
    );
    reply(&alice, &room, &root, "in the thread").await;
    assert_eq!(
        (unread(&bob, &room).await, unread(&carol, &room).await),
        (2, 1)
    );
    // Who is mentioned is told all the same; a muted room is told of what is followed.
    let mut content = related("m.thread", &root, "carol!");
    content["m.mentions"] = json!({ "user_ids": [carol.user_id] });
    alice.send_event(&room, "m.room.message", content).await;
    assert_eq!(unread(&carol, &room).await, 2);
    let mute = format!("v3/pushrules/global/room/{room}");
    bob.put(mute, json!({ "actions": [] })).await.ok();
    let before = unread(&bob, &room).await;
    alice.say(&room, "not in the thread").await;
    reply(&alice, &room, &root, "in the thread").await;
    assert_eq!(unread(&bob, &room).await, before + 1);
    let kind = "v3/pushrules/global/io.element.msc4306.postcontent";
    carol
        .put(
            format!("{kind}/mine"),
            json!({ "conditions": [], "actions": [] }),
        )
        .await
        .refused(400, "M_INVALID_PARAM");
    // Whoever wants every thread switches the server's rule off.
    let rule = format!("{kind}/.io.element.msc4306.rule.unsubscribed_thread");
    carol
        .put(format!("{rule}/enabled"), json!({ "enabled": false }))
        .await
        .ok();
    let before = unread(&carol, &room).await;
    reply(&alice, &room, &root, "for everybody").await;
    assert_eq!(unread(&carol, &room).await, before + 1);
}

#[tokio::test]
async fn the_rules_of_threads_come_and_go_with_the_option() {
    let rules = async |api: &harness::Api| {
        let all = api.get("v3/pushrules/").await.ok();
        let of_threads = all["global"]["postcontent"].as_array().map_or(0, Vec::len);
        let polls = all["global"]["underride"].as_array().unwrap().iter();
        let is_poll = |rule: &&Value| rule["rule_id"].as_str().unwrap().contains("msc3930");
        (of_threads, polls.filter(is_poll).count())
    };
    let settled = async |server: &Server, token: &str, expected: (usize, usize)| {
        let api = server.api().with_token(token);
        harness::eventually("the rules of the option", 10, async || {
            (rules(&api).await == expected).then_some(())
        })
        .await;
    };
    let mut server = Server::start();
    let alice = server.api().register("alice").await;
    assert_eq!(rules(&alice).await, (0, 4));
    let versions = alice.get("versions").await.ok();
    assert!(
        versions["unstable_features"]
            .get("org.matrix.msc4306")
            .is_none()
    );
    server.stop();
    let file = server.config_file();
    let without = std::fs::read_to_string(&file).unwrap();
    let with = format!("{without}\n{}", following().more);
    for (text, expected) in [(&with, (2, 4)), (&without, (0, 4))] {
        std::fs::write(&file, text).unwrap();
        let mut again = Server::with_file(file.parent().unwrap());
        settled(&again, &alice.access_token, expected).await;
        again.stop();
    }
}
