//! Somebody is invited by an address, which turns out to be of another server's user.

use harness::neighbours::World;
use harness::signing::Key;
use harness::{escape, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn an_address_that_was_invited_becomes_an_invitation_across_servers() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let identity = Key::new();
    for version in ["6", "12"] {
        let options = json!({ "room_version": version, "name": "Office" });
        let room = alice.create_room(options).await;
        let place = escape(&room);
        let content = json!({
            "display_name": "b...@x.test", "key_validity_url": "https://id.test/valid",
            "public_key": identity.public(),
            "public_keys": [{ "public_key": identity.public() }],
        });
        alice
            .set_state(
                &escape(&room),
                "m.room.third_party_invite",
                "token",
                content,
            )
            .await;
        let bound = async |key: &Key, token: &str| -> Value {
            let mut signed = json!({ "mxid": bob.user_id, "token": token });
            key.sign(&mut signed, "id.test", "0");
            let invite = json!({
                "medium": "email", "address": "bob@x.test", "mxid": bob.user_id,
                "room_id": room, "sender": alice.user_id, "signed": signed,
            });
            let body = json!({
                "medium": "email", "address": "bob@x.test", "mxid": bob.user_id,
                "invites": [invite],
            });
            let path = "/_matrix/federation/v1/3pid/onbind";
            b.door.put(path, body).await.ok()
        };
        // Who does not have the key, or knows no token of the room, invites nobody.
        bound(&Key::new(), "token").await;
        bound(&identity, "another").await;
        let member = alice.state(&place, "m.room.member", &bob.user_id);
        assert_eq!(member.await.status, 404, "version {version}");
        bound(&identity, "token").await;
        eventually("the invitation", 15, async || {
            let synced = bob.sync().await;
            (!synced.invited(&room).is_null()).then_some(())
        })
        .await;
        let member = alice.state(&place, "m.room.member", &bob.user_id);
        let member = member.await.ok();
        assert_eq!(member["membership"], "invite");
        assert_eq!(member["third_party_invite"]["signed"]["token"], "token");
        bob.join(&place).await;
        let member = alice.state(&place, "m.room.member", &bob.user_id);
        assert_eq!(member.await.ok()["membership"], "join");
    }
}
