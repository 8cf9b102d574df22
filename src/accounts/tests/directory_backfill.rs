//! Accounts from before the user directory come into it, once.

use model::{
    DirectoryProgressRecord,
    tables::{DIRECTORY_PROGRESS, USER_BY_WORD},
};
use runtime::Tasks;
use serde_json::json;
use store::{Read as _, StoreError};

use super::{house::House, user_directory::search};

/// The ids of those who are found.
fn found(house: &House, typed: &str) -> Vec<String> {
    let found = search(house, typed, 100);
    found.users.into_iter().map(|user| user.user_id).collect()
}

/// Leaves the database as it was before there was a directory.
async fn forget_directory(house: &House) {
    let forget = |batch: &mut store::Batch| {
        batch.delete_prefix(&USER_BY_WORD, &());
        batch.delete(&DIRECTORY_PROGRESS, &());
    };
    let done: Result<(), StoreError> = house
        .accounts
        .store()
        .commit(move |_, _, batch| {
            forget(batch);
            Ok(())
        })
        .await;
    done.unwrap();
}

fn progress(house: &House) -> Option<DirectoryProgressRecord> {
    let snapshot = house.accounts.store().snapshot();
    snapshot.get(&DIRECTORY_PROGRESS, &()).unwrap()
}

#[tokio::test]
async fn old_accounts_are_found_once_they_were_looked_at() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let carol = house.person("carol", "PHONE").await;
    let accounts = &house.accounts;
    accounts
        .set_profile_field(alice.user, "displayname", &json!("Zoë Berg"))
        .await
        .unwrap();
    accounts
        .deactivate(&audit::Act::operator(), carol.user, false)
        .await
        .unwrap();
    forget_directory(&house).await;
    assert!(found(&house, "zo").is_empty() && found(&house, "bob").is_empty());
    accounts
        .complete_user_directory(Tasks::new().stop())
        .await
        .unwrap();
    assert_eq!(found(&house, "zo"), ["@alice:a.test"]);
    assert_eq!(found(&house, "alice"), ["@alice:a.test"]);
    assert_eq!(found(&house, "bob"), ["@bob:a.test"]);
    assert!(found(&house, "carol").is_empty());
    // Done is done: it looks at nobody again.
    assert!(progress(&house).unwrap().is_complete);
    let before = accounts.store().snapshot().position();
    accounts
        .complete_user_directory(Tasks::new().stop())
        .await
        .unwrap();
    assert_eq!(accounts.store().snapshot().position(), before);
    // Names go on being what they are.
    accounts
        .set_profile_field(bob.user, "displayname", &json!("Bert"))
        .await
        .unwrap();
    assert_eq!(found(&house, "bert"), ["@bob:a.test"]);
}

#[tokio::test]
async fn it_goes_on_where_it_stopped() {
    let house = House::open();
    for number in 0..101 {
        house.person(&format!("p{number:03}"), "PHONE").await;
    }
    forget_directory(&house).await;
    assert!(!house.accounts.backfill_some().await.unwrap());
    let half = progress(&house).unwrap();
    assert!(!half.is_complete && half.last > 0, "{half:?}");
    assert_eq!(found(&house, "p099").len(), 1);
    assert!(found(&house, "p100").is_empty());
    assert!(house.accounts.backfill_some().await.unwrap());
    assert_eq!(found(&house, "p100").len(), 1);
    assert!(progress(&house).unwrap().is_complete);
}
