//! Downloads: who gets what, who waits, and what is gone.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use model::tables::{MEDIA_BY_CONTENT, MEDIA_BY_ID, MEDIA_BY_USER, MEDIA_USAGE_BY_USER};
use ruma_common::OwnedServerName;
use tokio::task::JoinSet;

use super::house::{ALICE, BOB, all, described, here, house, house_with, uploader};
use crate::{DownloadError, Eagerness, MediaOptions, StoredFile, Viewer};

fn is_not_found(result: Result<StoredFile, DownloadError>) -> bool {
    matches!(result, Err(DownloadError::NotFound))
}

#[tokio::test]
async fn what_is_not_here_is_not_found() {
    let house = house();
    let media_id = house.upload(ALICE, b"a").await.unwrap();
    house.download(&media_id).await.unwrap();
    for wrong in [
        "",
        "unknown",
        "..",
        "../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "a/b",
        "\0",
        &media_id[1..],
        &format!("{media_id}\0"),
        &media_id
            .to_lowercase()
            .replace(|c: char| c.is_ascii_digit(), "x"),
    ] {
        assert!(is_not_found(house.download(wrong).await), "{wrong:?}");
    }
    let elsewhere = OwnedServerName::try_from("b.test").unwrap();
    let viewer = Viewer::User(BOB);
    let found = house.download_as(viewer, &elsewhere, &media_id).await;
    assert!(is_not_found(found));
}

#[tokio::test]
async fn without_a_token_one_sees_what_is_older_than_the_freeze() {
    let tomorrow = MediaOptions {
        // The clock stands at 2027-01-15.
        unauthenticated_until: "2027-01-16".to_owned(),
        ..MediaOptions::default()
    };
    let house = house_with(tomorrow.clone());
    let old = house.upload(ALICE, b"old").await.unwrap();
    let announced = house.media.create(&uploader(ALICE)).await.unwrap();
    house.clock.advance(86_400_000);
    let new = house.upload(ALICE, b"new").await.unwrap();
    let seen = async |media_id: &str| {
        let found = house.download_as(Viewer::Anybody, &here(), media_id).await;
        !is_not_found(found)
    };
    assert!(seen(&old).await);
    assert!(!seen(&new).await);
    assert!(!seen(&announced.media_id).await, "nor that it is announced");
    house.download(&new).await.unwrap();

    let house = house.reopened(MediaOptions::default());
    let found = house.download_as(Viewer::Anybody, &here(), &old).await;
    assert!(is_not_found(found));
}

#[tokio::test]
async fn whoever_waits_gets_the_file_when_it_comes() {
    let house = Arc::new(house());
    let media_id = house.media.create(&uploader(ALICE)).await.unwrap().media_id;
    let at_once = house.download(&media_id).await;
    assert!(matches!(at_once, Err(DownloadError::NotYetUploaded)));

    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let (house, media_id) = (house.clone(), media_id.clone());
        waiting.spawn(async move {
            let (viewer, wait) = (Viewer::User(BOB), Duration::from_secs(30));
            let eagerness = Eagerness::OpenOnly;
            let found = house
                .media
                .download(viewer, &here(), &media_id, wait, eagerness)
                .await;
            all(&found.unwrap()).await
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(waiting.try_join_next().is_none(), "nobody has it yet");
    let description = described("image/png", "a.png");
    let mut upload = house
        .media
        .upload_announced(&here(), &media_id, uploader(ALICE), description, None)
        .await
        .unwrap();
    upload.write(Bytes::from_static(b"here")).await.unwrap();
    upload.finish().await.unwrap();
    for bytes in waiting.join_all().await {
        assert_eq!(bytes, b"here");
    }
}

#[tokio::test]
async fn nobody_waits_for_what_never_comes() {
    let house = house();
    let media_id = house.media.create(&uploader(ALICE)).await.unwrap().media_id;
    let (viewer, wait) = (Viewer::User(BOB), Duration::from_millis(30));
    let found = house
        .media
        .download(viewer, &here(), &media_id, wait, Eagerness::OpenOnly)
        .await;
    assert!(matches!(found, Err(DownloadError::NotYetUploaded)));
    house.clock.advance(86_400_000);
    assert!(
        is_not_found(house.download(&media_id).await),
        "its time is over"
    );
}

#[tokio::test]
async fn one_person_has_so_many_downloads_under_way() {
    let house = house();
    let media_id = house.upload(ALICE, b"a").await.unwrap();
    let mut running = Vec::new();
    for _ in 0..256 {
        running.push(house.download(&media_id).await.unwrap());
    }
    let refused = house.download(&media_id).await;
    assert!(matches!(refused, Err(DownloadError::TooMany)));
    let other = Viewer::User(ALICE);
    house.download_as(other, &here(), &media_id).await.unwrap();
    running.pop();
    house.download(&media_id).await.unwrap();
}

#[tokio::test]
async fn the_same_bytes_have_the_same_tag() {
    let house = house();
    let tag = async |bytes: &[u8]| {
        let media_id = house.upload(ALICE, bytes).await.unwrap();
        house.download(&media_id).await.unwrap().tag
    };
    let one = tag(b"one").await;
    assert_eq!(tag(b"one").await, one);
    assert_ne!(tag(b"two").await, one);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(one.bytes().all(allowed), "{one}");
}

#[tokio::test]
async fn a_deleted_file_is_gone_and_its_bytes_with_the_last_one() {
    let house = house();
    let first = house.upload(ALICE, b"shared").await.unwrap();
    let second = house.upload(BOB, b"shared").await.unwrap();
    let pending = house.media.create(&uploader(ALICE)).await.unwrap().media_id;
    assert!(house.media.delete(&first, None).await.unwrap());
    assert!(!house.media.delete(&first, None).await.unwrap());
    assert!(is_not_found(house.download(&first).await));
    assert_eq!(
        all(&house.download(&second).await.unwrap()).await,
        b"shared"
    );
    let usage = house.row(&MEDIA_USAGE_BY_USER, &ALICE).unwrap();
    assert_eq!((usage.files, usage.bytes), (0, 0));

    // Whoever is reading goes on.
    let reading = house.download(&second).await.unwrap();
    assert!(house.media.delete(&second, None).await.unwrap());
    assert!(house.media.delete(&pending, None).await.unwrap());
    assert!(house.files().is_empty());
    assert_eq!(all(&reading).await, b"shared");
    assert!(house.rows(&MEDIA_BY_ID).is_empty());
    assert!(house.rows(&MEDIA_BY_CONTENT).is_empty());
    assert!(house.rows(&MEDIA_BY_USER).is_empty());
}
