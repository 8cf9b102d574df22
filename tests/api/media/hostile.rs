//! What hostile people upload: nothing of it exhausts the server or gets out of its
//! place.

use std::time::Duration;

use harness::{Config, Server, User, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{contents, download, fetch, files, images, noise, place, try_upload, upload};
use crate::server;

/// What making thumbnails may take at most, whatever is uploaded (MiB).
const THUMBNAIL_MEMORY: f64 = 320.0;
/// What many uploads and downloads of large files may take together (MiB).
const TRANSFER_MEMORY: f64 = 96.0;

/// How long a large file is, in bytes.
const LARGE: usize = 16_000_000;

async fn thumbnail(user: &User, place: &str) -> super::Fetched {
    let query = "width=320&height=240&animated=true";
    fetch(user, &format!("v1/media/thumbnail/{place}?{query}")).await
}

/// The server's proportional set size in MiB.
fn memory(server: &Server) -> f64 {
    let path = format!("/proc/{}/smaps_rollup", server.process_id());
    let text = std::fs::read_to_string(path).expect("the server's memory");
    let line = text
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .expect("Pss");
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1024.0
}

/// Does `work` and gives by how many MiB the server grew at most meanwhile.
async fn growth(server: &Server, work: impl Future<Output = ()>) -> f64 {
    let before = memory(server);
    let mut peak = before;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return peak - before,
            () = tokio::time::sleep(Duration::from_millis(3)) => peak = peak.max(memory(server)),
        }
    }
}

#[tokio::test]
async fn decompression_bombs_are_not_decoded() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    let interlaced = |side: u32| images::png_of(side, side, 6, 1, &[0; 100]);
    let work = async {
        for bytes in [
            images::png_of(30_000, 30_000, 6, 0, &[0; 100]),
            interlaced(30_000),
            images::png_of(u32::MAX, u32::MAX, 6, 0, &[0; 100]),
            images::png_of(4_000_000_000, 1, 0, 0, &[0; 100]),
            images::webp(16_000, 16_000),
            images::webp(5_700, 5_700),
        ] {
            let place = upload(&alice, "image/png", bytes).await;
            for _ in 0..2 {
                thumbnail(&alice, &place).await.refused(413, "M_TOO_LARGE");
            }
        }
    };
    let grown = growth(&server, work).await;
    assert!(grown < 40.0, "{grown} MiB");
    assert!(files(&server, "thumbnails").is_empty());
}

#[tokio::test]
async fn many_of_the_largest_pictures_take_the_memory_of_one() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    let work = async {
        let mut asking = JoinSet::new();
        for number in 0..6 {
            // Some thirty bytes each, and just small enough to be decoded.
            let place = upload(&alice, "image/webp", images::webp(5_650 - number, 5_650)).await;
            let alice = alice.clone();
            asking.spawn(async move { thumbnail(&alice, &place).await });
        }
        for made in asking.join_all().await {
            assert_eq!((made.status, images::size(&made.bytes).1), (200, 240));
        }
    };
    let grown = growth(&server, work).await;
    assert!(grown < THUMBNAIL_MEMORY, "{grown} MiB");
    // It was decoded, or this test shows nothing.
    assert!(grown > 60.0, "{grown} MiB");
}

#[tokio::test]
async fn endless_animations_stay_still() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    let work = async {
        let mut endless = images::gif(400, 300, 1);
        endless.pop();
        let frame = images::gif(1, 1, 1)[19..].to_vec();
        let frame = &frame[..frame.len() - 1];
        while endless.len() < 5_000_000 {
            endless.extend(frame);
        }
        let place = upload(&alice, "image/gif", endless).await;
        let made = thumbnail(&alice, &place).await;
        assert_eq!(
            (made.status, made.header("content-type")),
            (200, "image/jpeg")
        );
    };
    let grown = growth(&server, work).await;
    assert!(grown < 64.0, "{grown} MiB");
}

#[tokio::test]
async fn a_name_or_type_does_not_make_a_file_harmless() {
    let alice = server().register("alice").await;
    let script = b"<html><script>alert(document.domain)</script></html>";
    let mut polyglot = images::gif(400, 300, 1);
    polyglot.extend(script);
    let place = upload(&alice, "text/html", polyglot.clone()).await;
    let fetched = download(&alice, &place).await;
    assert_eq!(fetched.bytes, polyglot);
    assert_eq!(fetched.header("content-disposition"), "attachment");
    // The thumbnail is an image and nothing else.
    let made = thumbnail(&alice, &place).await;
    assert_eq!(
        (made.status, made.header("content-type")),
        (200, "image/jpeg")
    );
    let holds = |bytes: &[u8]| bytes.windows(7).any(|part| part == b"<script");
    assert!(holds(&fetched.bytes) && !holds(&made.bytes));
    // As an image it is shown, and a browser is told to believe that.
    let place = upload(&alice, "image/gif", script.to_vec()).await;
    let fetched = download(&alice, &place).await;
    assert_eq!(fetched.header("content-disposition"), "inline");
    assert_eq!(fetched.header("content-type"), "image/gif");
    assert_eq!(fetched.header("x-content-type-options"), "nosniff");
    assert!(
        fetched
            .header("content-security-policy")
            .contains("script-src 'none'")
    );
    thumbnail(&alice, &place).await.refused(400, "M_UNKNOWN");
}

#[tokio::test]
async fn names_never_become_paths() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    for name in [
        "..%2f..%2f..%2fsigning.key",
        "%2fetc%2fpasswd",
        "%00",
        "..",
        "a%5c..%5cb",
    ] {
        // As a row of the database and as a file.
        for bytes in [name.to_owned(), name.repeat(20_000)] {
            let query = format!("?filename={name}");
            let answer = try_upload(&alice, &query, "image/png", bytes).await;
            download(&alice, &place(&answer.ok())).await;
        }
    }
    let kept = contents(&server);
    assert_eq!(kept.len(), 5);
    for path in kept {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let parent = path.parent().unwrap();
        assert!(parent.ends_with(format!("{}/{}", &name[..2], &name[2..4])));
    }
    let own = std::fs::read_dir(server.data_dir()).unwrap();
    let mut names: Vec<_> = own.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "admin.sock",
            "database",
            "lock",
            "media",
            "signing.key",
            "synced"
        ]
    );
}

#[tokio::test]
async fn the_same_bytes_at_the_same_time_are_stored_once() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    let bytes = noise(1, 400_000);
    let mut uploading = JoinSet::new();
    for _ in 0..24 {
        let (alice, bytes) = (alice.clone(), bytes.clone());
        uploading.spawn(async move { upload(&alice, "image/png", bytes).await });
    }
    let places = uploading.join_all().await;
    assert_eq!(contents(&server).len(), 1);
    assert!(files(&server, "unfinished").is_empty());
    for place in places {
        assert!(download(&alice, &place).await.bytes == bytes);
    }
}

#[tokio::test]
async fn a_file_that_is_too_long_is_refused_before_it_is_there() {
    let server = Server::with(Config {
        more: "max_upload_bytes = 1000000\n".into(),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    upload(&alice, "image/png", noise(1, 1_000_000)).await;
    try_upload(&alice, "", "image/png", noise(2, 1_000_001))
        .await
        .refused(413, "M_TOO_LARGE");
    let config = alice.get("v1/media/config").await.ok();
    assert_eq!(config["m.upload.size"], 1_000_000);

    // Without a length, and without an end.
    let mut stream = post(&server, &alice, "Transfer-Encoding: chunked").await;
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(noise(3, 0x10000));
    chunk.extend(b"\r\n");
    for _ in 0..20 {
        stream.write_all(&chunk).await.unwrap();
    }
    let answer = read_answer(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("M_TOO_LARGE"),
        "{answer}"
    );
    // Of an announced length nothing is waited for.
    let mut stream = post(&server, &alice, "Content-Length: 99999999999").await;
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(contents(&server).len(), 1);
    eventually("nothing unfinished", 5, async || {
        files(&server, "unfinished").is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    for length in ["Content-Length: 900000", "Transfer-Encoding: chunked"] {
        let mut streams = Vec::new();
        for number in 0..5 {
            let mut stream = post(&server, &alice, length).await;
            if length.starts_with('T') {
                stream.write_all(b"fffff\r\n").await.unwrap();
            }
            stream.write_all(&noise(number, 600_000)).await.unwrap();
            streams.push(stream);
        }
        eventually("uploads under way", 5, async || {
            (files(&server, "unfinished").len() == 5).then_some(())
        })
        .await;
        drop(streams);
        eventually("nothing unfinished", 5, async || {
            files(&server, "unfinished").is_empty().then_some(())
        })
        .await;
    }
    assert!(contents(&server).is_empty());
    upload(&alice, "image/png", "whole").await;
}

#[tokio::test]
async fn many_large_files_take_little_memory() {
    let server = Server::start();
    let alice = server.api().register("alice").await;
    let large = noise(1, LARGE);
    let work = async {
        let mut uploading = JoinSet::new();
        for number in 0..10_u8 {
            let (alice, mut bytes) = (alice.clone(), large.clone());
            bytes[0] = number;
            uploading.spawn(async move { upload(&alice, "video/mp4", bytes).await });
        }
        let places = uploading.join_all().await;
        let mut downloading = JoinSet::new();
        for place in places {
            let alice = alice.clone();
            downloading.spawn(async move { download(&alice, &place).await.bytes.len() });
        }
        // And many who ask for a file and do not take it.
        let mut stalled = Vec::new();
        let place = upload(&alice, "video/mp4", large.clone()).await;
        for _ in 0..40 {
            let path = format!("/_matrix/client/v1/media/download/{place}");
            stalled.push(begin(&server, &alice, "GET", &path, "Accept: */*").await);
        }
        for length in downloading.join_all().await {
            assert_eq!(length, LARGE);
        }
    };
    let grown = growth(&server, work).await;
    assert!(grown < TRANSFER_MEMORY, "{grown} MiB");
}

/// Begins an upload with this header line about its body, which the caller sends.
async fn post(server: &Server, user: &User, header: &str) -> TcpStream {
    begin(server, user, "POST", "/_matrix/media/v3/upload", header).await
}

/// Sends the head of a request.
async fn begin(server: &Server, user: &User, method: &str, path: &str, header: &str) -> TcpStream {
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n{header}\r\n\r\n",
        user.access_token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// What the server answers, as far as it comes at once.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4_096];
    let length = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer))
        .await
        .expect("an answer in time")
        .expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
