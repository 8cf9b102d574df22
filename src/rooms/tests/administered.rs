//! What administrators have done in rooms: closing, removing, shortening, redacting, handing over.

use audit::{Act, Verb};
use model::{
    ClosedRoomRecord, EventSerial, Membership, RoomSerial, RoomTaskState, StoredEvent, tables,
};
use ruma_common::{OwnedEventId, api::Direction};
use runtime::Tasks;
use serde_json::json;
use store::{Read, Snapshot};

use super::{TestRoom, bodies, id, request};
use crate::{
    AppendError, Boundary, CreateRoom, RegisterPart, RoomsOptions, WantedRedaction, WantedRemoval,
    WantedShrinking, is_frozen, is_purged, register_of_person, register_of_room, room_serial,
    room_task,
};

fn deed(verb: Verb) -> audit::Deed {
    Act::operator().did(verb)
}

fn serial(room: &TestRoom) -> RoomSerial {
    let view = room.rooms.store().snapshot();
    room_serial(&view, room.room_id.as_str()).unwrap().unwrap()
}

impl TestRoom {
    fn removal(&self) -> WantedRemoval {
        WantedRemoval {
            room_id: self.room_id.to_string(),
            purges: true,
            ..WantedRemoval::default()
        }
    }

    /// Has everything done that was begun.
    async fn work(&self) {
        let tasks = Tasks::new();
        let rooms = self.rooms.clone();
        tasks.spawn("work", move |stop| async move {
            rooms.work_on_tasks(stop).await
        });
        for _ in 0..2_000 {
            let view = self.rooms.store().snapshot();
            let open = crate::room_tasks(&view).unwrap();
            if open.iter().all(|(_, task)| task.finished_at > 0) {
                tasks.shutdown(std::time::Duration::from_secs(5)).await;
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("what was begun did not end");
    }

    fn finished(&self, id: &str) -> model::RoomTaskRecord {
        let view = self.rooms.store().snapshot();
        let task = room_task(&view, id).unwrap().unwrap();
        assert_eq!(task.state, RoomTaskState::Done, "{task:?}");
        task
    }

    fn words_of(&self, name: &str) -> Vec<String> {
        let page = self.page(name, &request(Direction::Forward, 1_000));
        bodies(&page.unwrap().chunk)
    }

    async fn close(&self, is_closed: bool) {
        let record = is_closed.then(|| ClosedRoomRecord {
            by: None,
            at: 1,
            reason: Some("the project is over".to_owned()),
        });
        let closed = self
            .rooms
            .set_closed(serial(self), record, deed(Verb::RoomClosed));
        closed.await.unwrap();
    }
}

fn ruled<T>(result: Result<T, AppendError>) -> String {
    match result {
        Err(AppendError::Ruled(text)) => text,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

/// The events of a room that are in the database, by their bodies.
fn stored(view: &Snapshot, room: RoomSerial) -> Vec<(EventSerial, StoredEvent)> {
    let rows = view.scan(&tables::EVENT_BY_SERIAL, &());
    rows.map(Result::unwrap)
        .filter(|(_, stored)| stored.room == room)
        .collect()
}

#[tokio::test]
async fn a_closed_room_takes_nobody_and_nothing_until_it_is_opened_again() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    room.arrive("carol").await;
    room.say("bob", "before").await.unwrap();
    room.close(true).await;
    let why = ruled(room.say("bob", "after").await);
    assert!(why.ends_with(": the project is over"), "{why}");
    ruled(room.join("carol").await);
    ruled(
        room.set("alice", "m.room.name", "", json!({ "name": "x" }))
            .await,
    );
    assert_eq!(room.words_of("bob"), ["before"]);
    room.leave("bob").await.unwrap();
    room.close(false).await;
    room.join("carol").await.unwrap();
    room.say("carol", "again").await.unwrap();
}

#[tokio::test]
async fn of_a_removed_room_only_the_register_is_left() {
    let mut room = TestRoom::with(["alice", "bob", "carol"]).await;
    let set = room.set("alice", "m.room.name", "", json!({ "name": "Roads" }));
    set.await.unwrap();
    let first = room.say("bob", "hello").await.unwrap();
    let reaction = json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": first } });
    room.send("carol", reaction).await.unwrap();
    room.kick("alice", "carol").await.unwrap();
    let was = serial(&room);
    let now = room.rooms.inner.clock.now().0;
    room.clock.advance(1_000);
    let begun = room
        .rooms
        .begin_removal(None, room.removal(), deed(Verb::RoomRemoved));
    let task = begun.await.unwrap();
    // Two administrators who begin the same have begun it once.
    let again = room
        .rooms
        .begin_removal(None, room.removal(), deed(Verb::RoomRemoved));
    assert!(matches!(again.await, Err(AppendError::BadState(_))));
    ruled(room.say("bob", "too late").await);
    room.work().await;
    room.finished(&task);

    let view = room.rooms.store().snapshot();
    assert!(is_purged(&view, was).unwrap());
    assert_eq!(room_serial(&view, room.room_id.as_str()).unwrap(), None);
    let kept = stored(&view, was);
    let types: Vec<String> = kept
        .iter()
        .map(|(_, stored)| {
            let event: serde_json::Value = serde_json::from_slice(&stored.json).unwrap();
            event["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(types.iter().all(|it| it != "m.room.message"), "{types:?}");
    for (_, stored) in &kept {
        let by_id = view.get(&tables::EVENT_BY_ID, &stored.event_id).unwrap();
        assert_eq!(by_id, None, "{}", stored.event_id);
    }
    for count in [
        view.scan(&tables::EVENT_BY_PLACE, &(was,)).count(),
        view.scan(&tables::CHANGE_BY_ROOM, &(was,)).count(),
        view.scan(&tables::STATE_BY_ROOM, &(was,)).count(),
        view.scan(&tables::STATE_NODE_BY_HASH, &(was,)).count(),
        view.scan(&tables::MEMBER_BY_ROOM, &(was,)).count(),
        view.scan(&tables::RELATION_BY_TARGET, &(was,)).count(),
        view.scan(&tables::THREAD_BY_PLACE, &(was,)).count(),
    ] {
        assert_eq!(count, 0);
    }
    // Who was in it then, with which power, is known as before.
    let then = register_of_room(&view, room.room_id.as_str(), now, &RegisterPart::ALL)
        .unwrap()
        .0;
    assert_eq!(then.name.as_deref(), Some("Roads"));
    let names: Vec<&str> = then.members.iter().map(|it| it.user_id.as_str()).collect();
    assert_eq!(names, ["@alice:cairn.test", "@bob:cairn.test"]);
    assert!(then.members[0].is_creator);
    let stays = register_of_person(&view, "@bob:cairn.test", &RegisterPart::ALL)
        .unwrap()
        .0;
    assert_eq!(stays.len(), 1);
    assert!(stays[0].until.is_some() && stays[0].room_id == room.room_id.as_str());
    // Nobody writes to what is gone, and the id can be used anew.
    room.restart();
    assert!(room.say("bob", "hello?").await.is_err());
}

#[tokio::test]
async fn a_removal_goes_on_wherever_it_broke_off() {
    let mut room = TestRoom::with(["alice", "bob", "carol", "dora"]).await;
    for number in 0..40 {
        room.say("bob", &number.to_string()).await.unwrap();
    }
    let was = serial(&room);
    let begun = room
        .rooms
        .begin_removal(None, room.removal(), deed(Verb::RoomRemoved));
    let task = begun.await.unwrap();
    let mut steps = 0;
    loop {
        // Each step by a server that knows nothing but the database.
        room.restart();
        let view = room.rooms.store().snapshot();
        let record = room_task(&view, &task).unwrap().unwrap();
        if record.finished_at > 0 {
            break;
        }
        let model::RoomWork::Removal(removal) = record.work.clone() else {
            panic!("{record:?}");
        };
        room.rooms.remove_on(&task, record, removal).await.unwrap();
        steps += 1;
        assert!(steps < 100);
        let view = room.rooms.store().snapshot();
        // It is there with everything, or not at all.
        match room_serial(&view, room.room_id.as_str()).unwrap() {
            Some(serial) => assert_eq!(
                view.scan(&tables::EVENT_BY_PLACE, &(serial,)).count(),
                stored(&view, serial).len(),
            ),
            None => assert_eq!(view.scan(&tables::EVENT_BY_PLACE, &(was,)).count(), 0),
        }
    }
    assert!(steps >= 5, "{steps}");
    let view = room.rooms.store().snapshot();
    let left = stored(&view, was).len();
    assert!(left < 20, "{left}");
    for name in ["alice", "bob", "carol", "dora"] {
        let key = (room.who(name).user, was);
        let record = view.get(&tables::MEMBERSHIP_BY_USER, &key).unwrap();
        let record = record.unwrap();
        assert!(record.forgotten && record.membership == Membership::Leave);
    }
}

#[tokio::test]
async fn history_is_shortened_and_what_came_later_stays() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let mut said: Vec<OwnedEventId> = Vec::new();
    for number in 0..30 {
        said.push(room.say("bob", &number.to_string()).await.unwrap());
    }
    let reply = json!({
        "body": "reply", "m.relates_to": { "rel_type": "m.thread", "event_id": said[3] }
    });
    room.send("alice", reply).await.unwrap();
    let wanted = |before, with_local| WantedShrinking {
        room_id: room.room_id.to_string(),
        before,
        with_local,
    };
    // What this server's people said stays, unless it is meant.
    let event = Boundary::Event(said[20].to_string());
    let begun = room.rooms.begin_shrinking(
        None,
        wanted(event.clone(), false),
        deed(Verb::HistoryShrunk),
    );
    let task = begun.await.unwrap();
    room.work().await;
    room.finished(&task);
    assert_eq!(room.words_of("alice").len(), 31);
    let begun = room
        .rooms
        .begin_shrinking(None, wanted(event, true), deed(Verb::HistoryShrunk));
    let task = begun.await.unwrap();
    room.work().await;
    room.finished(&task);
    let left: Vec<String> = (20..30).map(|number| number.to_string()).collect();
    let mut expected = left.clone();
    expected.push("reply".to_owned());
    assert_eq!(room.words_of("alice"), expected);
    assert!(!room.sees("alice", &said[19]));
    assert!(room.sees("alice", &said[20]));
    // The room goes on.
    room.say("bob", "on").await.unwrap();
    room.set("alice", "m.room.name", "", json!({ "name": "x" }))
        .await
        .unwrap();
    let late = Boundary::Time(1);
    let nothing = room
        .rooms
        .begin_shrinking(None, wanted(late, true), deed(Verb::HistoryShrunk));
    assert!(matches!(nothing.await, Err(AppendError::NotFound(_))));
}

#[tokio::test]
async fn what_somebody_said_is_redacted_everywhere() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    for number in 0..60 {
        room.say("bob", &number.to_string()).await.unwrap();
    }
    room.say("alice", "mine").await.unwrap();
    let first = room.room_id.clone();
    let open = CreateRoom {
        preset: Some(crate::Preset::PublicChat),
        ..CreateRoom::default()
    };
    room.create("alice", open).await.unwrap();
    room.join("bob").await.unwrap();
    room.say("bob", "elsewhere").await.unwrap();
    // They are not in that one any more: somebody with power does it.
    room.kick("alice", "bob").await.unwrap();
    let wanted = WantedRedaction {
        user_id: id("bob"),
        rooms: Vec::new(),
        limit: 1_000,
        by: None,
        reason: Some("spam".to_owned()),
        after: None,
        before: None,
    };
    let begun = room
        .rooms
        .begin_redaction(None, wanted, deed(Verb::EventsRedacted));
    let task = begun.await.unwrap();
    room.work().await;
    let task = room.finished(&task);
    let model::RoomWork::Redaction(work) = &task.work else {
        panic!("{task:?}");
    };
    assert_eq!(work.failed, Vec::new());
    assert_eq!(room.words_of("alice"), Vec::<String>::new());
    room.room_id = first;
    assert_eq!(room.words_of("alice"), ["mine"]);
    assert!(task.done >= 61, "{}", task.done);
}

fn freezing() -> RoomsOptions {
    RoomsOptions {
        freeze_abandoned: true,
        ..RoomsOptions::default()
    }
}

#[tokio::test]
async fn a_room_is_frozen_when_its_last_administrator_goes_and_handed_over() {
    for version in ["11", "12"] {
        let mut room = TestRoom::server(["alice", "bob", "carol"]).await;
        room.configure(freezing());
        let wish = CreateRoom {
            version: Some(version.to_owned()),
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        for name in ["bob", "carol"] {
            room.invite("alice", name).await.unwrap();
            room.join(name).await.unwrap();
        }
        room.say("bob", "before").await.unwrap();
        let before = room.state("bob", "m.room.power_levels", "").unwrap();
        room.leave("carol").await.unwrap();
        let view = room.rooms.store().snapshot();
        let serial = serial(&room);
        assert!(!is_frozen(&view, serial).unwrap());
        assert!(room.rooms.abandoned(&view, None, 9).unwrap().is_empty());
        room.leave("alice").await.unwrap();
        let view = room.rooms.store().snapshot();
        assert!(is_frozen(&view, serial).unwrap());
        assert_eq!(room.rooms.abandoned(&view, None, 9).unwrap().len(), 1);
        assert!(super::is_forbidden(room.say("bob", "frozen").await));
        // Who left comes back for one commit, and gives it to somebody.
        let bob = id("bob");
        let by = room
            .rooms
            .hand_over(serial, &bob, None, deed(Verb::RoomTakenOver));
        assert_eq!(by.await.unwrap(), id("alice"));
        let view = room.rooms.store().snapshot();
        assert!(!is_frozen(&view, serial).unwrap());
        assert!(room.rooms.abandoned(&view, None, 9).unwrap().is_empty());
        room.say("bob", "thawed").await.unwrap();
        let after = room.state("bob", "m.room.power_levels", "").unwrap();
        assert_eq!(after["users"]["@bob:cairn.test"], 100, "{after}");
        for field in ["events", "events_default", "state_default"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        let alice = room.state("bob", "m.room.member", "@alice:cairn.test");
        assert_eq!(alice.unwrap()["membership"], "leave");
    }
}

#[tokio::test]
async fn without_the_option_nothing_is_frozen_and_nobody_else_hands_over() {
    let room = TestRoom::with(["alice", "bob"]).await;
    room.leave("alice").await.unwrap();
    room.say("bob", "goes on").await.unwrap();
    let view = room.rooms.store().snapshot();
    assert_eq!(room.rooms.abandoned(&view, None, 9).unwrap().len(), 1);
    // Handing over works all the same.
    let bob = id("bob");
    let over = room
        .rooms
        .hand_over(serial(&room), &bob, None, deed(Verb::RoomTakenOver));
    over.await.unwrap();
    room.set("bob", "m.room.name", "", json!({ "name": "mine" }))
        .await
        .unwrap();
}
