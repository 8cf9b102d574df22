//! People and devices verify each other by comparing emoji.

use harness::{Server, eventually};
use matrix_sdk::encryption::CrossSigningResetAuthType;
use matrix_sdk::encryption::verification::{
    SasVerification, VerificationRequest, VerificationRequestState,
};

use crate::device::{Device, PATIENCE};

/// Both sides look at seven emoji, find them equal and say so.
async fn compare_emoji(ours: VerificationRequest, theirs: VerificationRequest) {
    theirs.accept().await.expect("accepting the request");
    eventually("the request is ready", PATIENCE, async || {
        ours.is_ready().then_some(())
    })
    .await;
    let our_sas = ours
        .start_sas()
        .await
        .expect("starting")
        .expect("a verification");
    let their_sas: SasVerification =
        eventually("the start", PATIENCE, async || match theirs.state() {
            VerificationRequestState::Transitioned { verification } => verification.sas(),
            _ => None,
        })
        .await;
    their_sas.accept().await.expect("accepting the start");
    let symbols = async |sas: &SasVerification| {
        eventually("the emoji", PATIENCE, async || sas.emoji())
            .await
            .map(|emoji| emoji.symbol)
    };
    assert_eq!(symbols(&our_sas).await, symbols(&their_sas).await);
    our_sas.confirm().await.expect("confirming");
    their_sas.confirm().await.expect("confirming");
    for sas in [&our_sas, &their_sas] {
        eventually("the verification is done", PATIENCE, async || {
            assert!(!sas.is_cancelled(), "{:?}", sas.cancel_info());
            sas.is_done().then_some(())
        })
        .await;
    }
}

/// Whether `viewer` holds the person behind `other` for verified.
async fn trusts(viewer: &Device, other: &Device) -> bool {
    let identity = viewer
        .client
        .encryption()
        .get_user_identity(&other.user_id())
        .await;
    identity
        .expect("the client's store")
        .is_some_and(|identity| identity.is_verified())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_verify_each_other() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    verify_each_other(&alice, &bob).await;
}

/// Two people come into a room and verify each other there.
pub(crate) async fn verify_each_other(alice: &Device, bob: &Device) {
    alice.set_up_cross_signing().await;
    bob.set_up_cross_signing().await;
    let room = alice.direct_room(bob).await;
    bob.accept(&room).await;
    alice.sees_in(&room, &[alice, bob]).await;
    bob.sees_in(&room, &[alice, bob]).await;

    let encryption = alice.client.encryption();
    let identity = eventually("alice knows bob's identity", PATIENCE, async || {
        let known = encryption.request_user_identity(&bob.user_id()).await;
        known.expect("bob's keys")
    })
    .await;
    assert!(!identity.is_verified());
    // Synapse stores another server's devices before the keys that sign them, and answers
    // from what it has.
    eventually("bob knows alice's identity", PATIENCE, async || {
        let known = bob
            .client
            .encryption()
            .request_user_identity(&alice.user_id())
            .await;
        known.expect("alice's keys").map(drop)
    })
    .await;
    let ours = identity.request_verification().await.expect("a request");
    let theirs = bob.verification_request(&alice.user_id()).await;
    compare_emoji(ours, theirs).await;

    for (viewer, other) in [(alice, bob), (bob, alice)] {
        eventually("the identity is verified", PATIENCE, async || {
            trusts(viewer, other).await.then_some(())
        })
        .await;
    }
    alice.say(&room, "now I know it is you").await;
    bob.reads(&room, "now I know it is you").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_verifies_a_new_device() {
    let server = Server::start();
    let url = server.url();
    let laptop = Device::register(&url, "alice").await;
    laptop.set_up_cross_signing().await;
    let bob = Device::register(&url, "bob").await;
    let room = laptop.direct_room(&bob).await;
    bob.accept(&room).await;
    let phone = Device::sign_in(&url, "alice").await;
    bob.sees_in(&room, &[&laptop, &bob]).await;

    let (user, device) = (laptop.user_id(), phone.device_id());
    let phone_as_seen_by = async |viewer: &Device| {
        let what = format!("{} knows the phone", viewer.name);
        eventually(&what, PATIENCE, async || {
            viewer
                .client
                .encryption()
                .get_device(&user, &device)
                .await
                .ok()?
        })
        .await
    };
    let seen = phone_as_seen_by(&laptop).await;
    assert!(!seen.is_cross_signed_by_owner());
    let ours = seen.request_verification().await.expect("a request");
    let theirs = phone.verification_request(&user).await;
    compare_emoji(ours, theirs).await;

    for viewer in [&laptop, &bob] {
        let what = format!("{} sees the phone signed by its owner", viewer.name);
        eventually(&what, PATIENCE, async || {
            phone_as_seen_by(viewer)
                .await
                .is_cross_signed_by_owner()
                .then_some(())
        })
        .await;
    }
    // The phone asked the laptop for the private keys, from device to device.
    eventually(
        "the phone has the cross-signing keys",
        PATIENCE,
        async || {
            phone
                .client
                .encryption()
                .cross_signing_status()
                .await?
                .is_complete()
                .then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_replaces_the_cross_signing_keys_with_the_password() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    alice.set_up_cross_signing().await;
    let before = master_key(&alice).await;
    let encryption = alice.client.encryption();
    let reset = encryption
        .reset_cross_signing()
        .await
        .expect("a reset that waits");
    let reset = reset.expect("other keys need the password");
    let CrossSigningResetAuthType::Uiaa(step) = reset.auth_type() else {
        panic!("another way to authenticate: {:?}", reset.auth_type());
    };
    assert_eq!(
        before,
        master_key(&alice).await,
        "without the password nothing changes"
    );
    let password = alice.password(step.session.clone());
    reset
        .auth(Some(password))
        .await
        .expect("the reset with the password");
    assert_ne!(before, master_key(&alice).await);
}

async fn master_key(device: &Device) -> String {
    let identity = device
        .client
        .encryption()
        .request_user_identity(&device.user_id())
        .await;
    let identity = identity.expect("the own keys").expect("the own identity");
    let key = identity.master_key().get_first_key().expect("a key");
    key.to_base64()
}
