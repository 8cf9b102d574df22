//! Signing in and out, tokens, and the end of an account.

use model::tables::{
    CROSS_SIGNING_KEY_BY_USER, DEVICE_BY_USER, PASSWORD_BY_USER, PROFILE_FIELD_BY_USER,
    TOKEN_BY_DEVICE,
};
use serde_json::json;
use store::Read as _;

use super::house::{House, PASSWORD, account, login};
use crate::{
    AdministrationError, AuthenticateError, Barrier, Login, LoginError, NewAccount, RefreshError,
    RegisterError, UsernameError, devices, find,
};

fn is_unknown(result: Result<crate::Session, AuthenticateError>, soft: bool) -> bool {
    matches!(result, Err(AuthenticateError::UnknownToken { soft_logout }) if soft_logout == soft)
}

#[tokio::test]
async fn a_password_opens_an_account_and_nothing_else_does() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    for (user, password, opens) in [
        ("alice", PASSWORD, true),
        ("@alice:a.test", PASSWORD, true),
        ("Alice", PASSWORD, true),
        ("alice", "wrong horse", false),
        ("bob", PASSWORD, false),
        ("@alice:b.test", PASSWORD, false),
        ("@@", PASSWORD, false),
    ] {
        match house.login(user, "LAPTOP", password).await {
            Ok(signed_in) if opens => {
                assert_eq!(house.session(&signed_in).await.user, alice.user);
            }
            Err(LoginError::Forbidden) if !opens => {}
            _ => panic!("{user} {password}"),
        }
    }
    // Signing in on a known device ends its session before, and no other.
    let first = house.login("alice", "LAPTOP", PASSWORD).await.unwrap();
    let before = house.session(&first).await;
    let second = house.login("alice", "LAPTOP", PASSWORD).await.unwrap();
    assert_eq!(house.session(&second).await.device, before.device);
    assert!(is_unknown(
        house.accounts.authenticate(&first.access_token).await,
        false
    ));
    let snapshot = house.accounts.store().snapshot();
    assert_eq!(devices(&snapshot, alice.user).unwrap().len(), 2);
}

#[tokio::test]
async fn a_session_ends_at_once() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let laptop = house.login("alice", "LAPTOP", PASSWORD).await.unwrap();
    let tablet = house.login("alice", "TABLET", PASSWORD).await.unwrap();
    let session = house.session(&laptop).await;
    house.session(&tablet).await;

    house
        .accounts
        .logout(&audit::Act::operator(), &session)
        .await
        .unwrap();
    assert!(is_unknown(
        house.accounts.authenticate(&laptop.access_token).await,
        false
    ));
    house.session(&tablet).await;

    house
        .accounts
        .set_locked(&audit::Act::operator(), alice.user, true, None)
        .await
        .unwrap();
    let locked = house.accounts.authenticate(&tablet.access_token).await;
    assert!(matches!(
        locked,
        Err(AuthenticateError::Barred(Barrier::Locked(_)))
    ));
    assert!(matches!(
        house.login("alice", "X", PASSWORD).await,
        Err(LoginError::Barred(Barrier::Locked(_)))
    ));
    assert!(matches!(
        house.login("alice", "X", "wrong").await,
        Err(LoginError::Forbidden)
    ));
    house
        .accounts
        .set_locked(&audit::Act::operator(), alice.user, false, None)
        .await
        .unwrap();

    house
        .accounts
        .change_roles(&audit::Act::operator(), alice.user, |_| {
            model::Roles::ADMINISTRATOR
        })
        .await
        .unwrap();
    let session = house.session(&tablet).await;
    assert!(session.is_admin());
    house
        .accounts
        .change_password(
            &audit::Act::operator(),
            &session,
            "new password".to_owned(),
            true,
        )
        .await
        .unwrap();
    house.session(&tablet).await;
    assert!(house.login("alice", "PHONE", PASSWORD).await.is_err());
    let phone = house.login("alice", "PHONE", "new password").await.unwrap();
    let session = house.session(&phone).await;
    // The phone was deleted and came back: another device under the same id.
    assert_ne!(session.device, alice.device);
    house
        .accounts
        .logout_all(&audit::Act::operator(), &session)
        .await
        .unwrap();
    for gone in [&tablet, &phone] {
        assert!(is_unknown(
            house.accounts.authenticate(&gone.access_token).await,
            false
        ));
    }
}

#[tokio::test]
async fn refresh_tokens_turn() {
    let house = House::open();
    house.person("alice", "PHONE").await;
    let wants = Login {
        refresh_token: true,
        ..login("alice", "LAPTOP", PASSWORD)
    };
    let first = house.accounts.login(wants).await.unwrap();
    let first_refresh = first.refresh_token.clone().unwrap();
    house.session(&first).await;

    // The answer to the first turn is lost; the client asks again.
    let lost = house.accounts.refresh(&first_refresh).await.unwrap();
    let second = house.accounts.refresh(&first_refresh).await.unwrap();
    assert!(is_unknown(
        house.accounts.authenticate(&lost.access_token).await,
        false
    ));
    assert!(matches!(
        house.accounts.refresh(&lost.refresh_token).await,
        Err(RefreshError::UnknownToken)
    ));

    // The first use of the new token ends the old refresh token.
    house
        .accounts
        .authenticate(&second.access_token)
        .await
        .unwrap();
    assert!(house.accounts.refresh(&first_refresh).await.is_err());

    // The use of a new refresh token does so too.
    let third = house.accounts.refresh(&second.refresh_token).await.unwrap();
    let fourth = house.accounts.refresh(&third.refresh_token).await.unwrap();
    assert!(house.accounts.refresh(&second.refresh_token).await.is_err());

    // What has expired can be refreshed, and the client is told so.
    house.clock.advance(3_600_000);
    assert!(is_unknown(
        house.accounts.authenticate(&fourth.access_token).await,
        true
    ));
    let fifth = house.accounts.refresh(&fourth.refresh_token).await.unwrap();
    let session = house
        .accounts
        .authenticate(&fifth.access_token)
        .await
        .unwrap();
    // Nothing piles up: what is left are this pair and the one before.
    let left = house.accounts.store().latest();
    assert!(left.scan(&TOKEN_BY_DEVICE, &(session.device,)).count() <= 4);
    house
        .accounts
        .logout(&audit::Act::operator(), &session)
        .await
        .unwrap();
    assert!(house.accounts.refresh(&fifth.refresh_token).await.is_err());
}

#[tokio::test]
async fn a_deactivated_account_is_empty_and_keeps_its_name() {
    let house = House::open();
    let made = house
        .accounts
        .register(account("alice", "PHONE"), None)
        .await
        .unwrap();
    let token = made.session.unwrap().access_token;
    let alice = house.accounts.authenticate(&token).await.unwrap();
    house
        .accounts
        .set_profile_field(alice.user, "displayname", &json!("Alice"))
        .await
        .unwrap();
    house
        .accounts
        .deactivate(&audit::Act::operator(), alice.user, true)
        .await
        .unwrap();

    assert!(is_unknown(house.accounts.authenticate(&token).await, false));
    // Nothing is left by which somebody could prove to be Alice.
    assert!(matches!(
        house.login("alice", "X", PASSWORD).await,
        Err(LoginError::Forbidden)
    ));
    let again = house.accounts.register(account("alice", "X"), None).await;
    assert!(matches!(
        again,
        Err(RegisterError::Username(UsernameError::Taken))
    ));
    assert!(
        house
            .accounts
            .reset_password(
                &audit::Act::operator(),
                alice.user,
                "long enough".to_owned()
            )
            .await
            .is_err()
    );
    assert!(
        house
            .accounts
            .deactivate(&audit::Act::operator(), alice.user, false)
            .await
            .is_err()
    );

    let snapshot = house.accounts.store().snapshot();
    assert!(!snapshot.contains(&PASSWORD_BY_USER, &alice.user).unwrap());
    assert_eq!(snapshot.scan(&DEVICE_BY_USER, &(alice.user,)).count(), 0);
    assert_eq!(snapshot.scan(&TOKEN_BY_DEVICE, &(alice.device,)).count(), 0);
    assert_eq!(
        snapshot
            .scan(&PROFILE_FIELD_BY_USER, &(alice.user,))
            .count(),
        0
    );
    assert_eq!(
        snapshot
            .scan(&CROSS_SIGNING_KEY_BY_USER, &(alice.user,))
            .count(),
        0
    );
    let (_, record) = find(&snapshot, &alice.user_id).unwrap().unwrap();
    assert!(record.is_erased && record.deactivated_at.is_some());
}

#[tokio::test]
async fn only_who_has_the_password_is_told_of_a_deactivation() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    house
        .accounts
        .deactivate(&audit::Act::operator(), alice.user, false)
        .await
        .unwrap();
    for (name, password) in [
        ("alice", "a guess"),
        ("nobody", "a guess"),
        ("nobody", PASSWORD),
    ] {
        let refused = house.login(name, "X", password).await;
        assert!(matches!(refused, Err(LoginError::Forbidden)), "{name}");
    }
    let refused = house.login("alice", "X", PASSWORD).await;
    assert!(matches!(refused, Err(LoginError::Deactivated)));
    let again = house
        .accounts
        .deactivate(&audit::Act::operator(), alice.user, false)
        .await;
    assert!(matches!(again, Err(AdministrationError::Deactivated)));

    // A closed account can still be erased, and that is all that changes.
    let closed_at = |house: &House| {
        let snapshot = house.accounts.store().snapshot();
        let (_, record) = find(&snapshot, &alice.user_id).unwrap().unwrap();
        (record.deactivated_at, record.is_erased)
    };
    let before = closed_at(&house);
    house.clock.advance(1_000);
    house
        .accounts
        .deactivate(&audit::Act::operator(), alice.user, true)
        .await
        .unwrap();
    assert_eq!(closed_at(&house), (before.0, true));
    let refused = house.login("alice", "X", PASSWORD).await;
    assert!(matches!(refused, Err(LoginError::Forbidden)));
    let snapshot = house.accounts.store().snapshot();
    assert!(!snapshot.contains(&PASSWORD_BY_USER, &alice.user).unwrap());
}

#[tokio::test]
async fn last_seen_is_written_now_and_then() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let seen = |house: &House| {
        let list = devices(&house.accounts.store().latest(), alice.user).unwrap();
        list[0].last_seen.clone()
    };
    let start = house.clock.now().0;
    house
        .accounts
        .saw(&alice, "10.0.0.1", Some("Client/1"))
        .await
        .unwrap();
    house.clock.advance(60_000);
    house.accounts.saw(&alice, "10.0.0.2", None).await.unwrap();
    let first = seen(&house).unwrap();
    assert_eq!((first.at, first.address.as_str()), (start, "10.0.0.1"));
    house.clock.advance(300_000);
    house.accounts.saw(&alice, "10.0.0.2", None).await.unwrap();
    assert_eq!(seen(&house).unwrap().address, "10.0.0.2");
}

#[tokio::test]
async fn weak_passwords_and_bad_devices_are_refused() {
    let house = House::open();
    let weak = NewAccount {
        password: Some("short".to_owned()),
        ..account("alice", "D")
    };
    assert!(matches!(
        house.accounts.register(weak, None).await,
        Err(RegisterError::Password(_))
    ));
    for device in ["*", &"D".repeat(256)] {
        let refused = house
            .accounts
            .register(account("alice", device), None)
            .await;
        assert!(matches!(refused, Err(RegisterError::Device(_))));
    }
}

#[tokio::test]
async fn sessions_outlive_a_clock_that_jumps() {
    let house = House::open();
    let new = NewAccount {
        refresh_token: true,
        ..account("alice", "PHONE")
    };
    let registered = house.accounts.register(new, None).await.unwrap();
    let mut tokens = registered.session.unwrap();
    let plain = house.login("alice", "LAPTOP", PASSWORD).await.unwrap();
    let right = house.clock.now();
    for time in [0, right.0, 3 * right.0, right.0] {
        house.clock.set(runtime::Timestamp(time));
        // A token that does not end is good at any time.
        house.session(&plain).await;
        // One that ends can be refreshed, however long ago that was.
        let refresh = tokens.refresh_token.clone().unwrap();
        let refreshed = house.accounts.refresh(&refresh).await.unwrap();
        tokens.access_token = refreshed.access_token;
        tokens.refresh_token = Some(refreshed.refresh_token);
        house.session(&tokens).await;
        // And people sign in.
        house.login("alice", "TABLET", PASSWORD).await.unwrap();
    }
}
