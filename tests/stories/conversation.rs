//! Two people with two devices each, and three in a group, talk encrypted.

use harness::Server;

use crate::device::Device;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_with_two_devices_each_talk_in_private() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let alices_phone = Device::sign_in(&url, "alice").await;
    let bobs_phone = Device::sign_in(&url, "bob").await;
    let all = [&alice, &alices_phone, &bob, &bobs_phone];

    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    for device in all {
        device.sees_in(&room, &[&alice, &bob]).await;
    }
    for (number, speaker) in all.into_iter().enumerate() {
        let text = format!("message {number} from {}", speaker.name);
        speaker.say(&room, &text).await;
        for listener in all {
            listener.reads(&room, &text).await;
        }
    }
    nothing_is_in_the_clear(
        &server,
        &["message 0", "message 1", "message 2", "message 3"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_people_talk_in_a_group() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let carol = Device::register(&url, "carol").await;
    let all = [&alice, &bob, &carol];

    let room = alice.encrypted_room(&[&bob, &carol]).await;
    bob.accept(&room).await;
    carol.accept(&room).await;
    for device in all {
        device.sees_in(&room, &all).await;
    }
    for round in 0..3 {
        for speaker in all {
            let text = format!("round {round} from {}", speaker.name);
            speaker.say(&room, &text).await;
            for listener in all {
                listener.reads(&room, &text).await;
            }
        }
    }
    nothing_is_in_the_clear(&server, &["round 0", "round 1", "round 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_joins_later_reads_on_from_there() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    alice.sees_in(&room, &[&alice, &bob]).await;
    alice.say(&room, "before the phone").await;
    bob.reads(&room, "before the phone").await;

    let phone = Device::sign_in(&url, "bob").await;
    phone.sees_in(&room, &[&alice, &bob]).await;
    let (id, device) = (bob.user_id(), phone.device_id());
    harness::eventually(
        "alice knows the phone",
        crate::device::PATIENCE,
        async || {
            alice
                .client
                .encryption()
                .get_device(&id, &device)
                .await
                .ok()?
        },
    )
    .await;
    alice.say(&room, "after the phone").await;
    for listener in [&bob, &phone] {
        listener.reads(&room, "after the phone").await;
    }
    assert!(
        !phone.has_read(&room, "before the phone"),
        "its keys were never shared with it"
    );
}

/// Nothing of what was said stands readable in the data folder.
pub(crate) fn nothing_is_in_the_clear(server: &Server, words: &[&str]) {
    let mut folders = vec![server.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the data folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            for word in words {
                let found = bytes
                    .windows(word.len())
                    .any(|part| part == word.as_bytes());
                assert!(!found, "{word:?} stands in {}", path.display());
            }
        }
    }
}
