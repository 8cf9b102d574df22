//! New accounts, and addresses elsewhere that belong to them.

use harness::PASSWORD;
use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::World;

pub(super) async fn walk(walk: &Walk, world: &World) {
    register(walk).await;
    tokens(walk, world).await;
    addresses(walk, world).await;
}

async fn register(walk: &Walk) {
    let register = |name: &str, password: &str| {
        walk.to("register").json(json!({
            "username": name, "password": password, "device_id": "DEVICE",
            "initial_device_display_name": "A case", "inhibit_login": false,
            "refresh_token": true, "auth": { "type": "m.login.dummy" },
        }))
    };
    register("newcomer", PASSWORD).valid().await;
    register("newcomer", PASSWORD)
        .refused("with a name that is taken", 400, "M_USER_IN_USE")
        .await;
    register("No Name!", PASSWORD)
        .refused("with a name that is none", 400, "M_INVALID_USERNAME")
        .await;
    register("another", "x")
        .refused("with a weak password", 400, "M_WEAK_PASSWORD")
        .await;
    walk.to("register")
        .query("kind", "guest")
        .json(json!({}))
        .refused("as a guest where none may come", 403, "M_FORBIDDEN")
        .await;
    let available = |name: &str| walk.to("checkUsernameAvailability").query("username", name);
    available("somebody-new").valid().await;
    available("alice")
        .refused("that is taken", 400, "M_USER_IN_USE")
        .await;
    available("No Name!")
        .refused("that is none", 400, "M_INVALID_USERNAME")
        .await;
}

async fn tokens(walk: &Walk, world: &World) {
    let check = |token: &str| walk.to("registrationTokenValidity").query("token", token);
    check(&world.invitation).valid().await;
    check("nobody-made-this").valid().await;
}

/// E-mail addresses and telephone numbers.
async fn addresses(walk: &Walk, world: &World) {
    let common = json!({ "client_secret": "secret", "send_attempt": 1 });
    let with = |more: Value| {
        let mut body = common.clone();
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    };
    let email = with(json!({ "email": "alice@example.org" }));
    let telephone = with(json!({ "country": "DE", "phone_number": "0301234567" }));
    for (id, body) in [
        ("requestTokenToRegisterEmail", &email),
        ("requestTokenToResetPasswordEmail", &email),
        ("requestTokenTo3PIDEmail", &email),
        ("requestTokenToRegisterMSISDN", &telephone),
        ("requestTokenToResetPasswordMSISDN", &telephone),
        ("requestTokenTo3PIDMSISDN", &telephone),
    ] {
        walk.to(id).json(body.clone()).valid().await;
    }
    let to = |id: &str, body: Value| walk.to(id).by(&world.alice).json(body);
    walk.to("getAccount3PIDs").by(&world.alice).valid().await;
    let session = json!({
        "client_secret": "secret", "sid": "session", "id_server": "id.example",
        "id_access_token": "token",
    });
    to("post3PIDs", json!({ "three_pid_creds": session }))
        .valid()
        .await;
    let own = json!({ "client_secret": "secret", "sid": "session" });
    to("add3PID", own).valid().await;
    to("bind3PID", session).valid().await;
    let address = json!({ "medium": "email", "address": "alice@example.org" });
    to("delete3pidFromAccount", address.clone()).valid().await;
    to("unbind3pidFromAccount", address).valid().await;
}
