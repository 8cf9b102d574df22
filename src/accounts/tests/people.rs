//! People beyond their accounts: imported, invited, ended, put into departments.

use audit::Act;
use model::{PersonKind, RoomSerial, tables::PLACEMENT_BY_USER};
use store::Read as _;

use super::house::{House, PASSWORD};
use crate::{
    AcceptError, AuthenticateError, Barrier, Cell, DepartmentError, ImportError, ImportedRow,
    InvitedTo, LoginError, RowOutcome, departments_of, display_name_and_avatar, emails, find,
    person,
};

/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn row(localpart: &str) -> ImportedRow {
    ImportedRow {
        localpart: localpart.to_owned(),
        ..ImportedRow::default()
    }
}

fn whole(localpart: &str) -> ImportedRow {
    ImportedRow {
        display_name: Cell::Set(format!("{localpart} Berg")),
        email: Cell::Set(format!("{localpart}@example.org")),
        departments: Cell::Set(vec!["works".to_owned()]),
        kind: Some(PersonKind::Partner),
        organisation: Cell::Set("Bridge Ltd".to_owned()),
        language: Cell::Set("de".to_owned()),
        ..row(localpart)
    }
}

async fn import(house: &House, rows: Vec<ImportedRow>) -> Vec<RowOutcome> {
    let operator = Act::operator();
    let done = house.accounts.import(&operator, rows, true, false);
    let done = done.await.unwrap().into_iter();
    done.map(|row| row.outcome).collect()
}

#[tokio::test]
async fn the_same_table_twice_changes_nothing_the_second_time() {
    let house = House::open();
    let operator = Act::operator();
    house
        .accounts
        .create_department(&operator, "Works")
        .await
        .unwrap();
    let rows = vec![whole("anna"), row("otto")];
    let first = import(&house, rows.clone()).await;
    assert_eq!(first, [RowOutcome::Created, RowOutcome::Created]);
    let entries = audit::head(&house.accounts.store().snapshot())
        .unwrap()
        .entries;
    let second = import(&house, rows).await;
    assert_eq!(second, [RowOutcome::Unchanged, RowOutcome::Unchanged]);
    let view = house.accounts.store().snapshot();
    // Nothing was done, and nothing is told.
    assert_eq!(audit::head(&view).unwrap().entries, entries);
    let anna = "@anna:a.test".try_into().unwrap();
    let (anna, _) = find(&view, anna).unwrap().unwrap();
    assert_eq!(
        display_name_and_avatar(&view, anna).unwrap().0.as_deref(),
        Some("anna Berg")
    );
    assert_eq!(emails(&view, anna).unwrap()[0].address, "anna@example.org");
    assert_eq!(departments_of(&view, anna).unwrap(), ["Works"]);
    let known = person(&view, anna).unwrap();
    assert_eq!(
        (known.kind, known.organisation.as_deref()),
        (PersonKind::Partner, Some("Bridge Ltd"))
    );
    let changed = ImportedRow {
        display_name: Cell::Set("Anna".to_owned()),
        departments: Cell::Clear,
        email: Cell::Keep,
        kind: None,
        ..whole("anna")
    };
    let third = import(&house, vec![changed]).await;
    let expected = ["display_name", "departments"].map(str::to_owned).to_vec();
    assert_eq!(third, [RowOutcome::Changed(expected)]);
}

#[tokio::test]
async fn one_bad_line_keeps_all_of_them_out_unless_it_is_passed_over() {
    let house = House::open();
    house.person("taken", "A").await;
    house
        .accounts
        .create_department(&Act::operator(), "Works")
        .await
        .unwrap();
    let mut twice = row("twice");
    twice.email = Cell::Set("anna@example.org".to_owned());
    let mut nowhere = row("nowhere");
    nowhere.departments = Cell::Set(vec!["Parks".to_owned()]);
    let rows = vec![whole("anna"), row("no name"), twice, nowhere, row("anna")];
    let refused = house
        .accounts
        .import(&Act::operator(), rows.clone(), true, false)
        .await;
    let Err(ImportError::Refused(bad)) = refused else {
        panic!("{refused:?}");
    };
    let names: Vec<&str> = bad.iter().map(|row| row.localpart.as_str()).collect();
    assert_eq!(names, ["no name", "twice", "nowhere", "anna"]);
    let anna = "@anna:a.test".try_into().unwrap();
    let view = house.accounts.store().snapshot();
    assert_eq!(find(&view, anna).unwrap(), None, "nothing is half done");
    let checked = house
        .accounts
        .check_import(rows.clone(), true)
        .await
        .unwrap();
    assert_eq!(checked.iter().filter(|row| row.is_refused()).count(), 4);
    let passed = house
        .accounts
        .import(&Act::operator(), rows, true, true)
        .await
        .unwrap();
    assert_eq!(passed[0].outcome, RowOutcome::Created);
    let view = house.accounts.store().snapshot();
    assert!(find(&view, anna).unwrap().is_some());
}

#[tokio::test]
async fn somebody_imported_chooses_the_first_password_once() {
    let house = House::open();
    import(&house, vec![whole_without_departments("anna")]).await;
    let view = house.accounts.store().snapshot();
    let (anna, _) = find(&view, "@anna:a.test".try_into().unwrap())
        .unwrap()
        .unwrap();
    let operator = Act::operator();
    let invite = || {
        house
            .accounts
            .invite_people(&operator, vec![anna], None, None)
    };
    let first = invite().await.unwrap().remove(0);
    let second = invite().await.unwrap().remove(0);
    assert_eq!(second.email.as_deref(), Some("anna@example.org"));
    // The newer one ends the one before, and neither makes an account of another name.
    assert_eq!(house.accounts.invited_to(&first.token).await.unwrap(), None);
    assert!(
        !house
            .accounts
            .is_invitation_valid(&second.token)
            .await
            .unwrap()
    );
    let invited = house.accounts.invited_to(&second.token).await.unwrap();
    assert!(
        matches!(invited, Some(InvitedTo::Account { .. })),
        "{invited:?}"
    );
    let accept = |token: String, password: &'static str| {
        let accounts = house.accounts.clone();
        async move {
            accounts
                .accept_invitation(&token, password.to_owned(), None)
                .await
        }
    };
    let short = accept(second.token.clone(), "x").await;
    assert!(matches!(short, Err(AcceptError::Password(_))));
    accept(second.token.clone(), PASSWORD).await.unwrap();
    let again = accept(second.token, "another one").await;
    assert!(matches!(again, Err(AcceptError::Invitation)));
    house.login("anna", "A", PASSWORD).await.unwrap();
    assert!(
        invite().await.unwrap().is_empty(),
        "who has a password needs none"
    );
}

fn whole_without_departments(localpart: &str) -> ImportedRow {
    ImportedRow {
        departments: Cell::Keep,
        ..whole(localpart)
    }
}

#[tokio::test]
async fn an_account_that_has_ended_opens_nothing_until_it_is_renewed() {
    let house = House::open();
    let anna = house.person("anna", "A").await;
    let signed_in = house.login("anna", "B", PASSWORD).await.unwrap();
    house.session(&signed_in).await;
    let now = house.accounts.now();
    let operator = Act::operator();
    let end = |at: Option<u64>| house.accounts.set_end(&operator, anna.user, at, true);
    end(Some(now + DAY)).await.unwrap();
    house.session(&signed_in).await;
    let ending = house.accounts.ending_accounts(now + 2 * DAY).await.unwrap();
    assert_eq!(ending.len(), 1);
    house
        .accounts
        .told_of_end(anna.user, now + DAY)
        .await
        .unwrap();
    assert!(
        house
            .accounts
            .ending_accounts(now + 2 * DAY)
            .await
            .unwrap()
            .is_empty()
    );
    // Also where the session is in memory.
    house.clock.advance(DAY);
    let barred = house.accounts.authenticate(&signed_in.access_token).await;
    let is_expired = |barrier: &Barrier| *barrier == Barrier::Expired(now + DAY);
    assert!(matches!(&barred, Err(AuthenticateError::Barred(barrier)) if is_expired(barrier)));
    let login = house.login("anna", "C", PASSWORD).await;
    assert!(matches!(&login, Err(LoginError::Barred(barrier)) if is_expired(barrier)));
    let signs_out = house
        .accounts
        .authenticate_locked(&signed_in.access_token)
        .await;
    assert!(signs_out.is_ok());
    end(None).await.unwrap();
    house.session(&signed_in).await;
}

#[tokio::test]
async fn people_of_a_department_are_to_come_into_its_rooms_and_to_go() {
    let house = House::open();
    let (anna, otto) = (
        house.person("anna", "A").await,
        house.person("otto", "A").await,
    );
    let operator = Act::operator();
    for name in ["Works", "Parks"] {
        house
            .accounts
            .create_department(&operator, name)
            .await
            .unwrap();
    }
    let again = house.accounts.create_department(&operator, "works").await;
    assert!(matches!(again, Err(DepartmentError::Exists(_))));
    let member = |name: &'static str, user, belongs| {
        house
            .accounts
            .set_department_member(&operator, name, user, belongs)
    };
    let room = |name: &'static str, room: u64, belongs| {
        let room = (RoomSerial(room), format!("!{room}:a.test"));
        house
            .accounts
            .set_department_room(&operator, name, room, belongs)
    };
    let placements = || -> Vec<(u64, u64, bool)> {
        let view = house.accounts.store().snapshot();
        let rows = view.scan(&PLACEMENT_BY_USER, &());
        let rows = rows.map(|row| row.unwrap());
        rows.map(|((user, room), record)| (user.0, room.0, record.comes))
            .collect()
    };
    assert!(member("Works", anna.user, true).await.unwrap());
    assert!(
        !member("WORKS", anna.user, true).await.unwrap(),
        "nothing changes twice"
    );
    assert!(room("Works", 7, true).await.unwrap());
    assert!(room("Parks", 7, true).await.unwrap());
    while house.accounts.spread_departments().await.unwrap() {}
    assert_eq!(placements(), [(anna.user.0, 7, true)]);
    assert!(member("Parks", otto.user, true).await.unwrap());
    assert!(member("Parks", anna.user, true).await.unwrap());
    // Anna belongs into the room for Parks still.
    assert!(member("Works", anna.user, false).await.unwrap());
    assert_eq!(
        placements(),
        [(anna.user.0, 7, true), (otto.user.0, 7, true)]
    );
    assert!(room("Parks", 7, false).await.unwrap());
    assert_eq!(
        placements(),
        [(anna.user.0, 7, false), (otto.user.0, 7, false)]
    );
    house
        .accounts
        .delete_department(&operator, "Parks")
        .await
        .unwrap();
    let view = house.accounts.store().snapshot();
    assert_eq!(
        departments_of(&view, anna.user).unwrap(),
        Vec::<String>::new()
    );
    let verified = audit::verify(&view, None).unwrap();
    assert_eq!(verified.broken, None);
}
