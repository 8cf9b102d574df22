//! Profiles, account data, push rules, filters.

use model::tables::{ACCOUNT_DATA_USAGE_BY_USER, CHANGE_BY_USER};
use ruma_common::push::{NewPushRule, NewSimplePushRule, RuleKind};
use serde_json::{Value, json};
use store::Read as _;

use super::house::House;
use crate::{
    AccountDataError, FilterError, ProfileError, PushRuleError, account_data, account_data_of_room,
    display_name_and_avatar, filter, profile, push_rules,
};

#[tokio::test]
async fn profiles_take_what_the_specification_allows() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let set = async |name: &str, value: Value| {
        house
            .accounts
            .set_profile_field(alice.user, name, &value)
            .await
    };
    assert!(set("displayname", json!("Alice")).await.unwrap());
    assert!(!set("displayname", json!("Alice")).await.unwrap());
    assert!(set("avatar_url", json!("mxc://a.test/1")).await.unwrap());
    assert!(set("m.tz", json!("Europe/Berlin")).await.unwrap());
    assert!(
        set("org.example.field", json!({ "any": [1, null] }))
            .await
            .unwrap()
    );
    let snapshot = house.accounts.store().snapshot();
    let names: Vec<_> = profile(&snapshot, alice.user)
        .unwrap()
        .into_keys()
        .collect();
    assert_eq!(
        names,
        ["avatar_url", "displayname", "m.tz", "org.example.field"]
    );
    let (name, url) = display_name_and_avatar(&snapshot, alice.user).unwrap();
    assert_eq!(
        (name.as_deref(), url.as_deref()),
        (Some("Alice"), Some("mxc://a.test/1"))
    );

    let long = format!("org.{}", "x".repeat(255));
    let big = json!("x".repeat(65_536));
    assert!(matches!(
        set("displayname", json!(7)).await,
        Err(ProfileError::InvalidValue(_))
    ));
    assert!(matches!(
        set("avatar_url", json!("https://a.test")).await,
        Err(ProfileError::InvalidValue(_))
    ));
    assert!(matches!(
        set("field", json!(1)).await,
        Err(ProfileError::InvalidName)
    ));
    assert!(matches!(
        set(&long, json!(1)).await,
        Err(ProfileError::NameTooLarge)
    ));
    assert!(matches!(
        set("org.example.big", big).await,
        Err(ProfileError::TooLarge)
    ));

    assert!(set("avatar_url", json!("")).await.unwrap());
    assert!(
        house
            .accounts
            .remove_profile_field(alice.user, "displayname")
            .await
            .unwrap()
    );
    let snapshot = house.accounts.store().snapshot();
    assert_eq!(
        display_name_and_avatar(&snapshot, alice.user).unwrap(),
        (None, None)
    );
}

#[tokio::test]
async fn account_data_has_one_change_row_for_each_type() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let put = async |event_type: &str, json: &str| {
        let put = house
            .accounts
            .put_account_data(alice.user, None, event_type, json.as_bytes());
        put.await
    };
    put("org.example", r#"{"a": 1}"#).await.unwrap();
    put("org.example", r#"{"a": 22}"#).await.unwrap();
    let snapshot = house.accounts.store().snapshot();
    let entry = account_data(&snapshot, alice.user, None, "org.example")
        .unwrap()
        .unwrap();
    assert_eq!(
        (entry.json.as_slice(), entry.position),
        (br#"{"a": 22}"#.as_slice(), house.position())
    );
    let all = account_data_of_room(&snapshot, alice.user, None).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(snapshot.scan(&CHANGE_BY_USER, &(alice.user,)).count(), 2);
    let usage = snapshot
        .get(&ACCOUNT_DATA_USAGE_BY_USER, &alice.user)
        .unwrap()
        .unwrap();
    let bytes: usize = all
        .iter()
        .map(|entry| entry.event_type.len() + entry.json.len())
        .sum();
    assert_eq!((usage.entries, usage.bytes), (2, bytes as u64));

    let huge = format!(r#"{{"a":"{}"}}"#, "x".repeat(600_000));
    assert!(matches!(
        put("m.fully_read", "{}").await,
        Err(AccountDataError::ServerControlled)
    ));
    assert!(matches!(
        put("m.push_rules", "{}").await,
        Err(AccountDataError::ServerControlled)
    ));
    assert!(matches!(
        put("org.example", "[]").await,
        Err(AccountDataError::NotAnObject)
    ));
    assert!(matches!(
        put("org.example", "{").await,
        Err(AccountDataError::NotAnObject)
    ));
    assert!(matches!(
        put("org.example", &huge).await,
        Err(AccountDataError::TooLarge)
    ));
    let room = Some(model::RoomSerial(99));
    let unknown = house
        .accounts
        .put_account_data(alice.user, room, "org.example", b"{}");
    assert!(matches!(unknown.await, Err(AccountDataError::NotFound)));
}

#[tokio::test]
async fn push_rules_begin_with_the_servers_own() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let rules = |house: &House| {
        push_rules(&house.accounts.store().snapshot(), alice.user)
            .unwrap()
            .unwrap()
    };
    let own = rules(&house).iter().count();
    assert!(own > 10);
    let rule = NewSimplePushRule::new("@bob:a.test".try_into().unwrap(), Vec::new());
    let accounts = &house.accounts;
    accounts
        .put_push_rule(alice.user, NewPushRule::Sender(rule), None, None)
        .await
        .unwrap();
    let bob = "@bob:a.test".to_owned();
    accounts
        .set_push_rule_enabled(alice.user, RuleKind::Sender, bob.clone(), false)
        .await
        .unwrap();
    assert!(!rules(&house).get(RuleKind::Sender, &bob).unwrap().enabled());
    accounts
        .delete_push_rule(alice.user, RuleKind::Sender, bob.clone())
        .await
        .unwrap();
    assert_eq!(rules(&house).iter().count(), own);
    assert!(matches!(
        accounts
            .delete_push_rule(alice.user, RuleKind::Sender, bob)
            .await,
        Err(PushRuleError::NotFound)
    ));
    let master = ".m.rule.master".to_owned();
    assert!(matches!(
        accounts
            .delete_push_rule(alice.user, RuleKind::Override, master)
            .await,
        Err(PushRuleError::ServerDefault)
    ));
}

#[tokio::test]
async fn a_filter_keeps_its_number_and_its_owner() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let json = br#"{"room":{"timeline":{"limit":5}},"org.example":1}"#;
    let id = house
        .accounts
        .create_filter(alice.user, json)
        .await
        .unwrap();
    assert_eq!(
        house
            .accounts
            .create_filter(alice.user, json)
            .await
            .unwrap(),
        id
    );
    let other = house
        .accounts
        .create_filter(alice.user, b"{}")
        .await
        .unwrap();
    assert_ne!(other, id);
    let snapshot = house.accounts.store().snapshot();
    assert_eq!(filter(&snapshot, alice.user, &id).unwrap().unwrap(), json);
    for (user, id) in [
        (bob.user, id.as_str()),
        (alice.user, "99"),
        (alice.user, "x"),
    ] {
        assert_eq!(filter(&snapshot, user, id).unwrap(), None);
    }
    let wrong = house
        .accounts
        .create_filter(alice.user, br#"{"room":1}"#)
        .await;
    assert!(matches!(wrong, Err(FilterError::Invalid(_))));
}
