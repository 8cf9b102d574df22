//! Thumbnails: which sizes and kinds come back for which images.

use super::{Fetched, fetch, fetch_with, images, upload};
use crate::server;

async fn thumbnail(user: &harness::User, place: &str, query: &str) -> Fetched {
    fetch(user, &format!("v1/media/thumbnail/{place}?{query}")).await
}

#[tokio::test]
async fn the_sizes_of_the_specification_are_made() {
    let alice = server().register("alice").await;
    let opaque = upload(&alice, "image/png", images::png(1_000, 800, 255)).await;
    let veiled = upload(&alice, "image/png", images::png(1_000, 800, 100)).await;
    for (query, size) in [
        ("width=32&height=32&method=crop", (32, 32)),
        ("width=96&height=96&method=crop", (96, 96)),
        ("width=320&height=240&method=scale", (300, 240)),
        ("width=640&height=480&method=scale", (600, 480)),
        ("width=800&height=600&method=scale", (750, 600)),
        // The next larger one.
        ("width=40&height=40&method=crop", (96, 96)),
        ("width=64&height=48&method=crop", (96, 72)),
        ("width=300&height=200", (300, 240)),
        ("width=300&height=200&animated=true", (300, 240)),
    ] {
        let made = thumbnail(&alice, &opaque, query).await;
        assert_eq!(made.status, 200, "{query}");
        // Of a PNG this small a JPEG leaves little.
        let (content_type, ending) = match size.0 {
            ..=96 => ("image/png", "png"),
            _ => ("image/jpeg", "jpg"),
        };
        assert_eq!(made.header("content-type"), content_type);
        assert_eq!(
            made.header("content-disposition"),
            format!("inline; filename=thumbnail.{ending}")
        );
        assert_eq!(made.header("x-content-type-options"), "nosniff");
        assert!(
            made.header("content-security-policy")
                .starts_with("sandbox;")
        );
        assert_eq!(images::size(&made.bytes), size, "{query}");
        let made = thumbnail(&alice, &veiled, query).await;
        assert_eq!(made.header("content-type"), "image/png");
        assert_eq!(
            made.header("content-disposition"),
            "inline; filename=thumbnail.png"
        );
        assert_eq!(images::size(&made.bytes), size, "{query}");
    }
}

#[tokio::test]
async fn a_picture_is_never_made_larger() {
    let alice = server().register("alice").await;
    let bytes = images::png(90, 60, 255);
    // Whatever its uploader says that it is.
    let place = upload(&alice, "text/html", bytes.clone()).await;
    for query in [
        "width=96&height=96&method=crop",
        "width=640&height=480",
        "width=9999999&height=9999999",
    ] {
        let made = thumbnail(&alice, &place, query).await;
        assert_eq!((made.status, &made.bytes), (200, &bytes), "{query}");
        assert_eq!(made.header("content-type"), "image/png");
    }
    let made = thumbnail(&alice, &place, "width=32&height=32&method=crop").await;
    assert_eq!(images::size(&made.bytes), (32, 32));
}

#[tokio::test]
async fn pictures_of_all_kinds_have_thumbnails() {
    let alice = server().register("alice").await;
    let path = "v1/media/thumbnail";
    let png = upload(&alice, "image/png", images::png(1_000, 800, 255)).await;
    let jpeg = fetch(&alice, &format!("{path}/{png}?width=800&height=600")).await;
    assert_eq!(images::size(&jpeg.bytes), (750, 600));
    let turned = images::turned(&jpeg.bytes);
    for (bytes, size) in [
        (jpeg.bytes, (300, 240)),
        (turned, (192, 240)),
        (images::gif(500, 400, 1), (300, 240)),
        (images::webp(500, 400), (300, 240)),
    ] {
        let place = upload(&alice, "application/octet-stream", bytes).await;
        let made = thumbnail(&alice, &place, "width=320&height=240").await;
        assert_eq!(
            (made.status, made.header("content-type")),
            (200, "image/jpeg")
        );
        assert_eq!(images::size(&made.bytes), size);
    }
}

#[tokio::test]
async fn animations_move_only_where_that_is_wanted() {
    let alice = server().register("alice").await;
    let place = upload(&alice, "image/gif", images::gif(400, 300, 6)).await;
    for query in [
        "width=320&height=240",
        "width=320&height=240&animated=false",
    ] {
        let made = thumbnail(&alice, &place, query).await;
        assert_eq!(made.header("content-type"), "image/jpeg", "{query}");
    }
    let made = thumbnail(&alice, &place, "width=320&height=240&animated=true").await;
    assert_eq!(made.header("content-type"), "image/gif");
    assert_eq!(images::size(&made.bytes), (320, 240));
    let frames = made.bytes.windows(3).filter(|three| *three == b"!\xf9\x04");
    assert_eq!(frames.count(), 6);
    // The picture itself is no larger, and moves.
    let made = thumbnail(&alice, &place, "width=640&height=480&animated=true").await;
    assert_eq!(made.bytes, images::gif(400, 300, 6));
    let made = thumbnail(&alice, &place, "width=640&height=480").await;
    assert_eq!(made.header("content-type"), "image/jpeg");
}

#[tokio::test]
async fn what_cannot_be_made_smaller_is_refused() {
    let alice = server().register("alice").await;
    let size = "width=320&height=240";
    for bytes in [
        b"just text".to_vec(),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>".to_vec(),
        b"%PDF-1.7".to_vec(),
        Vec::new(),
        images::png(1_000, 800, 255)[..100_000].to_vec(),
        images::webp(500, 400)[..26].to_vec(),
    ] {
        let place = upload(&alice, "image/png", bytes).await;
        thumbnail(&alice, &place, size)
            .await
            .refused(400, "M_UNKNOWN");
    }
    let place = upload(&alice, "image/png", images::png(1_000, 800, 255)).await;
    for query in [
        "width=0&height=240",
        "width=320&height=0",
        "width=-1&height=240",
        "width=abc&height=240",
        "width=1.5&height=240",
        "width=320&height=240&method=stretch",
        "width=320&height=240&animated=perhaps",
    ] {
        thumbnail(&alice, &place, query)
            .await
            .refused(400, "M_INVALID_PARAM");
    }
    thumbnail(&alice, &place, "width=320")
        .await
        .refused(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn thumbnails_are_kept_and_have_tags() {
    let alice = server().register("alice").await;
    let place = upload(&alice, "image/png", images::png(1_000, 800, 255)).await;
    let path = format!("v1/media/thumbnail/{place}?width=320&height=240");
    let first = fetch(&alice, &path).await;
    let second = fetch(&alice, &path).await;
    assert_eq!(first.bytes, second.bytes);
    let tag = first.header("etag").to_owned();
    assert_eq!(second.header("etag"), tag);
    let fetched = fetch_with(&alice, &path, &[("If-None-Match", &tag)]).await;
    assert_eq!(fetched.status, 304);
    let other = fetch(
        &alice,
        &format!("v1/media/thumbnail/{place}?width=640&height=480"),
    )
    .await;
    assert_ne!(other.header("etag"), tag);
    let whole = fetch(&alice, &format!("v1/media/download/{place}")).await;
    assert_ne!(whole.header("etag"), tag);
}
