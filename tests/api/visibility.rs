//! History visibility, on every path by which an event can be read.

use harness::{Answer, User, escape};
use serde_json::json;

use crate::server;

/// A room with this visibility. Alice said `early` before bob was invited, `between`
/// while he was invited, `within` while he was there and `late` after he left.
struct Story {
    room: String,
    bob: User,
    stranger: User,
    early: String,
    between: String,
    within: String,
    late: String,
}

const WORDS: [&str; 4] = ["said-early", "said-between", "said-within", "said-late"];

async fn story(visibility: &str) -> Story {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let state = json!([{
        "type": "m.room.history_visibility", "content": { "history_visibility": visibility },
    }]);
    let room = alice.create_room(json!({ "initial_state": state })).await;
    let early = alice.say(&room, WORDS[0]).await;
    alice.invite(&room, &bob).await;
    let between = alice.say(&room, WORDS[1]).await;
    bob.join(&room).await;
    let within = alice.say(&room, WORDS[2]).await;
    bob.leave(&room).await;
    let late = alice.say(&room, WORDS[3]).await;
    let stranger = api.register("stranger").await;
    Story {
        room,
        bob,
        stranger,
        early,
        between,
        within,
        late,
    }
}

/// Which of the four messages an answer shows.
fn shown(answer: &Answer) -> [bool; 4] {
    WORDS.map(|word| answer.text.contains(word))
}

impl Story {
    /// Asserts on each path that bob sees just the messages of `expected`, and of what
    /// was said after he left only as much as `expected` allows.
    async fn bob_sees(&self, expected: [bool; 4]) {
        let allowed = |answer: &Answer| {
            let seen = shown(answer);
            seen[..3] == expected[..3] && (expected[3] || !seen[3])
        };
        let room = &self.room;
        let ids = [&self.early, &self.between, &self.within, &self.late];
        for (id, visible) in ids.iter().zip(expected) {
            for path in [
                format!("v3/rooms/{room}/event/{id}"),
                format!("v3/rooms/{room}/context/{id}?limit=0"),
            ] {
                let answer = self.bob.get(&path).await;
                assert_eq!(answer.status == 200, visible, "{answer:?}");
                assert!(visible || [403, 404].contains(&answer.status), "{answer:?}");
            }
        }
        let around = self
            .bob
            .get(format!("v3/rooms/{room}/context/{}?limit=100", self.within))
            .await;
        assert!(allowed(&around), "{around:?}");
        for direction in ["b", "f"] {
            let path = format!("v3/rooms/{room}/messages?dir={direction}&limit=100");
            let page = self.bob.get(path).await;
            assert_eq!(page.status, 200, "{page:?}");
            assert!(allowed(&page), "{page:?}");
        }
        let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": 100 } } });
        let path = format!("v3/sync?timeout=0&filter={}", escape(&filter.to_string()));
        let synced = self.bob.get(path).await;
        let allowed = shown(&synced)
            .into_iter()
            .zip(expected)
            .all(|(seen, may)| may || !seen);
        assert!(allowed, "{synced:?}");
    }

    /// Asserts on each path that somebody who was never there sees nothing.
    async fn a_stranger_sees_nothing(&self) {
        let room = &self.room;
        for path in [
            format!("v3/rooms/{room}/event/{}", self.within),
            format!("v3/rooms/{room}/context/{}", self.within),
            format!("v3/rooms/{room}/messages?dir=b"),
            format!("v3/rooms/{room}/state"),
            format!("v3/rooms/{room}/members"),
        ] {
            let answer = self.stranger.get(&path).await;
            assert!([403, 404].contains(&answer.status), "{answer:?}");
            assert_eq!(shown(&answer), [false; 4]);
        }
    }
}

#[tokio::test]
async fn shared_history_is_for_members_from_the_beginning() {
    let story = story("shared").await;
    story.bob_sees([true, true, true, false]).await;
    story.a_stranger_sees_nothing().await;
}

#[tokio::test]
async fn invited_history_begins_with_the_invitation() {
    let story = story("invited").await;
    story.bob_sees([false, true, true, false]).await;
    story.a_stranger_sees_nothing().await;
}

#[tokio::test]
async fn joined_history_begins_with_joining() {
    let story = story("joined").await;
    story.bob_sees([false, false, true, false]).await;
    story.a_stranger_sees_nothing().await;
}

#[tokio::test]
async fn world_readable_history_is_for_everybody() {
    let story = story("world_readable").await;
    story.bob_sees([true, true, true, true]).await;
    let room = &story.room;
    let event = story.stranger.event(room, &story.early).await.ok();
    assert_eq!(event["content"]["body"], WORDS[0]);
    let page = story
        .stranger
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await;
    assert_eq!(shown(&page), [true; 4], "{page:?}");
    story.stranger.state(room, "m.room.create", "").await.ok();
    let path = format!("v3/rooms/{room}/context/{}", story.within);
    assert_eq!(story.stranger.get(path).await.status, 200);
}

#[tokio::test]
async fn somebody_who_was_only_invited_reads_from_there_where_that_is_allowed() {
    let api = server();
    for (visibility, readable) in [("shared", false), ("invited", true), ("joined", false)] {
        let (alice, bob) = (api.register("alice").await, api.register("bob").await);
        let state = json!([{
            "type": "m.room.history_visibility", "content": { "history_visibility": visibility },
        }]);
        let options = json!({ "initial_state": state, "invite": [bob.user_id] });
        let room = alice.create_room(options).await;
        let said = alice.say(&room, "hello").await;
        let answer = bob.event(&room, &said).await;
        // While not joined, a server may show less than the rule would allow.
        assert!(readable || answer.status != 200, "{visibility}: {answer:?}");
        let page = bob.get(format!("v3/rooms/{room}/messages?dir=b")).await;
        page.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn each_message_keeps_the_rule_it_was_sent_under() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let rule = async |visibility: &str| {
        let content = json!({ "history_visibility": visibility });
        alice
            .set_state(&room, "m.room.history_visibility", "", content)
            .await
    };
    let open = alice.say(&room, "open").await;
    rule("joined").await;
    let closed = alice.say(&room, "closed").await;
    rule("shared").await;
    let again = alice.say(&room, "open again").await;
    bob.join(&room).await;
    bob.event(&room, &open).await.ok();
    let hidden = bob.event(&room, &closed).await;
    assert!([403, 404].contains(&hidden.status), "{hidden:?}");
    bob.event(&room, &again).await.ok();
    let page = bob
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=50"))
        .await;
    assert!(!page.text.contains("\"closed\""), "{page:?}");
}

#[tokio::test]
async fn the_first_sync_of_a_newcomer_hides_what_was_before() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let state = json!([{
        "type": "m.room.history_visibility", "content": { "history_visibility": "joined" },
    }]);
    let room = alice
        .create_room(json!({ "preset": "public_chat", "initial_state": state }))
        .await;
    alice.say(&room, "before-bob").await;
    let nothing = bob.sync().await;
    bob.join(&room).await;
    alice.say(&room, "after-bob").await;
    for synced in [bob.sync().await, bob.sync_since(&nothing).await] {
        let text = synced.joined(&room).to_string();
        assert!(text.contains("after-bob"), "{text}");
        assert!(!text.contains("before-bob"), "{text}");
    }
}

#[tokio::test]
async fn the_kicked_do_not_read_on() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    alice.act_on("ban", &room, &bob).await.ok();
    alice.say(&room, "among-ourselves").await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "secret-name" }))
        .await;
    let filter = escape(&json!({ "room": { "include_leave": true } }).to_string());
    for path in [
        format!("v3/sync?timeout=0&since={}", before.next_batch()),
        format!("v3/sync?timeout=0&filter={filter}"),
        format!(
            "v3/sync?timeout=0&full_state=true&filter={filter}&since={}",
            before.next_batch()
        ),
        format!("v3/rooms/{room}/messages?dir=b&limit=50"),
        format!(
            "v3/rooms/{room}/messages?dir=f&limit=50&from={}",
            before.next_batch()
        ),
        format!("v3/rooms/{room}/state"),
        format!("v3/rooms/{room}/members"),
    ] {
        let answer = bob.get(&path).await;
        assert!(!answer.text.contains("among-ourselves"), "{answer:?}");
        assert!(!answer.text.contains("secret-name"), "{answer:?}");
    }
}
