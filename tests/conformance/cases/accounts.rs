//! Sign-in, tokens, passwords, and the end of an account.

use harness::{PASSWORD, User};
use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::{World, somebody};

pub(super) async fn walk(walk: &Walk, world: &World) {
    login(walk, world).await;
    refresh(walk, world).await;
    walk.to("getTokenOwner").by(&world.alice).valid().await;
    let nina = somebody(&world.alice, "nina").await;
    login_token(walk, &nina).await;
    password(walk, &nina).await;
    logout(walk, &nina).await;
    deactivation(walk, world).await;
}

fn identifier(user: &str) -> Value {
    json!({ "type": "m.id.user", "user": user })
}

async fn login(walk: &Walk, world: &World) {
    walk.to("getLoginFlows").valid().await;
    let login = |user: &str, password: &str| {
        walk.to("login").json(json!({
            "type": "m.login.password", "identifier": identifier(user), "password": password,
            "device_id": "LOGIN", "initial_device_display_name": "A case",
            "refresh_token": true,
        }))
    };
    login(&world.dave.user_id, PASSWORD).valid().await;
    login("dave", PASSWORD).valid().await;
    login("dave", "wrong")
        .refused("with a wrong password", 403, "M_FORBIDDEN")
        .await;
    login("nobody", PASSWORD)
        .refused("as nobody", 403, "M_FORBIDDEN")
        .await;
    walk.to("login")
        .json(json!({ "type": "org.example.nonsense" }))
        .refused_as(
            "in an unknown way",
            &[(400, "M_UNKNOWN"), (400, "M_INVALID_PARAM")],
        )
        .await;
}

async fn refresh(walk: &Walk, world: &World) {
    let more = json!({ "refresh_token": true });
    let made = world.alice.api.try_login("dave", PASSWORD, more).await.ok();
    let token = made["refresh_token"].as_str().unwrap_or_default();
    let refresh = |token: &str| walk.to("refresh").json(json!({ "refresh_token": token }));
    refresh(token).valid().await;
    refresh("nobody-has-this")
        .refused("with a token that nobody has", 401, "M_UNKNOWN_TOKEN")
        .await;
}

async fn login_token(walk: &Walk, nina: &User) {
    let get = walk.to("generateLoginToken").by(nina).json(json!({}));
    let made = get.valid_with_password(nina).await;
    let token = made["login_token"].as_str().unwrap_or_default();
    walk.to("login")
        .json(json!({ "type": "m.login.token", "token": "nobody-has-this" }))
        .refused("with a token that nobody has", 403, "M_FORBIDDEN")
        .await;
    walk.to("login")
        .json(json!({ "type": "m.login.token", "token": token }))
        .valid()
        .await;
}

async fn password(walk: &Walk, nina: &User) {
    let change = |password: &str| {
        let body = json!({ "new_password": password, "logout_devices": false });
        walk.to("changePassword").by(nina).json(body)
    };
    // The same again, so that the other cases can go on with it.
    change(PASSWORD).valid_with_password(nina).await;
}

async fn logout(walk: &Walk, nina: &User) {
    for id in ["logout", "logout_all"] {
        let device = nina.another_device().await;
        walk.to(id).by(&device).json(json!({})).valid().await;
        walk.to("getTokenOwner")
            .by(&device)
            .refused("after signing out", 401, "M_UNKNOWN_TOKEN")
            .await;
    }
}

async fn deactivation(walk: &Walk, world: &World) {
    let oscar = somebody(&world.alice, "oscar").await;
    walk.to("deactivateAccount")
        .by(&oscar)
        .json(json!({ "erase": false, "id_server": "id.example" }))
        .valid_with_password(&oscar)
        .await;
    walk.to("login")
        .json(json!({
            "type": "m.login.password", "identifier": identifier("oscar"), "password": PASSWORD,
        }))
        .refused_as(
            "of a deactivated account",
            &[(403, "M_USER_DEACTIVATED"), (403, "M_FORBIDDEN")],
        )
        .await;
}
