//! The conversation goes on after the server was killed in the middle of it.

use std::time::Duration;

use harness::Server;

use crate::device::Device;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_survives_kills_in_the_middle_of_it() {
    let mut server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let bobs_phone = Device::sign_in(&url, "bob").await;
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    for device in [&alice, &bob, &bobs_phone] {
        device.sees_in(&room, &[&alice, &bob]).await;
    }
    alice.say(&room, "hello bob").await;
    bob.reads(&room, "hello bob").await;
    bob.say(&room, "hello alice").await;
    alice.reads(&room, "hello alice").await;

    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let talking = async {
            let mut said = Vec::new();
            for number in 0..1_000 {
                let text = format!("round {round}, message {number}");
                match alice.try_say(&room, &text).await {
                    Ok(_) => said.push(text),
                    Err(_) => break,
                }
            }
            said
        };
        let killing = async {
            tokio::time::sleep(Duration::from_millis(700 + 300 * round)).await;
            tokio::task::block_in_place(|| server.kill9());
        };
        let (said, ()) = tokio::join!(talking, killing);
        assert!(!said.is_empty(), "the kill came before the first message");
        acknowledged.extend(said);
        tokio::task::block_in_place(|| server.restart());

        // The other goes on first, then the one who was interrupted.
        let (answer, again) = (format!("answer {round}"), format!("again {round}"));
        bob.say(&room, &answer).await;
        alice.say(&room, &again).await;
        alice.reads(&room, &answer).await;
        for listener in [&bob, &bobs_phone] {
            listener.reads(&room, &again).await;
            for text in &acknowledged {
                listener.reads(&room, text).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_message_sent_just_before_a_kill_is_read_by_who_comes_later() {
    let mut server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    alice.sees_in(&room, &[&alice, &bob]).await;
    // The keys go from device to device just before the message: all of it must hold.
    alice.say(&room, "sent and killed").await;
    tokio::task::block_in_place(|| server.kill9());
    tokio::task::block_in_place(|| server.restart());
    bob.reads(&room, "sent and killed").await;
}
