//! Events of another server come into a room: one after the other, late, or out of order.

use std::collections::BTreeSet;

use graph::{Draft, Version};
use ruma_common::OwnedEventId;
use runtime::Random;
use serde_json::json;

use super::{
    content,
    sides::{Side, give_power, received, shared},
};
use crate::{Arrival, Incoming, NewEvent};

fn all_accepted(arrivals: &[Arrival]) -> bool {
    arrivals
        .iter()
        .all(|arrival| matches!(arrival, Arrival::Accepted(_)))
}

#[tokio::test]
async fn two_servers_talk_in_rooms_of_all_versions() {
    for version in ["6", "7", "8", "9", "10", "11", "12"] {
        let (mut a, mut b) = shared(version).await;
        assert_eq!(a.state(), b.state(), "version {version}");
        a.say("hello b").await;
        assert!(all_accepted(&a.carry(&b, 10).await));
        b.say("hello a").await;
        assert!(all_accepted(&b.carry(&a, 10).await));
        for side in [&a, &b] {
            assert_eq!(side.messages(), ["hello b", "hello a"], "version {version}");
        }
        assert_eq!(a.state(), b.state());
        assert_eq!(a.extremities().await, b.extremities().await);
        assert_eq!(a.state().len(), b.state().len());
    }
}

#[tokio::test]
async fn what_comes_twice_is_known() {
    let (mut a, b) = shared("12").await;
    a.say("once").await;
    assert!(all_accepted(&a.carry(&b, 10).await));
    a.carried -= 1;
    let again = a.carry(&b, 10).await;
    assert!(matches!(again[..], [Arrival::Known]), "{again:?}");
    assert_eq!(b.messages(), ["once"]);
}

#[tokio::test]
async fn an_event_whose_predecessors_are_missing_waits_for_them() {
    let (mut a, b) = shared("12").await;
    a.say("first").await;
    a.say("second").await;
    a.carried += 1;
    let early = a.carry(&b, 1).await;
    let [Arrival::MissingPrev(missing, _)] = &early[..] else {
        panic!("{early:?}");
    };
    let first = a.own_events()[a.carried - 2];
    assert_eq!(missing, &[a.copy(first).event.event_id().to_owned()]);
    assert_eq!(b.messages(), Vec::<String>::new());
    a.carried -= 2;
    assert!(all_accepted(&a.carry(&b, 2).await));
    assert_eq!(b.messages(), ["first", "second"]);
    assert_eq!(b.extremities().await.len(), 1);
}

#[tokio::test]
async fn an_event_across_a_gap_stands_on_the_state_that_is_given() {
    let (mut a, mut b) = shared("12").await;
    let lost = a.set("m.room.topic", "", json!({ "topic": "lost" })).await;
    let state: Vec<_> = a.state().into_values().collect();
    a.say("after").await;
    a.carried += 1;
    let event = a.copy(a.own_events()[a.carried]);
    let topic = a.copy(a.own_events()[a.carried - 1]);
    b.rooms.keep_outliers(b.room(), vec![topic]).await.unwrap();
    let state = state
        .into_iter()
        .map(|id| OwnedEventId::try_from(id).unwrap());
    let mut incoming = Incoming::new(event);
    incoming.prev_states.insert(lost.clone(), state.collect());
    let arrivals = b.rooms.receive(b.room(), vec![incoming]).await.unwrap();
    assert!(all_accepted(&arrivals), "{arrivals:?}");
    // Where the fork is that the gap leaves, the state is both ends'.
    assert_eq!(b.messages(), ["after"]);
    assert_eq!(a.state(), b.state());
    // The lost event comes after all: it fills the gap, and is no end of the room.
    let view = b.rooms.store().snapshot();
    let gaps = crate::gaps_below(&view, b.room(), crate::PlaceToken::END, 10).unwrap();
    assert!(gaps.iter().any(|gap| gap.missing == lost), "{gaps:?}");
    drop(view);
    a.carried -= 1;
    let arrivals = a.carry(&b, 1).await;
    assert!(all_accepted(&arrivals), "{arrivals:?}");
    let view = b.rooms.store().snapshot();
    let gaps = crate::gaps_below(&view, b.room(), crate::PlaceToken::END, 10).unwrap();
    assert!(gaps.iter().all(|gap| gap.missing != lost), "{gaps:?}");
    b.say("on").await;
    a.carried += 1;
    assert!(all_accepted(&b.carry(&a, 1).await));
    assert_eq!(a.state(), b.state());
    assert_eq!(a.extremities().await, b.extremities().await);
}

#[tokio::test]
async fn who_is_banned_meanwhile_says_nothing_more() {
    let (mut a, mut b) = shared("12").await;
    b.say("before").await;
    b.carry(&a, 10).await;
    let banned = b.person.user_id.to_string();
    a.set("m.room.member", &banned, json!({ "membership": "ban" }))
        .await;
    b.say("meanwhile").await;
    let arrivals = b.carry(&a, 10).await;
    assert!(
        matches!(arrivals[..], [Arrival::SoftFailed(_)]),
        "{arrivals:?}"
    );
    assert_eq!(a.messages(), ["before"]);
    let arrivals = a.carry(&b, 10).await;
    assert!(all_accepted(&arrivals), "{arrivals:?}");
    let key = ("m.room.member".to_owned(), banned);
    assert_eq!(a.state()[&key], b.state()[&key]);
    let after = NewEvent::message("m.room.message", content(json!({ "body": "after" })));
    assert!(b.try_append(after).await.is_err());
}

#[tokio::test]
async fn what_the_rules_forbid_is_rejected_and_stays_so() {
    let (a, b) = shared("12").await;
    let version = Version::V12;
    let draft = Draft {
        event_type: "m.room.name".to_owned(),
        state_key: Some(String::new()),
        content: content(json!({ "name": "mine" })),
        sender: b.person.user_id.clone(),
        redacts: None,
        origin_server_ts: 1_700_000_000_001,
        sticky: None,
    };
    let before = a.state();
    let event = a.remote_event(&b, version, draft).await;
    for _ in 0..2 {
        let incoming = vec![Incoming::new(received(&event))];
        let arrivals = a.rooms.receive(a.room(), incoming).await.unwrap();
        assert!(
            matches!(arrivals[..], [Arrival::Rejected(_) | Arrival::Known]),
            "{arrivals:?}"
        );
        assert_eq!(a.state(), before);
    }
}

#[tokio::test]
async fn a_redaction_counts_whether_it_comes_before_or_after() {
    let (a, b) = shared("12").await;
    let said = a.say("regretted").await;
    let target = a.copy(a.own_events()[a.carried]);
    let redaction = NewEvent {
        redacts: Some(said.clone()),
        ..NewEvent::message("m.room.redaction", content(json!({})))
    };
    a.append(redaction).await;
    let redaction = a.copy(a.own_events()[a.carried + 1]);
    let before: Vec<_> = a.state().into_values().collect();
    let state = before
        .into_iter()
        .map(|id| OwnedEventId::try_from(id).unwrap());
    let mut incoming = Incoming::new(redaction);
    incoming.prev_states.insert(said.clone(), state.collect());
    let arrivals = b.rooms.receive(b.room(), vec![incoming]).await.unwrap();
    assert!(all_accepted(&arrivals), "{arrivals:?}");
    let arrivals = b
        .rooms
        .receive(b.room(), vec![Incoming::new(target)])
        .await
        .unwrap();
    assert!(all_accepted(&arrivals), "{arrivals:?}");
    assert_eq!(b.messages(), Vec::<String>::new());
    assert_eq!(a.messages(), Vec::<String>::new());
}

#[tokio::test]
async fn forks_lead_to_the_same_state_whatever_the_order() {
    for seed in 0..12u64 {
        let version = ["12", "11", "6"][usize::try_from(seed % 3).unwrap()];
        let (mut a, mut b) = shared(version).await;
        give_power(&mut a, &b).await;
        let random = Random::seeded(seed);
        for step in 0..30 {
            let number = random.number();
            let text = format!("{seed}-{step}");
            match number % 8 {
                0 => drop(a.say(&text).await),
                1 => drop(b.say(&text).await),
                2 => drop(a.set("m.room.topic", "", json!({ "topic": text })).await),
                3 => drop(b.set("m.room.topic", "", json!({ "topic": text })).await),
                4 => drop(b.set("m.room.name", "", json!({ "name": text })).await),
                5 => drop(a.set("test.state", &text, json!({})).await),
                6 => drop(a.carry(&b, 1 + usize::try_from(number % 3).unwrap()).await),
                _ => drop(b.carry(&a, 1 + usize::try_from(number % 3).unwrap()).await),
            }
            a.clock.advance(7);
            b.clock.advance(5);
        }
        settle(&mut a, &mut b).await;
        assert_eq!(a.extremities().await, b.extremities().await, "seed {seed}");
        assert_eq!(a.state(), b.state(), "seed {seed}");
        let sorted = |side: &Side| side.messages().into_iter().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&a), sorted(&b), "seed {seed}");
        // Whoever speaks next brings the ends together.
        a.say("the end").await;
        a.carry(&b, 1).await;
        assert_eq!(b.extremities().await.len(), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn a_room_with_many_ends_keeps_those_that_an_event_can_name() {
    let (a, b) = shared("11").await;
    let mut forks = Vec::new();
    for number in 0..30 {
        let text = json!({ "msgtype": "m.text", "body": number.to_string() });
        let mut draft = Draft {
            event_type: "m.room.message".to_owned(),
            state_key: None,
            content: content(text),
            sender: b.person.user_id.clone(),
            redacts: None,
            origin_server_ts: 1_700_000_000_000 + number,
            sticky: None,
        };
        if number == 1 {
            // One of the first changes the state, and no other does.
            draft.event_type = "m.room.member".to_owned();
            draft.state_key = Some(b.person.user_id.to_string());
            draft.content = content(json!({ "membership": "join", "displayname": "B" }));
        }
        let event = a.remote_event(&b, Version::V11, draft).await;
        forks.push(Incoming::new(received(&event)));
    }
    let named = forks[1].received.event.event_id().to_string();
    let arrivals = a.rooms.receive(a.room(), forks).await.unwrap();
    assert!(all_accepted(&arrivals), "{arrivals:?}");
    let ends = a.extremities().await;
    assert_eq!(ends.len(), 20);
    assert!(ends.contains(&named), "its state is in no other end");
    a.say("all of them").await;
    assert_eq!(a.extremities().await.len(), 1);
    let key = ("m.room.member".to_owned(), b.person.user_id.to_string());
    assert_eq!(a.state()[&key], named);
}

/// Carries everything that waits, again and again, as each can rest on what the other has.
async fn settle(a: &mut Side, b: &mut Side) {
    for _ in 0..200 {
        if a.carried == a.own_events().len() && b.carried == b.own_events().len() {
            return;
        }
        retry(a, b).await;
        retry(b, a).await;
    }
    panic!("events wait for each other");
}

/// Carries one event, and takes it back if what it rests on is missing.
async fn retry(from: &mut Side, to: &Side) {
    let arrivals = from.carry(to, 1).await;
    if arrivals
        .iter()
        .any(|it| matches!(it, Arrival::MissingPrev(..)))
    {
        from.carried -= 1;
    }
}
