//! A person who has lost every device gets the old messages back with a recovery key.

use harness::{Server, eventually};
use matrix_sdk::deserialized_responses::TimelineEvent;
use matrix_sdk::encryption::recovery::RecoveryState;
use matrix_sdk::ruma::RoomId;

use crate::device::{Device, PATIENCE};

/// More than one page of history.
const MESSAGES: usize = 25;

/// The texts that a device can read of what the server has.
pub(crate) async fn readable(device: &Device, room: &RoomId) -> Vec<String> {
    let text = |event: &TimelineEvent| {
        event.encryption_info()?;
        let content = event.raw().get_field::<serde_json::Value>("content");
        content.ok()??["body"].as_str().map(str::to_owned)
    };
    let history = device.history(room).await;
    history.iter().filter_map(text).collect()
}

/// Two people who have talked; the first has made a recovery key, which is returned with
/// what was said.
pub(crate) async fn talk_and_prepare(
    alice: &Device,
    bob: &Device,
    room: &RoomId,
) -> (String, Vec<String>) {
    let mut said = Vec::new();
    for number in 0..MESSAGES {
        let (speaker, listener) = if number % 2 == 0 {
            (alice, bob)
        } else {
            (bob, alice)
        };
        let text = format!("message {number}");
        speaker.say(room, &text).await;
        listener.reads(room, &text).await;
        said.push(text);
    }
    let recovery = alice.client.encryption().recovery();
    let enabling = recovery.enable().wait_for_backups_to_upload();
    let recovery_key = enabling.await.expect("a recovery key");
    assert_eq!(recovery.state(), RecoveryState::Enabled);

    // What comes later goes into the backup by itself, in a session that is new.
    bob.room(room)
        .discard_room_key()
        .await
        .expect("a new session");
    bob.say(room, "after the key was made").await;
    alice.reads(room, "after the key was made").await;
    said.push("after the key was made".to_owned());
    let backups = alice.client.encryption().backups();
    backups.wait_for_steady_state().await.expect("the backup");
    (recovery_key, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_without_devices_recovers_the_old_messages() {
    let server = Server::start();
    let url = server.url();
    let laptop = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    laptop.set_up_cross_signing().await;
    let room = laptop.direct_room(&bob).await;
    bob.accept(&room).await;
    for device in [&laptop, &bob] {
        device.sees_in(&room, &[&laptop, &bob]).await;
    }
    let (recovery_key, said) = talk_and_prepare(&laptop, &bob, &room).await;

    // One device is signed out, the other lies in a river.
    let lost = Device::sign_in(&url, "alice").await;
    let lost_id = lost.device_id();
    drop(lost);
    laptop.client.logout().await.expect("signing out");
    drop(laptop);

    let phone = Device::sign_in(&url, "alice").await;
    phone.sees_in(&room, &[&phone, &bob]).await;
    assert_eq!(readable(&phone, &room).await, [""; 0]);
    assert!(!is_verified(&phone).await);
    let recovery = phone.client.encryption().recovery();
    eventually("the phone asks for recovery", PATIENCE, async || {
        (recovery.state() == RecoveryState::Incomplete).then_some(())
    })
    .await;
    let wrong = recovery.recover("EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d");
    assert!(wrong.await.is_err(), "another key opened the secrets");
    assert_eq!(readable(&phone, &room).await, [""; 0]);

    recovery.recover(&recovery_key).await.expect("recovery");
    assert_eq!(recovery.state(), RecoveryState::Enabled);
    eventually("the old messages", PATIENCE, async || {
        (readable(&phone, &room).await == said).then_some(())
    })
    .await;
    assert!(is_verified(&phone).await);
    let (alice, new) = (phone.user_id(), phone.device_id());
    eventually("bob sees the phone as hers", PATIENCE, async || {
        let encryption = bob.client.encryption();
        let seen = encryption.get_device(&alice, &new).await.ok()??;
        seen.is_cross_signed_by_owner().then_some(())
    })
    .await;

    // The conversation goes on, and the lost device is put out.
    phone.say(&room, "here I am again").await;
    bob.reads(&room, "here I am again").await;
    bob.say(&room, "welcome back").await;
    phone.reads(&room, "welcome back").await;
    let password = Some(phone.password(None));
    let deleting = phone.client.delete_devices(&[lost_id], password).await;
    deleting.expect("the deletion of the lost device");
    let devices = phone.client.devices().await.expect("the own devices");
    assert_eq!(devices.devices.len(), 1);
}

/// Whether a device holds itself for signed by its owner.
async fn is_verified(device: &Device) -> bool {
    let encryption = device.client.encryption();
    let own = encryption.get_own_device().await.expect("the store");
    let own = own.expect("the own device");
    own.is_verified() && own.is_cross_signed_by_owner()
}
