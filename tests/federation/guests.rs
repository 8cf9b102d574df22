//! Guests of one server in rooms of another: the servers rely on each other for their rules.

use harness::neighbours::{Neighbour, World};
use harness::{Api, Config, Server, User, escape, eventually};
use serde_json::{Value, json};

/// A server that takes guests.
fn with_guests(world: &World, name: &str) -> Neighbour {
    let server = Server::with(Config {
        registration_more: "guests = true".into(),
        ..world.config(name, "")
    });
    Neighbour {
        api: server.api(),
        door: Api::new(&server.urls()[2]),
        server,
    }
}

async fn guest(api: &Api) -> User {
    let anonymous = api.anonymous();
    let made = anonymous.post("v3/register?kind=guest", json!({})).await;
    api.user_of(made.ok())
}

async fn room(host: &User, version: &str, rules: &[Value]) -> String {
    let options = json!({
        "room_version": version, "preset": "public_chat", "initial_state": rules,
    });
    host.create_room(options).await
}

fn takes_guests(access: &str) -> Value {
    json!({ "type": "m.room.guest_access", "content": { "guest_access": access } })
}

async fn membership(seen_by: &User, room: &str, whose: &User) -> Value {
    let path = format!(
        "v3/rooms/{}/state/m.room.member/{}",
        escape(room),
        escape(&whose.user_id)
    );
    seen_by.get(path).await.body["membership"].clone()
}

#[tokio::test]
async fn guests_go_where_they_may_and_out_when_they_may_no_more() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), with_guests(&world, "b.test"));
    let alice = a.api.register("alice").await;
    let visitor = guest(&b.api).await;
    let path = |room: &str| format!("v3/rooms/{}/join", escape(room));
    let join = async |room: &str| visitor.post(path(room), json!({})).await;

    let open = room(&alice, "11", &[takes_guests("can_join")]).await;
    let shut = room(&alice, "11", &[takes_guests("forbidden")]).await;
    let unsaid = room(&alice, "11", &[]).await;
    join(&shut).await.refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    join(&unsaid).await.refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    assert_eq!(membership(&alice, &shut, &visitor).await, Value::Null);
    join(&open).await.ok();
    assert_eq!(membership(&alice, &open, &visitor).await, "join");
    let said = visitor.say(&escape(&open), "hello").await;
    eventually("what the guest said", 15, async || {
        let heard = alice.event(&escape(&open), &said).await;
        (heard.status == 200).then_some(())
    })
    .await;

    let forbidden = json!({ "guest_access": "forbidden" });
    alice
        .set_state(&escape(&open), "m.room.guest_access", "", forbidden)
        .await;
    eventually("the guest goes", 15, async || {
        (membership(&alice, &open, &visitor).await == "leave").then_some(())
    })
    .await;
}

#[tokio::test]
async fn guests_name_the_servers_that_give_a_room() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), with_guests(&world, "b.test"));
    let alice = a.api.register("alice").await;
    let visitor = guest(&b.api).await;
    // The id of such a room names no server.
    let open = room(&alice, "12", &[takes_guests("can_join")]).await;
    let shut = room(&alice, "12", &[takes_guests("forbidden")]).await;
    let join = async |room: &str, via: &str| {
        let path = format!("v3/join/{}{via}", escape(room));
        visitor.post(path, json!({})).await
    };
    join(&open, "").await.refused(404, "M_NOT_FOUND");
    join(&shut, "?via=a.test")
        .await
        .refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    join(&open, "?via=a.test").await.ok();
    assert_eq!(membership(&alice, &open, &visitor).await, "join");
}
