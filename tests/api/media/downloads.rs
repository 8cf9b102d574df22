//! What comes with a download, what part of it, and who gets it.

use harness::{Config, Server, escape};
use reqwest::Method;

use super::{download, fetch, fetch_with, noise, place, try_upload, upload};
use crate::server;

#[tokio::test]
async fn downloads_come_with_all_their_headers() {
    let alice = server().register("alice").await;
    let answer = try_upload(&alice, "?filename=cat.png", "image/png", "meow").await;
    let fetched = download(&alice, &place(&answer.ok())).await;
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "4"),
        ("content-disposition", "inline; filename=cat.png"),
        (
            "content-security-policy",
            "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
             style-src 'unsafe-inline'; object-src 'self';",
        ),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("access-control-allow-origin", "*"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(fetched.header(name), value, "{name}");
    }
    assert!(fetched.header("cache-control").starts_with("private"));
    assert!(fetched.header("etag").len() > 10);
}

#[tokio::test]
async fn only_harmless_types_are_shown_in_a_window() {
    let alice = server().register("alice").await;
    for (content_type, disposition) in [
        ("image/jpeg", "inline"),
        ("IMAGE/webp", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("video/mp4", "inline"),
        ("text/html", "attachment"),
        ("text/html;image/png", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/pdf", "attachment"),
        ("application/javascript", "attachment"),
        ("nonsense", "attachment"),
    ] {
        let place = upload(&alice, content_type, "<script>alert(1)</script>").await;
        let fetched = download(&alice, &place).await;
        assert_eq!(fetched.header("content-type"), content_type);
        assert_eq!(
            fetched.header("content-disposition"),
            disposition,
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn names_come_back_and_can_be_replaced() {
    let alice = server().register("alice").await;
    let mut last = String::new();
    for (name, disposition) in [
        (
            "War and Peace.pdf",
            "attachment; filename=\"War and Peace.pdf\"",
        ),
        (
            "Übersicht №1.pdf",
            "attachment; filename*=utf-8''%C3%9Cbersicht%20%E2%84%961.pdf",
        ),
        ("a\"b.pdf", "attachment; filename=\"a\\\"b.pdf\""),
        (
            "../../etc/passwd",
            "attachment; filename=\"../../etc/passwd\"",
        ),
    ] {
        let query = format!("?filename={}", escape(name));
        let answer = try_upload(&alice, &query, "application/pdf", "%PDF").await;
        last = place(&answer.ok());
        let fetched = download(&alice, &last).await;
        assert_eq!(fetched.header("content-disposition"), disposition);
    }
    let fetched = fetch(
        &alice,
        &format!("v1/media/download/{last}/other%20name.pdf"),
    )
    .await;
    assert_eq!(
        fetched.header("content-disposition"),
        "attachment; filename=\"other name.pdf\""
    );
    // Neither a header nor a path can be made of a name.
    for name in [
        "a%0d%0aSet-Cookie:%20b=c",
        "%00",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%0d%0a%c3%bc",
    ] {
        let fetched = fetch(&alice, &format!("v1/media/download/{last}/{name}")).await;
        assert_eq!(
            (fetched.status, fetched.bytes.as_slice()),
            (200, b"%PDF".as_slice())
        );
        assert!(fetched.headers.get("set-cookie").is_none());
    }
}

#[tokio::test]
async fn a_part_of_a_file_can_be_had() {
    let alice = server().register("alice").await;
    let bytes = noise(1, 700_000);
    let path = format!(
        "v1/media/download/{}",
        upload(&alice, "video/mp4", bytes.clone()).await
    );
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 700_000),
        ("bytes=100-199", 100, 200),
        ("bytes=262000-263000", 262_000, 263_001),
        ("bytes=300000-", 300_000, 700_000),
        ("bytes=-5", 699_995, 700_000),
        ("bytes=699999-9999999", 699_999, 700_000),
    ] {
        let fetched = fetch_with(&alice, &path, &[("Range", range)]).await;
        assert_eq!(fetched.status, 206, "{range}");
        assert_eq!(
            fetched.header("content-range"),
            format!("bytes {from}-{}/700000", to - 1)
        );
        assert_eq!(fetched.header("content-length"), (to - from).to_string());
        assert_eq!(fetched.header("content-type"), "video/mp4");
        assert!(fetched.bytes == bytes[from..to], "{range}");
    }
    for range in ["bytes=700000-", "bytes=-0", "bytes=9999999999999999999999-"] {
        let fetched = fetch_with(&alice, &path, &[("Range", range)]).await;
        assert_eq!(
            (fetched.status, fetched.errcode().as_str()),
            (416, "M_INVALID_PARAM")
        );
        assert_eq!(fetched.header("content-range"), "bytes */700000");
    }
    for range in ["bytes=1-2,5-6", "bytes=5-2", "lines=1-2", "bytes=x-y"] {
        let fetched = fetch_with(&alice, &path, &[("Range", range)]).await;
        assert_eq!(
            (fetched.status, fetched.bytes.len()),
            (200, 700_000),
            "{range}"
        );
    }
}

#[tokio::test]
async fn a_client_that_has_a_file_need_not_get_it_again() {
    let alice = server().register("alice").await;
    let path = format!(
        "v1/media/download/{}",
        upload(&alice, "image/png", "abcdef").await
    );
    let tag = fetch(&alice, &path).await.header("etag").to_owned();
    for tags in [tag.as_str(), "*", &format!("\"x\", W/{tag}")] {
        let fetched = fetch_with(&alice, &path, &[("If-None-Match", tags)]).await;
        assert_eq!((fetched.status, fetched.bytes.len()), (304, 0), "{tags}");
        assert_eq!(fetched.header("etag"), tag);
    }
    let fetched = fetch_with(&alice, &path, &[("If-None-Match", "\"x\"")]).await;
    assert_eq!(fetched.status, 200);
    // A part of exactly what it has, or all of what it has not.
    let part = fetch_with(&alice, &path, &[("Range", "bytes=1-2"), ("If-Range", &tag)]).await;
    assert_eq!(
        (part.status, part.bytes.as_slice()),
        (206, b"bc".as_slice())
    );
    let whole = fetch_with(
        &alice,
        &path,
        &[("Range", "bytes=1-2"), ("If-Range", "\"x\"")],
    )
    .await;
    assert_eq!(
        (whole.status, whole.bytes.as_slice()),
        (200, b"abcdef".as_slice())
    );
}

#[tokio::test]
async fn head_tells_what_get_would_send() {
    let alice = server().register("alice").await;
    let path = format!(
        "v1/media/download/{}",
        upload(&alice, "image/png", noise(1, 500_000)).await
    );
    let response = alice.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "500000");
    assert!(response.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn downloads_need_an_account_and_the_old_paths_are_frozen() {
    let api = server();
    let alice = api.register("alice").await;
    let place = upload(&alice, "image/png", super::images::png(100, 100, 255)).await;
    for path in ["download", "thumbnail"] {
        let query = "?width=32&height=32&method=crop";
        let path = format!("v1/media/{path}/{place}{query}");
        fetch(&api, &path).await.refused(401, "M_MISSING_TOKEN");
        fetch(&api.with_token("guessed"), &path)
            .await
            .refused(401, "M_UNKNOWN_TOKEN");
        assert_eq!(fetch(&alice, &path).await.status, 200);
    }
    for version in ["v3", "r0"] {
        for path in [
            format!("download/{place}"),
            format!("download/{place}/name.png"),
            format!("thumbnail/{place}?width=32&height=32"),
        ] {
            let path = format!("/_matrix/media/{version}/{path}");
            fetch(&api, &path).await.refused(404, "M_NOT_FOUND");
            fetch(&alice, &path).await.refused(404, "M_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn an_administrator_may_open_the_old_paths() {
    let server = Server::with(Config {
        more: "[media]\nunauthenticated_until = \"always\"\n".into(),
        ..Config::default()
    });
    let api = server.api();
    let alice = api.register("alice").await;
    let bytes = super::images::png(100, 100, 255);
    let place = upload(&alice, "image/png", bytes.clone()).await;
    for path in [
        format!("/_matrix/media/v3/download/{place}"),
        format!("/_matrix/media/r0/download/{place}/name.png?allow_remote=false"),
    ] {
        let fetched = fetch(&api, &path).await;
        assert_eq!((fetched.status, &fetched.bytes), (200, &bytes));
        assert_eq!(fetched.header("x-content-type-options"), "nosniff");
    }
    let path = format!("/_matrix/media/v3/thumbnail/{place}?width=32&height=32&method=crop");
    assert_eq!(
        super::images::size(&fetch(&api, &path).await.bytes),
        (32, 32)
    );
    let announced = alice
        .post("/_matrix/media/v1/create", serde_json::json!({}))
        .await;
    let path = format!(
        "/_matrix/media/v3/download/{}",
        super::place(&announced.ok())
    );
    fetch(&api, &path).await.refused(504, "M_NOT_YET_UPLOADED");
    let path = format!("v1/media/download/{place}");
    fetch(&api, &path).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn what_is_not_here_is_not_found() {
    let alice = server().register("alice").await;
    let place = upload(&alice, "image/png", "a").await;
    let media_id = place.split_once('/').unwrap().1;
    for path in [
        "localhost/unknown".to_owned(),
        format!("localhost/{media_id}x"),
        "localhost/..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "localhost/%00".to_owned(),
        format!("localhost/{}", "x".repeat(5_000)),
    ] {
        for what in ["download", "thumbnail"] {
            let path = format!("v1/media/{what}/{path}?width=32&height=32");
            fetch(&alice, &path).await.refused(404, "M_NOT_FOUND");
        }
    }
    // Nobody has this name (RFC 2606).
    for server in ["elsewhere.invalid", "elsewhere.invalid:8448"] {
        let path = format!("v1/media/download/{server}/{media_id}");
        fetch(&alice, &path).await.refused(502, "M_UNKNOWN");
    }
    for path in ["..%2f..%2fetc/passwd", "a%20b/c"] {
        fetch(&alice, &format!("v1/media/download/{path}"))
            .await
            .refused(400, "M_INVALID_PARAM");
    }
}
