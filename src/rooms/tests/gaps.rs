//! What is missing stays known as missing, whatever becomes of the events before and after it.

use graph::{Draft, Parents, Version};
use ruma_common::OwnedEventId;
use serde_json::{Value, json};

use super::{
    content,
    sides::{Side, received, shared},
};
use crate::{Arrival, Incoming, PlaceToken, gaps_below};

impl Side {
    /// What is missing but what came before this side joined.
    fn missing(&self, before_joining: &[OwnedEventId]) -> Vec<OwnedEventId> {
        let mut missing = self.all_missing();
        missing.retain(|id| !before_joining.contains(id));
        missing
    }

    fn all_missing(&self) -> Vec<OwnedEventId> {
        let view = self.rooms.store().snapshot();
        let gaps = gaps_below(&view, self.room(), PlaceToken::END, 10).unwrap();
        gaps.into_iter().map(|gap| gap.missing).collect()
    }

    fn state_ids(&self) -> Vec<OwnedEventId> {
        let ids = self.state().into_values();
        ids.map(|id| OwnedEventId::try_from(id).unwrap()).collect()
    }

    /// The newest event of this side.
    fn newest(&self) -> Incoming {
        Incoming::new(self.copy(*self.own_events().last().unwrap()))
    }

    async fn take(&self, incoming: Incoming) -> Arrival {
        let arrivals = self.rooms.receive(self.room(), vec![incoming]).await;
        arrivals.unwrap().pop().unwrap()
    }
}

/// The event of the past, and the state after each of those before it that are missing.
fn across(mut incoming: Incoming, missing: &OwnedEventId, state: &[OwnedEventId]) -> Incoming {
    let state = state.to_vec();
    incoming.prev_states.insert(missing.clone(), state);
    incoming
}

/// Who names a server that nobody has asked: of the events that are not signed by it, none
/// is shown.
fn policy(number: u64) -> Value {
    json!({ "via": "a.test", "public_keys": { "ed25519": format!("{number:043}") } })
}

/// Two servers in a room, with the policy server set.
async fn watched() -> (Side, Side) {
    let (mut a, b) = shared("12").await;
    a.set("m.room.policy", "", policy(1)).await;
    a.carry(&b, 10).await;
    (a, b)
}

#[tokio::test]
async fn what_comes_before_a_soft_failed_event_of_the_past_stays_missing() {
    let (a, b) = watched().await;
    let older = b.all_missing();
    let one = a.say("one").await;
    let two = a.say("two").await;
    let past = a.newest();
    let state = a.state_ids();
    a.set("m.room.policy", "", policy(2)).await;
    let arrived = b.take(across(a.newest(), &two, &state)).await;
    assert!(matches!(arrived, Arrival::Accepted(_)), "{arrived:?}");
    assert_eq!(b.missing(&older), std::slice::from_ref(&two));
    let past = Incoming {
        is_history: true,
        ..across(past, &one, &state)
    };
    let arrived = b.take(past).await;
    assert!(matches!(arrived, Arrival::SoftFailed(_)), "{arrived:?}");
    assert_eq!(b.missing(&older), [one]);
}

#[tokio::test]
async fn what_comes_before_a_soft_failed_event_is_missed_by_those_after_it() {
    let (a, b) = watched().await;
    let older = b.all_missing();
    let one = a.say("one").await;
    a.say("two").await;
    let state = a.state_ids();
    let arrived = b.take(across(a.newest(), &one, &state)).await;
    assert!(matches!(arrived, Arrival::SoftFailed(_)), "{arrived:?}");
    // Nobody can page to what is not shown.
    assert_eq!(b.missing(&older), Vec::<OwnedEventId>::new());
    a.set("m.room.policy", "", policy(2)).await;
    let arrived = b.take(a.newest()).await;
    assert!(matches!(arrived, Arrival::Accepted(_)), "{arrived:?}");
    assert_eq!(b.missing(&older), [one]);
}

#[tokio::test]
async fn what_comes_before_a_rejected_event_of_the_past_stays_missing() {
    let (a, b) = shared("12").await;
    let older = b.all_missing();
    let one = a.say("one").await;
    let draft = |event_type: &str, state_key: Option<&str>, value: Value| Draft {
        event_type: event_type.to_owned(),
        state_key: state_key.map(str::to_owned),
        content: content(value),
        sender: b.person.user_id.clone(),
        redacts: None,
        origin_server_ts: 1_700_000_000_001,
        sticky: None,
    };
    let forbidden = draft("m.room.name", Some(""), json!({ "name": "mine" }));
    let bad = a.remote_event(&b, Version::V12, forbidden).await;
    let bad_id = bad.event_id().to_owned();
    let said = draft("m.room.message", None, json!({ "body": "after" }));
    let parents = Parents {
        prev_events: vec![bad_id.clone()],
        depth: bad.depth() + 1,
    };
    let after = a.event_after(&b, Version::V12, said, bad.auth_events(), parents);
    let state = a.state_ids();
    let after = across(Incoming::new(received(&after)), &bad_id, &state);
    let arrived = b.take(after).await;
    assert!(matches!(arrived, Arrival::Accepted(_)), "{arrived:?}");
    assert_eq!(b.missing(&older), [bad_id]);
    let past = Incoming {
        is_history: true,
        ..Incoming::new(received(&bad))
    };
    let arrived = b.take(past).await;
    assert!(matches!(arrived, Arrival::Rejected(_)), "{arrived:?}");
    assert_eq!(b.missing(&older), [one]);
}
