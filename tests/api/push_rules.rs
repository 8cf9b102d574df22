//! Push rules, pushers and third-party addresses: what clients ask for at sign-in.

use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn everybody_has_the_rules_of_the_specification() {
    let alice = server().register("alice").await;
    let rules = alice.get("v3/pushrules/").await.ok();
    for kind in ["override", "underride"] {
        assert!(rules["global"][kind].is_array(), "{kind}: {rules}");
    }
    let text = rules.to_string();
    for rule in [
        ".m.rule.master",
        ".m.rule.is_user_mention",
        ".m.rule.encrypted",
    ] {
        assert!(text.contains(rule), "{rule}");
    }
    let global = alice.get("v3/pushrules/global/").await.ok();
    assert_eq!(global["override"], rules["global"]["override"]);
}

#[tokio::test]
async fn a_rule_is_made_changed_and_deleted() {
    let alice = server().register("alice").await;
    let path = "v3/pushrules/global/content/hungry";
    alice.get(path).await.refused(404, "M_NOT_FOUND");
    let rule = json!({ "pattern": "lunch", "actions": ["notify"] });
    alice.put(path, rule).await.ok();
    let stored = alice.get(path).await.ok();
    assert_eq!(stored["pattern"], "lunch");
    assert_eq!(stored["enabled"], true);
    alice
        .put(format!("{path}/enabled"), json!({ "enabled": false }))
        .await
        .ok();
    let enabled = alice.get(format!("{path}/enabled")).await.ok();
    assert_eq!(enabled["enabled"], false);
    let actions = json!({ "actions": ["notify", { "set_tweak": "highlight" }] });
    alice.put(format!("{path}/actions"), actions).await.ok();
    let actions = alice.get(format!("{path}/actions")).await.ok();
    assert_eq!(actions["actions"].as_array().unwrap().len(), 2);
    alice.delete(path, Value::Null).await.ok();
    alice.get(path).await.refused(404, "M_NOT_FOUND");
    alice
        .delete(path, Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_rules_of_the_specification_stay() {
    let alice = server().register("alice").await;
    let path = "v3/pushrules/global/override/.m.rule.master";
    alice
        .delete(path, Value::Null)
        .await
        .refused_with(&[400, 404]);
    let rule = json!({ "conditions": [], "actions": [] });
    alice.put(path, rule).await.refused_with(&[400]);
    alice
        .put(format!("{path}/enabled"), json!({ "enabled": true }))
        .await
        .ok();
    let enabled = alice.get(format!("{path}/enabled")).await.ok();
    assert_eq!(enabled["enabled"], true);
}

#[tokio::test]
async fn changed_rules_come_with_the_sync() {
    let alice = server().register("alice").await;
    let first = alice.sync().await;
    assert!(
        first.account_data("m.push_rules").is_some(),
        "{:?}",
        first.0
    );
    let rule = json!({ "pattern": "lunch", "actions": ["notify"] });
    alice
        .put("v3/pushrules/global/content/hungry", rule)
        .await
        .ok();
    let next = alice.sync_since(&first).await;
    let event = next.account_data("m.push_rules").expect("the rules");
    assert!(event["content"].to_string().contains("hungry"), "{event}");
}

#[tokio::test]
async fn rules_are_ones_own() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rule = json!({ "pattern": "lunch", "actions": ["notify"] });
    let path = "v3/pushrules/global/content/hungry";
    alice.put(path, rule).await.ok();
    bob.get(path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn nobody_has_pushers_or_third_party_addresses_yet() {
    let alice = server().register("alice").await;
    assert_eq!(alice.get("v3/pushers").await.ok()["pushers"], json!([]));
    assert_eq!(
        alice.get("v3/account/3pid").await.ok()["threepids"],
        json!([])
    );
}
