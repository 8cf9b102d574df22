//! The lists of people: they say what the other tables say, whatever is done.

use std::collections::BTreeSet;

use audit::Act;
use model::{
    ListingProgressRecord, PeopleList, PersonKind, Role,
    tables::{
        ACCOUNT_BY_USER, INVITATION_BY_HASH, INVITATION_BY_NAME, INVITATION_BY_TIME,
        LAST_SEEN_BY_USER, PEOPLE_LISTS_PROGRESS, PERSON_BY_LIST, PERSON_BY_PART,
    },
};
use runtime::Tasks;
use serde_json::json;
use store::{Batch, Read, Snapshot, StoreError};

use super::house::House;
use crate::{
    Cell, ImportedRow, NewInvitation, count_people, listed_people, people_lists, people_named,
};

/// Every row of the lists is what the other tables say, and none is missing.
pub(super) fn check(view: &Snapshot) {
    let (mut listed, mut parts) = (BTreeSet::new(), BTreeSet::new());
    for row in view.scan(&ACCOUNT_BY_USER, &()) {
        let (user, _) = row.unwrap();
        let known = people_lists::to_be_listed(view, user).unwrap().unwrap();
        let user_id = model::user_id(view, user).unwrap().unwrap();
        let localpart = user_id.strip_prefix('@').unwrap().split(':').next();
        let localpart = localpart.unwrap();
        for list in PeopleList::ALL {
            let key = (*list, model::SortedName::new(localpart), user);
            let row = view.get(&PERSON_BY_LIST, &key).unwrap();
            assert_eq!(row, known.is_in(*list).then(|| known.clone()), "{user_id}");
            listed.extend(row.map(|_| key));
        }
        let parts_of = people_lists::parts_of(localpart, &known);
        parts.extend(parts_of.into_iter().map(|part| (part, user)));
    }
    let rows = view.scan(&PERSON_BY_LIST, &());
    assert_eq!(
        rows.map(|row| row.unwrap().0).collect::<BTreeSet<_>>(),
        listed
    );
    let rows = view.scan(&PERSON_BY_PART, &());
    assert_eq!(
        rows.map(|row| row.unwrap().0).collect::<BTreeSet<_>>(),
        parts
    );
    let (mut by_time, mut by_name) = (BTreeSet::new(), BTreeSet::new());
    for row in view.scan(&INVITATION_BY_HASH, &()) {
        let (hash, record) = row.unwrap();
        by_time.insert((record.created_at, hash));
        by_name.insert((record.name, hash));
    }
    let rows = view.scan(&INVITATION_BY_TIME, &());
    assert_eq!(
        rows.map(|row| row.unwrap().0).collect::<BTreeSet<_>>(),
        by_time
    );
    let rows = view.scan(&INVITATION_BY_NAME, &());
    assert_eq!(
        rows.map(|row| row.unwrap().0).collect::<BTreeSet<_>>(),
        by_name
    );
}

fn names(house: &House, list: PeopleList) -> Vec<String> {
    let view = house.accounts.store().snapshot();
    let people = listed_people(&view, list, None);
    let names: Vec<String> = people.map(|person| person.unwrap().localpart).collect();
    assert_eq!(count_people(&view, list).unwrap(), names.len());
    names
}

fn named(house: &House, text: &str) -> Vec<String> {
    let view = house.accounts.store().snapshot();
    let people = people_named(&view, text).unwrap().unwrap();
    people.into_iter().map(|person| person.localpart).collect()
}

#[tokio::test]
async fn lists_follow_whatever_is_done_with_people() {
    let house = House::open();
    let (accounts, operator) = (&house.accounts, Act::operator());
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let carol = house.person("carol", "PHONE").await;
    accounts
        .set_profile_field(alice.user, "displayname", &json!("Zoë Müller"))
        .await
        .unwrap();
    assert_eq!(named(&house, "MÜLL"), ["alice"]);
    assert_eq!(named(&house, "ë m"), ["alice"]);
    assert_eq!(named(&house, "o"), ["alice", "bob", "carol"]);
    assert!(named(&house, "nobody").is_empty());
    accounts
        .change_roles(&operator, bob.user, |roles| roles.with(Role::Auditor))
        .await
        .unwrap();
    assert_eq!(names(&house, PeopleList::WithRole), ["bob"]);
    accounts
        .set_locked(&operator, carol.user, true, None)
        .await
        .unwrap();
    accounts
        .set_suspended(&operator, alice.user, true, None)
        .await
        .unwrap();
    assert_eq!(names(&house, PeopleList::Restrained), ["alice", "carol"]);
    accounts
        .set_kind(&operator, alice.user, PersonKind::Partner, None)
        .await
        .unwrap();
    check(&accounts.store().snapshot());
    accounts
        .deactivate(&operator, alice.user, true)
        .await
        .unwrap();
    assert_eq!(names(&house, PeopleList::Open), ["bob", "carol"]);
    assert_eq!(names(&house, PeopleList::Closed), ["alice"]);
    // What an erased account was called nobody finds.
    assert!(named(&house, "müller").is_empty());
    assert_eq!(named(&house, "lic"), ["alice"]);
    let rows = ["dora", "bob"].map(|localpart| ImportedRow {
        localpart: localpart.to_owned(),
        display_name: Cell::Set(format!("{localpart} Berg")),
        ..ImportedRow::default()
    });
    accounts
        .import(&operator, rows.to_vec(), true, false)
        .await
        .unwrap();
    assert_eq!(named(&house, "berg"), ["bob", "dora"]);
    let everybody = ["alice", "bob", "carol", "dora"];
    assert_eq!(names(&house, PeopleList::Everybody), everybody);
}

#[tokio::test]
async fn a_text_that_fits_very_many_is_for_who_looks_through_the_list() {
    let house = House::open();
    let row = |number: usize| ImportedRow {
        localpart: format!("p{number:04}"),
        ..ImportedRow::default()
    };
    let (accounts, operator) = (&house.accounts, Act::operator());
    for begin in [0, 600] {
        let rows = (begin..begin + 600).map(row).collect();
        accounts.import(&operator, rows, true, false).await.unwrap();
    }
    let view = accounts.store().snapshot();
    assert_eq!(people_named(&view, "p").unwrap(), None);
    assert_eq!(named(&house, "p0011"), ["p0011"]);
    let listed = |after: Option<&_>| listed_people(&view, PeopleList::Open, after).next();
    let first = listed(None).unwrap().unwrap();
    assert_eq!(first.localpart, "p0000");
    let second = listed(Some(&first)).unwrap().unwrap();
    assert_eq!(second.localpart, "p0001");
}

#[tokio::test]
async fn invitations_are_listed_a_page_at_a_time_the_newest_first() {
    let house = House::open();
    let (accounts, operator) = (&house.accounts, Act::operator());
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let new = NewInvitation {
            uses_allowed: Some(1),
            expires_at: None,
            created_by: None,
        };
        let made = accounts.create_invitations(&operator, new, 3).await;
        tokens.extend(made.unwrap());
        house.clock.advance(1_000);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = accounts.invitations_after(after.as_deref(), 2).await;
        let (rows, next) = page.unwrap();
        assert!(!rows.is_empty() && rows.len() <= 2);
        seen.extend(rows);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted_by_key(|one| std::cmp::Reverse(one.created_at)));
    let found: BTreeSet<&str> = seen.iter().map(|one| one.name.as_str()).collect();
    let made: BTreeSet<&str> = tokens.iter().map(|token| &token[..8]).collect();
    assert_eq!(found, made);
    let one = accounts.invitation(&tokens[1]).await.unwrap().unwrap();
    assert_eq!(accounts.invitation(&one.name).await.unwrap(), Some(one));
    accounts
        .revoke_invitation(&operator, &tokens[1][..8])
        .await
        .unwrap();
    assert_eq!(accounts.invitation(&tokens[1]).await.unwrap(), None);
}

/// Leaves the database as it was before there were lists.
async fn forget_lists(house: &House) {
    let forget = |batch: &mut Batch| {
        batch.delete_prefix(&PERSON_BY_LIST, &());
        batch.delete_prefix(&PERSON_BY_PART, &());
        batch.delete_prefix(&INVITATION_BY_TIME, &());
        batch.delete_prefix(&INVITATION_BY_NAME, &());
        batch.delete_prefix(&LAST_SEEN_BY_USER, &());
        batch.delete(&PEOPLE_LISTS_PROGRESS, &());
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

fn progress(house: &House) -> ListingProgressRecord {
    let view = house.accounts.store().snapshot();
    view.get(&PEOPLE_LISTS_PROGRESS, &()).unwrap().unwrap()
}

#[tokio::test]
async fn accounts_of_before_come_into_the_lists_once() {
    let house = House::open();
    let accounts = &house.accounts;
    let alice = house.person("alice", "PHONE").await;
    for number in 0..200 {
        house.person(&format!("p{number:03}"), "PHONE").await;
    }
    accounts.saw(&alice, "192.0.2.1", None).await.unwrap();
    let new = NewInvitation {
        uses_allowed: None,
        expires_at: None,
        created_by: None,
    };
    accounts
        .create_invitation(&Act::operator(), new)
        .await
        .unwrap();
    forget_lists(&house).await;
    assert!(names(&house, PeopleList::Everybody).is_empty());
    // Half of it, then a stop. What is done meanwhile with those that come later is not lost.
    assert!(!accounts.list_some().await.unwrap());
    assert!(!progress(&house).is_complete);
    assert_eq!(names(&house, PeopleList::Everybody).len(), 200);
    accounts
        .complete_people_lists(Tasks::new().stop())
        .await
        .unwrap();
    assert!(progress(&house).is_complete);
    assert_eq!(names(&house, PeopleList::Everybody).len(), 201);
    let view = accounts.store().snapshot();
    check(&view);
    let seen = view.get(&LAST_SEEN_BY_USER, &alice.user).unwrap();
    assert_eq!(seen, Some(house.clock.now().0));
    // Done is done.
    let before = house.position();
    accounts
        .complete_people_lists(Tasks::new().stop())
        .await
        .unwrap();
    assert_eq!(house.position(), before);
}
