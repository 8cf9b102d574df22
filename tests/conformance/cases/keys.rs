//! Keys of devices and people, devices, and messages to them.

use harness::User;
use harness::signing::{CrossSigning, DeviceKeys};
use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::{World, somebody};

pub(super) async fn walk(walk: &Walk, world: &World) {
    device_keys(walk, world).await;
    cross_signing(walk, world).await;
    changes(walk, world).await;
    to_devices(walk, world).await;
    devices(walk, world).await;
}

async fn device_keys(walk: &Walk, world: &World) {
    let frank = somebody(&world.alice, "frank").await;
    let keys = DeviceKeys::of(&frank);
    let upload = |body: Value| walk.to("uploadKeys").by(&frank).json(body);
    upload(json!({
        "device_keys": keys.object,
        "one_time_keys": { "signed_curve25519:a": keys.one_time_key() },
        "fallback_keys": { "signed_curve25519:f": keys.fallback_key() },
    }))
    .valid()
    .await;
    let mut forged = keys.object.clone();
    forged["device_id"] = json!("ANOTHER");
    upload(json!({ "device_keys": forged }))
        .refused_as(
            "of another device",
            &[
                (400, "M_INVALID_PARAM"),
                (400, "M_BAD_JSON"),
                (403, "M_FORBIDDEN"),
            ],
        )
        .await;
    let query = |body: Value| walk.to("queryKeys").by(&world.alice).json(body);
    query(json!({ "timeout": 1000, "device_keys": {
        &world.alice.user_id: [], &world.bob.user_id: [world.bob.device_id],
    } }))
    .valid()
    .await;
    query(json!({ "device_keys": { "@erin:nowhere.invalid": [] } }))
        .valid()
        .await;
    let claim = |user: &User| {
        let wanted = json!({ &user.user_id: { &user.device_id: "signed_curve25519" } });
        let body = json!({ "timeout": 1000, "one_time_keys": wanted });
        walk.to("claimKeys").by(&world.alice).json(body)
    };
    claim(&world.bob).valid().await;
    claim(&frank).valid().await;
    let elsewhere = json!({ "@erin:nowhere.invalid": { "DEVICE": "signed_curve25519" } });
    walk.to("claimKeys")
        .by(&world.alice)
        .json(json!({ "one_time_keys": elsewhere }))
        .valid()
        .await;
}

async fn cross_signing(walk: &Walk, world: &World) {
    let grace = somebody(&world.alice, "grace").await;
    let keys = CrossSigning::of(&grace);
    let upload = |body: Value| walk.to("uploadCrossSigningKeys").by(&grace).json(body);
    let mut forged = keys.upload.clone();
    forged["self_signing_key"]["signatures"] = json!({});
    upload(forged)
        .refused("that nobody signed", 400, "M_INVALID_SIGNATURE")
        .await;
    upload(keys.upload).valid().await;
    // New ones in their place want the password.
    upload(CrossSigning::of(&grace).upload)
        .valid_with_password(&grace)
        .await;
    let alice = &world.alice;
    let mut device = world.alice_keys.object.clone();
    let own = &world.alice_cross_signing.self_signing;
    own.sign(&mut device, &alice.user_id, &own.public());
    let signatures = |body: Value| walk.to("uploadCrossSigningSignatures").by(alice).json(body);
    signatures(json!({ &alice.user_id: { &alice.device_id: device } }))
        .valid()
        .await;
    let mut wrong = device.clone();
    wrong["keys"]["ed25519:more"] = json!("aaaa");
    signatures(json!({ &alice.user_id: { &alice.device_id: wrong } }))
        .valid()
        .await;
}

async fn changes(walk: &Walk, world: &World) {
    let heidi = somebody(&world.alice, "heidi").await;
    let gone = somebody(&world.alice, "ivan").await;
    let room = heidi.room_with(&[&gone, &world.bob]).await;
    let before = heidi.sync().await;
    gone.leave(&room).await;
    DeviceKeys::of(&heidi).upload(&heidi, 1).await;
    let phone = world.bob.another_device().await;
    DeviceKeys::of(&phone).upload(&phone, 1).await;
    let after = heidi.sync_since(&before).await;
    let changes = |from: &str| {
        walk.to("getKeysChanges")
            .by(&heidi)
            .query("from", from)
            .query("to", after.next_batch())
    };
    changes(before.next_batch()).valid().await;
    changes("no token")
        .refused("from a token that nobody gave", 400, "M_INVALID_PARAM")
        .await;
}

async fn to_devices(walk: &Walk, world: &World) {
    walk.to("sendToDevice")
        .with("eventType", "org.example.hello")
        .with("txnId", "one")
        .by(&world.alice)
        .json(json!({ "messages": { &world.bob.user_id: { "*": { "words": "hello" } } } }))
        .valid()
        .await;
}

async fn devices(walk: &Walk, world: &World) {
    let judy = somebody(&world.alice, "judy").await;
    let others = [
        judy.another_device().await,
        judy.another_device().await,
        judy.another_device().await,
    ];
    let one = |id: &str, device: &str| walk.to(id).with("deviceId", device).by(&judy);
    let name = json!({ "display_name": "The phone" });
    one("updateDevice", &judy.device_id)
        .json(name.clone())
        .valid()
        .await;
    one("updateDevice", "NOTHING")
        .json(name)
        // It may as well be made: 201.
        .refused("that is not there", 404, "M_NOT_FOUND")
        .await;
    walk.to("getDevices").by(&judy).valid().await;
    one("getDevice", &judy.device_id).valid().await;
    // One that has no name and was not seen yet.
    one("getDevice", &others[0].device_id).valid().await;
    one("getDevice", "NOTHING")
        .refused("that is not there", 404, "M_NOT_FOUND")
        .await;
    one("deleteDevice", &others[0].device_id)
        .json(json!({}))
        .valid_with_password(&judy)
        .await;
    walk.to("deleteDevices")
        .by(&judy)
        .json(json!({ "devices": [others[1].device_id, others[2].device_id] }))
        .valid_with_password(&judy)
        .await;
}
