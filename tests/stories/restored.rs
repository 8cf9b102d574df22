//! The conversation goes on after the server was lost and restored from a backup.

use std::path::Path;

use harness::{Server, eventually};

use crate::device::{Device, PATIENCE};
use crate::recovery::{readable, talk_and_prepare};

/// Takes everything away that the server had, and lays a backup out in its place.
fn lose_and_restore(server: &mut Server, backups: &str) {
    server.stop();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    let restored = server.cairn_json(&["backup", "restore", backups]);
    assert!(restored["lost_seconds"].is_u64(), "{restored}");
    server.restart();
}

fn back_up(server: &Server, to: &Path) {
    let made = server.cairn_json(&["backup", "create", to.to_str().unwrap()]);
    assert_eq!(made["damaged"], serde_json::json!([]), "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_go_on_and_read_the_past_after_a_restore() {
    let mut server = Server::start();
    let url = server.url();
    let laptop = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    laptop.set_up_cross_signing().await;
    let room = laptop.direct_room(&bob).await;
    bob.accept(&room).await;
    for device in [&laptop, &bob] {
        device.sees_in(&room, &[&laptop, &bob]).await;
    }
    let (recovery_key, mut said) = talk_and_prepare(&laptop, &bob, &room).await;

    // The backup is made while bob writes.
    let backups = tempfile::tempdir().unwrap();
    let to = backups.path();
    let writing = async {
        for number in 0..20 {
            bob.say(&room, &format!("meanwhile {number}")).await;
        }
    };
    let backing_up = async { tokio::task::block_in_place(|| back_up(&server, to)) };
    tokio::join!(writing, backing_up);
    tokio::task::block_in_place(|| back_up(&server, to));
    said.extend((0..20).map(|number| format!("meanwhile {number}")));
    laptop.reads(&room, "meanwhile 19").await;
    bob.say(&room, "lost with the server").await;
    laptop.reads(&room, "lost with the server").await;
    let backups = laptop.client.encryption().backups();
    backups.wait_for_steady_state().await.expect("the backup");
    tokio::task::block_in_place(|| lose_and_restore(&mut server, to.to_str().unwrap()));

    // Who was there goes on, in both directions, with the devices of before.
    laptop.say(&room, "are you still there?").await;
    bob.reads(&room, "are you still there?").await;
    bob.say(&room, "I am").await;
    laptop.reads(&room, "I am").await;
    said.extend(["are you still there?", "I am"].map(str::to_owned));
    assert_eq!(readable(&laptop, &room).await, said);
    assert_eq!(readable(&bob, &room).await, said);

    // Who comes now reads the past with the recovery key.
    let phone = Device::sign_in(&url, "alice").await;
    phone.sees_in(&room, &[&phone, &bob]).await;
    let recovery = phone.client.encryption().recovery();
    recovery.recover(&recovery_key).await.expect("recovery");
    let wanted = &said[..said.len() - 2];
    eventually("the past on a new device", PATIENCE, async || {
        let found = readable(&phone, &room).await;
        wanted.iter().all(|text| found.contains(text)).then_some(())
    })
    .await;
    bob.say(&room, "and for the phone").await;
    phone.reads(&room, "and for the phone").await;
}
