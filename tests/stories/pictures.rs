//! Pictures: encrypted with their thumbnails, plain with those of the server, and the
//! one that a person shows of themselves.

use harness::{Server, pictures};
use matrix_sdk::Client;
use matrix_sdk::attachment::{AttachmentConfig, AttachmentInfo, BaseImageInfo, Thumbnail};
use matrix_sdk::media::{MediaFormat, MediaRequestParameters, MediaThumbnailSettings};
use matrix_sdk::ruma::api::client::media::get_content_thumbnail::v3::Method;
use matrix_sdk::ruma::events::room::MediaSource;
use matrix_sdk::ruma::events::room::message::ImageMessageEventContent;
use matrix_sdk::ruma::{EventId, RoomId};

use crate::conversation::nothing_is_in_the_clear;
use crate::device::Device;

/// Sends a picture of `width` by `height` as clients do.
async fn show(
    device: &Device,
    room: &RoomId,
    bytes: &[u8],
    thumbnail: Option<&[u8]>,
) -> matrix_sdk::ruma::OwnedEventId {
    let (width, height) = pictures::size(bytes);
    let thumbnail = thumbnail.map(|bytes| {
        let (width, height) = pictures::size(bytes);
        Thumbnail {
            data: bytes.to_vec(),
            content_type: "image/png".parse().expect("a type"),
            width: width.into(),
            height: height.into(),
            size: u32::try_from(bytes.len()).expect("a small file").into(),
        }
    });
    let info = AttachmentInfo::Image(BaseImageInfo {
        width: Some(width.into()),
        height: Some(height.into()),
        ..BaseImageInfo::default()
    });
    let config = AttachmentConfig::new().info(info).thumbnail(thumbnail);
    let kind = "image/png".parse().expect("a type");
    let room = device.room(room);
    let sent = room.send_attachment("plan.png", &kind, bytes.to_vec(), config);
    sent.await.expect("the picture").event_id
}

/// Waits for a picture's event.
async fn sees(device: &Device, room: &RoomId, id: &EventId) -> ImageMessageEventContent {
    let event = device.hears_of(room, id).await;
    assert_eq!(event["content"]["msgtype"], "m.image", "{event}");
    let content = serde_json::from_value(event["content"].clone());
    content.unwrap_or_else(|error| panic!("{error}: {event}"))
}

/// Fetches from the server, not from what the client has stored.
async fn fetch(client: &Client, source: &MediaSource, format: MediaFormat) -> Vec<u8> {
    let request = MediaRequestParameters {
        source: source.clone(),
        format,
    };
    let media = client.media();
    let content = media.get_media_content(&request, false).await;
    content.expect("the file")
}

fn scaled_to(width: u32, height: u32) -> MediaFormat {
    let settings = MediaThumbnailSettings::with_method(Method::Scale, width.into(), height.into());
    MediaFormat::Thumbnail(settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_and_its_thumbnail_are_shown_in_private() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    alice.sees_in(&room, &[&alice, &bob]).await;
    let picture = pictures::png(400, 300, 255);
    let thumbnail = pictures::png(40, 30, 200);

    let sent = show(&alice, &room, &picture, Some(&thumbnail)).await;
    let seen = sees(&bob, &room, &sent).await;
    assert_eq!(seen.filename(), "plan.png");
    let info = seen.info.as_ref().expect("what the picture is");
    let source = info.thumbnail_source.as_ref().expect("a thumbnail");
    for (source, bytes) in [(&seen.source, &picture), (source, &thumbnail)] {
        let MediaSource::Encrypted(file) = source else {
            panic!("{source:?} is not encrypted");
        };
        let decrypted = fetch(&bob.client, source, MediaFormat::File).await;
        assert!(decrypted == *bytes, "other bytes came back");
        // The client gets the whole file where it asks for a small one of an
        // encrypted picture: the server could not make one.
        let small = fetch(&bob.client, source, scaled_to(32, 32)).await;
        assert!(small == *bytes, "other bytes came back");
        // The server's bytes are of the same length, and others.
        let plain = MediaSource::Plain(file.url.clone());
        let stored = fetch(&bob.client, &plain, MediaFormat::File).await;
        assert_eq!(stored.len(), bytes.len());
        assert!(stored != *bytes, "it was stored in the clear");
    }
    nothing_is_in_the_clear(&server, &["plan.png", "IHDR"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_makes_thumbnails_of_plain_pictures() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let room = alice.plain_room(&[&bob]).await;
    bob.accept(&room).await;
    let picture = pictures::png(1_000, 800, 255);

    let sent = show(&alice, &room, &picture, None).await;
    let seen = sees(&bob, &room, &sent).await;
    assert!(matches!(seen.source, MediaSource::Plain(_)));
    let whole = fetch(&bob.client, &seen.source, MediaFormat::File).await;
    assert!(whole == picture, "other bytes came back");
    for ((width, height), size) in [((320, 240), (300, 240)), ((800, 600), (750, 600))] {
        let made = fetch(&bob.client, &seen.source, scaled_to(width, height)).await;
        assert_eq!(pictures::size(&made), size);
        assert!(made.len() < picture.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_shows_a_face_and_a_name() {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    bob.sees_in(&room, &[&alice, &bob]).await;
    let face = pictures::png(300, 300, 255);

    let account = alice.client.account();
    let kind = "image/png".parse().expect("a type");
    let avatar = account.upload_avatar(&kind, face.clone()).await;
    let avatar = avatar.expect("the avatar");
    let named = account.set_display_name(Some("Alice of the Council")).await;
    named.expect("the name");

    // Bob learns it from the room, and from the profile.
    let alices_id = alice.user_id();
    let member = harness::eventually("the face", crate::device::PATIENCE, async || {
        let member = bob.room(&room).get_member_no_sync(&alices_id).await;
        let member = member.expect("the store")?;
        let is_new = member.avatar_url().is_some() && member.display_name().is_some();
        (is_new && member.name() == "Alice of the Council").then_some(member)
    })
    .await;
    assert_eq!(member.avatar_url(), Some(&*avatar));
    let shown = member.avatar(MediaFormat::File).await.expect("the avatar");
    assert!(shown.expect("an avatar") == face, "another face came back");
    let small = member.avatar(scaled_to(96, 96)).await.expect("a thumbnail");
    assert_eq!(pictures::size(&small.expect("an avatar")), (96, 96));
    let profile = bob.client.account().fetch_user_profile_of(&alices_id).await;
    let profile = profile.expect("the profile");
    let field = |name: &str| profile.get(name).and_then(serde_json::Value::as_str);
    assert_eq!(field("avatar_url"), Some(avatar.as_str()));
    assert_eq!(field("displayname"), Some("Alice of the Council"));
}
