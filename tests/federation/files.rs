//! Files of another server.

use harness::User;
use reqwest::Method;

use crate::peer::{Behaviour, Peer};
use harness::neighbours::World;

struct File {
    status: u16,
    content_type: String,
    disposition: String,
    bytes: Vec<u8>,
}

async fn fetch(user: &User, path: &str) -> File {
    let response = user.request(Method::GET, path).send().await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    File {
        status: response.status().as_u16(),
        content_type: header("content-type"),
        disposition: header("content-disposition"),
        bytes: response.bytes().await.unwrap().to_vec(),
    }
}

async fn upload(user: &User, name: &str, bytes: Vec<u8>) -> String {
    let request = user
        .request(
            Method::POST,
            &format!("/_matrix/media/v3/upload?filename={name}"),
        )
        .header("Content-Type", "text/plain")
        .body(bytes);
    let answer = user.send_request(request).await.ok();
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

#[tokio::test]
async fn files_of_another_server_are_fetched_once_and_kept() {
    let world = World::of(&["a.test", "b.test"]);
    let (mut a, mut b) = (world.start("a.test"), world.start("b.test"));
    let (mut alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    // Longer than what goes through at once, and with what looks like a boundary.
    let bytes = "\r\n--cairn-x--\r\n--".repeat(60_000).into_bytes();
    let place = upload(&bob, "notes.txt", bytes.clone()).await;
    let empty = upload(&bob, "empty.txt", Vec::new()).await;
    let path = format!("v1/media/download/{place}");
    let found = fetch(&alice, &path).await;
    assert_eq!(
        (found.status, found.content_type.as_str()),
        (200, "text/plain")
    );
    assert_eq!(found.disposition, "inline; filename=notes.txt");
    assert!(found.bytes == bytes, "{} bytes", found.bytes.len());
    let found = fetch(&alice, &format!("v1/media/download/{empty}")).await;
    assert_eq!((found.status, found.bytes.len()), (200, 0));
    alice
        .get("v1/media/download/b.test/unknown")
        .await
        .refused(404, "M_NOT_FOUND");
    // No image, so no thumbnail.
    alice
        .get(format!("v1/media/thumbnail/{place}?width=32&height=32"))
        .await
        .refused(400, "M_UNKNOWN");

    // The other server is gone, and this one was started again.
    b.server.stop();
    a.server.restart();
    a.api = a.server.api();
    alice.api = a.api.with_token(&alice.access_token);
    let found = fetch(&alice, &path).await;
    assert_eq!(found.status, 200);
    assert!(found.bytes == bytes);
    alice
        .get("v1/media/download/b.test/another")
        .await
        .refused(502, "M_UNKNOWN");
    // Strangers see no file of others, and other servers none of third ones.
    let old = format!("/_matrix/media/v3/download/{place}");
    a.api.get(old).await.refused(404, "M_NOT_FOUND");
}

fn multipart(parts: &str) -> Behaviour {
    let head = format!(
        "HTTP/1.1 200 X\r\ncontent-type: multipart/mixed; boundary=b\r\ncontent-length: {}\r\n\r\n",
        parts.len()
    );
    Behaviour::Bytes((head + parts).into_bytes())
}

#[tokio::test]
async fn what_is_no_file_is_not_kept() {
    let world = World::of(&["a.test", "evil.test"]);
    let a = world.start("a.test");
    let alice = a.api.register("alice").await;
    let evil = Peer::start(&world, "evil.test").await;
    let at = |id: &str| format!("/_matrix/federation/v1/media/download/{id}");
    let about = "--b\r\n\r\n{}\r\n--b\r\n";
    evil.on(&at("good"), multipart(&format!("{about}\r\nfile\r\n--b--")));
    evil.on(&at("cut"), multipart(&format!("{about}\r\nfile")));
    evil.on(&at("one"), multipart("--b\r\n\r\nfile\r\n--b--"));
    evil.on(
        &at("private"),
        multipart(&format!(
            "{about}Location: http://10.0.0.1/\r\n\r\n\r\n--b--"
        )),
    );
    evil.on(&at("json"), Behaviour::Json(200, serde_json::json!({})));
    evil.on(
        &at("redirect"),
        Behaviour::Redirect("https://10.0.0.1/".to_owned()),
    );
    let found = fetch(&alice, "v1/media/download/evil.test/good").await;
    assert_eq!((found.status, found.bytes), (200, b"file".to_vec()));
    assert_eq!(found.content_type, "application/octet-stream");
    for id in ["cut", "one", "private", "json", "redirect"] {
        alice
            .get(format!("v1/media/download/evil.test/{id}"))
            .await
            .refused(502, "M_UNKNOWN");
    }
    alice
        .get("v1/media/download/evil.test/..%2f..%2fkey")
        .await
        .refused(404, "M_NOT_FOUND");
    assert!(
        !evil.asked().iter().any(|path| path.contains("..")),
        "{:?}",
        evil.asked()
    );
}

#[tokio::test]
async fn who_is_not_signed_in_gets_other_servers_files_where_all_are_open() {
    let world = World::of(&["a.test", "b.test"]);
    let mut config = world.config("a.test", "");
    config.more += "\n[media]\nunauthenticated_until = \"always\"\n";
    let a = harness::Server::with(config);
    let (closed, b) = (world.start("b.test"), "b.test");
    let bob = closed.api.register("bob").await;
    let place = upload(&bob, "notes.txt", b"notes".to_vec()).await;
    let anybody = async |path: String| {
        let response = a.api().request(Method::GET, &path).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.bytes().await.unwrap().to_vec())
    };
    let path = format!("/_matrix/media/v3/download/{place}");
    let (status, _) = anybody(format!("{path}?allow_remote=false")).await;
    assert_eq!(status, 404);
    assert_eq!(anybody(path).await, (200, b"notes".to_vec()));
    // Its own server keeps it to those who are signed in.
    let own = closed
        .api
        .request(Method::GET, &format!("/_matrix/media/v3/download/{place}"));
    assert_eq!(own.send().await.unwrap().status().as_u16(), 404, "{b}");
}

#[tokio::test]
async fn a_server_that_knows_only_the_old_paths_gives_its_files_too() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let alice = a.api.register("alice").await;
    let peer = Peer::start(&world, "b.test").await;
    let old = "/_matrix/media/v3/download/b.test/old";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nnotes";
    peer.on(old, Behaviour::Bytes(head.as_bytes().to_vec()));
    let unknown = serde_json::json!({ "errcode": "M_UNRECOGNIZED", "error": "?" });
    let new = "/_matrix/federation/v1/media/download/old";
    peer.on(new, Behaviour::Json(404, unknown));
    let found = fetch(&alice, "v1/media/download/b.test/old").await;
    assert_eq!((found.status, found.bytes), (200, b"notes".to_vec()));
    let gone = fetch(&alice, "v1/media/download/b.test/gone").await;
    assert_ne!(gone.status, 200);
}
