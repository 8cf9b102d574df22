//! Names of rooms.

use ruma_common::{OwnedRoomAliasId, RoomAliasId};
use serde_json::json;

use super::{TestRoom, is_forbidden};
use crate::{AppendError, ReadError, aliases, is_published, resolve_alias};

fn alias(name: &str) -> OwnedRoomAliasId {
    RoomAliasId::parse(format!("#{name}:cairn.test")).unwrap()
}

async fn put(room: &TestRoom, by: &str, name: &str) {
    let (by, name) = (room.who(by), alias(name));
    room.rooms
        .put_alias(by, &name, &room.room_id)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_alias_leads_to_its_room() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    room.arrive("carol").await;
    let put = async |name, alias: &RoomAliasId| {
        room.rooms
            .put_alias(room.who(name), alias, &room.room_id)
            .await
    };
    put("bob", &alias("pub")).await.unwrap();
    let again = put("alice", &alias("pub")).await;
    assert!(matches!(again, Err(AppendError::AliasTaken(_))));
    assert!(is_forbidden(put("carol", &alias("inn")).await));
    let foreign = RoomAliasId::parse("#pub:elsewhere.test").unwrap();
    assert!(matches!(
        put("alice", &foreign).await,
        Err(AppendError::Invalid(_))
    ));
    let view = room.rooms.store().snapshot();
    assert_eq!(resolve_alias(&view, &alias("pub")).unwrap(), room.room_id);
    let unknown = resolve_alias(&view, &alias("inn"));
    assert!(matches!(unknown, Err(ReadError::NotFound(_))));
    let of = |name| aliases(&view, &room.room_id, room.who(name).user);
    assert_eq!(of("alice").unwrap(), ["#pub:cairn.test"]);
    assert!(matches!(of("carol"), Err(ReadError::Forbidden(_))));
    let name = alias("pub");
    let joined = room
        .rooms
        .join(room.who("carol"), (&*name).into(), b"{}")
        .await;
    assert_eq!(joined.unwrap(), room.room_id);
}

#[tokio::test]
async fn of_twenty_who_want_an_alias_one_gets_it() {
    let room = TestRoom::with(["alice"]).await;
    let name = alias("pub");
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (rooms, who) = (room.rooms.clone(), room.who("alice").clone());
        let (name, room_id) = (name.clone(), room.room_id.clone());
        tries.spawn(async move { rooms.put_alias(&who, &name, &room_id).await.is_ok() });
    }
    let won = tries
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn an_alias_is_its_makers_and_the_powerful_to_take_away() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    let delete = async |name, alias: &RoomAliasId| {
        room.rooms.delete_alias(room.who(name), alias, false).await
    };
    for name in ["one", "two"] {
        put(&room, "bob", name).await;
    }
    assert!(is_forbidden(delete("carol", &alias("one")).await));
    delete("bob", &alias("one")).await.unwrap();
    delete("alice", &alias("two")).await.unwrap();
    let gone = delete("alice", &alias("two")).await;
    assert!(matches!(gone, Err(AppendError::NotFound(_))));
    let view = room.rooms.store().snapshot();
    assert!(
        aliases(&view, &room.room_id, room.who("alice").user)
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_canonical_alias_names_this_room_and_forgets_what_is_deleted() {
    let room = TestRoom::with(["alice"]).await;
    let set = async |value| room.set("alice", "m.room.canonical_alias", "", value).await;
    let missing = set(json!({ "alias": "#pub:cairn.test" })).await;
    assert!(matches!(missing, Err(AppendError::BadAlias(_))));
    let nonsense = set(json!({ "alt_aliases": ["pub"] })).await;
    assert!(matches!(nonsense, Err(AppendError::Invalid(_))));
    for name in ["pub", "inn"] {
        put(&room, "alice", name).await;
    }
    set(json!({ "alias": "#pub:cairn.test", "alt_aliases": ["#inn:cairn.test"] }))
        .await
        .unwrap();
    room.rooms
        .delete_alias(room.who("alice"), &alias("inn"), false)
        .await
        .unwrap();
    let canonical = room.state("alice", "m.room.canonical_alias", "").unwrap();
    assert_eq!(
        canonical,
        json!({ "alias": "#pub:cairn.test", "alt_aliases": [] })
    );
}

#[tokio::test]
async fn the_directory_is_for_the_powerful_to_change() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let set = async |name, published| {
        room.rooms
            .set_published(room.who(name), &room.room_id, published)
            .await
    };
    let published = || is_published(&room.rooms.store().snapshot(), &room.room_id).unwrap();
    assert!(!published());
    assert!(is_forbidden(set("bob", true).await));
    set("alice", true).await.unwrap();
    assert!(published());
    set("alice", false).await.unwrap();
    assert!(!published());
}
