//! Previews of web pages: what pages say of themselves, what hostile ones try, and what the
//! server never reaches.

mod web;

use std::time::{Duration, Instant};

use harness::{Answer as Told, Config, Server, User, escape, pictures};
use serde_json::{Value, json};

use self::web::{Answer, Web, whole};
use crate::server;

const PATH: &str = "v1/media/preview_url";

/// A server that makes previews of one address of this machine, a web server there, and
/// somebody who asks.
struct Scene {
    server: Server,
    web: Web,
    alice: User,
}

impl Scene {
    async fn new() -> Self {
        Self::with("").await
    }

    /// `more` is added to the section.
    async fn with(more: &str) -> Self {
        let server = Server::with(Config {
            more: format!(
                "[url_previews]\nenabled = true\ntimeout = 2\nmax_page_bytes = 65536\n\
                 max_image_bytes = 100000\n{more}\n[outgoing]\n\
                 private_networks = [\"127.0.0.1/32\"]\n"
            ),
            ..Config::default()
        });
        let alice = server.api().register("alice").await;
        let web = Web::start("127.0.0.1").await;
        Self { server, web, alice }
    }

    async fn ask(&self, url: &str) -> Told {
        self.alice.get(format!("{PATH}?url={}", escape(url))).await
    }

    /// The preview of a page of the test's own server.
    async fn preview(&self, path: &str) -> Value {
        self.ask(&self.web.url(path)).await.ok()
    }

    /// Refused, as whatever cannot be fetched is.
    async fn fails(&self, url: &str) {
        self.ask(url).await.refused(502, "M_UNKNOWN");
    }
}

#[tokio::test]
async fn there_are_none_until_the_operator_wants_them() {
    let alice = server().register("alice").await;
    for path in [PATH, "/_matrix/media/v3/preview_url"] {
        let path = format!("{path}?url=https%3A%2F%2Fexample.org");
        alice.get(&path).await.refused(404, "M_UNRECOGNIZED");
        alice
            .api
            .anonymous()
            .get(&path)
            .await
            .refused(401, "M_MISSING_TOKEN");
    }
}

#[tokio::test]
async fn a_page_says_what_it_is() {
    let scene = Scene::new().await;
    scene.web.page(
        "/page",
        r#"<!DOCTYPE html><head><title>Fallback</title>
           <meta property="og:title" content="The agenda &amp; minutes">
           <meta property="og:description" content="What was said">
           <meta property="og:site_name" content="Council"><meta property="og:type" content="article">
           <meta property="og:image" content="/picture"><meta property="og:image:alt" content="A hall">
           <meta property="og:video" content="https://track.example/video">
           <script>document.title = "no"</script></head>"#,
    );
    let picture = pictures::png(120, 90, 255);
    scene
        .web
        .has("/picture", "application/octet-stream", &picture);
    let told = scene.preview("/page#part").await;
    let image = told["og:image"].as_str().unwrap().to_owned();
    assert_eq!(
        told,
        json!({
            "og:title": "The agenda & minutes",
            "og:description": "What was said",
            "og:site_name": "Council",
            "og:type": "article",
            "og:image": image,
            "og:image:alt": "A hall",
            "og:image:type": "image/png",
            "og:image:width": 120,
            "og:image:height": 90,
            "matrix:image:size": picture.len(),
        })
    );
    // The picture is a file of this server, small ones of it too.
    let place = image.strip_prefix("mxc://").unwrap();
    let request = scene
        .alice
        .request(reqwest::Method::GET, &format!("v1/media/download/{place}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(response.bytes().await.unwrap(), picture);
    let small = format!("v1/media/thumbnail/{place}?width=32&height=32");
    let response = scene
        .alice
        .request(reqwest::Method::GET, &small)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    // What was asked for, and nothing else; no cookie, no token.
    let asked = scene.web.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    for request in &asked {
        let request = request.to_ascii_lowercase();
        assert!(request.contains("\r\naccept-language: en\r\n"), "{request}");
        assert!(
            !request.contains("authorization") && !request.contains("cookie"),
            "{request}"
        );
    }
    // It is kept, for everybody and at the old path too.
    let bob = scene.server.api().register("bob").await;
    let old = format!(
        "/_matrix/media/v3/preview_url?url={}",
        escape(&scene.web.url("/page"))
    );
    assert_eq!(bob.get(old).await.ok(), told);
    assert!(scene.web.asked().is_empty());
    let path = format!("{PATH}?url={}", escape(&scene.web.url("/page")));
    scene
        .server
        .api()
        .get(path)
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn what_is_missing_is_found_elsewhere() {
    let scene = Scene::new().await;
    scene.web.page(
        "/title",
        "<title>\n A title </title><meta name=description content=About>",
    );
    assert_eq!(
        scene.preview("/title").await,
        json!({ "og:title": "A title", "og:description": "About" })
    );
    // Letters as browsers find them.
    scene.web.has(
        "/latin",
        "text/html; charset=iso-8859-1",
        b"<title>Gr\xfc\xdfe</title>",
    );
    assert_eq!(
        scene.preview("/latin").await,
        json!({ "og:title": "Grüße" })
    );
    scene.web.has(
        "/meta",
        "text/html",
        b"<meta charset=koi8-r><title>\xf0\xd2\xc9</title>",
    );
    assert_eq!(scene.preview("/meta").await, json!({ "og:title": "При" }));
    // The page's site, over oEmbed.
    let link = format!(
        "<link rel=alternate type=application/json+oembed href='{}'>",
        scene.web.url("/oembed?a=1&amp;b=2")
    );
    scene.web.page("/video", &format!("<head>{link}</head>"));
    let answer = json!({
        "type": "video", "title": "A film", "provider_name": "Cinema", "html": "<iframe>",
        "thumbnail_url": scene.web.url("/frame.png"),
    });
    scene
        .web
        .has("/oembed?a=1&b=2", "application/json", answer.to_string());
    scene
        .web
        .has("/frame.png", "image/png", pictures::png(64, 48, 255));
    let told = scene.preview("/video").await;
    assert_eq!(
        (&told["og:title"], &told["og:site_name"]),
        (&"A film".into(), &"Cinema".into())
    );
    assert_eq!(
        (&told["og:image:width"], &told["og:image:height"]),
        (&64.into(), &48.into())
    );
    // A picture by itself.
    let told = scene.preview("/frame.png").await;
    assert_eq!(told["og:image:type"], "image/png");
    // Redirects are followed, and what stands on the page is relative to where it is.
    scene.web.page(
        "/a/b/page",
        "<title>Here</title><meta property=og:image content=c.png>",
    );
    scene
        .web
        .has("/a/b/c.png", "image/png", pictures::png(8, 8, 255));
    scene.web.redirects("/moved", "/a/b/page");
    let told = scene.preview("/moved").await;
    assert_eq!(
        (&told["og:title"], &told["og:image:width"]),
        (&"Here".into(), &8.into())
    );
}

#[tokio::test]
async fn what_is_no_page_has_nothing_to_say() {
    let scene = Scene::new().await;
    for (path, content_type, body) in [
        ("/text", "text/plain", "<title>no</title>"),
        ("/pdf", "application/pdf", "<title>no</title>"),
        ("/none", "", "<title>no</title>"),
        ("/binary", "application/octet-stream", "\0\0\0"),
        ("/empty", "text/html", ""),
        ("/false-picture", "image/png", "<svg onload=alert(1)>"),
        (
            "/svg",
            "image/svg+xml",
            "<svg xmlns='http://www.w3.org/2000/svg'/>",
        ),
    ] {
        scene.web.has(path, content_type, body);
        assert_eq!(scene.preview(path).await, json!({}), "{path}");
    }
    // A page whose picture is none, or missing, or too long.
    for (number, picture) in [
        "/svg",
        "/missing",
        "/large",
        "data:image/png;base64,AA",
        "file:///etc/passwd",
    ]
    .iter()
    .enumerate()
    {
        scene.web.has("/large", "image/png", vec![0; 200_000]);
        let path = format!("/page{number}");
        let html = format!("<title>T</title><meta property=og:image content='{picture}'>");
        scene.web.page(&path, &html);
        assert_eq!(
            scene.preview(&path).await,
            json!({ "og:title": "T" }),
            "{picture}"
        );
    }
    scene.fails(&scene.web.url("/missing")).await;
    for url in [
        "",
        "example",
        "ftp://example.org",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user:secret@example.org/",
        "http://",
    ] {
        scene.ask(url).await.refused(400, "M_INVALID_PARAM");
    }
    scene.alice.get(PATH).await.refused(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn private_addresses_are_never_reached() {
    let scene = Scene::new().await;
    let inside = Web::start("127.0.0.2").await;
    inside.page("/secret", "<title>Secret</title>");
    inside.has("/secret.png", "image/png", pictures::png(8, 8, 255));
    let port = inside.address.port();
    for url in [
        inside.url("/secret"),
        format!("http://[::ffff:127.0.0.2]:{port}/secret"),
        format!("http://2130706434:{port}/secret"),
        format!("http://0x7f.2:{port}/secret"),
        format!("http://[::1]:{port}/secret"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://0.0.0.0/".to_owned(),
    ] {
        scene.fails(&url).await;
    }
    // Nor after a redirect, for a picture, or for what a site says.
    scene.web.redirects("/moved", &inside.url("/secret"));
    scene.fails(&scene.web.url("/moved")).await;
    scene.web.redirects("/twice", "/moved");
    scene.fails(&scene.web.url("/twice")).await;
    let html = format!(
        "<meta property=og:image content='{}'>\
         <link rel=alternate type=application/json+oembed href='{}'>",
        inside.url("/secret.png"),
        inside.url("/secret")
    );
    scene.web.page("/page", &html);
    assert_eq!(scene.preview("/page").await, json!({}));
    scene
        .web
        .redirects("/hidden.png", &inside.url("/secret.png"));
    scene.web.page(
        "/other",
        "<title>T</title><meta property=og:image content=/hidden.png>",
    );
    assert_eq!(scene.preview("/other").await, json!({ "og:title": "T" }));
    assert!(inside.asked().is_empty());
    // All failures look alike.
    let refused = scene
        .ask(&inside.url("/secret"))
        .await
        .refused(502, "M_UNKNOWN");
    let missing = scene
        .ask(&scene.web.url("/nothing"))
        .await
        .refused(502, "M_UNKNOWN");
    assert_eq!(refused, missing);
}

#[tokio::test]
async fn hostile_pages_cost_little() {
    let scene = Scene::new().await;
    let head = |kind: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n").into_bytes();
    // A page without an end is looked at as far as it is allowed to be.
    let endless = [head("text/html"), b"<title>Endless</title>".to_vec()].concat();
    scene.web.answers("/endless", Answer::Endless(endless));
    assert_eq!(
        scene.preview("/endless").await,
        json!({ "og:title": "Endless" })
    );
    scene
        .web
        .answers("/endless.png", Answer::Endless(head("image/png")));
    scene.fails(&scene.web.url("/endless.png")).await;
    let huge = format!("{}<title>Late</title>", "<p>x</p>".repeat(100_000));
    scene.web.page("/huge", &huge);
    assert_eq!(scene.preview("/huge").await, json!({}));
    for html in [
        "<div>".repeat(10_000),
        format!("<meta {}>", "a=b ".repeat(10_000)),
        format!("<title>{}", "&amp;".repeat(10_000)),
        "<".repeat(60_000),
        "<!--".repeat(10_000),
        "<script>".repeat(7_000),
    ] {
        scene.web.page("/deep", &html);
        let url = format!("{}?{}", scene.web.url("/deep"), html.len());
        scene.web.page(&format!("/deep?{}", html.len()), &html);
        scene.ask(&url).await.ok();
    }
    scene.web.page(
        "/tags",
        "<meta property=og:title content='<script>alert(1)</script>\u{202e}\0x'>\
         <meta property=og:url content='javascript:alert(1)'>\
         <meta property=og:image content=//[>",
    );
    let told = scene.preview("/tags").await;
    assert_eq!(told["og:title"], "<script>alert(1)</script>\u{fffd}x");
    assert_eq!(told.get("og:image"), None);
    assert_eq!(told.get("og:url"), None);
    // Slowness ends.
    let begun = Instant::now();
    let slow = [head("text/html"), vec![b'x'; 1_000]].concat();
    scene.web.answers("/slow", Answer::Slow(slow));
    scene.fails(&scene.web.url("/slow")).await;
    scene.web.answers("/silent", Answer::Silence);
    scene.fails(&scene.web.url("/silent")).await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    // As do redirects.
    scene.web.redirects("/around", "/around");
    scene.web.asked();
    scene.fails(&scene.web.url("/around")).await;
    assert_eq!(scene.web.asked().len(), 6);
    scene.web.redirects("/nowhere", "http://[");
    scene.fails(&scene.web.url("/nowhere")).await;
    let packed = whole(
        "200 OK",
        "text/html",
        "content-encoding: gzip\r\n",
        b"\x1f\x8b",
    );
    scene.web.answers("/packed", Answer::Whole(packed));
    scene.fails(&scene.web.url("/packed")).await;
}

#[tokio::test]
async fn one_fetches_for_all_who_ask() {
    let scene = Scene::new().await;
    scene.web.page("/page", "<title>Once</title>");
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let (alice, url) = (scene.alice.clone(), scene.web.url("/page"));
            tokio::spawn(
                async move { alice.get(format!("{PATH}?url={}", escape(&url))).await.ok() },
            )
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), json!({ "og:title": "Once" }));
    }
    assert_eq!(scene.web.asked().len(), 1);
    // Failures are remembered as well.
    for _ in 0..3 {
        scene.fails(&scene.web.url("/missing")).await;
    }
    assert_eq!(scene.web.asked().len(), 1);
}

#[tokio::test]
async fn a_preview_grows_old() {
    let mut scene = Scene::with("lifetime = 1").await;
    scene.web.page("/page", "<title>Old</title>");
    assert_eq!(scene.preview("/page").await, json!({ "og:title": "Old" }));
    let then = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    scene.web.page("/page", "<title>New</title>");
    // Who asks for then gets what was then, also after a restart.
    let url = escape(&scene.web.url("/page"));
    let at_then = format!("{PATH}?url={url}&ts={then}");
    assert_eq!(
        scene.alice.get(&at_then).await.ok(),
        json!({ "og:title": "Old" })
    );
    scene.server.restart();
    scene.alice.api = scene.server.api().with_token(&scene.alice.access_token);
    assert_eq!(
        scene.alice.get(&at_then).await.ok(),
        json!({ "og:title": "Old" })
    );
    assert_eq!(scene.preview("/page").await, json!({ "og:title": "New" }));
    scene
        .alice
        .get(format!("{PATH}?url={url}&ts=x"))
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn nobody_asks_for_very_many() {
    let server = Server::with(Config {
        limits: true,
        more: "[url_previews]\nenabled = true\n".into(),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    let ask = async || {
        alice
            .get(format!("{PATH}?url=http%3A%2F%2F127.0.0.1%3A1%2F"))
            .await
    };
    for _ in 0..60 {
        ask().await.refused(502, "M_UNKNOWN");
    }
    ask().await.refused(429, "M_LIMIT_EXCEEDED");
    alice.get("v3/account/whoami").await.ok();
}
