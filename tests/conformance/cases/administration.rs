//! What administrators see and do, and what people report to them.

use harness::User;
use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::{World, somebody};

pub(super) async fn walk(walk: &Walk, world: &World) {
    whois(walk, world).await;
    let mallory = somebody(&world.alice, "mallory").await;
    for (get, set, word) in [
        ("getAdminSuspendUser", "setAdminSuspendUser", "suspended"),
        ("getAdminLockUser", "setAdminLockUser", "locked"),
    ] {
        moderate(walk, world, &mallory, (get, set, word)).await;
    }
    reports(walk, world).await;
}

async fn whois(walk: &Walk, world: &World) {
    let of = |user: &str| walk.to("getWhoIs").with("userId", user);
    of(&world.alice.user_id).by(&world.admin).valid().await;
    of(&world.alice.user_id).by(&world.alice).valid().await;
    of(&world.alice.user_id)
        .by(&world.bob)
        .refused("by one who is no administrator", 403, "M_FORBIDDEN")
        .await;
}

async fn moderate(
    walk: &Walk,
    world: &World,
    mallory: &User,
    (get, set, word): (&str, &str, &str),
) {
    let to = |id: &str, user: &str| walk.to(id).with("userId", user).by(&world.admin);
    let put = |user: &str, value: Value| to(set, user).json(json!({ word: value }));
    let him = &mallory.user_id;
    put(him, json!(true)).valid().await;
    to(get, him).valid().await;
    put(him, json!(false)).valid().await;
    let (nobody, elsewhere) = ("@nobody:localhost", "@erin:elsewhere.invalid");
    put(nobody, json!(true))
        .refused("of nobody", 404, "M_NOT_FOUND")
        .await;
    to(get, nobody)
        .refused("of nobody", 404, "M_NOT_FOUND")
        .await;
    put(elsewhere, json!(true))
        .refused("of another server's user", 400, "M_INVALID_PARAM")
        .await;
    to(get, elsewhere)
        .refused("of another server's user", 400, "M_INVALID_PARAM")
        .await;
    put(&world.admin.user_id, json!(true))
        .refused("of oneself", 403, "M_FORBIDDEN")
        .await;
    let no_administrator = "by one who is no administrator";
    put(him, json!(true))
        .by(&world.bob)
        .refused(no_administrator, 403, "M_FORBIDDEN")
        .await;
    to(get, him)
        .by(&world.bob)
        .refused(no_administrator, 403, "M_FORBIDDEN")
        .await;
}

async fn reports(walk: &Walk, world: &World) {
    let reason = json!({ "reason": "a case" });
    let report = |id: &str| walk.to(id).by(&world.bob).json(reason.clone());
    let nothing = "that is not there";
    report("reportRoom")
        .with("roomId", &world.hall)
        .valid()
        .await;
    report("reportRoom")
        .with("roomId", "!nothing:localhost")
        .refused(nothing, 404, "M_NOT_FOUND")
        .await;
    let event = |event: &str| {
        report("reportEvent")
            .with("roomId", &world.hall)
            .with("eventId", event)
    };
    event(&world.root).valid().await;
    event("$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .refused(nothing, 404, "M_NOT_FOUND")
        .await;
    report("reportUser")
        .with("userId", &world.carol.user_id)
        .valid()
        .await;
}
