//! Reactions, edits and polls, in the clear and encrypted: what the people in the room
//! see of them, and what somebody sees who asks later.

use std::collections::BTreeMap;

use harness::{Server, eventually};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::room::edit::EditedContent;
use matrix_sdk::room::{IncludeRelations, RelationsOptions};
use matrix_sdk::ruma::events::poll::compile_unstable_poll_results;
use matrix_sdk::ruma::events::poll::unstable_end::UnstablePollEndEventContent;
use matrix_sdk::ruma::events::poll::unstable_response::{
    OriginalSyncUnstablePollResponseEvent, UnstablePollResponseEventContent,
};
use matrix_sdk::ruma::events::poll::unstable_start::{
    NewUnstablePollStartEventContent, UnstablePollAnswer, UnstablePollStartContentBlock,
    UnstablePollStartEventContent,
};
use matrix_sdk::ruma::events::reaction::ReactionEventContent;
use matrix_sdk::ruma::events::relation::{Annotation, RelationType};
use matrix_sdk::ruma::events::room::message::{
    RoomMessageEventContent, RoomMessageEventContentWithoutRelation,
};
use matrix_sdk::ruma::{EventId, OwnedEventId, RoomId};
use serde_json::Value;

use crate::device::{Device, PATIENCE};

/// An event's JSON, decrypted where it came encrypted.
fn json(event: &TimelineEvent) -> Value {
    serde_json::from_str(event.raw().json().get()).expect("an event")
}

/// All that relates to an event in one way, oldest first.
async fn related(device: &Device, room: &RoomId, to: &EventId, how: RelationType) -> Vec<Value> {
    let mut options = RelationsOptions {
        // So few that there are several pages.
        limit: Some(2_u32.into()),
        include_relations: IncludeRelations::RelationsOfType(how),
        ..RelationsOptions::default()
    };
    let mut events = Vec::new();
    loop {
        let room = device.room(room);
        let page = room.relations(to.to_owned(), options.clone()).await;
        let page = page.expect("what relates to the event");
        events.extend(page.chunk.iter().map(json));
        options.from = page.next_batch_token;
        if options.from.is_none() {
            events.reverse();
            return events;
        }
    }
}

async fn react(device: &Device, room: &RoomId, to: &EventId, key: &str) -> OwnedEventId {
    let annotation = Annotation::new(to.to_owned(), key.to_owned());
    device
        .sends(room, ReactionEventContent::new(annotation))
        .await
}

/// Who reacted with what.
async fn reactions(device: &Device, room: &RoomId, to: &EventId) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = related(device, room, to, RelationType::Annotation).await;
    let reaction = |event: &Value| {
        let key = &event["content"]["m.relates_to"]["key"];
        (text(&event["sender"]), text(key))
    };
    events.iter().map(reaction).collect()
}

async fn correct(device: &Device, room: &RoomId, id: &EventId, text: &str) -> OwnedEventId {
    let content = RoomMessageEventContentWithoutRelation::text_plain(text);
    let content = EditedContent::RoomMessage(content);
    let edit = device.room(room).make_edit_event(id, content).await;
    device.sends(room, edit.expect("an edit")).await
}

/// The text of a message as somebody sees it who asks for it now: that of the bundled
/// edit, if there is one.
async fn text_now(device: &Device, room: &RoomId, id: &EventId) -> Value {
    let event = device.room(room).event(id, None).await;
    let event = json(&event.expect("the event"));
    let edit = &event["unsigned"]["m.relations"]["m.replace"];
    if edit.is_null() {
        event["content"]["body"].clone()
    } else {
        edit["content"]["m.new_content"]["body"].clone()
    }
}

/// Three people in a room.
async fn meet(url: &str, is_encrypted: bool) -> ([Device; 3], matrix_sdk::ruma::OwnedRoomId) {
    let alice = Device::register(url, "alice").await;
    let bob = Device::register(url, "bob").await;
    let carol = Device::register(url, "carol").await;
    let room = if is_encrypted {
        alice.encrypted_room(&[&bob, &carol]).await
    } else {
        alice.plain_room(&[&bob, &carol]).await
    };
    bob.accept(&room).await;
    carol.accept(&room).await;
    let people = [alice, bob, carol];
    for device in &people {
        device.knows_members(&room, &people.each_ref()).await;
    }
    (people, room)
}

async fn they_react_and_correct_themselves(is_encrypted: bool) {
    let server = Server::start();
    let ([alice, bob, carol], room) = meet(&server.url(), is_encrypted).await;
    let text = RoomMessageEventContent::text_plain("we meet at nine");
    let message = alice.sends(&room, text).await;
    for device in [&bob, &carol] {
        let heard = device.hears_of(&room, &message).await;
        assert_eq!(heard["content"]["body"], "we meet at nine");
    }

    let thumb = react(&bob, &room, &message, "👍").await;
    let late = react(&carol, &room, &message, "🕘").await;
    let again = react(&carol, &room, &message, "👍").await;
    for reaction in [&thumb, &late, &again] {
        let heard = alice.hears_of(&room, reaction).await;
        let relation = &heard["content"]["m.relates_to"];
        assert_eq!(relation["event_id"], message.as_str());
    }
    let by = |device: &Device, key: &str| (device.user_id().to_string(), key.to_owned());
    let all = [by(&bob, "👍"), by(&carol, "🕘"), by(&carol, "👍")];
    assert_eq!(reactions(&alice, &room, &message).await, all);
    let taken_back = carol.room(&room).redact(&late, None, None).await;
    let taken_back = taken_back.expect("the redaction").event_id;
    alice.hears_of(&room, &taken_back).await;
    let left = [by(&bob, "👍"), by(&carol, "👍")];
    assert_eq!(reactions(&alice, &room, &message).await, left);

    for text in ["we meet at ten", "we meet at half past ten"] {
        let edit = correct(&alice, &room, &message, text).await;
        let heard = bob.hears_of(&room, &edit).await;
        assert_eq!(heard["content"]["m.new_content"]["body"], text);
        assert_eq!(text_now(&carol, &room, &message).await, text);
    }
    // Nobody's words are changed by somebody else.
    let forged = RoomMessageEventContent::text_plain("we do not meet").make_replacement(
        matrix_sdk::ruma::events::room::message::ReplacementMetadata::new(message.clone(), None),
    );
    let forged = bob.sends(&room, forged).await;
    carol.hears_of(&room, &forged).await;
    assert_eq!(
        text_now(&carol, &room, &message).await,
        "we meet at half past ten"
    );
    // Without its last edit the message is what it was before.
    let edits = related(&carol, &room, &message, RelationType::Replacement).await;
    let last = edits
        .iter()
        .rfind(|edit| edit["sender"] == alice.user_id().as_str());
    let last = last.expect("an edit")["event_id"].as_str().expect("an id");
    let last = EventId::parse(last).expect("an id");
    let taken_back = alice.room(&room).redact(&last, None, None).await;
    taken_back.expect("the redaction");
    assert_eq!(text_now(&carol, &room, &message).await, "we meet at ten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_react_and_correct_themselves() {
    they_react_and_correct_themselves(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_react_and_correct_themselves_in_private() {
    they_react_and_correct_themselves(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_vote_in_private() {
    let server = Server::start();
    let ([alice, bob, carol], room) = meet(&server.url(), true).await;
    let everybody = [&alice, &bob, &carol];
    let answers = ["tea", "coffee"].map(|answer| UnstablePollAnswer::new(answer, answer));
    let answers = answers.to_vec().try_into().expect("answers");
    let poll = UnstablePollStartContentBlock::new("What do we drink?", answers);
    let start = NewUnstablePollStartEventContent::plain_text("What do we drink?", poll.clone());
    let start = alice
        .sends(&room, UnstablePollStartEventContent::New(start))
        .await;
    for device in everybody {
        let heard = device.hears_of(&room, &start).await;
        let question = &heard["content"]["org.matrix.msc3381.poll.start"]["question"];
        assert_eq!(question["org.matrix.msc1767.text"], "What do we drink?");
    }

    let vote = async |device: &Device, answer: &str| {
        let answers = vec![answer.to_owned()];
        let response = UnstablePollResponseEventContent::new(answers, start.clone());
        device.sends(&room, response).await
    };
    vote(&alice, "tea").await;
    vote(&bob, "tea").await;
    vote(&carol, "coffee").await;
    tally(
        &everybody,
        &room,
        &start,
        &poll,
        &[("coffee", 1), ("tea", 2)],
    )
    .await;
    vote(&bob, "coffee").await;
    tally(
        &everybody,
        &room,
        &start,
        &poll,
        &[("coffee", 2), ("tea", 1)],
    )
    .await;
    let end = UnstablePollEndEventContent::new("coffee", start.clone());
    let end = alice.sends(&room, end).await;
    bob.hears_of(&room, &end).await;
    // A vote that comes too late does not count.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let late = vote(&alice, "coffee").await;
    carol.hears_of(&room, &late).await;
    tally(
        &everybody,
        &room,
        &start,
        &poll,
        &[("coffee", 2), ("tea", 1)],
    )
    .await;
}

/// Waits until everybody counts so many votes, from what the server says relates to the
/// poll.
async fn tally(
    devices: &[&Device],
    room: &RoomId,
    start: &EventId,
    poll: &UnstablePollStartContentBlock,
    expected: &[(&str, usize)],
) {
    for device in devices {
        let what = format!("{} counts {expected:?}", device.name);
        eventually(&what, PATIENCE, async || {
            let events = related(device, room, start, RelationType::Reference).await;
            let end = events.iter().find_map(|event| {
                let is_end = event["type"] == "org.matrix.msc3381.poll.end";
                is_end.then(|| serde_json::from_value(event["origin_server_ts"].clone()).ok())?
            });
            let votes: Vec<OriginalSyncUnstablePollResponseEvent> = events
                .into_iter()
                .filter_map(|event| serde_json::from_value(event).ok())
                .collect();
            let votes = votes.iter().map(|vote| vote.data());
            let results = compile_unstable_poll_results(poll, votes, end);
            let mut counted = BTreeMap::new();
            for (answer, voters) in &results {
                counted.insert(*answer, voters.len());
            }
            (counted == expected.iter().copied().collect()).then_some(())
        })
        .await;
    }
}
