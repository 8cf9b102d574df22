//! The lists of rooms: they say what the other tables say, whatever is done.

use std::collections::BTreeSet;

use model::{RoomsList, SortedName, tables};
use runtime::Tasks;
use serde_json::json;
use store::{Batch, Read, Snapshot, StoreError};

use super::TestRoom;
use crate::{
    CreateRoom, Preset, RoomsOrder, RoomsPage, RoomsQuery, count_rooms, lists, rooms_after,
    rooms_page,
};

/// Every row of the lists is what the other tables say, and none is missing.
pub(super) fn check(view: &Snapshot) {
    let (mut rooms, mut listed) = (BTreeSet::new(), BTreeSet::new());
    let mut parts = BTreeSet::new();
    for row in view.scan(&tables::HEAD_BY_ROOM, &()) {
        let (room, _) = row.unwrap();
        let room_id = model::room_id(view, room).unwrap().unwrap();
        let known = lists::to_be_listed(view, room).unwrap().unwrap();
        let row = view.get(&tables::LISTED_ROOM, &room).unwrap();
        assert_eq!(row.as_ref(), Some(&known), "{room_id}");
        rooms.insert(room);
        let of = RoomsList::ALL.iter().filter(|list| known.is_in(**list));
        listed.extend(of.map(|list| (*list, known.sorted(), room)));
        let parts_of = lists::parts_of(&known, &room_id);
        parts.extend(parts_of.into_iter().map(|part| (part, room)));
    }
    let rows = view.scan(&tables::LISTED_ROOM, &());
    assert_eq!(
        rows.map(|row| row.unwrap().0).collect::<BTreeSet<_>>(),
        rooms
    );
    let rows = view.scan(&tables::ROOM_BY_LIST, &());
    let rows: BTreeSet<(RoomsList, SortedName, _)> = rows.map(|row| row.unwrap().0).collect();
    assert_eq!(rows, listed);
    let rows = view.scan(&tables::ROOM_BY_PART, &());
    assert_eq!(
        rows.map(|row| row.unwrap().0).collect::<BTreeSet<_>>(),
        parts
    );
}

fn page(room: &TestRoom, query: &RoomsQuery) -> RoomsPage {
    rooms_page(&room.rooms.store().snapshot(), query).unwrap()
}

fn names(page: &RoomsPage) -> Vec<&str> {
    let rooms = page.rooms.iter();
    rooms
        .map(|room| room.name.as_deref().unwrap_or(""))
        .collect()
}

async fn named(room: &mut TestRoom, name: &str) {
    let wish = CreateRoom {
        preset: Some(Preset::PublicChat),
        name: Some(name.to_owned()),
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
}

#[tokio::test]
async fn pages_come_in_order_and_searches_find_what_rooms_are_called_now() {
    let mut room = TestRoom::server(["alice", "bob"]).await;
    for name in ["Works", "Council", "Büro", "council 2"] {
        named(&mut room, name).await;
    }
    let all = RoomsQuery {
        limit: 3,
        ..RoomsQuery::default()
    };
    let first = page(&room, &all);
    assert_eq!(
        (names(&first), first.total),
        (vec!["Büro", "Council", "Works"], 4)
    );
    let rest = RoomsQuery {
        from: 3,
        ..all.clone()
    };
    assert_eq!(names(&page(&room, &rest)), ["council 2"]);
    let search = |text: &str| RoomsQuery {
        text: Some(text.to_owned()),
        ..all.clone()
    };
    let found = page(&room, &search("COUNCIL"));
    assert_eq!(
        (names(&found), found.total),
        (vec!["Council", "council 2"], 2)
    );
    room.set("alice", "m.room.name", "", json!({ "name": "Board" }))
        .await
        .unwrap();
    assert_eq!(names(&page(&room, &search("council"))), ["Council"]);
    assert_eq!(names(&page(&room, &search("oar"))), ["Board"]);
    // By the beginning of the id, as people paste it.
    let begun = &room.room_id.as_str()[..8];
    assert_eq!(names(&page(&room, &search(begun))), ["Board"]);
    room.join("bob").await.unwrap();
    let largest = RoomsQuery {
        order: RoomsOrder::Members,
        ..all.clone()
    };
    let largest = page(&room, &largest);
    assert_eq!((names(&largest)[0], largest.rooms[0].joined), ("Board", 2));
    let state = largest.rooms[0].state_events;
    room.set(
        "bob",
        "m.room.member",
        "@bob:cairn.test",
        json!({ "membership": "join", "x": 1 }),
    )
    .await
    .unwrap();
    assert_eq!(page(&room, &search("board")).rooms[0].state_events, state);
    let view = room.rooms.store().snapshot();
    let (newest, next) = rooms_after(&view, None, None, 3).unwrap();
    assert_eq!(newest[0].name.as_deref(), Some("Board"));
    let (oldest, end) = rooms_after(&view, None, next, 3).unwrap();
    assert_eq!((oldest.len(), end), (1, None));
    let (found, _) = rooms_after(&view, Some("OUNC"), None, 3).unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn lists_follow_who_comes_goes_and_administers() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let count = |list| count_rooms(&room.rooms.store().snapshot(), list).unwrap();
    let counts = || {
        (
            count(RoomsList::Inhabited),
            count(RoomsList::Abandoned),
            count(RoomsList::Empty),
        )
    };
    assert_eq!(counts(), (1, 0, 0));
    room.leave("alice").await.unwrap();
    assert_eq!(counts(), (1, 1, 0));
    room.join("alice").await.unwrap();
    assert_eq!(counts(), (1, 0, 0));
    let mut levels = room.state("alice", "m.room.power_levels", "").unwrap();
    levels["users_default"] = 100.into();
    room.set("alice", "m.room.power_levels", "", levels)
        .await
        .unwrap();
    room.leave("alice").await.unwrap();
    assert_eq!(counts(), (1, 0, 0), "everybody may");
    room.leave("bob").await.unwrap();
    assert_eq!(counts(), (0, 0, 1));
}

#[tokio::test]
async fn rooms_of_before_come_into_the_lists_once() {
    let mut room = TestRoom::server(["alice", "bob"]).await;
    for number in 0..101 {
        named(&mut room, &format!("Room {number}")).await;
    }
    let forget = |batch: &mut Batch| {
        batch.delete_prefix(&tables::LISTED_ROOM, &());
        batch.delete_prefix(&tables::ROOM_BY_LIST, &());
        batch.delete_prefix(&tables::ROOM_BY_PART, &());
        batch.delete(&tables::ROOMS_LISTS_PROGRESS, &());
    };
    let store = room.rooms.store();
    let done: Result<(), StoreError> = store
        .commit(move |_, _, batch| {
            forget(batch);
            Ok(())
        })
        .await;
    done.unwrap();
    let count =
        |room: &TestRoom| count_rooms(&room.rooms.store().snapshot(), RoomsList::All).unwrap();
    assert_eq!(count(&room), 0);
    assert!(!room.rooms.list_some().await.unwrap());
    assert_eq!(count(&room), 100);
    // What happens meanwhile in one that is not listed yet.
    room.join("bob").await.unwrap();
    assert_eq!(count(&room), 101);
    let complete = || room.rooms.complete_rooms_lists(Tasks::new().stop());
    complete().await.unwrap();
    check(&room.rooms.store().snapshot());
    let before = room.rooms.store().snapshot().position();
    complete().await.unwrap();
    assert_eq!(room.rooms.store().snapshot().position(), before);
}
