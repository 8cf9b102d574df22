//! Threads, and how far people have read.

use harness::{Server, escape, eventually};
use matrix_sdk::room::reply::{EnforceThread, Reply};
use matrix_sdk::room::{IncludeRelations, ListThreadsOptions, RelationsOptions};
use matrix_sdk::ruma::api::client::receipt::create_receipt::v3::ReceiptType as Sent;
use matrix_sdk::ruma::events::receipt::{ReceiptThread, ReceiptType};
use matrix_sdk::ruma::events::relation::RelationType;
use matrix_sdk::ruma::events::room::message::{
    AddMentions, ReplyWithinThread, RoomMessageEventContent, RoomMessageEventContentWithoutRelation,
};
use matrix_sdk::ruma::{EventId, OwnedEventId, RoomId};
use serde_json::json;

use crate::device::{Device, PATIENCE};

/// Says something in a thread.
async fn answer(device: &Device, room: &RoomId, root: &EventId, text: &str) -> OwnedEventId {
    let content = RoomMessageEventContentWithoutRelation::text_plain(text);
    let reply = Reply {
        event_id: root.to_owned(),
        enforce_thread: EnforceThread::Threaded(ReplyWithinThread::No),
        add_mentions: AddMentions::No,
    };
    let content = device.room(room).make_reply_event(content, reply).await;
    device.sends(room, content.expect("a reply")).await
}

async fn read(device: &Device, room: &RoomId, event: &EventId, kind: Sent, thread: ReceiptThread) {
    let room = device.room(room);
    let sent = room.send_single_receipt(kind, thread, event.to_owned());
    sent.await.expect("the receipt");
}

/// How many messages a person has not read: outside of threads, and in this one.
async fn unread(device: &Device, room: &RoomId, root: &EventId) -> (u64, u64) {
    let filter = json!({ "room": {
        "rooms": [room],
        "timeline": { "unread_thread_notifications": true, "limit": 1 },
    } });
    let path = format!("v3/sync?timeout=0&filter={}", escape(&filter.to_string()));
    let synced = device.api().get(path).await.ok();
    let room = &synced["rooms"]["join"][room.as_str()];
    let count = |of: &serde_json::Value| of["notification_count"].as_u64().unwrap_or(0);
    let threads = &room["unread_thread_notifications"];
    (
        count(&room["unread_notifications"]),
        count(&threads[root.as_str()]),
    )
}

/// How far somebody has read, as another person's device knows it.
async fn sees_read(
    viewer: &Device,
    room: &RoomId,
    reader: &Device,
    thread: &ReceiptThread,
    event: &EventId,
) {
    let what = format!("{} sees how far {} read", viewer.name, reader.name);
    eventually(&what, PATIENCE, async || {
        let room = viewer.room(room);
        let reader = reader.user_id();
        let receipt = room.load_user_receipt(ReceiptType::Read, thread.clone(), &reader);
        let (id, _) = receipt.await.expect("the store")?;
        (id == event).then_some(())
    })
    .await;
}

async fn they_talk_in_threads(is_encrypted: bool) {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let room = if is_encrypted {
        alice.encrypted_room(&[&bob]).await
    } else {
        alice.plain_room(&[&bob]).await
    };
    bob.accept(&room).await;
    for device in [&alice, &bob] {
        device.knows_members(&room, &[&alice, &bob]).await;
    }
    let text = RoomMessageEventContent::text_plain;
    let lunch = alice.sends(&room, text("lunch")).await;
    let budget = alice.sends(&room, text("the budget")).await;
    bob.hears_of(&room, &budget).await;
    assert_eq!(unread(&alice, &room, &lunch).await, (0, 0));
    answer(&bob, &room, &lunch, "soup").await;
    let beside = bob.sends(&room, text("good morning")).await;
    answer(&bob, &room, &budget, "too small").await;
    let bread = answer(&bob, &room, &lunch, "and bread").await;
    alice.hears_of(&room, &bread).await;

    // The thread that was answered last comes first, with its newest message.
    let all = ListThreadsOptions::default();
    let threads = alice.room(&room).list_threads(all).await;
    let threads = threads.expect("the threads").chunk;
    let listed: Vec<_> = threads.iter().map(|root| root.event_id()).collect();
    assert_eq!(listed, [Some(lunch.clone()), Some(budget.clone())]);
    let summary = threads[0].thread_summary.summary().expect("a summary");
    assert_eq!(summary.num_replies, 2);
    let latest = threads[0].bundled_latest_thread_event.as_ref();
    let latest = latest.expect("the newest message of the thread");
    assert_eq!(latest.event_id(), Some(bread.clone()));
    assert_eq!(latest.encryption_info().is_some(), is_encrypted);
    let content = latest.raw().get_field::<serde_json::Value>("content");
    let content = content.expect("an event").expect("a content");
    assert_eq!(content["body"], "and bread");

    let options = RelationsOptions {
        include_relations: IncludeRelations::RelationsOfType(RelationType::Thread),
        ..RelationsOptions::default()
    };
    let thread = alice.room(&room).relations(lunch.clone(), options).await;
    let texts: Vec<_> = thread
        .expect("the thread")
        .chunk
        .iter()
        .map(|event| event.raw().get_field::<serde_json::Value>("content"))
        .map(|content| content.expect("an event").expect("a content")["body"].clone())
        .collect();
    assert_eq!(texts, ["and bread", "soup"]);

    how_far_they_read(&alice, &bob, &room, [&lunch, &bread, &budget, &beside]).await;
}

async fn how_far_they_read(
    alice: &Device,
    bob: &Device,
    room: &RoomId,
    [lunch, bread, budget, beside]: [&EventId; 4],
) {
    // Each thread is read for itself.
    let in_lunch = ReceiptThread::Thread(lunch.to_owned());
    assert_eq!(unread(alice, room, lunch).await, (1, 2));
    assert_eq!(unread(alice, room, budget).await, (1, 1));
    read(alice, room, bread, Sent::Read, in_lunch.clone()).await;
    assert_eq!(unread(alice, room, lunch).await, (1, 0));
    assert_eq!(unread(alice, room, budget).await, (1, 1));
    sees_read(bob, room, alice, &in_lunch, bread).await;
    read(alice, room, beside, Sent::Read, ReceiptThread::Main).await;
    assert_eq!(unread(alice, room, budget).await, (0, 1));
    sees_read(bob, room, alice, &ReceiptThread::Main, beside).await;
    sees_read(bob, room, alice, &in_lunch, bread).await;

    // In private nobody else sees it, but it counts; without a thread it is for all.
    let secret = bob
        .sends(room, RoomMessageEventContent::text_plain("hm"))
        .await;
    let last = answer(bob, room, budget, "far too small").await;
    alice.hears_of(room, &last).await;
    assert_eq!(unread(alice, room, budget).await, (1, 2));
    let privately = Sent::ReadPrivate;
    read(alice, room, &last, privately, ReceiptThread::Unthreaded).await;
    assert_eq!(unread(alice, room, budget).await, (0, 0));
    // What comes after a receipt has come after it: so bob would have seen this one.
    let signal = alice
        .sends(room, RoomMessageEventContent::text_plain("well"))
        .await;
    bob.hears_of(room, &signal).await;
    for event in [&secret, &last] {
        for thread in [ReceiptThread::Main, ReceiptThread::Unthreaded] {
            let room = bob.room(room);
            let seen = room
                .load_event_receipts(ReceiptType::Read, thread, event)
                .await;
            assert_eq!(
                seen.expect("the store").len(),
                0,
                "bob sees what is private"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_in_threads() {
    they_talk_in_threads(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_in_threads_in_private() {
    they_talk_in_threads(true).await;
}
