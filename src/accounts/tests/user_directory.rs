//! The user directory: found by the beginnings of words, with every change of a name.

use std::time::Instant;

use model::{
    AccountRecord, PersonKind, StandingRecord, UserSerial, intern_user,
    tables::{ACCOUNT_BY_USER, PROFILE_FIELD_BY_USER, USER_BY_WORD},
};
use ruma_common::UserId;
use serde_json::json;
use store::{Read as _, StoreError};

use super::house::House;
use crate::{FoundUser, FoundUsers, UserSearch, people_lists, user_directory};

pub(super) fn search(house: &House, typed: &str, limit: usize) -> FoundUsers {
    search_with(house, typed, limit, &[])
}

/// Finds everybody of this server, and these others: (user id, name).
fn search_with(
    house: &House,
    typed: &str,
    limit: usize,
    others: &[(&str, Option<&str>)],
) -> FoundUsers {
    let search = UserSearch {
        server_name: house.accounts.server_name(),
        typed,
        limit,
        may_see: |_| Ok(true),
        others: |visit: &mut dyn FnMut(FoundUser)| {
            for (user_id, name) in others {
                visit(FoundUser {
                    user_id: (*user_id).to_owned(),
                    display_name: name.map(str::to_owned),
                    avatar_url: None,
                });
            }
            Ok(true)
        },
    };
    search.run(&house.accounts.store().snapshot()).unwrap()
}

fn ids(found: &FoundUsers) -> Vec<&str> {
    found
        .users
        .iter()
        .map(|user| user.user_id.as_str())
        .collect()
}

async fn name(house: &House, user: UserSerial, name: &str) {
    house
        .accounts
        .set_profile_field(user, "displayname", &json!(name))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_name_is_found_as_long_as_it_is_the_name() {
    let house = House::open();
    let alice = house.person("alice.smith", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    assert_eq!(ids(&search(&house, "smi", 10)), ["@alice.smith:a.test"]);
    name(&house, alice.user, "Zoë Van der Berg").await;
    name(&house, bob.user, "Bert Bergmann").await;
    for (typed, expected) in [
        ("zo", vec!["@alice.smith:a.test"]),
        ("van BERG", vec!["@alice.smith:a.test"]),
        ("berg", vec!["@alice.smith:a.test", "@bob:a.test"]),
        ("ber", vec!["@alice.smith:a.test", "@bob:a.test"]),
        ("BERTB", vec![]),
        ("bergmann bert", vec!["@bob:a.test"]),
        ("@bob:a.test", vec!["@bob:a.test"]),
        ("erg", vec![]),
    ] {
        assert_eq!(ids(&search(&house, typed, 10)), expected, "{typed}");
    }
    let first = &search(&house, "zo", 10).users[0];
    assert_eq!(first.display_name.as_deref(), Some("Zoë Van der Berg"));

    name(&house, alice.user, "Alice Smith").await;
    assert_eq!(ids(&search(&house, "zo", 10)), [""; 0]);
    assert_eq!(ids(&search(&house, "berg", 10)), ["@bob:a.test"]);
    house
        .accounts
        .remove_profile_field(bob.user, "displayname")
        .await
        .unwrap();
    assert_eq!(ids(&search(&house, "berg", 10)), [""; 0]);
    assert_eq!(ids(&search(&house, "bob", 10)), ["@bob:a.test"]);
    // Words that are gone leave no rows: two of alice, one of bob.
    let snapshot = house.accounts.store().snapshot();
    assert_eq!(snapshot.scan(&USER_BY_WORD, &()).count(), 3);
}

#[tokio::test]
async fn the_locked_and_the_closed_are_not_found() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("alina", "PHONE").await;
    let accounts = &house.accounts;
    accounts
        .set_locked(&audit::Act::operator(), alice.user, true, None)
        .await
        .unwrap();
    assert_eq!(ids(&search(&house, "ali", 10)), ["@alina:a.test"]);
    accounts
        .set_locked(&audit::Act::operator(), alice.user, false, None)
        .await
        .unwrap();
    assert_eq!(search(&house, "ali", 10).users.len(), 2);
    name(&house, bob.user, "Somebody Else").await;
    accounts
        .deactivate(&audit::Act::operator(), bob.user, false)
        .await
        .unwrap();
    assert_eq!(ids(&search(&house, "ali", 10)), ["@alice:a.test"]);
    assert_eq!(ids(&search(&house, "somebody", 10)), [""; 0]);
    let snapshot = accounts.store().snapshot();
    assert_eq!(snapshot.scan(&USER_BY_WORD, &()).count(), 1);
}

#[tokio::test]
async fn the_best_come_first_and_no_more_than_wanted() {
    let house = House::open();
    for name in ["ann", "anna", "annabel", "ann.b"] {
        house.person(name, "PHONE").await;
    }
    let found = search(&house, "ann", 3);
    assert_eq!(
        ids(&found),
        ["@ann:a.test", "@ann.b:a.test", "@anna:a.test"]
    );
    assert!(found.limited);
    assert!(!search(&house, "ann", 4).limited);
    // Whom the searcher may not see is as if they were not there.
    let search = UserSearch {
        server_name: house.accounts.server_name(),
        typed: "ann",
        limit: 10,
        may_see: |_| Ok(false),
        others: |_: &mut dyn FnMut(FoundUser)| Ok(true),
    };
    let found = search.run(&house.accounts.store().snapshot()).unwrap();
    assert_eq!(found, FoundUsers::default());
    let search = UserSearch {
        server_name: house.accounts.server_name(),
        typed: "ann",
        limit: 10,
        may_see: |_| Ok(false),
        others: |_: &mut dyn FnMut(FoundUser)| Ok(false),
    };
    let found = search.run(&house.accounts.store().snapshot()).unwrap();
    assert!(found.limited, "not all were looked at");
}

#[tokio::test]
async fn people_of_other_servers_stand_among_the_own() {
    let house = House::open();
    house.person("ann", "PHONE").await;
    let others = [
        ("@ann:b.test", Some("Ann of B")),
        ("@x:b.test", Some("Annabel")),
        ("@x:b.test", Some("Ann")),
        ("@y:c.test", None),
    ];
    for (typed, expected) in [
        ("ann", vec!["@ann:b.test", "@x:b.test", "@ann:a.test"]),
        ("ann of", vec!["@ann:b.test"]),
        ("@ann:b.test", vec!["@ann:b.test", "@x:b.test"]),
        ("@ann:a", vec!["@ann:a.test"]),
        ("annab", vec!["@x:b.test"]),
        ("@y:C", vec!["@y:c.test"]),
        ("@y:b", vec![]),
    ] {
        let found = search_with(&house, typed, 10, &others);
        assert_eq!(ids(&found), expected, "{typed}");
    }
    // Of several names the best is shown.
    let found = search_with(&house, "ann", 2, &others);
    assert_eq!(found.users[1].display_name.as_deref(), Some("Ann"));
    assert!(found.limited);
}

/// Ten thousand people, with rows as registration and renaming write them.
async fn crowd(house: &House) {
    let store = house.accounts.store();
    for thousand in 0..10_u64 {
        let serials: Vec<u64> = (0..1_000).map(|_| store.next_serial()).collect();
        store
            .commit(move |latest, _, batch| {
                for (number, serial) in (0..).zip(serials) {
                    let number = thousand * 1_000 + number;
                    let user_id = format!("@person{number}:a.test");
                    let user = intern_user(latest, batch, &user_id, serial)?;
                    let account = AccountRecord {
                        created_at: 1,
                        roles: model::Roles::NONE,
                        is_locked: false,
                        deactivated_at: None,
                        is_erased: false,
                    };
                    batch.put(&ACCOUNT_BY_USER, &user, &account);
                    let name = format!("Given{} Family{}", number % 100, number / 100);
                    user_directory::add(batch, user, &UserId::parse(&user_id).unwrap(), None);
                    let field = (user, "displayname".to_owned());
                    batch.put(
                        &PROFILE_FIELD_BY_USER,
                        &field,
                        &json!(name).to_string().into_bytes(),
                    );
                    for word in user_directory::words_of("", Some(&name)) {
                        batch.put(&USER_BY_WORD, &(word, user), &());
                    }
                    let kind = PersonKind::Member;
                    let standing = StandingRecord::default();
                    let listed = people_lists::new(&account, &standing, kind, Some(name));
                    people_lists::list(latest, batch, (user, &user_id), &listed)?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn ten_thousand_people_are_searched_without_reading_them_all() {
    let house = House::open();
    crowd(&house).await;
    for (typed, count) in [
        // Family7, and Family70 to Family79.
        ("given42 family7", 11),
        ("person1234", 1),
        // More than an answer has.
        ("family7", 100),
        ("@person99", 100),
        ("nobody", 0),
    ] {
        let begun = Instant::now();
        let found = search(&house, typed, 100);
        println!(
            "{typed}: {} found in {:?}",
            found.users.len(),
            begun.elapsed()
        );
        assert_eq!(found.users.len(), count, "{typed}");
    }
    // A letter that everybody has ends at a bound, not with the last person.
    let begun = Instant::now();
    let found = search(&house, "p", 10);
    println!("p: {} found in {:?}", found.users.len(), begun.elapsed());
    assert!(found.limited && found.users.len() == 10);
}
