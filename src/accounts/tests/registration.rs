//! Names and invitations are given out once.

use tokio::task::JoinSet;

use super::house::{House, account};
use crate::{
    InvitationError, InvitationProof, NewAccount, NewInvitation, RegisterError, RegistrationMode,
    UsernameError, accounts_after, tokens::token_hash,
};

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_want_a_name_one_gets_it() {
    let house = House::open();
    let mut tries = JoinSet::new();
    for number in 0..100 {
        let accounts = house.accounts.clone();
        tries.spawn(async move {
            accounts
                .register(account("alice", &format!("D{number}")), None)
                .await
        });
    }
    let mut made = 0;
    for result in tries.join_all().await {
        match result {
            Ok(registered) => {
                made += 1;
                assert_eq!(registered.user_id, "@alice:a.test");
                house.session(&registered.session.unwrap()).await;
            }
            Err(RegisterError::Username(UsernameError::Taken)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_used_as_often_as_it_allows() {
    let house = House::new(RegistrationMode::Invite);
    let new = NewInvitation {
        uses_allowed: Some(2),
        ..NewInvitation::default()
    };
    let token = house
        .accounts
        .create_invitation(&audit::Act::operator(), new)
        .await
        .unwrap();
    let mut tries = JoinSet::new();
    for number in 0..30 {
        let (accounts, proof) = (house.accounts.clone(), InvitationProof(token_hash(&token)));
        tries.spawn(async move {
            let new = account(&format!("user{number}"), "D");
            accounts.register(new, Some(proof)).await
        });
    }
    let results = tries.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(_) | Err(RegisterError::Invitation)))
    );
    // Who was refused has left nothing behind.
    let snapshot = house.accounts.store().snapshot();
    assert_eq!(accounts_after(&snapshot, None, 100).unwrap().len(), 2);
    let list = house.accounts.invitations().await.unwrap();
    assert_eq!((list[0].uses, list[0].is_valid), (2, false));
    assert!(!house.accounts.is_invitation_valid(&token).await.unwrap());
}

#[tokio::test]
async fn an_invitation_ends_by_time_or_by_hand() {
    let house = House::new(RegistrationMode::Invite);
    let now = house.clock.now().0;
    let new = NewInvitation {
        expires_at: Some(now + 1_000),
        ..NewInvitation::default()
    };
    let short = house
        .accounts
        .create_invitation(&audit::Act::operator(), new)
        .await
        .unwrap();
    let long = house
        .accounts
        .create_invitation(&audit::Act::operator(), NewInvitation::default())
        .await
        .unwrap();
    assert!(house.accounts.is_invitation_valid(&short).await.unwrap());
    house.clock.advance(1_000);
    assert!(!house.accounts.is_invitation_valid(&short).await.unwrap());
    assert!(house.accounts.is_invitation_valid(&long).await.unwrap());
    house
        .accounts
        .revoke_invitation(&audit::Act::operator(), &long[..8])
        .await
        .unwrap();
    assert!(!house.accounts.is_invitation_valid(&long).await.unwrap());
    assert!(
        house
            .accounts
            .revoke_invitation(&audit::Act::operator(), &long)
            .await
            .is_err()
    );

    let none = house.accounts.register(account("alice", "D"), None).await;
    assert!(matches!(none, Err(RegisterError::Invitation)));
}

#[tokio::test]
async fn names_follow_the_grammar() {
    let house = House::open();
    let long = "a".repeat(300);
    for (name, is_valid) in [
        ("alice", true),
        ("a.b_c=d-e/f+9", true),
        // Telephones like to begin with a capital.
        ("Alice", true),
        ("_bridge", false),
        ("", false),
        ("älice", false),
        ("alice:a.test", false),
        ("al ice", false),
        (long.as_str(), false),
    ] {
        assert_eq!(
            house.accounts.check_username(name).await.is_ok(),
            is_valid,
            "{name}"
        );
    }
    let nameless = NewAccount {
        password: Some("long enough".to_owned()),
        inhibit_login: true,
        ..NewAccount::default()
    };
    let registered = house.accounts.register(nameless, None).await.unwrap();
    assert!(registered.session.is_none());
    assert_eq!(registered.user_id.localpart().len(), 12);

    let closed = House::new(RegistrationMode::Closed);
    let refused = closed.accounts.register(account("alice", "D"), None).await;
    assert!(matches!(refused, Err(RegisterError::Closed)));
    let made = closed
        .accounts
        .create_account(
            &audit::Act::operator(),
            account("alice", "D"),
            model::Roles::ADMINISTRATOR,
        )
        .await
        .unwrap();
    assert!(closed.session(&made.session.unwrap()).await.is_admin());
}

#[tokio::test]
async fn many_invitations_are_made_at_once_or_none() {
    let house = House::new(RegistrationMode::Invite);
    let new = NewInvitation {
        uses_allowed: Some(1),
        ..NewInvitation::default()
    };
    let refused = house
        .accounts
        .create_invitations(&audit::Act::operator(), new.clone(), 501)
        .await;
    assert!(matches!(refused, Err(InvitationError::TooMany)));
    assert!(house.accounts.invitations().await.unwrap().is_empty());

    let tokens = house
        .accounts
        .create_invitations(&audit::Act::operator(), new, 500)
        .await
        .unwrap();
    assert_eq!(house.accounts.invitations().await.unwrap().len(), 500);
    for (number, token) in tokens.iter().enumerate().step_by(100) {
        let proof = house.accounts.prove_invitation(token).await.unwrap();
        let new = account(&format!("user{number}"), "D");
        house.accounts.register(new, proof).await.unwrap();
        let again = house.accounts.prove_invitation(token).await.unwrap();
        assert!(again.is_none());
    }
}

#[tokio::test]
async fn an_invitation_is_used_also_where_none_is_needed() {
    let house = House::open();
    let new = NewInvitation {
        uses_allowed: Some(1),
        ..NewInvitation::default()
    };
    let token = house
        .accounts
        .create_invitation(&audit::Act::operator(), new)
        .await
        .unwrap();
    let proof = house.accounts.prove_invitation(&token).await.unwrap();
    assert!(proof.is_some());
    for (name, proof) in [("alice", proof.clone()), ("bob", None)] {
        let made = house.accounts.register(account(name, "D"), proof).await;
        assert!(made.is_ok(), "{name}");
    }
    let refused = house.accounts.register(account("carol", "D"), proof).await;
    assert!(matches!(refused, Err(RegisterError::Invitation)));
}
