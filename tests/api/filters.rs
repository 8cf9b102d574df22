//! Filters: stored and read back.

use serde_json::json;

use crate::server;

#[tokio::test]
async fn a_filter_is_stored_and_read() {
    let alice = server().register("alice").await;
    let filter = json!({
        "room": {
            "timeline": { "limit": 3, "types": ["m.room.message"] },
            "state": { "lazy_load_members": true },
        },
        "event_fields": ["type", "content"],
    });
    let path = format!("v3/user/{}/filter", alice.user_id);
    let answer = alice.post(&path, filter.clone()).await.ok();
    let id = answer["filter_id"].as_str().unwrap();
    assert!(!id.starts_with('{'));
    let stored = alice.get(format!("{path}/{id}")).await.ok();
    assert_eq!(stored["room"]["timeline"]["limit"], 3);
    assert_eq!(
        stored["room"]["timeline"]["types"],
        json!(["m.room.message"])
    );
    assert_eq!(stored["room"]["state"]["lazy_load_members"], true);
    alice.sync_with(&format!("timeout=0&filter={id}")).await;
}

#[tokio::test]
async fn an_unknown_filter_is_not_found() {
    let alice = server().register("alice").await;
    let path = format!("v3/user/{}/filter/999999", alice.user_id);
    alice.get(path).await.refused(404, "M_NOT_FOUND");
    let answer = alice.get("v3/sync?timeout=0&filter=999999").await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn filters_are_ones_own() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let path = format!("v3/user/{}/filter", alice.user_id);
    let id = alice.post(&path, json!({})).await.ok()["filter_id"]
        .as_str()
        .unwrap()
        .to_owned();
    mallory
        .post(&path, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    mallory
        .get(format!("{path}/{id}"))
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_filter_of_the_wrong_shape_is_refused() {
    let alice = server().register("alice").await;
    let path = format!("v3/user/{}/filter", alice.user_id);
    for filter in [
        json!([]),
        json!({ "room": 5 }),
        json!({ "room": { "timeline": { "limit": "x" } } }),
    ] {
        alice.post(&path, filter).await.refused(400, "M_BAD_JSON");
    }
}
