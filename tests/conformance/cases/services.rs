//! What the server says of itself, and what it knows of others.

use serde_json::json;

use crate::companion::SERVICE_TOKEN;
use crate::walk::Walk;
use crate::world::World;

pub(super) async fn walk(walk: &Walk, world: &World) {
    itself(walk, world).await;
    sign_in_elsewhere(walk).await;
    third_parties(walk, world).await;
    application_service(walk, world).await;
}

async fn itself(walk: &Walk, world: &World) {
    walk.to("getVersions").valid().await;
    walk.to("getVersions").by(&world.alice).valid().await;
    walk.to("getWellknown").valid().await;
    walk.to("getWellknownSupport").valid().await;
    walk.to("getWellknownPolicy").valid().await;
    walk.to("getCapabilities").by(&world.alice).valid().await;
    walk.to("getTurnServer").by(&world.alice).valid().await;
    let token = |user: &str| {
        walk.to("requestOpenIdToken")
            .with("userId", user)
            .by(&world.alice)
            .json(json!({}))
    };
    token(&world.alice.user_id).valid().await;
    token(&world.bob.user_id)
        .refused("for somebody else", 403, "M_FORBIDDEN")
        .await;
}

async fn sign_in_elsewhere(walk: &Walk) {
    walk.to("getAuthMetadata").valid().await;
    let redirect = "https://client.example/done";
    walk.to("redirectToSSO")
        .query("redirectUrl", redirect)
        .valid()
        .await;
    walk.to("redirectToIdP")
        .with("idpId", "nobody")
        .query("redirectUrl", redirect)
        .valid()
        .await;
}

async fn third_parties(walk: &Walk, world: &World) {
    let to = |id: &str| walk.to(id).by(&world.alice);
    to("getProtocols").valid().await;
    let unknown = "of a protocol that nobody has";
    for id in [
        "getProtocolMetadata",
        "queryLocationByProtocol",
        "queryUserByProtocol",
    ] {
        to(id).with("protocol", "telegraph").valid().await;
        to(id)
            .with("protocol", "pigeon")
            .refused(unknown, 404, "M_NOT_FOUND")
            .await;
    }
    to("queryLocationByAlias")
        .query("alias", "#telegraph_ulm:localhost")
        .valid()
        .await;
    to("queryUserByID")
        .query("userid", "@telegraph_ulm:localhost")
        .valid()
        .await;
}

async fn application_service(walk: &Walk, world: &World) {
    let ping = |service: &str, token: &str| {
        walk.to("pingAppservice")
            .with("appserviceId", service)
            .by_token(token)
            .json(json!({ "transaction_id": "one" }))
    };
    ping("bridge", SERVICE_TOKEN).valid().await;
    ping("another", SERVICE_TOKEN)
        .refused("of another service", 403, "M_FORBIDDEN")
        .await;
    ping("bridge", &world.alice.access_token)
        .refused("by a person", 403, "M_FORBIDDEN")
        .await;
    let list = |token: &str, visibility: &str| {
        walk.to("updateAppserviceRoomDirectoryVisibility")
            .with("networkId", "telegraph")
            .with("roomId", &world.hall)
            .by_token(token)
            .json(json!({ "visibility": visibility }))
    };
    list(SERVICE_TOKEN, "public").valid().await;
    list(&world.alice.access_token, "public")
        .refused("by a person", 403, "M_FORBIDDEN")
        .await;
    list(SERVICE_TOKEN, "nonsense")
        .refused_as(
            "with a visibility that is none",
            &[(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")],
        )
        .await;
}
