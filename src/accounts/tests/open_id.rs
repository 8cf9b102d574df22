//! Tokens for other services.

use std::time::Duration;

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
    house.clock.advance(Duration::from_secs(3_599));
    assert!(who(&made.token).await.is_some());
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(who(&made.token).await, None);
    // The next one removes it, and works itself.
    let next = house.accounts.open_id_token(&alice).await.unwrap();
    assert_eq!(who(&next.token).await, Some(alice.user_id.clone()));
    house.accounts.deactivate(alice.user, false).await.unwrap();
    assert_eq!(who(&next.token).await, None);
}
