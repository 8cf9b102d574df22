//! Rooms that were given without their members, and become whole.

use graph::{Draft, Version};
use model::{EventStatus, LogEntry, Membership, RoomHead, tables};
use ruma_common::OwnedEventId;
use serde_json::{Value, json};
use store::{Consumer, Position, Read, StoreError, Value as _};

use super::{
    content,
    sides::{Side, States, received},
};
use crate::{Arrival, Completion, Incoming, NewEvent, is_server_in, servers_in};

impl Side {
    fn head(&self) -> RoomHead {
        let view = self.rooms.store().snapshot();
        let head = view.get(&tables::HEAD_BY_ROOM, &self.room()).unwrap();
        head.unwrap()
    }

    fn member_of(&self, other: &Side) -> Option<Membership> {
        let view = self.rooms.store().snapshot();
        let user = crate::user_serial(&view, other.person.user_id.as_str()).unwrap()?;
        view.get(&tables::MEMBER_BY_ROOM, &(self.room(), user))
            .unwrap()
    }

    fn status(&self, event_id: &OwnedEventId) -> EventStatus {
        self.with_known(|known| known.by_id(event_id).unwrap().unwrap().meta.status)
    }

    /// Gives this side the states' events, and completes the room with them.
    async fn complete(&self, from: &Side, states: States, believed: bool) -> Completion {
        let events: Vec<_> = from.with_known(|known| {
            let ids = states.values().flatten();
            ids.filter_map(|event_id| known.by_id(event_id).unwrap())
                .map(|found| received(&found.event))
                .collect()
        });
        self.rooms.keep_outliers(self.room(), events).await.unwrap();
        self.rooms
            .complete(self.room(), states, believed)
            .await
            .unwrap()
    }
}

/// A room of which the first side has told the second everything but its members.
async fn partly_shared(version: &str) -> (Side, Side, States) {
    let mut a = Side::new("a.test", 1).await;
    let mut b = Side::new("b.test", 2).await;
    a.create(version).await;
    a.carried = a.own_events().len();
    let states = a.let_in_partly(&mut b).await;
    (a, b, states)
}

#[tokio::test]
async fn a_room_without_its_members_can_be_used_and_becomes_whole() {
    for version in ["6", "10", "11", "12"] {
        let (mut a, mut b, states) = partly_shared(version).await;
        assert!(b.head().is_partial);
        assert_eq!(b.head().joined, 1, "only its own person is known");
        let view = b.rooms.store().snapshot();
        assert_eq!(servers_in(&view, b.room()).unwrap(), ["a.test"]);
        // Who speaks is known from then on.
        assert_eq!(b.member_of(&a), None);
        a.say("from a").await;
        let arrived = a.carry(&b, 10).await;
        assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");
        assert_eq!(b.member_of(&a), Some(Membership::Join));
        b.say("from b").await;
        let arrived = b.carry(&a, 10).await;
        assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");

        assert_eq!(b.complete(&a, states, false).await, Completion::Done);
        assert!(!b.head().is_partial);
        assert_eq!(b.state(), a.state(), "{version}");
        assert_eq!(b.head().joined, 2);
        assert_eq!(b.messages(), ["from a", "from b"]);
        let view = b.rooms.store().snapshot();
        let partial = view.scan(&tables::PARTIAL_EVENT_BY_ROOM, &(b.room(),));
        assert_eq!(partial.count(), 0);
        let again = b.rooms.complete(b.room(), States::new(), false).await;
        assert_eq!(again.unwrap(), Completion::NotPartial);
        // The servers count by their members alone again.
        let user_id = a.person.user_id.to_string();
        a.set("m.room.member", &user_id, json!({ "membership": "leave" }))
            .await;
        a.carry(&b, 10).await;
        let view = b.rooms.store().snapshot();
        assert!(!is_server_in(&view, b.room(), "a.test").unwrap());
    }
}

#[tokio::test]
async fn forks_of_meanwhile_meet_in_the_same_state() {
    let (mut a, mut b, states) = partly_shared("12").await;
    // Both go on without hearing of each other.
    a.set("m.room.name", "", json!({ "name": "of a" })).await;
    a.set("org.test", "a", json!({ "n": 1 })).await;
    b.say("one").await;
    b.say("two").await;
    a.carry(&b, 10).await;
    b.carry(&a, 10).await;
    a.say("met").await;
    a.carry(&b, 10).await;
    assert_eq!(b.complete(&a, states, false).await, Completion::Done);
    assert_eq!(b.state(), a.state());
    // The room goes on as if nothing had been.
    b.say("three").await;
    b.carry(&a, 10).await;
    assert_eq!(a.messages(), b.messages());
}

/// An event of `by` on the end of the room of `at`, allowed by these events.
async fn claim(
    at: &Side,
    by: &Side,
    event_type: &str,
    value: Value,
    auth_events: &[OwnedEventId],
) -> graph::Event {
    let draft = Draft {
        event_type: event_type.to_owned(),
        state_key: Some(String::new()),
        content: content(value),
        sender: by.person.user_id.clone(),
        redacts: None,
        origin_server_ts: by.clock.now().0,
        sticky: None,
    };
    at.claimed_event(by, Version::V11, draft, auth_events).await
}

#[tokio::test]
async fn what_partial_state_misjudged_is_judged_again() {
    let mut a = Side::new("a.test", 1).await;
    let mut c = Side::new("c.test", 3).await;
    a.create("11").await;
    a.let_in(&mut c).await;
    super::sides::give_power(&mut a, &c).await;
    let key = |side: &Side, kind: &str, of: &str| {
        let key = (kind.to_owned(), of.to_owned());
        OwnedEventId::try_from(side.state()[&key].clone()).unwrap()
    };
    let c_id = c.person.user_id.to_string();
    let create = key(&a, "m.room.create", "");
    let levels = key(&a, "m.room.power_levels", "");
    let joined = key(&a, "m.room.member", &c_id);
    // C leaves before B comes.
    c.set("m.room.member", &c_id, json!({ "membership": "leave" }))
        .await;
    c.carry(&a, 10).await;
    a.carried = a.own_events().len();
    let mut b = Side::new("b.test", 2).await;
    let states = a.let_in_partly(&mut b).await;

    // C says that it is still there: nobody at B knows better yet.
    let auth_events = [create, levels, joined];
    let bad = claim(&a, &c, "org.test", json!({ "bad": 1 }), &auth_events).await;
    let bad_id = bad.event_id().to_owned();
    let chain = a.auth_chain(&[received(&bad).event.into()]);
    b.rooms.keep_outliers(b.room(), chain).await.unwrap();
    let arrived = b
        .rooms
        .receive(b.room(), vec![Incoming::new(received(&bad))])
        .await
        .unwrap();
    assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");
    assert!(
        b.state()
            .contains_key(&("org.test".to_owned(), String::new()))
    );
    a.say("good").await;
    a.carry(&b, 10).await;

    assert_eq!(b.complete(&a, states, false).await, Completion::Done);
    assert_eq!(b.status(&bad_id), EventStatus::Rejected);
    assert_eq!(b.state(), a.state());
    assert_eq!(b.member_of(&c), Some(Membership::Leave));
    assert!(
        !b.told_ids().contains(&bad_id),
        "nobody is told of it any more"
    );
}

#[tokio::test]
async fn who_lies_about_the_state_is_not_believed() {
    let (mut a, b, states) = partly_shared("12").await;
    let name = a.set("m.room.name", "", json!({ "name": "later" })).await;
    a.carry(&b, 10).await;
    let lie = |change: &dyn Fn(&mut Vec<OwnedEventId>)| {
        let mut lies = states.clone();
        lies.values_mut().for_each(change);
        lies
    };
    let before = b.head();
    // Of another room, or of nobody.
    let nothing = lie(&|state| state.clear());
    let refused = b.complete(&a, nothing, true).await;
    assert!(matches!(refused, Completion::Refused(_)), "{refused:?}");
    // None at all of one of the events before the join.
    let refused = b.complete(&a, States::new(), true).await;
    assert!(matches!(refused, Completion::Refused(_)), "{refused:?}");
    // Without a piece that came with the room.
    let rules = a.state()[&("m.room.join_rules".to_owned(), String::new())].clone();
    let without = lie(&|state| state.retain(|event_id| event_id.as_str() != rules));
    let refused = b.complete(&a, without, false).await;
    assert!(matches!(refused, Completion::Refused(_)), "{refused:?}");
    assert_eq!(b.head(), before, "nothing was changed");
    assert_eq!(b.status(&name), EventStatus::Accepted);
    assert_eq!(b.complete(&a, states, false).await, Completion::Done);
    assert_eq!(b.state(), a.state());
}

#[tokio::test]
async fn who_leaves_a_partial_room_can_come_back() {
    let (a, mut b, states) = partly_shared("12").await;
    let user_id = b.person.user_id.to_string();
    b.append(NewEvent::state(
        "m.room.member",
        &user_id,
        content(json!({ "membership": "leave" })),
    ))
    .await;
    assert!(b.rooms.partial_rooms().await.unwrap().is_empty());
    let room_id = b.room_id.clone().unwrap();
    assert!(!b.rooms.is_here(&room_id).await.unwrap());
    let mut carrier = b;
    carrier.carry(&a, 10).await;
    b = carrier;
    a.let_in_partly(&mut b).await;
    // The state at the first join is what is missing still.
    let partial = b.rooms.partial_rooms().await.unwrap();
    let wanted: Vec<_> = states.keys().cloned().collect();
    assert_eq!(partial[0].before, wanted);
    assert_eq!(b.complete(&a, states, false).await, Completion::Done);
    assert_eq!(b.state(), a.state());
    let view = b.rooms.store().snapshot();
    assert_eq!(servers_in(&view, b.room()).unwrap(), ["a.test"]);
}

/// Whose devices changed in the room, as those in it are told.
fn told_devices(side: &Side, since: Position) -> Vec<String> {
    let view = side.rooms.store().snapshot();
    let users = accounts::devices_changed(&view, side.room(), since, view.position()).unwrap();
    let ids = users.into_iter();
    ids.map(|user| model::user_id(&view, user).unwrap().unwrap())
        .collect()
}

/// What was written in order is on disk, and can be seen.
async fn settle(side: &Side) {
    let nothing = side.rooms.store().commit(|_, _, _| Ok::<_, StoreError>(()));
    nothing.await.unwrap();
}

#[tokio::test]
async fn devices_that_changed_meanwhile_are_told_when_the_room_is_whole() {
    for is_noted in [true, false] {
        let (a, b, states) = partly_shared("12").await;
        let user_id = a.person.user_id.clone();
        let since = b.rooms.store().snapshot().position();
        let nobody = ruma_common::user_id!("@nobody:a.test");
        let stranger = ruma_common::user_id!("@stranger:c.test");
        for changed in [nobody, stranger] {
            b.rooms.note_changed_devices(changed).await.unwrap();
        }
        if is_noted {
            b.rooms.note_changed_devices(&user_id).await.unwrap();
        }
        let rows = || {
            let view = b.rooms.store().snapshot();
            let rows = view.scan(&tables::UNPLACED_DEVICES_BY_ROOM, &());
            rows.map(|row| row.unwrap().0.1).collect::<Vec<_>>()
        };
        settle(&b).await;
        assert_eq!(rows(), ["a.test"], "the stranger's server is not there");
        assert_eq!(told_devices(&b, since), [""; 0]);
        assert_eq!(b.complete(&a, states, false).await, Completion::Done);
        let expected: &[&str] = if is_noted { &[user_id.as_str()] } else { &[] };
        assert_eq!(told_devices(&b, since), expected);
        assert_eq!(rows(), [""; 0]);
        // Of a room that is whole nothing is noted.
        b.rooms.note_changed_devices(&user_id).await.unwrap();
        settle(&b).await;
        assert_eq!(rows(), [""; 0]);
    }
}

#[tokio::test]
async fn a_server_that_was_there_unseen_is_found_though_it_has_left() {
    let mut a = Side::new("a.test", 1).await;
    let (mut b, mut c) = (Side::new("b.test", 2).await, Side::new("c.test", 3).await);
    a.create("11").await;
    a.let_in(&mut c).await;
    // Nobody tells the new one that c.test is there.
    let states = a.let_in_partly(&mut b).await;
    let member = |of: &Side| {
        let key = ("m.room.member".to_owned(), of.person.user_id.to_string());
        let event_id = OwnedEventId::try_from(a.state()[&key].clone()).unwrap();
        a.with_known(|known| received(&known.by_id(&event_id).unwrap().unwrap().event))
    };
    let (join_of_b, join_of_c) = (Incoming::new(member(&b)), member(&c));
    c.rooms.receive(c.room(), vec![join_of_b]).await.unwrap();
    b.rooms
        .keep_outliers(b.room(), vec![join_of_c])
        .await
        .unwrap();
    c.carried = c.own_events().len();
    let user_id = c.person.user_id.to_string();
    c.set("m.room.member", &user_id, json!({ "membership": "leave" }))
        .await;
    let arrived = c.carry(&b, 10).await;
    assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");
    let log = Consumer::open(b.rooms.store(), "test").await.unwrap();
    assert_eq!(b.complete(&a, states, false).await, Completion::Done);
    let entries = log.next(100).unwrap();
    let mut entries = entries.iter().flat_map(|record| &record.entries);
    let found = entries.find_map(|entry| match LogEntry::decode(entry).unwrap() {
        LogEntry::Completed { found, .. } => Some(found),
        _ => None,
    });
    assert_eq!(found.unwrap(), ["c.test"]);
}
