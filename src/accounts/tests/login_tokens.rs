//! Signing in with a token of another device.

use crate::{Barrier, LoginError, NewDevice};

use super::house::House;

#[tokio::test]
async fn a_token_signs_in_once_and_for_two_minutes() {
    let house = House::open();
    let alice = house.person("alice", "A").await;
    let login = async |token: &str| {
        let device = NewDevice::default();
        house.accounts.login_with_token(token, device).await
    };
    let made = house.accounts.login_token(&alice);
    let signed_in = login(&made.token).await.unwrap();
    assert_eq!(signed_in.user_id, alice.user_id);
    assert_ne!(signed_in.device_id, alice.device_id);
    let session = house.session(&signed_in).await;
    assert_eq!(session.user, alice.user);
    let refused = |result| matches!(result, Err(LoginError::Forbidden));
    assert!(refused(login(&made.token).await));
    assert!(refused(login("another").await));
    let late = house.accounts.login_token(&alice);
    house.clock.advance(120_000);
    assert!(refused(login(&late.token).await));
    let locked = house.accounts.login_token(&alice);
    house
        .accounts
        .set_locked(&audit::Act::operator(), alice.user, true, None)
        .await
        .unwrap();
    assert!(matches!(
        login(&locked.token).await,
        Err(LoginError::Barred(Barrier::Locked(_)))
    ));
}
