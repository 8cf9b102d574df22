//! Servers that do not answer.

use std::time::Duration;

use runtime::Clock;

use super::{NOW, name, open};
use crate::{Standing, back_off::BackOff};

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[tokio::test]
async fn each_wait_is_twice_as_long_up_to_the_longest() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let store = open(folder.path(), &clock);
    let back_off = BackOff::new(store, clock.clone(), seconds(10)).unwrap();
    let server = name("a.test");
    assert_eq!(back_off.until(&server), None);
    assert_eq!(back_off.standing(&server), Standing::Unknown);
    for expected in [1, 2, 4, 8, 10, 10] {
        back_off.failed(&server, "gone").await;
        let until = back_off.until(&server).unwrap();
        assert_eq!(until.since(clock.now()), seconds(expected));
        // What was under way at the same time fails too, and changes nothing.
        back_off.failed(&server, "gone").await;
        assert_eq!(back_off.until(&server), Some(until));
        clock.advance(expected * 1_000);
        assert_eq!(back_off.until(&server), None);
        assert_eq!(back_off.standing(&server), Standing::Fails);
    }
    assert_eq!(
        back_off.until(&name("b.test")),
        None,
        "others are not meant"
    );
    back_off.heard_from(&server).await;
    assert_eq!(back_off.standing(&server), Standing::Answers);
    back_off.failed(&server, "gone again").await;
    assert_eq!(back_off.standing(&server), Standing::Fails);
    let until = back_off.until(&server).unwrap();
    assert_eq!(until.since(clock.now()), seconds(1));
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let (gone, back) = (name("gone.test"), name("back.test"));
    let until = {
        let store = open(folder.path(), &clock);
        let back_off = BackOff::new(store, clock.clone(), seconds(60)).unwrap();
        for server in [&gone, &back] {
            back_off.failed(server, "no route").await;
        }
        back_off.heard_from(&back).await;
        back_off.until(&gone).unwrap()
    };
    let store = open(folder.path(), &clock);
    let back_off = BackOff::new(store, clock.clone(), seconds(60)).unwrap();
    assert_eq!(back_off.until(&gone), Some(until));
    assert_eq!(back_off.until(&back), None);
    let all = back_off.all();
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].0.as_str(), all[0].1.reason.as_str()),
        ("gone.test", "no route")
    );
}

#[tokio::test]
async fn who_is_heard_from_is_tried_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let store = open(folder.path(), &clock);
    let back_off = BackOff::new(store, clock.clone(), seconds(3_600)).unwrap();
    let server = name("a.test");
    // Who answers is never waited for.
    back_off.available(&server).await;
    for _ in 0..10 {
        back_off.failed(&server, "gone").await;
        clock.advance(600_000);
    }
    back_off.failed(&server, "gone").await;
    let waited = async {
        back_off.available(&server).await;
        true
    };
    let heard = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        back_off.heard_from(&server).await;
    };
    let (waited, ()) = tokio::time::timeout(seconds(30), async { tokio::join!(waited, heard) })
        .await
        .unwrap();
    assert!(waited);
}
