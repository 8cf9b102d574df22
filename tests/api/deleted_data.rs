//! Account data that is deleted (MSC3391), and what goes with a device (MSC3890).

use harness::{Synced, User, find_event};
use serde_json::{Value, json};

use crate::server;

const TYPE: &str = "org.example.test";

/// The paths at which a type is read and written, and at which it is deleted.
fn paths(user: &User, room: Option<&str>, event_type: &str) -> (String, String) {
    let room = room
        .map(|room| format!("rooms/{room}/"))
        .unwrap_or_default();
    let path = format!("user/{}/{room}account_data/{event_type}", user.user_id);
    let unstable = format!("unstable/org.matrix.msc3391/{path}");
    (format!("v3/{path}"), unstable)
}

fn of_room<'a>(synced: &'a Synced, room: &str) -> Option<&'a Value> {
    let events = synced.joined(room)["account_data"]["events"].as_array()?;
    find_event(events, TYPE)
}

#[tokio::test]
async fn deleted_account_data_is_gone_and_syncs_say_so() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for by_putting_nothing in [false, true] {
        let (global, delete_global) = paths(&alice, None, TYPE);
        let (local, delete_local) = paths(&alice, Some(&room), TYPE);
        for path in [&global, &local] {
            alice.put(path, json!({ "a": 1 })).await.ok();
        }
        let before = alice.sync().await;
        assert!(before.account_data(TYPE).is_some() && of_room(&before, &room).is_some());
        for (path, delete) in [(&global, &delete_global), (&local, &delete_local)] {
            if by_putting_nothing {
                alice.put(path, json!({})).await.ok();
            } else {
                let answer = alice.delete(delete, Value::Null).await.ok();
                assert_eq!(answer, json!({}));
            }
            alice.get(path).await.refused(404, "M_NOT_FOUND");
            // Nothing is left to delete, which is no error.
            alice.delete(delete, Value::Null).await.ok();
        }
        let next = alice.sync_since(&before).await;
        assert_eq!(next.account_data(TYPE).unwrap()["content"], json!({}));
        assert_eq!(of_room(&next, &room).unwrap()["content"], json!({}));
        let after = alice.sync_since(&next).await;
        assert!(after.account_data(TYPE).is_none(), "it is told once");
        let anew = alice.sync().await;
        assert!(anew.account_data(TYPE).is_none() && of_room(&anew, &room).is_none());
    }
}

#[tokio::test]
async fn sliding_syncs_tell_a_deletion_to_those_who_knew_the_data() {
    let alice = server().register("alice").await;
    let (path, delete) = paths(&alice, None, TYPE);
    alice.put(&path, json!({ "a": 1 })).await.ok();
    let slide = async |pos: &str| {
        let body = json!({ "extensions": { "account_data": { "enabled": true } } });
        let path = format!("unstable/org.matrix.simplified_msc3575/sync?timeout=0{pos}");
        alice.post(path, body).await.ok()
    };
    let global = |answer: &Value| {
        let events = answer["extensions"]["account_data"]["global"].as_array();
        events.and_then(|events| find_event(events, TYPE).cloned())
    };
    let first = slide("").await;
    assert!(global(&first).is_some());
    alice.delete(&delete, Value::Null).await.ok();
    let pos = format!("&pos={}", first["pos"].as_str().unwrap());
    assert_eq!(global(&slide(&pos).await).unwrap()["content"], json!({}));
    assert!(global(&slide("").await).is_none());
}

#[tokio::test]
async fn nobody_deletes_what_is_not_theirs_or_the_servers() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let (path, delete) = paths(&alice, None, TYPE);
    alice.put(&path, json!({ "a": 1 })).await.ok();
    mallory
        .delete(&delete, Value::Null)
        .await
        .refused(403, "M_FORBIDDEN");
    api.anonymous()
        .delete(&delete, Value::Null)
        .await
        .refused(401, "M_MISSING_TOKEN");
    assert_eq!(alice.get(&path).await.ok(), json!({ "a": 1 }));
    let (_, rules) = paths(&alice, None, "m.push_rules");
    alice
        .delete(rules, Value::Null)
        .await
        .refused(405, "M_BAD_JSON");
    let (_, nowhere) = paths(&alice, Some("!nowhere:localhost"), TYPE);
    alice
        .delete(nowhere, Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
    let versions = alice.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc3391"], true);
}

#[tokio::test]
async fn the_settings_of_a_device_go_with_it() {
    let alice = server().register("alice").await;
    let (kept, gone, others) = (
        alice.another_device().await,
        alice.another_device().await,
        alice.another_device().await,
    );
    let name = |device: &User, prefix: &str| {
        format!("{prefix}.local_notification_settings.{}", device.device_id)
    };
    let unstable = "org.matrix.msc3890";
    for device in [&kept, &gone, &others] {
        for prefix in [unstable, "m"] {
            let (path, _) = paths(&alice, None, &name(device, prefix));
            alice.put(path, json!({ "is_silenced": true })).await.ok();
        }
    }
    let before = kept.sync().await;
    gone.post("v3/logout", json!({})).await.ok();
    let next = kept.sync_since(&before).await;
    for prefix in [unstable, "m"] {
        let told = next.account_data(&name(&gone, prefix)).unwrap();
        assert_eq!(told["content"], json!({}));
        let (path, _) = paths(&alice, None, &name(&gone, prefix));
        alice.get(path).await.refused(404, "M_NOT_FOUND");
        let (path, _) = paths(&alice, None, &name(&kept, prefix));
        assert_eq!(alice.get(path).await.ok()["is_silenced"], true);
    }
    let delete = format!("v3/devices/{}", others.device_id);
    kept.with_password(reqwest::Method::DELETE, &delete, json!({}))
        .await
        .ok();
    let last = kept.sync_since(&next).await;
    let told = last.account_data(&name(&others, unstable)).unwrap();
    assert_eq!(told["content"], json!({}));
    kept.post("v3/logout/all", json!({})).await.ok();
    let again = alice.api.login(&alice.user_id).await;
    assert!(
        again
            .sync()
            .await
            .account_data(&name(&kept, unstable))
            .is_none()
    );
}
