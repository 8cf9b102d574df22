//! Small files: rows that come and go with those that name them.

use std::sync::Arc;

use model::tables::{MEDIA_BY_CONTENT, SMALL_FILE_BY_CONTENT};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::house::{ALICE, BOB, all, house, noise};
use crate::{MediaOptions, original::MAX_ROW_BYTES};

#[tokio::test]
async fn the_limit_is_the_length() {
    let house = house();
    for (length, rows, files) in [(0, 1, 0), (MAX_ROW_BYTES, 2, 0), (MAX_ROW_BYTES + 1, 2, 1)] {
        let bytes = noise(1, length);
        let media_id = house.upload(ALICE, &bytes).await.unwrap();
        assert_eq!(house.rows(&SMALL_FILE_BY_CONTENT).len(), rows, "{length}");
        assert_eq!(house.files().len(), files, "{length}");
        let file = house.download(&media_id).await.unwrap();
        assert_eq!(all(&file).await, bytes);
        if length > 200 {
            assert_eq!(file.read(100, 200).await.unwrap(), bytes[100..200]);
        }
    }
}

#[tokio::test]
async fn the_same_bytes_are_one_row_until_nobody_needs_them() {
    let house = Arc::new(house());
    let bytes = noise(1, 5_000);
    let mut uploading = JoinSet::new();
    for number in 0..20 {
        let (house, bytes) = (house.clone(), bytes.clone());
        let user = if number % 2 == 0 { ALICE } else { BOB };
        uploading.spawn(async move { house.upload(user, &bytes).await.unwrap() });
    }
    let mut ids = uploading.join_all().await;
    assert_eq!(house.rows(&SMALL_FILE_BY_CONTENT).len(), 1);
    assert_eq!(house.rows(&MEDIA_BY_CONTENT).len(), 20);
    let last = ids.pop().unwrap();
    for media_id in &ids {
        assert!(house.media.delete(media_id, None).await.unwrap());
        assert_eq!(all(&house.download(&last).await.unwrap()).await, bytes);
    }
    assert!(house.media.delete(&last, None).await.unwrap());
    assert!(house.rows(&SMALL_FILE_BY_CONTENT).is_empty());
    let again = house.upload(BOB, &bytes).await.unwrap();
    assert_eq!(all(&house.download(&again).await.unwrap()).await, bytes);
}

/// As it was stored before small files were rows.
#[tokio::test]
async fn a_small_file_in_the_folder_is_found_and_shared_and_deleted() {
    let house = house();
    let bytes = noise(1, 5_000);
    let old = house.upload(ALICE, &bytes).await.unwrap();
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    let folder = house.media.inner.folder.clone();
    let mut unfinished = folder.begin().unwrap();
    unfinished.append(&bytes).unwrap();
    folder.place(unfinished, &hash).unwrap();
    let removed: Result<(), store::StoreError> = house
        .media
        .store()
        .commit(move |_, _, batch| {
            batch.delete(&SMALL_FILE_BY_CONTENT, &hash);
            Ok(())
        })
        .await;
    removed.unwrap();
    drop(folder);
    let house = house.reopened(MediaOptions::default());
    assert_eq!(all(&house.download(&old).await.unwrap()).await, bytes);
    // The bytes are there: they are not stored again.
    let new = house.upload(BOB, &bytes).await.unwrap();
    assert_eq!(house.contents(), 1);
    for first in 0..=u8::MAX {
        assert_eq!(house.media.sweep_some(first).await.unwrap(), 0);
    }
    assert!(house.media.delete(&old, None).await.unwrap());
    assert_eq!(all(&house.download(&new).await.unwrap()).await, bytes);
    assert!(house.media.delete(&new, None).await.unwrap());
    assert_eq!(house.contents(), 0);
}
