//! Places where two devices meet, one of which is not signed in yet (MSC4108, MSC4388).

use harness::{Answer, Api, Config, Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server;

const TEXTS: &str = "unstable/org.matrix.msc4108/rendezvous";
const JSON: &str = "unstable/io.element.msc4388/rendezvous";

async fn send(
    api: &Api,
    method: Method,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = api.request(method, path).body(body.to_owned());
    if !headers.iter().any(|(name, _)| *name == "Content-Type") {
        request = request.header("Content-Type", "text/plain");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send_request(request).await
}

/// The path of a place that the answer to its opening names.
fn path_of(api: &Api, answer: &Answer) -> String {
    let url = answer.body["url"].as_str().unwrap();
    let path = url.strip_prefix(api.url()).unwrap();
    assert!(path.starts_with("/_matrix/client/unstable/org.matrix.msc4108/rendezvous/"));
    path.to_owned()
}

#[tokio::test]
async fn devices_exchange_texts() {
    let api = server().anonymous();
    let opened = send(&api, Method::POST, TEXTS, "first", &[]).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let first = opened.header("ETag").to_owned();
    assert!(first.starts_with('"') && first.ends_with('"'));
    assert!(opened.header("Expires").ends_with("GMT"));
    assert!(opened.header("Last-Modified").ends_with("GMT"));
    assert!(opened.header("Cache-Control").contains("no-store"));
    let exposed = opened.header("Access-Control-Expose-Headers");
    assert!(exposed.contains("ETag"), "{exposed}");
    let path = path_of(&api, &opened);

    let read = api.get(&path).await;
    assert_eq!((read.status, read.text.as_str()), (200, "first"));
    assert_eq!(read.header("Content-Type"), "text/plain");
    assert_eq!(read.header("ETag"), first);
    let same = send(&api, Method::GET, &path, "", &[("If-None-Match", &first)]).await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));

    let put = send(&api, Method::PUT, &path, "second", &[("If-Match", &first)]).await;
    assert_eq!(put.status, 202, "{put:?}");
    let second = put.header("ETag").to_owned();
    assert_ne!(second, first);
    let news = send(&api, Method::GET, &path, "", &[("If-None-Match", &first)]).await;
    assert_eq!((news.status, news.text.as_str()), (200, "second"));

    // Nobody overwrites what they have not read.
    let late = send(&api, Method::PUT, &path, "third", &[("If-Match", &first)]).await;
    assert_eq!(late.header("ETag"), second);
    let body = late.refused(412, "M_UNKNOWN");
    assert_eq!(body["org.matrix.msc4108.errcode"], "M_CONCURRENT_WRITE");
    assert_eq!(api.get(&path).await.text, "second");

    let closed = api.delete(&path, Value::Null).await;
    assert_eq!(closed.status, 204, "{closed:?}");
    api.get(&path).await.refused(404, "M_NOT_FOUND");
    let gone = send(&api, Method::PUT, &path, "x", &[("If-Match", &second)]).await;
    gone.refused(404, "M_NOT_FOUND");
    api.delete(&path, Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
    let versions = api.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4108"], true);
}

#[tokio::test]
async fn texts_are_short_and_plain() {
    let api = server().anonymous();
    let longest = "x".repeat(4_096);
    let opened = send(&api, Method::POST, TEXTS, &longest, &[]).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let (path, tag) = (path_of(&api, &opened), opened.header("ETag"));
    let long = "x".repeat(4_097);
    send(&api, Method::POST, TEXTS, &long, &[])
        .await
        .refused(413, "M_TOO_LARGE");
    send(&api, Method::PUT, &path, &long, &[("If-Match", tag)])
        .await
        .refused(413, "M_TOO_LARGE");
    send(&api, Method::PUT, &path, "no tag", &[])
        .await
        .refused(400, "M_MISSING_PARAM");
    let json = [("Content-Type", "application/json")];
    send(&api, Method::POST, TEXTS, "{}", &json)
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn the_address_of_a_place_is_the_one_that_clients_use() {
    let server = Server::with(Config {
        more: "[well_known]\nclient = \"https://matrix.example/\"\n".into(),
        ..Config::default()
    });
    let opened = send(&server.api(), Method::POST, TEXTS, "x", &[]).await;
    let url = opened.body["url"].as_str().unwrap();
    let expected = "https://matrix.example/_matrix/client/unstable/org.matrix.msc4108/rendezvous/";
    assert!(url.starts_with(expected), "{url}");
}

#[tokio::test]
async fn devices_exchange_json() {
    let api = server().anonymous();
    let available = api.get(JSON).await.ok();
    assert_eq!(available, json!({ "create_available": true }));
    let opened = api.post(JSON, json!({ "data": "first" })).await.ok();
    let path = format!("{JSON}/{}", opened["id"].as_str().unwrap());
    let left = opened["expires_in_ms"].as_u64().unwrap();
    assert!((120_000..=300_000).contains(&left), "{left}");
    let read = api.get(&path).await.ok();
    assert_eq!(read["data"], "first");
    assert_eq!(read["sequence_token"], opened["sequence_token"]);
    assert!(read["expires_in_ms"].as_u64().unwrap() <= left);

    let first = &opened["sequence_token"];
    let next = json!({ "sequence_token": first, "data": "second" });
    let put = api.put(&path, next.clone()).await.ok();
    assert_ne!(&put["sequence_token"], first);
    // The same once more, as after an answer that was lost, changes nothing.
    assert_eq!(api.put(&path, next).await.ok(), put);
    let late = json!({ "sequence_token": first, "data": "third" });
    api.put(&path, late)
        .await
        .refused(409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE");
    assert_eq!(api.get(&path).await.ok()["data"], "second");
    // What is equal and left on purpose is new all the same.
    let again = json!({ "sequence_token": put["sequence_token"], "data": "second" });
    let again = api.put(&path, again).await.ok();
    assert_ne!(again["sequence_token"], put["sequence_token"]);

    let long = json!({ "data": "x".repeat(4_097) });
    api.post(JSON, long).await.refused(413, "M_TOO_LARGE");
    api.post(JSON, json!({})).await.refused(400, "M_BAD_JSON");
    assert_eq!(api.delete(&path, Value::Null).await.ok(), json!({}));
    api.get(&path).await.refused(404, "M_NOT_FOUND");
    api.delete(&path, Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn browsers_do_not_show_what_was_left() {
    let api = server().anonymous();
    let opened = api.post(JSON, json!({ "data": "<b>" })).await.ok();
    let path = format!("{JSON}/{}", opened["id"].as_str().unwrap());
    for (name, value) in [
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-User", "?1"),
        ("Sec-Fetch-Site", "none"),
    ] {
        send(&api, Method::GET, &path, "", &[(name, value)])
            .await
            .refused(403, "M_FORBIDDEN");
    }
    let by_program = [
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    let read = send(&api, Method::GET, &path, "", &by_program).await;
    assert_eq!(read.ok()["data"], "<b>");
}
