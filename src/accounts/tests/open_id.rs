//! Tokens for other services.

use crate::RegistrationMode;

use super::house::House;

#[tokio::test]
async fn a_token_tells_who_somebody_is_for_an_hour_and_opens_nothing() {
    let house = House::new(RegistrationMode::Open);
    let alice = house.person("alice", "A").await;
    let made = house.accounts.open_id_token(&alice).await.unwrap();
    let who = async |token: &str| house.accounts.open_id_user(token).await.unwrap();
    assert_eq!(who(&made.token).await, Some(alice.user_id.clone()));
    assert_eq!(who("another").await, None);
    assert!(house.accounts.authenticate(&made.token).await.is_err());
    house.clock.advance(3_599_000);
    assert!(who(&made.token).await.is_some());
    house.clock.advance(1_000);
    assert_eq!(who(&made.token).await, None);
    // The next one removes it, and works itself.
    let next = house.accounts.open_id_token(&alice).await.unwrap();
    assert_eq!(who(&next.token).await, Some(alice.user_id.clone()));
    house
        .accounts
        .deactivate(&audit::Act::operator(), alice.user, false)
        .await
        .unwrap();
    assert_eq!(who(&next.token).await, None);
}
