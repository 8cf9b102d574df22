//! A clock that jumps: what people see is in the order in which it happened, whatever time it
//! was thought to be.

use ruma_common::api::Direction;
use runtime::Timestamp;
use serde_json::json;

use super::TestRoom;

/// A battery that is empty, the right time, a year of the next century.
const TIMES: [u64; 5] = [
    1_700_000_000_000,
    0,
    1_700_000_100_000,
    4_700_000_000_000,
    1_700_000_200_000,
];

#[tokio::test]
async fn what_is_said_stays_in_its_order_whatever_the_clock_shows() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    let mut said = Vec::new();
    for (number, time) in TIMES.into_iter().enumerate() {
        room.clock.set(Timestamp(time));
        let name = ["alice", "bob"][number % 2];
        said.push(room.say(name, &format!("message {number}")).await.unwrap());
        let topic = json!({ "topic": number.to_string() });
        room.set("alice", "m.room.topic", "", topic.clone())
            .await
            .unwrap();
        assert_eq!(room.state("bob", "m.room.topic", ""), Some(topic));
        let event = room.event("bob", &said[number]).unwrap();
        assert_eq!(event["origin_server_ts"], json!(time));
        // A restart in between changes nothing.
        room.restart();
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let seen = room.timeline("bob", direction, 3);
        let mut order: Vec<String> = seen
            .into_iter()
            .filter(|id| said.iter().any(|event| event.as_str() == id))
            .collect();
        if direction == Direction::Backward {
            order.reverse();
        }
        let expected: Vec<String> = said.iter().map(ToString::to_string).collect();
        assert_eq!(order, expected);
    }
    // What was sent once is not sent again because it is another time.
    let first = room.send_as("alice", json!({ "body": "x" }), "once").await;
    room.clock.set(Timestamp(1_000));
    let again = room.send_as("alice", json!({ "body": "x" }), "once").await;
    assert_eq!(first.unwrap(), again.unwrap());
}
