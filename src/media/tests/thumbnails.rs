//! Thumbnails of images of every kind, and of what is none.

use std::{io::Cursor, sync::Arc};

use image::{ExtendedColorType, ImageDecoder as _, ImageEncoder as _, codecs::jpeg};
use model::tables::{THUMBNAIL_BY_AGE, THUMBNAIL_BY_CONTENT, THUMBNAIL_USAGE};
use tokio::task::JoinSet;

use super::house::{ALICE, House, all, files_below, house, house_with, noise};
use crate::{DownloadError, MediaOptions, ThumbnailMethod, ThumbnailRequest};

fn scale(width: u32, height: u32) -> ThumbnailRequest {
    ThumbnailRequest {
        width,
        height,
        method: ThumbnailMethod::Scale,
        is_animated: false,
    }
}

fn crop(side: u32) -> ThumbnailRequest {
    ThumbnailRequest {
        method: ThumbnailMethod::Crop,
        ..scale(side, side)
    }
}

fn animated(width: u32, height: u32) -> ThumbnailRequest {
    ThumbnailRequest {
        is_animated: true,
        ..scale(width, height)
    }
}

/// Left half red, right half blue.
fn halves(width: u32, height: u32, channels: usize) -> Vec<u8> {
    let mut pixels = Vec::new();
    for _ in 0..height {
        for x in 0..width {
            let colour = if x < width / 2 {
                [255, 0, 0, 255]
            } else {
                [0, 0, 255, 255]
            };
            pixels.extend(&colour[..channels]);
        }
    }
    pixels
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    jpeg::JpegEncoder::new_with_quality(&mut bytes, 95)
        .write_image(
            &halves(width, height, 3),
            width,
            height,
            ExtendedColorType::Rgb8,
        )
        .unwrap();
    bytes
}

/// A JPEG that says how it is to be turned.
fn oriented_jpeg(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let plain = jpeg(width, height);
    let mut bytes = plain[..2].to_vec();
    bytes.extend([0xff, 0xe1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

fn png(width: u32, height: u32, pixels: &[u8], frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    if frames > 1 {
        encoder.set_animated(frames, 0).unwrap();
        encoder.set_frame_delay(1, 10).unwrap();
    }
    let mut writer = encoder.write_header().unwrap();
    for _ in 0..frames {
        writer.write_image_data(pixels).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).unwrap();
        for number in 0..frames {
            let mut pixels = halves(width.into(), height.into(), 4);
            pixels[..4].copy_from_slice(&[0, number as u8, 0, 255]);
            let mut frame = gif::Frame::from_rgba_speed(width, height, &mut pixels, 30);
            frame.delay = 5;
            encoder.write_frame(&frame).unwrap();
        }
    }
    bytes
}

fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    image_webp::WebPEncoder::new(&mut bytes)
        .encode(
            &halves(width, height, 4),
            width,
            height,
            image_webp::ColorType::Rgba8,
        )
        .unwrap();
    bytes
}

/// A PNG that says how large it is and holds next to nothing.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(1, 1, &[0, 0, 0, 255], 1);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

/// A thumbnail, decoded: content type, width, height, RGB.
async fn made(
    house: &House,
    bytes: &[u8],
    request: ThumbnailRequest,
) -> (String, u32, u32, Vec<u8>) {
    let media_id = house.upload(ALICE, bytes).await.unwrap();
    let file = house.thumbnail(&media_id, request).await.unwrap();
    let bytes = all(&file).await;
    let (width, height, pixels) = match file.content_type.as_str() {
        "image/jpeg" => {
            let decoder = jpeg::JpegDecoder::new(Cursor::new(&bytes)).unwrap();
            let (width, height) = decoder.dimensions();
            let mut pixels = vec![0; decoder.total_bytes() as usize];
            decoder.read_image(&mut pixels).unwrap();
            (width, height, pixels)
        }
        "image/png" => {
            let decoder = png::Decoder::new(Cursor::new(&bytes));
            let mut reader = decoder.read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            (info.width, info.height, pixels)
        }
        "image/gif" => {
            let decoder = gif::Decoder::new(Cursor::new(&bytes)).unwrap();
            (decoder.width().into(), decoder.height().into(), Vec::new())
        }
        other => panic!("{other}"),
    };
    (file.content_type.clone(), width, height, pixels)
}

/// Whether a pixel is nearly that colour.
fn is_nearly(pixels: &[u8], at: usize, colour: [u8; 3]) -> bool {
    let pixel = &pixels[at..at + 3];
    pixel
        .iter()
        .zip(colour)
        .all(|(is, wanted)| is.abs_diff(wanted) < 60)
}

#[tokio::test]
async fn pictures_of_every_kind_become_smaller() {
    let house = house();
    let opaque = png(1_000, 500, &halves(1_000, 500, 4), 1);
    for bytes in [
        jpeg(1_000, 500),
        opaque,
        webp(1_000, 500),
        gif(1_000, 500, 1),
    ] {
        let (content_type, width, height, pixels) = made(&house, &bytes, scale(320, 240)).await;
        assert_eq!(
            (content_type.as_str(), width, height),
            ("image/jpeg", 320, 160)
        );
        assert!(is_nearly(&pixels, 0, [255, 0, 0]));
        assert!(is_nearly(&pixels, pixels.len() - 3, [0, 0, 255]));
        let (_, width, height, pixels) = made(&house, &bytes, crop(96)).await;
        assert_eq!((width, height), (96, 96));
        assert!(is_nearly(&pixels, 0, [255, 0, 0]));
        assert!(is_nearly(&pixels, 95 * 3, [0, 0, 255]));
    }
}

#[tokio::test]
async fn what_is_transparent_stays_so() {
    let house = house();
    let mut pixels = halves(400, 400, 4);
    for pixel in pixels.chunks_exact_mut(4).take(400 * 200) {
        pixel[3] = 0;
    }
    let bytes = png(400, 400, &pixels, 1);
    let (content_type, width, height, pixels) = made(&house, &bytes, crop(32)).await;
    assert_eq!(
        (content_type.as_str(), width, height),
        ("image/png", 32, 32)
    );
    assert_eq!(pixels[3], 0);
    assert_eq!(pixels[pixels.len() - 1], 255);
}

#[tokio::test]
async fn small_pictures_are_given_as_they_are() {
    let house = house();
    for (bytes, content_type) in [
        (jpeg(300, 200), "image/jpeg"),
        (png(90, 90, &halves(90, 90, 4), 1), "image/png"),
        (gif(100, 100, 1), "image/gif"),
        (webp(320, 240), "image/webp"),
    ] {
        let media_id = house.upload(ALICE, &bytes).await.unwrap();
        let file = house.thumbnail(&media_id, scale(320, 240)).await.unwrap();
        assert_eq!(file.content_type, content_type);
        assert_eq!(all(&file).await, bytes);
    }
    assert!(files_below(&house.below("thumbnails")).is_empty());
}

#[tokio::test]
async fn pictures_are_turned_upright() {
    let house = house();
    // Lying on its side, the left half of the file is above.
    let bytes = oriented_jpeg(1_000, 500, 6);
    let (_, width, height, pixels) = made(&house, &bytes, scale(320, 240)).await;
    assert_eq!((width, height), (120, 240));
    assert!(is_nearly(&pixels, 0, [255, 0, 0]));
    assert!(is_nearly(&pixels, 119 * 3, [255, 0, 0]));
    assert!(is_nearly(&pixels, pixels.len() - 3, [0, 0, 255]));
    let (_, width, height, pixels) =
        made(&house, &oriented_jpeg(1_000, 500, 3), scale(320, 240)).await;
    assert_eq!((width, height), (320, 160));
    assert!(is_nearly(&pixels, 0, [0, 0, 255]));
}

#[tokio::test]
async fn animations_move_when_they_may() {
    let house = house();
    let pixels = halves(400, 300, 4);
    for bytes in [gif(400, 300, 5), png(400, 300, &pixels, 5)] {
        let media_id = house.upload(ALICE, &bytes).await.unwrap();
        let moving = house
            .thumbnail(&media_id, animated(320, 240))
            .await
            .unwrap();
        assert_eq!(moving.content_type, "image/gif");
        let moving = all(&moving).await;
        let mut decoder = gif::Decoder::new(Cursor::new(&moving)).unwrap();
        assert_eq!((decoder.width(), decoder.height()), (320, 240));
        let mut frames = 0;
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert!([5, 10].contains(&frame.delay), "{}", frame.delay);
            frames += 1;
        }
        assert_eq!(frames, 5);
        let still = house.thumbnail(&media_id, scale(320, 240)).await.unwrap();
        assert_eq!(still.content_type, "image/jpeg");
        // Small enough, but it would move.
        let still = house.thumbnail(&media_id, scale(640, 480)).await.unwrap();
        assert_eq!(still.content_type, "image/jpeg");
        let moving = house
            .thumbnail(&media_id, animated(640, 480))
            .await
            .unwrap();
        assert_eq!(all(&moving).await, bytes);
    }
    // What does not move has one thumbnail for both.
    let media_id = house.upload(ALICE, &jpeg(1_000, 500)).await.unwrap();
    let moving = house
        .thumbnail(&media_id, animated(320, 240))
        .await
        .unwrap();
    let still = house.thumbnail(&media_id, scale(320, 240)).await.unwrap();
    assert_eq!(
        (moving.content_type.as_str(), &moving.tag),
        ("image/jpeg", &still.tag)
    );
}

#[tokio::test]
async fn animations_that_are_too_long_stay_still() {
    let house = house();
    let endless = {
        let mut bytes = gif(2, 2, 1);
        bytes.pop();
        // Behind the header and the palette of two colours that is always there.
        let frame = bytes[19..].to_vec();
        for _ in 0..50_000 {
            bytes.extend(&frame);
        }
        bytes
    };
    let large = png(2_000, 2_000, &halves(2_000, 2_000, 4), 9);
    for bytes in [endless, large] {
        let media_id = house.upload(ALICE, &bytes).await.unwrap();
        let file = house
            .thumbnail(&media_id, animated(320, 240))
            .await
            .unwrap();
        assert_eq!(file.content_type, "image/jpeg");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_decoded() {
    let house = house();
    let mut progressive = jpeg(8, 8);
    let frame = progressive
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    progressive[frame + 1] = 0xc2;
    progressive[frame + 5..frame + 9].copy_from_slice(&[0x15, 0x00, 0x16, 0x00]);
    for bytes in [
        bomb(30_000, 30_000),
        bomb(100_000, 10),
        bomb(u32::MAX, u32::MAX),
        progressive,
    ] {
        let media_id = house.upload(ALICE, &bytes).await.unwrap();
        // The second time as remembered.
        for _ in 0..2 {
            let refused = house.thumbnail(&media_id, scale(320, 240)).await;
            assert!(matches!(refused, Err(DownloadError::ImageTooLarge)));
        }
    }
}

#[tokio::test]
async fn what_is_no_whole_image_has_no_thumbnail() {
    let house = house();
    let mut cut = png(1_000, 1_000, &noise(1, 4_000_000), 1);
    cut.truncate(100_000);
    let mut damaged = png(1_000, 1_000, &noise(2, 4_000_000), 1);
    damaged[200_000..300_000].fill(7);
    for bytes in [
        cut,
        damaged,
        bomb(2_000, 2_000),
        Vec::new(),
        b"<html><script>alert(1)</script></html>".to_vec(),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
        noise(3, 10_000),
        b"GIF89a=1;/*<html><script>alert(1)</script>*/".to_vec(),
        gif(1_000, 1_000, 1)[..40].to_vec(),
        webp(1_000, 1_000)[..40].to_vec(),
        jpeg(1_000, 1_000)[..400].to_vec(),
    ] {
        let media_id = house.upload(ALICE, &bytes).await.unwrap();
        for _ in 0..2 {
            let refused = house.thumbnail(&media_id, scale(320, 240)).await;
            let refused = refused.map(|file| file.content_type.clone());
            assert!(
                matches!(refused, Err(DownloadError::NoImage)),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_thumbnail_is_made_once() {
    let house = Arc::new(house());
    let media_id = house.upload(ALICE, &jpeg(1_000, 500)).await.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..30 {
        let (house, media_id) = (house.clone(), media_id.clone());
        asking.spawn(async move {
            let file = house.thumbnail(&media_id, scale(300, 200)).await.unwrap();
            all(&file).await
        });
    }
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|bytes| *bytes == answers[0]));
    assert_eq!(files_below(&house.below("thumbnails")).len(), 1);
    assert_eq!(house.rows(&THUMBNAIL_BY_CONTENT).len(), 1);
}

#[tokio::test]
async fn a_lost_thumbnail_is_made_again() {
    let house = house();
    let media_id = house.upload(ALICE, &jpeg(1_000, 500)).await.unwrap();
    let first = all(&house.thumbnail(&media_id, crop(96)).await.unwrap()).await;
    for file in files_below(&house.below("thumbnails")) {
        std::fs::remove_file(file).unwrap();
    }
    let second = all(&house.thumbnail(&media_id, crop(96)).await.unwrap()).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn the_cache_is_bounded_and_forgets_the_oldest() {
    let house = house_with(MediaOptions {
        thumbnail_cache_bytes: 8_000,
        ..MediaOptions::default()
    });
    for number in 0..12_u32 {
        house.clock.advance(1_000);
        let media_id = house
            .upload(ALICE, &jpeg(1_000, 500 + number))
            .await
            .unwrap();
        house.thumbnail(&media_id, crop(96)).await.unwrap();
    }
    let files = files_below(&house.below("thumbnails"));
    let bytes = files.iter().map(|file| file.metadata().unwrap().len());
    let bytes = bytes.sum::<u64>();
    assert!(!files.is_empty() && files.len() < 12, "{}", files.len());
    assert!(bytes <= 8_000, "{bytes}");
    assert_eq!(house.rows(&THUMBNAIL_BY_CONTENT).len(), files.len());
    assert_eq!(house.rows(&THUMBNAIL_BY_AGE).len(), files.len());
    let counted = house.row(&THUMBNAIL_USAGE, &()).unwrap();
    assert_eq!(counted, bytes + 256 * files.len() as u64);
    assert_eq!(house.media.sweep_some(0).await.unwrap(), 0);
}

#[tokio::test]
async fn the_thumbnails_of_deleted_files_are_gone() {
    let house = house();
    let media_id = house.upload(ALICE, &jpeg(1_000, 500)).await.unwrap();
    house.thumbnail(&media_id, crop(96)).await.unwrap();
    house.thumbnail(&media_id, scale(320, 240)).await.unwrap();
    assert_eq!(files_below(&house.below("thumbnails")).len(), 2);
    // Rows of the cache are written without a sync of their own, and read here as such.
    house.upload(ALICE, b"another commit").await.unwrap();
    house.media.delete(&media_id, None).await.unwrap();
    assert!(files_below(&house.below("thumbnails")).is_empty());
    assert!(house.rows(&THUMBNAIL_BY_CONTENT).is_empty());
    assert!(house.rows(&THUMBNAIL_BY_AGE).is_empty());
    assert_eq!(house.row(&THUMBNAIL_USAGE, &()), Some(0));
}
