//! Events on their way.

use std::time::Duration;

use graph::canonical;
use model::tables::WAITING_ROOM_BY_SERVER;
use ruma_common::ServerName;

use super::*;
use crate::forget_server;

#[tokio::test]
async fn each_server_gets_what_happened_while_it_was_in_the_room() {
    let mut house = House::new(&["b.test", "c.test"]).await;
    let room = house.room.clone();
    house.start().await;
    house.say(&room, "among ourselves").await;
    house.members(&room, "b.test", 2).await;
    house.say(&room, "one").await;
    let first = house.neighbours.next("b.test").await;
    assert_eq!(bodies(&first.body), ["one"]);
    assert_eq!(first.body["origin"], "a.test");
    assert_eq!(first.body["pdus"][0]["sender"], "@alice:a.test");
    assert!(first.body["pdus"][0]["signatures"]["a.test"].is_object());
    assert!(first.body.get("edus").is_none(), "{first:?}");
    house.members(&room, "c.test", 1).await;
    house.say(&room, "two").await;
    for server in ["b.test", "c.test"] {
        let next = house.neighbours.next(server).await;
        assert_eq!(bodies(&next.body), ["two"], "{server}");
    }
    house.members(&room, "b.test", 0).await;
    house.say(&room, "three").await;
    assert_eq!(
        bodies(&house.neighbours.next("c.test").await.body),
        ["three"]
    );
    house.until_settled("c.test").await;
    assert_eq!(house.neighbours.take("b.test"), None);
    assert_eq!(house.waiting("b.test"), None);
    assert_eq!((house.events("sent"), house.events("rejected")), (4, 0));
    house.stop().await;
}

#[tokio::test]
async fn a_transaction_is_the_same_until_it_is_taken() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house.neighbours.answer("b.test", 500, "{}");
    house.start().await;
    house.say(&room, "one").await;
    let first = house.neighbours.next("b.test").await;
    house.until_counted("failed", 1).await;
    house.say(&room, "two").await;
    let waits = || {
        house
            .waiting("b.test")
            .filter(|waiting| waiting.events == 1)
    };
    let waiting = eventually("the next event waits", waits).await;
    assert!(waiting.has_transaction);
    house.stop().await;
    // While nothing runs, the log remembers.
    house.say(&room, "three").await;
    house.neighbours.answer("b.test", 200, "{}");
    house.clock.advance(10_000);
    house.start().await;
    assert_eq!(house.neighbours.next("b.test").await, first);
    let second = house.neighbours.next("b.test").await;
    assert_ne!(second.id, first.id);
    let mut rest = bodies(&second.body);
    if rest.len() == 1 {
        // The router may not have been through when the courier looked.
        rest.extend(bodies(&house.neighbours.next("b.test").await.body));
    }
    assert_eq!(rest, ["two", "three"]);
    house.until_settled("b.test").await;
    house.stop().await;
}

#[tokio::test]
async fn what_was_taken_is_not_sent_again_for_what_comes_next() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house.start().await;
    // The follower of typing must be there first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let bob = sender(&house.bob);
    let mut ids = Vec::new();
    for round in 0..100 {
        house.say(&room, &format!("{round}")).await;
        let wanted = format!("{round}");
        loop {
            let received = house.neighbours.next("b.test").await;
            let is_it = bodies(&received.body).contains(&wanted);
            ids.push(received.id);
            if is_it {
                break;
            }
        }
        // At one moment or another after the answer.
        tokio::time::sleep(Duration::from_micros(round * 50)).await;
        let types = house.rooms.set_typing(&bob, &room, round % 2 == 0, None);
        types.await.unwrap();
    }
    house.until_settled("b.test").await;
    house.stop().await;
    while let Some(received) = house.neighbours.take("b.test") {
        ids.push(received.id);
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(all, ids.len(), "some came twice");
}

#[tokio::test]
async fn many_events_come_in_their_order_in_several_transactions() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house.start().await;
    house.say(&room, "from here on").await;
    house.neighbours.next("b.test").await;
    house.stop().await;
    let names: Vec<String> = (0..120).map(|number| number.to_string()).collect();
    for name in &names {
        house.say(&room, name).await;
    }
    house.start().await;
    let mut got = Vec::new();
    while got.len() < 120 {
        let next = house.neighbours.next("b.test").await;
        let bodies = bodies(&next.body);
        assert!(bodies.len() <= 50, "{}", bodies.len());
        got.extend(bodies);
    }
    assert_eq!(got, names);
    house.until_settled("b.test").await;
    house.stop().await;
}

#[tokio::test]
async fn who_was_away_gets_the_newest_of_each_room() {
    let mut house = House::new(&["b.test"]).await;
    let other = house.room(CreateRoom::default()).await;
    let room = house.room.clone();
    for room in [&room, &other] {
        house.members(room, "b.test", 1).await;
    }
    house.neighbours.answer("b.test", 503, "{}");
    house.start().await;
    house.say(&room, "the first").await;
    let first = house.neighbours.next("b.test").await;
    house.until_counted("failed", 1).await;
    for number in 0..40 {
        house.say(&room, &format!("here {number}")).await;
        house.say(&other, &format!("there {number}")).await;
    }
    let all = || {
        house
            .waiting("b.test")
            .filter(|waiting| waiting.events == 80)
    };
    let waiting = eventually("all wait", all).await;
    assert_eq!(waiting.rooms, 2, "one row for each room");
    house.neighbours.answer("b.test", 200, "{}");
    house.clock.advance(2_000);
    assert_eq!(house.neighbours.next("b.test").await, first);
    let next = house.neighbours.next("b.test").await;
    let mut got = bodies(&next.body);
    got.sort();
    assert_eq!(got, ["here 39", "there 39"]);
    house.until_settled("b.test").await;
    assert_eq!(house.events("left_out"), 78);
    // And from then on everything.
    house.say(&other, "again").await;
    assert_eq!(
        bodies(&house.neighbours.next("b.test").await.body),
        ["again"]
    );
    house.stop().await;
}

#[tokio::test]
async fn who_was_away_for_a_moment_gets_all() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house.neighbours.answer("b.test", 503, "{}");
    house.start().await;
    house.say(&room, "0").await;
    house.until_counted("failed", 1).await;
    for number in 1..=20 {
        house.say(&room, &number.to_string()).await;
    }
    let all = || {
        house
            .waiting("b.test")
            .filter(|waiting| waiting.events == 20)
    };
    eventually("all wait", all).await;
    house.neighbours.answer("b.test", 200, "{}");
    let failed = house.neighbours.next("b.test").await;
    house.clock.advance(2_000);
    assert_eq!(house.neighbours.next("b.test").await, failed);
    let next = house.neighbours.next("b.test").await;
    let expected: Vec<String> = (1..=20).map(|number: u32| number.to_string()).collect();
    assert_eq!(bodies(&next.body), expected);
    house.stop().await;
}

#[tokio::test]
async fn one_that_says_nothing_keeps_nobody_waiting() {
    let mut house = House::new(&["b.test", "c.test"]).await;
    let room = house.room.clone();
    for server in ["b.test", "c.test"] {
        house.members(&room, server, 1).await;
    }
    house.neighbours.silence("b.test");
    house.start().await;
    for text in ["one", "two", "three"] {
        house.say(&room, text).await;
        assert_eq!(bodies(&house.neighbours.next("c.test").await.body), [text]);
    }
    assert_eq!(bodies(&house.neighbours.next("b.test").await.body), ["one"]);
    let behind = || {
        house
            .waiting("b.test")
            .filter(|waiting| waiting.events == 2)
    };
    eventually("two wait", behind).await;
    assert_eq!(house.neighbours.take("b.test"), None);
    // What is not answered is sent again after a stop.
    house.stop().await;
    house.neighbours.answer("b.test", 200, "{}");
    house.start().await;
    assert_eq!(bodies(&house.neighbours.next("b.test").await.body), ["one"]);
    assert_eq!(
        bodies(&house.neighbours.next("b.test").await.body),
        ["two", "three"]
    );
    house.stop().await;
}

#[tokio::test]
async fn a_thousand_servers_that_are_gone_cost_no_task() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    let gone: Vec<String> = (0..1_000)
        .map(|number| format!("gone{number}.test"))
        .collect();
    house.neighbours.nowhere(gone.clone());
    for server in &gone {
        house.members(&room, server, 1).await;
    }
    house.members(&room, "b.test", 1).await;
    house.start().await;
    house.say(&room, "hello").await;
    let next = house.neighbours.next("b.test").await;
    assert_eq!(bodies(&next.body), ["hello"]);
    let left_alone = "cairn_federation_destinations{state=\"left_alone\"}";
    eventually("all are left alone", || {
        (house.counted(left_alone) == 1_000).then_some(())
    })
    .await;
    assert_eq!(
        house.counted("cairn_federation_destinations{state=\"sending\"}"),
        0
    );
    // What goes on in the room costs them no more rows, and the others no time.
    for number in 0..20 {
        house.say(&room, &number.to_string()).await;
        house.neighbours.next("b.test").await;
    }
    let view = house.store.snapshot();
    let rows = || view.scan(&WAITING_ROOM_BY_SERVER, &()).count();
    eventually("one row for each", || (rows() <= 1_001).then_some(())).await;
    assert_eq!(house.counted(left_alone), 1_000);
    house.stop().await;
}

#[tokio::test]
async fn who_is_sent_away_is_told_by_the_users_server_alone() {
    let mut house = House::new(&["b.test", "c.test"]).await;
    let room = house.room.clone();
    house.members(&room, "c.test", 1).await;
    house.start().await;
    let alice = house.alice();
    let bad = user("@bad:b.test");
    house.rooms.ban(&alice, &room, &bad, None).await.unwrap();
    let ban = |transaction: &Value| transaction["pdus"][0]["content"]["membership"].clone();
    for server in ["b.test", "c.test"] {
        let next = house.neighbours.next(server).await;
        assert_eq!(ban(&next.body), "ban", "{server}");
    }
    house.say(&room, "good").await;
    assert_eq!(
        bodies(&house.neighbours.next("c.test").await.body),
        ["good"]
    );
    house.until_settled("c.test").await;
    assert_eq!(house.neighbours.take("b.test"), None);

    // Rooms that are for this server alone tell nobody.
    let wish = CreateRoom {
        creation_content: canonical(br#"{"m.federate":false}"#, 10).unwrap(),
        ..CreateRoom::default()
    };
    let own = house.room(wish).await;
    house.rooms.ban(&alice, &own, &bad, None).await.unwrap();
    house.say(&room, "last").await;
    assert_eq!(
        bodies(&house.neighbours.next("c.test").await.body),
        ["last"]
    );
    house.until_settled("c.test").await;
    assert_eq!(house.neighbours.take("b.test"), None);
    assert_eq!(house.waiting("b.test"), None);
    house.stop().await;
}

#[tokio::test]
async fn refused_events_are_counted_and_not_sent_again() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house.neighbours.answer(
        "b.test",
        200,
        r#"{"pdus":{"$one":{"error":"no"},"$two":{}}}"#,
    );
    house.start().await;
    house.say(&room, "one").await;
    house.neighbours.next("b.test").await;
    house.until_settled("b.test").await;
    assert_eq!((house.events("sent"), house.events("rejected")), (0, 1));
    assert_eq!(house.neighbours.take("b.test"), None);
    house.stop().await;
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_asked_less_and_less() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house
        .neighbours
        .answer("b.test", 403, r#"{"errcode":"M_FORBIDDEN"}"#);
    house.start().await;
    house.say(&room, "one").await;
    let first = house.neighbours.next("b.test").await;
    house.until_counted("refused", 1).await;
    house.clock.advance(1_000);
    assert_eq!(house.neighbours.next("b.test").await, first);
    house.until_counted("refused", 2).await;
    house.clock.advance(1_000);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(house.neighbours.take("b.test"), None);
    house.clock.advance(1_000);
    assert_eq!(house.neighbours.next("b.test").await, first);
    house.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_given_up_in_the_end() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house
        .neighbours
        .answer("b.test", 400, r#"{"errcode":"M_BAD_JSON"}"#);
    house.start().await;
    house.say(&room, "poison").await;
    for attempts in 1..=16 {
        house.until_counted("refused", attempts).await;
        house.clock.advance(3_600_000);
    }
    house.until_counted("given_up", 1).await;
    house.neighbours.answer("b.test", 200, "{}");
    house.until_settled("b.test").await;
    house.say(&room, "good").await;
    loop {
        let next = house.neighbours.next("b.test").await;
        if bodies(&next.body) == ["good"] {
            break;
        }
        assert_eq!(bodies(&next.body), ["poison"]);
    }
    house.stop().await;
}

#[tokio::test]
async fn what_waits_can_be_forgotten_and_is_for_those_not_spoken_to() {
    let mut house = House::new(&["b.test"]).await;
    let room = house.room.clone();
    house.members(&room, "b.test", 1).await;
    house.neighbours.answer("b.test", 503, "{}");
    house.start().await;
    house.say(&room, "one").await;
    house.until_counted("failed", 1).await;
    house.say(&room, "two").await;
    eventually("it waits", || {
        house.waiting("b.test").filter(|it| it.events == 1)
    })
    .await;
    let server = ServerName::parse("b.test").unwrap();
    let act = audit::Act::operator();
    forget_server(&house.store, &server, &act, 1).await.unwrap();
    assert_eq!(house.waiting("b.test"), None);
    house.say(&room, "three").await;
    eventually("it waits again", || house.waiting("b.test")).await;
    house.stop().await;
    house
        .start_with(FederationOptions {
            denied_servers: vec!["b.*".to_owned()],
            ..FederationOptions::default()
        })
        .await;
    house.until_settled("b.test").await;
    house.say(&room, "four").await;
    house.stop().await;
    assert_eq!(house.waiting("b.test"), None);
    assert_eq!(bodies(&house.neighbours.next("b.test").await.body), ["one"]);
    assert_eq!(house.neighbours.take("b.test"), None);
}
