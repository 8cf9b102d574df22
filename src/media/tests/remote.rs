//! Files of other servers.

use bytes::Bytes;
use model::tables::{MEDIA_BY_CONTENT, REMOTE_MEDIA_BY_AGE, REMOTE_MEDIA_BY_ID};
use ruma_common::OwnedServerName;

use super::house::{ALICE, BOB, House, house, house_with};
use crate::{DownloadError, MediaOptions, Viewer};

fn there() -> OwnedServerName {
    "b.test".try_into().unwrap()
}

async fn keep(house: &House, media_id: &str, bytes: &[u8]) {
    let content_type = Some("text/plain".to_owned());
    let mut file = house.media.keep(&there(), media_id, content_type, None);
    for piece in bytes.chunks(100_000) {
        file.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    file.finish().await.unwrap();
    // Each has a time of its own.
    house.clock.advance(1);
}

async fn found(house: &House, media_id: &str) -> Option<Vec<u8>> {
    let viewer = Viewer::User(BOB);
    let file = house.download_as(viewer, &there(), media_id).await;
    match file {
        Ok(file) => Some(file.whole().unwrap().to_vec()),
        Err(DownloadError::NotFound) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_file_is_kept_under_its_server() {
    let house = house();
    let own = house.upload(ALICE, b"the same").await.unwrap();
    keep(&house, "other", b"the same").await;
    keep(&house, &own, b"of another").await;
    assert_eq!(found(&house, "other").await.unwrap(), b"the same");
    assert_eq!(found(&house, &own).await.unwrap(), b"of another");
    assert_eq!(
        house.download(&own).await.unwrap().whole().unwrap(),
        "the same"
    );
    assert!(house.download("other").await.is_err());
    for viewer in [Viewer::Anybody, Viewer::Server] {
        let hidden = house.download_as(viewer, &there(), "other").await;
        assert!(matches!(hidden, Err(DownloadError::NotFound)), "{viewer:?}");
    }
    // A freeze is about this server's files; where there is none, all are for all.
    for (until, is_seen) in [("2100-01-01", false), ("always", true)] {
        let options = MediaOptions {
            unauthenticated_until: until.to_owned(),
            ..MediaOptions::default()
        };
        let seen = house_with(options);
        keep(&seen, "other", b"the same").await;
        let found = seen.download_as(Viewer::Anybody, &there(), "other").await;
        assert_eq!(found.is_ok(), is_seen, "{until}");
    }
    // Fetched again, it is replaced.
    keep(&house, "other", b"newer").await;
    assert_eq!(found(&house, "other").await.unwrap(), b"newer");
    let house = house.reopened(MediaOptions::default());
    assert_eq!(found(&house, "other").await.unwrap(), b"newer");
    // One of ours shares nobody's fate.
    house.media.delete(&own, None).await.unwrap();
    assert_eq!(found(&house, &own).await.unwrap(), b"of another");
}

#[tokio::test]
async fn the_oldest_go_first() {
    let house = house_with(MediaOptions {
        remote_cache_bytes: 25,
        ..MediaOptions::default()
    });
    let own = house.upload(ALICE, b"0123456789").await.unwrap();
    keep(&house, "one", b"0123456789").await;
    keep(&house, "two", b"abcdefghij").await;
    keep(&house, "three", b"ABCDEFGHIJ").await;
    assert_eq!(found(&house, "one").await, None);
    assert_eq!(found(&house, "two").await.unwrap(), b"abcdefghij");
    assert_eq!(found(&house, "three").await.unwrap(), b"ABCDEFGHIJ");
    // Its bytes are still ours.
    assert_eq!(
        house.download(&own).await.unwrap().whole().unwrap(),
        "0123456789"
    );
    // Longer than all that is kept: it stays until something else comes.
    keep(&house, "long", &[b'x'; 100]).await;
    assert_eq!(found(&house, "long").await.unwrap().len(), 100);
    keep(&house, "four", b"4").await;
    assert_eq!(found(&house, "long").await, None);
    assert_eq!(found(&house, "four").await.unwrap(), b"4");
    assert_eq!(house.rows(&REMOTE_MEDIA_BY_ID).len(), 1);
    assert_eq!(house.rows(&REMOTE_MEDIA_BY_AGE).len(), 1);
    assert_eq!(house.rows(&MEDIA_BY_CONTENT).len(), 2);
}
