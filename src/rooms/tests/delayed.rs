//! Delayed and sticky events, as far as a clock is needed to tell of them.

use std::time::Duration;

use model::{UserSerial, tables};
use store::{Position, Read};

use super::TestRoom;
use crate::{
    DelayAction, DelayError, NewDelayedEvent,
    delayed::{MAX_ENDED, REMEMBERED},
    delayed_event, delayed_events, sticky_since,
};

const HOUR: u64 = 60 * 60 * 1_000;

impl TestRoom {
    async fn delay(&self, text: &str) -> Result<String, DelayError> {
        let new = NewDelayedEvent {
            event_type: "m.room.message".to_owned(),
            state_key: None,
            content: format!(r#"{{"body":"{text}"}}"#).into_bytes(),
            delay: HOUR,
            sticky: None,
            transaction_id: Some(text.to_owned()),
        };
        let who = self.who("alice");
        self.rooms.schedule(who, &self.room_id, new).await
    }

    async fn cancel(&self, delay_id: &str) {
        let user = Some(self.alice());
        let action = DelayAction::Cancel;
        let done = self.rooms.manage_delayed(user, delay_id, action).await;
        done.unwrap();
    }

    fn alice(&self) -> UserSerial {
        self.who("alice").user
    }

    fn is_known(&self, delay_id: &str) -> bool {
        let view = self.rooms.store().snapshot();
        delayed_event(&view, self.alice(), delay_id).is_ok()
    }

    fn waiting(&self) -> usize {
        let view = self.rooms.store().snapshot();
        delayed_events(&view, self.alice()).unwrap().len()
    }
}

#[tokio::test]
async fn so_many_can_wait_and_each_end_makes_room() {
    let room = TestRoom::with(["alice"]).await;
    let (_, most) = room.rooms.delay_limits();
    let mut ids = Vec::new();
    for number in 0..most {
        ids.push(room.delay(&number.to_string()).await.unwrap());
    }
    room.clock.advance(HOUR / 4);
    let retry_after = match room.delay("more").await {
        Err(DelayError::TooMany { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!(retry_after, Duration::from_millis(HOUR * 3 / 4));
    room.cancel(&ids[3]).await;
    room.delay("more").await.unwrap();
    assert_eq!(room.waiting() as u64, most);
}

#[tokio::test]
async fn what_has_ended_is_forgotten_when_it_is_old_or_too_much() {
    let room = TestRoom::with(["alice"]).await;
    let mut ids = Vec::new();
    for number in 0..=MAX_ENDED {
        let delay_id = room.delay(&number.to_string()).await.unwrap();
        room.clock.advance(1);
        room.cancel(&delay_id).await;
        ids.push(delay_id);
    }
    assert!(!room.is_known(&ids[0]), "the oldest made room");
    assert!(room.is_known(&ids[1]));
    // Its transaction id is as new again.
    let anew = room.delay("0").await.unwrap();
    assert_ne!(anew, ids[0]);
    assert_eq!(room.delay("1").await.unwrap(), ids[1]);

    room.clock.advance(REMEMBERED - 10);
    room.rooms.forget_delayed().await.unwrap();
    assert!(room.is_known(ids.last().unwrap()));
    room.clock.advance(20);
    room.rooms.forget_delayed().await.unwrap();
    room.rooms.wait_for_earlier().await.unwrap();
    for delay_id in &ids {
        assert!(!room.is_known(delay_id));
    }
    assert!(room.is_known(&anew), "what waits is not forgotten");
    let view = room.rooms.store().snapshot();
    let counts = view.get(&tables::DELAYED_COUNTS_BY_USER, &room.alice());
    let counts = counts.unwrap().unwrap();
    assert_eq!((counts.scheduled, counts.ended), (1, 0));
}

#[tokio::test]
async fn stickiness_ends_and_is_forgotten() {
    let room = TestRoom::with(["alice"]).await;
    let before = room.rooms.store().snapshot().position();
    let send = async |transaction: &str, duration: u64| {
        let who = room.who("alice");
        let sending = room.rooms.send_sticky(
            who,
            &room.room_id,
            "m.test",
            transaction,
            b"{}",
            Some(duration),
        );
        sending.await.unwrap()
    };
    send("short", 1_000).await;
    let between = room.rooms.store().snapshot().position();
    send("long", 5_000).await;
    let sticky = |since: Position| {
        let view = room.rooms.store().snapshot();
        let serial = crate::room_serial(&view, room.room_id.as_str());
        let now = room.clock.now().0;
        let found = sticky_since(&view, serial.unwrap().unwrap(), Some(since), now);
        found.unwrap().len()
    };
    assert_eq!((sticky(before), sticky(between)), (2, 1));
    room.clock.advance(1_000);
    assert_eq!((sticky(before), sticky(between)), (1, 1));
    room.rooms.forget_sticky().await.unwrap();
    assert_eq!(sticky(before), 1);
    room.clock.advance(4_000);
    assert_eq!(sticky(before), 0);
    room.rooms.forget_sticky().await.unwrap();
    room.rooms.wait_for_earlier().await.unwrap();
    let view = room.rooms.store().snapshot();
    assert_eq!(view.scan(&tables::STICKY_BY_ROOM, &()).count(), 0);
    assert_eq!(view.scan(&tables::STICKY_BY_END, &()).count(), 0);
}
