//! Uploads: what is on disk, who has how much, what is left when one ends badly.

use std::{fs, sync::Arc};

use bytes::Bytes;
use model::{
    MediaState, MediaUsageRecord, RoomSerial,
    tables::{
        MEDIA_BY_CONTENT, MEDIA_BY_ID, MEDIA_BY_ROOM, MEDIA_BY_USER, MEDIA_USAGE_BY_USER,
        PENDING_MEDIA_BY_USER,
    },
};
use tokio::task::JoinSet;

use super::house::{
    ALICE, BOB, START, all, described, files_below, here, house, house_with, noise, uploader,
};
use crate::{FileDescription, MediaOptions, UploadError};

#[tokio::test]
async fn a_file_comes_back_as_it_was() {
    let house = house();
    for length in [0, 1, 10_000, 262_144, 262_145, 1_000_000] {
        let bytes = noise(length as u64, length);
        let description = described("video/mp4; codecs=x", "Über uns.mp4");
        let media_id = house.upload_as(ALICE, description, &bytes).await.unwrap();
        let file = house.download(&media_id).await.unwrap();
        assert_eq!(file.length, length as u64);
        assert_eq!(file.content_type, "video/mp4; codecs=x");
        assert_eq!(file.filename.as_deref(), Some("Über uns.mp4"));
        assert_eq!(all(&file).await, bytes);
        assert_eq!(file.whole().is_some(), length <= crate::PIECE_BYTES);
    }
    assert!(files_below(&house.below("unfinished")).is_empty());
    assert_eq!(house.files().len(), 3, "small ones are rows");
    assert_eq!(house.contents(), 6);
}

#[tokio::test]
async fn a_file_knows_its_uploader_device_time_and_room() {
    let house = house();
    let (room_id, room) = ("!council:a.test", RoomSerial(7));
    let description = |room_id: &str| FileDescription {
        room_id: Some(room_id.try_into().unwrap()),
        ..described("image/png", "a.png")
    };
    for wrong in [room_id, "!unknown:a.test"] {
        let refused = house.upload_as(ALICE, description(wrong), b"a").await;
        assert!(
            matches!(refused, Err(UploadError::NotInRoom)),
            "{refused:?}"
        );
    }
    house.join(ALICE, room_id, room).await;
    house.clock.advance(5);
    let media_id = house
        .upload_as(ALICE, description(room_id), b"a")
        .await
        .unwrap();
    let record = house.row(&MEDIA_BY_ID, &media_id).unwrap();
    assert_eq!(
        (record.uploader, record.device_id.as_str()),
        (ALICE, "PHONE")
    );
    assert_eq!((record.created_at, record.room), (START + 5, Some(room)));
    assert!(
        house
            .row(&MEDIA_BY_ROOM, &(room, media_id.clone()))
            .is_some()
    );
    assert!(
        house
            .row(&MEDIA_BY_USER, &(ALICE, START + 5, media_id))
            .is_some()
    );
}

#[tokio::test]
async fn the_same_bytes_are_stored_once() {
    let house = Arc::new(house());
    let bytes = noise(1, 300_000);
    let mut uploading = JoinSet::new();
    for number in 0..20 {
        let (house, bytes) = (house.clone(), bytes.clone());
        let user = if number % 2 == 0 { ALICE } else { BOB };
        uploading.spawn(async move { house.upload(user, &bytes).await.unwrap() });
    }
    let mut ids = uploading.join_all().await;
    assert_eq!(house.files().len(), 1);
    assert!(files_below(&house.below("unfinished")).is_empty());
    assert_eq!(house.rows(&MEDIA_BY_CONTENT).len(), 20);
    for media_id in &ids {
        assert_eq!(all(&house.download(media_id).await.unwrap()).await, bytes);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "each has an id of its own");
}

#[tokio::test]
async fn quotas_hold_however_many_upload_at_once() {
    let house = Arc::new(house_with(MediaOptions {
        max_bytes_per_user: 10_000,
        ..MediaOptions::default()
    }));
    let mut uploading = JoinSet::new();
    for number in 0..25 {
        let house = house.clone();
        uploading.spawn(async move { house.upload(ALICE, &noise(number, 1_000)).await });
    }
    let results = uploading.join_all().await;
    let refused = |result: &&Result<String, UploadError>| matches!(result, Err(UploadError::Quota));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10);
    assert_eq!(results.iter().filter(refused).count(), 15);
    let usage = house.row(&MEDIA_USAGE_BY_USER, &ALICE).unwrap();
    assert_eq!((usage.files, usage.bytes), (10, 10_000));
    assert_eq!(house.contents(), 10, "what was refused is gone");
    // The others have their own.
    house.upload(BOB, &noise(99, 10_000)).await.unwrap();
}

#[tokio::test]
async fn files_are_counted_and_long_ones_refused_before_they_come() {
    let house = house_with(MediaOptions {
        max_bytes_per_user: 1_000_000,
        max_files_per_user: 2,
        ..MediaOptions::default()
    });
    let announced = house.media.upload(
        uploader(ALICE),
        described("image/png", "a.png"),
        Some(1_000_001),
    );
    assert!(matches!(announced.await, Err(UploadError::Quota)));
    // Refused bytes that another file has stay.
    let first = house.upload(ALICE, b"one").await.unwrap();
    house.upload(ALICE, b"two").await.unwrap();
    let third = house.upload(ALICE, b"one").await;
    assert!(matches!(third, Err(UploadError::Quota)), "{third:?}");
    assert_eq!(all(&house.download(&first).await.unwrap()).await, b"one");
}

#[tokio::test]
async fn names_and_types_have_limits() {
    let house = house();
    let long = "x".repeat(1_025);
    for description in [described("image/png", &long), described(&long[..256], "a")] {
        let refused = house.upload_as(ALICE, description, b"a").await;
        assert!(
            matches!(refused, Err(UploadError::Invalid(_))),
            "{refused:?}"
        );
    }
    let longest = described(&long[..255], &long[..1_024]);
    house.upload_as(ALICE, longest, b"a").await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let house = house();
    let description = described("image/png", "a.png");
    let mut upload = house
        .media
        .upload(uploader(ALICE), description, None)
        .await
        .unwrap();
    for seed in 0..3 {
        let piece = Bytes::from(noise(seed, crate::PIECE_BYTES));
        upload.write(piece).await.unwrap();
    }
    assert_eq!(files_below(&house.below("unfinished")).len(), 1);
    drop(upload);
    assert!(files_below(&house.below("unfinished")).is_empty());
    assert!(house.files().is_empty());
    assert!(house.rows(&MEDIA_BY_ID).is_empty());
    assert_eq!(house.row(&MEDIA_USAGE_BY_USER, &ALICE), None);
}

#[tokio::test]
async fn one_person_has_so_many_uploads_under_way() {
    let house = house();
    let begin = || {
        let description = described("image/png", "a.png");
        house.media.upload(uploader(ALICE), description, None)
    };
    let mut running = Vec::new();
    for _ in 0..32 {
        running.push(begin().await.unwrap());
    }
    assert!(matches!(begin().await, Err(UploadError::TooMany { .. })));
    running.pop();
    begin().await.unwrap();
}

/// As if the server had been killed between the two.
#[tokio::test]
async fn bytes_without_a_row_are_swept_out_and_others_stay() {
    let house = house();
    let kept = house.upload(ALICE, b"kept").await.unwrap();
    let folder = house.media.inner.folder.clone();
    let lost = |text: &'static [u8]| {
        let hash: [u8; 32] = sha2::Digest::finalize(sha2::Digest::chain_update(
            <sha2::Sha256 as sha2::Digest>::new(),
            text,
        ))
        .into();
        let mut unfinished = folder.begin().unwrap();
        unfinished.append(text).unwrap();
        folder.place(unfinished, &hash).unwrap();
        hash
    };
    let hash = lost(b"lost");
    let running = house.media.inner.in_flight.announce(lost(b"running"));
    fs::write(house.below("unfinished").join("half"), b"half").unwrap();
    assert_eq!(house.files().len(), 2);

    let mut removed = 0;
    for first in 0..=u8::MAX {
        removed += house.media.sweep_some(first).await.unwrap();
    }
    assert_eq!(removed, 1);
    assert!(folder.open_content(&hash).is_err());
    assert_eq!(house.files().len(), 1, "what an upload is storing stays");
    drop((running, folder));

    let house = house.reopened(MediaOptions::default());
    assert!(files_below(&house.below("unfinished")).is_empty());
    assert_eq!(all(&house.download(&kept).await.unwrap()).await, b"kept");
    // What was lost can be uploaded like anything else.
    let again = house.upload(BOB, b"lost").await.unwrap();
    assert_eq!(all(&house.download(&again).await.unwrap()).await, b"lost");
}

#[tokio::test]
async fn a_full_disk_refuses_uploads() {
    let house = house_with(MediaOptions {
        reserved_disk_bytes: u64::MAX / 2,
        ..MediaOptions::default()
    });
    let refused = house.upload(ALICE, b"a").await;
    let full = crate::StorageError::DiskFull.to_string();
    assert_eq!(refused.unwrap_err().to_string(), full);
    let refused = house.upload(ALICE, &noise(1, 20_000)).await;
    assert_eq!(refused.unwrap_err().to_string(), full);
    assert_eq!(house.contents(), 0);
    assert!(files_below(&house.below("unfinished")).is_empty());
}

#[tokio::test]
async fn what_was_announced_is_uploaded_once_by_who_announced_it() {
    let house = house();
    let announced = house.media.create(&uploader(ALICE)).await.unwrap();
    assert_eq!(announced.expires_at, START + 86_400_000);
    let media_id = announced.media_id;
    let begin = async |user, id: &str| {
        let description = described("image/png", "a.png");
        let (server_name, uploader) = (here(), uploader(user));
        house
            .media
            .upload_announced(&server_name, id, uploader, description, None)
            .await
    };
    assert!(matches!(
        begin(BOB, &media_id).await,
        Err(UploadError::NotYours)
    ));
    for wrong in ["unknown", "../../etc/passwd", ""] {
        assert!(matches!(
            begin(ALICE, wrong).await,
            Err(UploadError::UnknownId)
        ));
    }
    // Two at the same time: one of them is first.
    let mut first = begin(ALICE, &media_id).await.unwrap();
    let mut second = begin(ALICE, &media_id).await.unwrap();
    first.write(Bytes::from_static(b"first")).await.unwrap();
    second.write(Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(first.finish().await.unwrap(), media_id);
    let late = second.finish().await;
    assert!(matches!(late, Err(UploadError::Exists)), "{late:?}");
    assert!(matches!(
        begin(ALICE, &media_id).await,
        Err(UploadError::Exists)
    ));
    assert_eq!(
        all(&house.download(&media_id).await.unwrap()).await,
        b"first"
    );
    assert_eq!(house.contents(), 1);
    assert!(house.rows(&PENDING_MEDIA_BY_USER).is_empty());
    let usage = house.row(&MEDIA_USAGE_BY_USER, &ALICE);
    let once = MediaUsageRecord { files: 1, bytes: 5 };
    assert_eq!(usage, Some(once));
}

#[tokio::test]
async fn announced_uploads_are_limited_and_end() {
    let house = house_with(MediaOptions {
        max_pending_per_user: 3,
        pending_lifetime: 60,
        ..MediaOptions::default()
    });
    let create = async |user| house.media.create(&uploader(user)).await;
    let first = create(ALICE).await.unwrap();
    house.clock.advance(10_000);
    for _ in 0..2 {
        create(ALICE).await.unwrap();
    }
    let refused = create(ALICE).await;
    let Err(UploadError::TooMany { retry_after }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after, 50_000);
    create(BOB).await.unwrap();

    house.clock.advance(50_000);
    let description = described("image/png", "a.png");
    let late = house
        .media
        .upload_announced(&here(), &first.media_id, uploader(ALICE), description, None)
        .await;
    assert!(matches!(late, Err(UploadError::UnknownId)));
    create(ALICE).await.unwrap();
    assert_eq!(house.row(&MEDIA_BY_ID, &first.media_id), None, "swept out");
    assert_eq!(house.rows(&PENDING_MEDIA_BY_USER).len(), 4);
    let pending = |record: &model::MediaRecord| matches!(record.state, MediaState::Pending { .. });
    assert!(
        house
            .rows(&MEDIA_BY_ID)
            .iter()
            .all(|(_, record)| pending(record))
    );
}
