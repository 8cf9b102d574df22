//! Backups of room keys.

use serde_json::{Value, json};

use crate::call::Call;
use crate::walk::Walk;
use crate::world::{World, somebody};

const ROOM: &str = "!room:localhost";
const SESSION: &str = "c2Vzc2lvbg";

pub(super) async fn walk(walk: &Walk, world: &World) {
    let user = somebody(&world.alice, "kim").await;
    let to = |id: &str| walk.to(id).by(&user);
    to("getRoomKeysVersionCurrent")
        .refused("before there is one", 404, "M_NOT_FOUND")
        .await;
    let form = json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": {
            "public_key": "abcdefg",
            "signatures": { &user.user_id: { "ed25519:DEVICE": "signature" } },
        },
    });
    let made = to("postRoomKeysVersion").json(form.clone()).valid().await;
    let version = made["version"].as_str().unwrap_or("1");
    versions(&to, version, &form).await;
    writing(&to, version).await;
    reading(&to, version).await;
    removing(&to, version).await;
}

async fn versions<'a>(to: &impl Fn(&str) -> Call<'a>, version: &str, form: &Value) {
    let at = |id: &str, version: &str| to(id).with("version", version);
    to("getRoomKeysVersionCurrent").valid().await;
    at("getRoomKeysVersion", version).valid().await;
    let put = at("putRoomKeysVersion", version);
    put.clone().json(form.clone()).valid().await;
    let mut other = form.clone();
    other["algorithm"] = json!("org.example.other");
    put.clone()
        .json(other)
        .refused("with another algorithm", 400, "M_INVALID_PARAM")
        .await;
    let mut other = form.clone();
    other["version"] = json!("4711");
    put.json(other)
        .refused("with another version", 400, "M_INVALID_PARAM")
        .await;
    let nothing = "that is not there";
    at("getRoomKeysVersion", "4711")
        .refused(nothing, 404, "M_NOT_FOUND")
        .await;
    at("putRoomKeysVersion", "4711")
        .json(form.clone())
        .refused(nothing, 404, "M_NOT_FOUND")
        .await;
}

/// The ids of the three endpoints for one verb, with the variables of their paths.
fn places(verb: &str) -> [(String, &'static [(&'static str, &'static str)]); 3] {
    [
        (
            format!("{verb}RoomKeyBySessionId"),
            &[("roomId", ROOM), ("sessionId", SESSION)],
        ),
        (format!("{verb}RoomKeysByRoomId"), &[("roomId", ROOM)]),
        (format!("{verb}RoomKeys"), &[]),
    ]
}

fn at<'a>(call: Call<'a>, variables: &[(&str, &str)], version: &str) -> Call<'a> {
    let call = call.query("version", version);
    variables
        .iter()
        .fold(call, |call, (name, value)| call.with(name, value))
}

async fn writing<'a>(to: &impl Fn(&str) -> Call<'a>, version: &str) {
    let key = json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ephemeral": "e", "ciphertext": "c", "mac": "m" },
    });
    let room = json!({ "sessions": { SESSION: key } });
    let bodies = [
        key.clone(),
        room.clone(),
        json!({ "rooms": { ROOM: room } }),
    ];
    for ((id, variables), body) in places("put").into_iter().zip(bodies) {
        at(to(&id), variables, version)
            .json(body.clone())
            .valid()
            .await;
        at(to(&id), variables, "4711")
            .json(body)
            .refused_as(
                "to a backup that is not there",
                &[(403, "M_WRONG_ROOM_KEYS_VERSION"), (404, "M_NOT_FOUND")],
            )
            .await;
    }
}

async fn reading<'a>(to: &impl Fn(&str) -> Call<'a>, version: &str) {
    for (id, variables) in places("get") {
        at(to(&id), variables, version).valid().await;
        at(to(&id), variables, "4711")
            .refused("of a backup that is not there", 404, "M_NOT_FOUND")
            .await;
    }
    let other = [("roomId", ROOM), ("sessionId", "b3RoZXI")];
    at(to("getRoomKeyBySessionId"), &other, version)
        .refused("that is not there", 404, "M_NOT_FOUND")
        .await;
}

async fn removing<'a>(to: &impl Fn(&str) -> Call<'a>, version: &str) {
    for (id, variables) in places("delete") {
        at(to(&id), variables, version).valid().await;
        at(to(&id), variables, "4711")
            .refused("of a backup that is not there", 404, "M_NOT_FOUND")
            .await;
    }
    let delete = |version: &str| to("deleteRoomKeysVersion").with("version", version);
    delete(version).valid().await;
    delete("4711")
        .refused("that is not there", 404, "M_NOT_FOUND")
        .await;
}
