//! User-interactive authentication counts for one request of one device.

use ruma_client_api::uiaa::{AuthData, Dummy, MatrixUserIdentifier, Password, UserIdentifier};
use ruma_common::UserId;

use super::house::{House, PASSWORD};
use crate::{
    Challenge, ChallengeError, NewInvitation, Operation, Outcome, RegistrationMode, UiaError,
};

fn password(user_id: &UserId, password: &str, session: &str) -> AuthData {
    let identifier = MatrixUserIdentifier::new(user_id.to_string());
    let mut data = Password::new(UserIdentifier::Matrix(identifier), password.to_owned());
    data.session = Some(session.to_owned());
    AuthData::Password(data)
}

fn challenge(outcome: Outcome) -> Challenge {
    match outcome {
        Outcome::Challenge(challenge) => challenge,
        Outcome::Passed(_) => panic!("passed"),
    }
}

const DELETE: &[u8] = br#"{"devices":["LAPTOP"]}"#;
const DELETE_WITH_AUTH: &[u8] = br#"{"auth":{"type":"m.login.password"},"devices":["LAPTOP"]}"#;

#[tokio::test]
async fn a_password_is_asked_for_each_request() {
    let house = House::open();
    let accounts = &house.accounts;
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let flows = || accounts.account_flows();
    let path = "/delete_devices";
    let operation = Operation::new("POST", path, DELETE);
    assert_eq!(operation, Operation::new("POST", path, DELETE_WITH_AUTH));
    assert_ne!(
        operation,
        Operation::new("POST", "/account/password", DELETE)
    );
    assert_ne!(operation, Operation::new("POST", path, b"{}"));

    let begin = accounts.authenticate_interactively(flows(), Some(&alice), operation, None);
    let first = challenge(begin.await.unwrap());
    assert!(first.error.is_none() && first.completed.is_empty());

    // A wrong password; bob with alice's session.
    let id = first.session.as_str();
    for (who, auth, error) in [
        (
            &alice,
            password(&alice.user_id, "wrong", id),
            ChallengeError::Forbidden,
        ),
        (
            &bob,
            password(&bob.user_id, PASSWORD, id),
            ChallengeError::UnknownSession,
        ),
        (
            &alice,
            AuthData::Dummy(Dummy::new()),
            ChallengeError::Unsupported,
        ),
        (
            &alice,
            password(&alice.user_id, PASSWORD, "x"),
            ChallengeError::UnknownSession,
        ),
    ] {
        let step = accounts.authenticate_interactively(flows(), Some(who), operation, Some(&auth));
        assert_eq!(challenge(step.await.unwrap()).error, Some(error));
    }

    // Bob's password, though it is right, says nothing about alice.
    let auth = password(&bob.user_id, PASSWORD, id);
    let step = accounts.authenticate_interactively(flows(), Some(&alice), operation, Some(&auth));
    assert!(matches!(step.await, Err(UiaError::AnotherUser)));

    let auth = password(&alice.user_id, PASSWORD, id);
    let pass =
        || accounts.authenticate_interactively(flows(), Some(&alice), operation, Some(&auth));
    assert!(matches!(pass().await.unwrap(), Outcome::Passed(_)));
    // It counted once.
    assert_eq!(
        challenge(pass().await.unwrap()).error,
        Some(ChallengeError::UnknownSession)
    );
}

#[tokio::test]
async fn a_conversation_is_bound_to_its_request_once_something_is_proved() {
    use ruma_client_api::uiaa::{AuthFlow, AuthType};
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let flows = || vec![AuthFlow::new(vec![AuthType::Password, AuthType::Dummy])];
    let operation = |body: &[u8]| Operation::new("POST", "/delete_devices", body);
    let step = async |body: &[u8], auth: Option<AuthData>| {
        house
            .accounts
            .authenticate_interactively(flows(), Some(&alice), operation(body), auth.as_ref())
            .await
            .unwrap()
    };
    let id = challenge(step(b"{}", None).await).session;
    // Begun with an empty body, as some clients do.
    let proved = challenge(step(DELETE, Some(password(&alice.user_id, PASSWORD, &id))).await);
    assert_eq!(
        (proved.completed.len(), proved.session.as_str()),
        (1, id.as_str())
    );
    let mut dummy = Dummy::new();
    dummy.session = Some(id.clone());
    let dummy = AuthData::Dummy(dummy);
    let other = challenge(step(b"{\"devices\":[]}", Some(dummy.clone())).await);
    assert_eq!(other.error, Some(ChallengeError::UnknownSession));
    assert!(matches!(
        step(DELETE, Some(dummy.clone())).await,
        Outcome::Passed(_)
    ));

    let id = challenge(step(DELETE, None).await).session;
    house.clock.advance(600_000);
    let late = challenge(step(DELETE, Some(password(&alice.user_id, PASSWORD, &id))).await);
    assert_eq!(late.error, Some(ChallengeError::UnknownSession));
}

#[tokio::test]
async fn an_invitation_proves_the_right_to_register() {
    use super::house::account;
    let house = House::new(RegistrationMode::Invite);
    let token = house
        .accounts
        .create_invitation(&audit::Act::operator(), NewInvitation::default())
        .await
        .unwrap();
    let operation = Operation::new("POST", "/register", b"{}");
    let try_token = async |token: &str| {
        let auth = serde_json::json!({ "type": "m.login.registration_token", "token": token });
        let auth: AuthData = serde_json::from_value(auth).unwrap();
        let flows = house.accounts.registration_flows();
        house
            .accounts
            .authenticate_interactively(flows, None, operation, Some(&auth))
            .await
            .unwrap()
    };
    let wrong = challenge(try_token("guessed").await);
    assert_eq!(wrong.error, Some(ChallengeError::InvalidInvitation));
    let Outcome::Passed(passed) = try_token(&token).await else {
        panic!("refused");
    };
    house
        .accounts
        .register(account("alice", "D"), passed.invitation)
        .await
        .unwrap();
}
