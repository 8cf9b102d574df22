//! Partners, and who follows when somebody leaves.

use audit::{Act, Verb};
use model::{AccountRecord, PersonKind, PersonRecord, Roles, tables};
use serde_json::json;
use store::StoreError;

use super::{TestRoom, content, id};
use crate::{AppendError, CreateRoom, Preset, is_open_to_partners, room_serial, rooms_run_alone};

/// Gives somebody an account, of some kind.
async fn account(room: &TestRoom, name: &str, kind: PersonKind) {
    let (user, store) = (room.who(name).user, room.rooms.store());
    let account = AccountRecord {
        created_at: 0,
        roles: Roles::NONE,
        is_locked: false,
        deactivated_at: None,
        is_erased: false,
    };
    let person = PersonRecord {
        kind,
        ..PersonRecord::default()
    };
    store
        .commit(move |_, _, batch| {
            batch.put(&tables::ACCOUNT_BY_USER, &user, &account);
            batch.put(&tables::PERSON_BY_USER, &user, &person);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

fn serial(room: &TestRoom) -> model::RoomSerial {
    let view = room.rooms.store().snapshot();
    room_serial(&view, room.room_id.as_str()).unwrap().unwrap()
}

async fn open(room: &TestRoom, is_open: bool) -> bool {
    let deed = Act::operator().did(Verb::RoomOpened);
    let opened = room
        .rooms
        .set_open_to_partners(serial(room), None, is_open, deed);
    opened.await.unwrap()
}

#[tokio::test]
async fn a_partner_comes_into_opened_rooms_and_makes_none() {
    let mut room = TestRoom::with(["anna"]).await;
    room.arrive("paul").await;
    account(&room, "paul", PersonKind::Partner).await;
    let refused = room.join("paul").await;
    assert!(matches!(refused, Err(AppendError::NotOpenToPartners)));
    let refused = room.invite("anna", "paul").await;
    assert!(matches!(refused, Err(AppendError::NotOpenToPartners)));
    assert!(open(&room, true).await && !open(&room, true).await);
    room.invite("anna", "paul").await.unwrap();
    room.join("paul").await.unwrap();
    // Who is in stays when it is closed, and does not come back.
    open(&room, false).await;
    room.leave("paul").await.unwrap();
    let refused = room.join("paul").await;
    assert!(matches!(refused, Err(AppendError::NotOpenToPartners)));
    let made = room.create("paul", CreateRoom::default()).await;
    assert!(matches!(made, Err(AppendError::PartnersMakeNone)));
    let wish = CreateRoom {
        invite: vec![id("paul")],
        is_direct: true,
        ..CreateRoom::default()
    };
    let made = room.create("anna", wish).await;
    assert!(matches!(made, Err(AppendError::NotOpenToPartners)));
}

#[tokio::test]
async fn a_room_that_replaces_an_opened_one_is_open() {
    let room = TestRoom::with(["anna"]).await;
    open(&room, true).await;
    let upgraded = room
        .rooms
        .upgrade(room.who("anna"), &room.room_id, "12", Vec::new());
    let upgraded = upgraded.await.unwrap();
    let view = room.rooms.store().snapshot();
    let new = room_serial(&view, upgraded.as_str()).unwrap().unwrap();
    assert!(is_open_to_partners(&view, new).unwrap());
}

#[tokio::test]
async fn the_most_senior_member_follows() {
    let mut room = TestRoom::server(["anna", "paul", "otto", "rita", "uwe"]).await;
    for (name, kind) in [
        ("anna", PersonKind::Member),
        ("paul", PersonKind::Partner),
        ("otto", PersonKind::Member),
        ("rita", PersonKind::Member),
    ] {
        account(&room, name, kind).await;
    }
    let levels = json!({ "users": { "@anna:cairn.test": 100, "@uwe:cairn.test": 60 } });
    let wish = CreateRoom {
        version: Some("11".to_owned()),
        preset: Some(Preset::PublicChat),
        power_level_content_override: content(levels),
        ..CreateRoom::default()
    };
    room.create("anna", wish).await.unwrap();
    open(&room, true).await;
    // Paul came first, and is a partner; nobody can use Uwe's account, for there is none.
    for name in ["paul", "uwe", "otto", "rita"] {
        room.clock.advance(1_000);
        room.join(name).await.unwrap();
    }
    let run_alone = |room: &TestRoom, name: &str| {
        let view = room.rooms.store().snapshot();
        rooms_run_alone(&room.rooms, &view, room.who(name).user, &id(name)).unwrap()
    };
    let found = run_alone(&room, "anna");
    assert_eq!((found.len(), found[0].others), (1, 4));
    assert_eq!(found[0].successor, Some(id("otto")));
    assert!(run_alone(&room, "otto").is_empty());
    let deed = || {
        Act::operator()
            .did(Verb::RoomHandedOver)
            .on("@otto:cairn.test")
    };
    let entries = || audit::head(&room.rooms.store().snapshot()).unwrap().entries;
    let before = entries();
    let (anna, otto) = (room.who("anna"), id("otto"));
    for _ in 0..2 {
        let given = room.rooms.hand_over(anna, serial(&room), &otto, deed());
        given.await.unwrap();
    }
    // Told once, for it was done once.
    assert_eq!(entries(), before + 1);
    assert!(run_alone(&room, "anna").is_empty(), "two run it now");
}
