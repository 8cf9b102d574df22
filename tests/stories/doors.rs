//! Ways into a room: a knock, the membership of a space, and the room that replaces it.

use std::pin::pin;

use futures_util::StreamExt as _;
use harness::{Server, eventually};
use matrix_sdk::notification_settings::RoomNotificationMode;
use matrix_sdk::room::knock_requests::KnockRequest;
use matrix_sdk::ruma::api::client::room::create_room::v3::{CreationContent, Request, RoomPreset};
use matrix_sdk::ruma::api::client::room::upgrade_room;
use matrix_sdk::ruma::api::client::space::get_hierarchy;
use matrix_sdk::ruma::events::AnyInitialStateEvent;
use matrix_sdk::ruma::events::InitialStateEvent;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::join_rules::{AllowRule, JoinRule, RoomJoinRulesEventContent};
use matrix_sdk::ruma::events::space::child::SpaceChildEventContent;
use matrix_sdk::ruma::room::RoomType;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk::ruma::{OwnedRoomId, RoomId, RoomVersionId};
use matrix_sdk::{Room, RoomState};
use tokio::time::timeout;

use crate::device::{Device, PATIENCE};

/// The state of a new encrypted room with these rules of joining.
fn encrypted_with(rules: RoomJoinRulesEventContent) -> Vec<Raw<AnyInitialStateEvent>> {
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    vec![
        InitialStateEvent::with_empty_state_key(encryption).to_raw_any(),
        InitialStateEvent::with_empty_state_key(rules).to_raw_any(),
    ]
}

/// Waits until a device knows its part in a room.
async fn is_in_state(device: &Device, room: &RoomId, state: RoomState) -> Room {
    let what = format!("{}: {room} is {state:?}", device.name);
    eventually(&what, PATIENCE, async || {
        let known = device.client.get_room(room)?;
        (known.state() == state).then_some(known)
    })
    .await
}

/// Waits for the knocks of these people.
async fn knocks(device: &Device, room: &RoomId, people: &[&Device]) -> Vec<KnockRequest> {
    let room = device.room(room);
    let subscription = room.subscribe_to_knock_requests().await;
    let (requests, cleaning) = subscription.expect("the knocks");
    let mut requests = pin!(requests);
    let waiting = async {
        loop {
            let now = requests.next().await.expect("the knocks");
            if now.len() == people.len() {
                return now;
            }
        }
    };
    let patience = std::time::Duration::from_secs(PATIENCE);
    let mut requests = timeout(patience, waiting).await.expect("all the knocks");
    cleaning.abort();
    requests.sort_by(|one, other| one.member_info.user_id.cmp(&other.member_info.user_id));
    let ids: Vec<_> = people.iter().map(|person| person.user_id()).collect();
    let found = requests.iter().map(|request| &request.member_info.user_id);
    assert!(found.eq(&ids), "{requests:?}");
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_knocks_is_let_in_and_another_is_not() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let mallory = Device::register(&url, "mallory").await;
    let mut request = Request::new();
    request.initial_state = encrypted_with(RoomJoinRulesEventContent::new(JoinRule::Knock));
    request.name = Some("the treasurers".to_owned());
    let room = alice.creates(request).await;
    alice.sees_in(&room, &[&alice]).await;
    let joining = bob.client.join_room_by_id(&room).await;
    joining.expect_err("joining without having knocked");

    for person in [&bob, &mallory] {
        let reason = Some(format!("{} asks", person.name));
        let knocking = person.client.knock(room.clone().into(), reason, Vec::new());
        assert_eq!(knocking.await.expect("a knock").state(), RoomState::Knocked);
    }
    let requests = knocks(&alice, &room, &[&bob, &mallory]).await;
    let reason = requests[0].member_info.reason.as_deref();
    assert_eq!(reason, Some("bob's laptop asks"));
    requests[0].accept().await.expect("letting bob in");
    let declining = requests[1].decline(Some("we do not know you"));
    declining.await.expect("not letting mallory in");

    bob.accept(&room).await;
    is_in_state(&mallory, &room, RoomState::Left).await;
    let joining = mallory.client.join_room_by_id(&room).await;
    joining.expect_err("joining although the knock was declined");
    for device in [&alice, &bob] {
        device.sees_in(&room, &[&alice, &bob]).await;
    }
    alice.say(&room, "come in").await;
    bob.reads(&room, "come in").await;
    bob.say(&room, "thank you").await;
    alice.reads(&room, "thank you").await;
}

/// A space that anybody may join, with a room that its members may join.
async fn space_with_a_room(alice: &Device) -> (OwnedRoomId, OwnedRoomId) {
    let mut creation = CreationContent::new();
    creation.room_type = Some(RoomType::Space);
    let mut request = Request::new();
    request.preset = Some(RoomPreset::PublicChat);
    request.name = Some("the council".to_owned());
    request.creation_content = Some(Raw::new(&creation).expect("a creation"));
    let space = alice.creates(request).await;

    let members = vec![AllowRule::room_membership(space.clone())];
    let mut request = Request::new();
    request.initial_state = encrypted_with(RoomJoinRulesEventContent::restricted(members));
    request.name = Some("the committee".to_owned());
    let room = alice.creates(request).await;
    let server = space
        .server_name()
        .or(alice.client.user_id().map(|id| id.server_name()));
    let child = SpaceChildEventContent::new(vec![server.expect("a server").to_owned()]);
    let space_room = is_in_state(alice, &space, RoomState::Joined).await;
    let adding = space_room.send_state_event_for_key(&room, child);
    adding.await.expect("the room in the space");
    (space, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_space_come_into_its_rooms() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let (space, room) = space_with_a_room(&alice).await;
    let joining = bob.client.join_room_by_id(&room).await;
    joining.expect_err("joining the room without the space");

    bob.client.join_room_by_id(&space).await.expect("the space");
    let known = is_in_state(&bob, &space, RoomState::Joined).await;
    eventually("bob knows it as a space", PATIENCE, async || {
        known.is_space().then_some(())
    })
    .await;
    // The room stands in the space's list, though nobody invited him.
    let hierarchy = get_hierarchy::v1::Request::new(space.clone());
    let hierarchy = bob.client.send(hierarchy).await.expect("the list");
    let listed = hierarchy.rooms.iter().map(|room| &room.summary.room_id);
    assert!(listed.eq([&space, &room]), "{:?}", hierarchy.rooms);
    bob.client.join_room_by_id(&room).await.expect("the room");
    for device in [&alice, &bob] {
        device.sees_in(&room, &[&alice, &bob]).await;
    }
    alice.say(&room, "the committee meets").await;
    bob.reads(&room, "the committee meets").await;

    // Who leaves the space stays in the room, but does not come in again.
    known.leave().await.expect("leaving the space");
    bob.say(&room, "I am still here").await;
    alice.reads(&room, "I am still here").await;
    bob.room(&room).leave().await.expect("leaving the room");
    let joining = bob.client.join_room_by_id(&room).await;
    joining.expect_err("joining the room after leaving the space");
}

/// An encrypted conversation of two in an old version, which both have marked, liked
/// and silenced.
async fn old_conversation(alice: &Device, bob: &Device) -> OwnedRoomId {
    let mut request = Request::new();
    request.room_version = Some(RoomVersionId::V10);
    request.is_direct = true;
    request.invite = vec![bob.user_id()];
    let invited = RoomJoinRulesEventContent::new(JoinRule::Invite);
    request.initial_state = encrypted_with(invited);
    request.name = Some("you and me".to_owned());
    request.topic = Some("everything".to_owned());
    let old = alice.creates(request).await;
    bob.accept(&old).await;
    for (device, other) in [(alice, bob), (bob, alice)] {
        device.sees_in(&old, &[alice, bob]).await;
        let account = device.client.account();
        let marking = account.mark_as_dm(&old, &[other.user_id()]).await;
        marking.expect("the mark of a direct conversation");
        let room = device.room(&old);
        let liking = room.set_is_favourite(true, Some(0.25)).await;
        liking.expect("the tag");
        let settings = device.client.notification_settings().await;
        let mode = RoomNotificationMode::Mute;
        let silencing = settings.set_room_notification_mode(&old, mode).await;
        silencing.expect("the push rule");
    }
    old
}

/// Waits until a device knows the new room as it knew the old one.
async fn is_at_home_in(device: &Device, new: &RoomId, other: &Device) {
    let what = format!("{} has everything in {new}", device.name);
    eventually(&what, PATIENCE, async || {
        let room = device.client.get_room(new)?;
        let other = other.user_id();
        let is_direct = room.direct_targets().iter().any(|id| *id == other);
        let settings = device.client.notification_settings().await;
        let mode = settings.get_user_defined_room_notification_mode(new).await;
        let is_silenced = mode == Some(RoomNotificationMode::Mute);
        (is_direct && is_silenced && room.is_favourite()).then_some(())
    })
    .await;
    let tags = device.room(new).tags().await.expect("the store");
    let order = tags
        .expect("tags")
        .values()
        .next()
        .and_then(|tag| tag.order);
    assert_eq!(order, Some(0.25));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_follow_a_room_to_its_new_version() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let old = old_conversation(&alice, &bob).await;
    alice.say(&old, "we move").await;
    bob.reads(&old, "we move").await;

    let request = upgrade_room::v3::Request::new(old.clone(), RoomVersionId::V12);
    let upgrade = alice.client.send(request).await.expect("the new room");
    let new = upgrade.replacement_room;
    is_in_state(&alice, &new, RoomState::Joined).await;
    let inviting = alice.room(&new).invite_user_by_id(&bob.user_id()).await;
    inviting.expect("the invitation");
    // Bob's client is shown the way.
    let successor = eventually("bob's signpost", PATIENCE, async || {
        bob.room(&old).successor_room()
    })
    .await;
    assert_eq!(successor.room_id, new);
    bob.accept(&successor.room_id).await;
    for (device, other) in [(&alice, &bob), (&bob, &alice)] {
        device.sees_in(&new, &[&alice, &bob]).await;
        let room = device.room(&new);
        assert_eq!(room.version(), Some(RoomVersionId::V12));
        let before = room.predecessor_room().expect("the way back");
        assert_eq!(before.room_id, old);
        assert_eq!(room.name().as_deref(), Some("you and me"));
        assert_eq!(room.topic().as_deref(), Some("everything"));
        is_at_home_in(device, &new, other).await;
    }

    // They talk on in the new room; the old one can only be read.
    bob.say(&new, "here I am").await;
    alice.reads(&new, "here I am").await;
    alice.say(&new, "welcome").await;
    bob.reads(&new, "welcome").await;
    let speaking = bob.try_say(&old, "is anybody there?").await;
    speaking.expect_err("speaking in the old room");
    let history = bob.history(&old).await;
    let readable = history
        .iter()
        .filter(|event| event.encryption_info().is_some());
    assert_eq!(readable.count(), 1);
}
