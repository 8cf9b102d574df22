//! The pages of an invitation: what they show, what they refuse, what they keep to
//! themselves.

use harness::{Config, PASSWORD, Page, Registration, Server, Visitor, eventually, qr};
use reqwest::Method;
use serde_json::json;

/// A server that is joined by invitation only, with these lines in its configuration.
fn by_invitation(more: &str) -> Server {
    Server::with(Config {
        registration: Registration::Invite,
        more: more.to_owned(),
        ..Config::default()
    })
}

async fn is_valid(server: &Server, token: &str) -> bool {
    let path = format!("v1/register/m.login.registration_token/validity?token={token}");
    server.api().get(path).await.ok()["valid"] == true
}

async fn is_free(server: &Server, name: &str) -> bool {
    let path = format!("v3/register/available?username={name}");
    server.api().get(path).await.status == 200
}

/// What every page says to the browser.
#[track_caller]
fn is_guarded(page: &Page) {
    let policy = page.header("Content-Security-Policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    for part in [
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for (name, expected) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("X-Robots-Tag", "noindex, nofollow"),
        // Nobody is signed in, and no other site may read it.
        ("Set-Cookie", ""),
        ("Access-Control-Allow-Origin", ""),
    ] {
        assert_eq!(page.header(name), expected, "{name}: {page:?}");
    }
    for part in ["<script", "<img", "<link", "<iframe", " style=\""] {
        assert!(!page.text.contains(part), "{part}: {page:?}");
    }
}

#[tokio::test]
async fn an_invited_person_joins_and_signs_in_with_a_client() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    // Looking changes nothing, however often: previews of links look too.
    for _ in 0..3 {
        let page = visitor.open(&path).await;
        is_guarded(&page);
        page.shows(200, &["<h1>Join localhost</h1>", "At least 8 characters"])
            .hides(&[&token, "role=\"alert\""]);
    }
    let done = visitor.join(&token, "newcomer", PASSWORD).await;
    is_guarded(&done);
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(done.header("Location"), "../joined?name=newcomer");

    // It can be opened again and again.
    for _ in 0..2 {
        let page = visitor.open("/joined?name=newcomer").await;
        is_guarded(&page);
        let page = page
            .shows(
                200,
                &["Welcome, newcomer", "@newcomer:localhost", &server.url()],
            )
            .hides(&[&token, PASSWORD]);
        let link = format!("{}/joined?name=newcomer", server.url());
        assert_eq!(qr::in_page(&page.text), [link]);
    }
    let newcomer = server.api().login("newcomer").await;
    let devices = newcomer.get("v3/devices").await.ok();
    assert_eq!(
        devices["devices"].as_array().unwrap().len(),
        1,
        "joining signed a device in: {devices}"
    );
    assert!(!is_valid(&server, &token).await);
}

#[tokio::test]
async fn an_invitation_that_cannot_be_used_says_so_and_makes_nobody() {
    let server = by_invitation("");
    let visitor = server.visitor();
    let used = server.invitation();
    assert_eq!(visitor.join(&used, "first", PASSWORD).await.status, 303);
    let ended = server.cairn_json(&["invite", "create", "--expires-after-days", "0"]);
    let ended = ended["token"].as_str().unwrap().to_owned();
    let revoked = server.invitation();
    assert!(
        server
            .cairn(&["invite", "revoke", &revoked])
            .status
            .success()
    );
    for token in [used.as_str(), &ended, &revoked, "unknown", "%FF%FE", "..."] {
        let path = format!("/join/{token}");
        for page in [
            visitor.open(&path).await,
            visitor.join(token, "second", PASSWORD).await,
        ] {
            is_guarded(&page);
            page.shows(404, &["This invitation cannot be used", "../joined"])
                .hides(&["<form", "second", PASSWORD]);
        }
    }
    assert!(is_free(&server, "second").await);
    let page = visitor.open("/joined").await;
    is_guarded(&page);
    page.shows(200, &["Sign in to localhost", "@name:localhost"]);
}

#[tokio::test]
async fn what_has_to_be_corrected_stands_beside_its_field() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let first = server.invitation();
    assert_eq!(visitor.join(&first, "taken", PASSWORD).await.status, 303);
    let path = format!("/join/{token}");
    let long = "a".repeat(300);
    let endless = "p".repeat(1_025);
    let taken = "The name taken is taken";
    let invalid = "has only small letters";
    for (name, password, again, field, mistake) in [
        ("", PASSWORD, PASSWORD, "name", "Choose a user name"),
        ("taken", PASSWORD, PASSWORD, "name", taken),
        ("Taken", PASSWORD, PASSWORD, "name", taken),
        ("two words", PASSWORD, PASSWORD, "name", invalid),
        ("jürgen", PASSWORD, PASSWORD, "name", invalid),
        ("_bridge", PASSWORD, PASSWORD, "name", invalid),
        ("@a:other.example", PASSWORD, PASSWORD, "name", invalid),
        (&long, PASSWORD, PASSWORD, "name", invalid),
        ("free", "", "", "password", "Choose a password"),
        (
            "free",
            "short",
            "short",
            "password",
            "at least 8 characters",
        ),
        ("free", &endless, &endless, "password", "too long"),
        ("free", PASSWORD, "else", "again", "passwords differ"),
        ("free", PASSWORD, "", "again", "passwords differ"),
    ] {
        let fields = [("name", name), ("password", password), ("again", again)];
        let page = visitor.submit(&path, &fields).await;
        is_guarded(&page);
        let page = page.shows(
            400,
            &[
                "<title>Look again: Join localhost</title>",
                "role=\"alert\"",
                &format!("id=\"{field}-mistake\""),
                &format!("<a href=\"#{field}\">"),
                "aria-invalid=\"true\"",
                mistake,
            ],
        );
        // What was typed is kept, but not the password.
        let page = page.shows(400, &[&format!("value=\"{name}\"")]);
        assert_eq!(page.text.matches(" value=").count(), 1, "{page:?}");
        if !password.is_empty() {
            page.hides(&[PASSWORD, "\"short\"", &endless]);
        }
    }
    // A form without its fields is an empty one; several mistakes come at once.
    let page = visitor.submit(&path, &[("else", "x")]).await;
    page.shows(400, &["Choose a user name", "Choose a password"]);
    assert!(is_free(&server, "free").await);
    assert!(is_valid(&server, &token).await);
    assert_eq!(visitor.join(&token, "free", PASSWORD).await.status, 303);
}

#[tokio::test]
async fn names_are_understood_as_people_write_them() {
    let server = by_invitation("");
    let visitor = server.visitor();
    for (typed, name) in [
        (" Anna ", "anna"),
        ("@bea:localhost", "bea"),
        ("carla/d+e=f", "carla/d+e=f"),
    ] {
        let done = visitor.join(&server.invitation(), typed, PASSWORD).await;
        assert_eq!(done.status, 303, "{done:?}");
        let location = format!("../joined?name={}", harness::escape(name));
        assert_eq!(done.header("Location"), location);
        let page = visitor.open(&location[2..]).await;
        page.shows(200, &[&format!("@{name}:localhost")]);
        server.api().login(name).await;
    }
}

#[tokio::test]
async fn hostile_texts_stay_texts() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' autofocus onfocus='alert(1)",
        "</title><svg onload=alert(1)>",
        "&lt;b&gt;",
        "a\0b",
    ] {
        let fields = [("name", hostile), ("password", hostile), ("again", "")];
        let page = visitor.submit(&path, &fields).await;
        is_guarded(&page);
        page.shows(400, &["id=\"name-mistake\""]).hides(&[hostile]);
        let escaped = harness::escape(hostile);
        let page = visitor.open(&format!("/join/{escaped}")).await;
        is_guarded(&page);
        page.shows(404, &[]).hides(&[hostile, "alert(1)"]);
        let page = visitor.open(&format!("/joined?name={escaped}")).await;
        is_guarded(&page);
        page.shows(200, &["@name:localhost"])
            .hides(&[hostile, "alert(1)"]);
    }
    let page = visitor.submit(&path, &[("name", "<b>\"'&")]).await;
    page.shows(400, &["value=\"&lt;b&gt;&quot;&#39;&amp;\""]);
}

#[tokio::test]
async fn a_form_from_another_site_is_refused() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    let fields = [
        ("name", "driven"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://elsewhere.example"),
        ("Origin", "null"),
    ] {
        let form = visitor.form(&path, &fields).header(name, value);
        let page = visitor.send(form).await;
        is_guarded(&page);
        page.shows(403, &["This form was sent from another site"]);
    }
    assert!(is_free(&server, "driven").await);
    assert!(is_valid(&server, &token).await);
    let form = visitor.form(&path, &fields).header("Origin", server.url());
    assert_eq!(visitor.send(form).await.status, 303);
}

#[tokio::test]
async fn other_methods_are_not_known() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    for (method, path) in [
        (Method::PUT, path.as_str()),
        (Method::DELETE, &path),
        (Method::OPTIONS, &path),
        (Method::POST, "/joined"),
    ] {
        let answer = visitor.send(visitor.request(method.clone(), path)).await;
        assert_eq!(answer.status, 405, "{answer:?}");
    }
    let head = visitor.send(visitor.request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""), "{head:?}");
    for nowhere in ["/join", "/join/", &format!("{path}/more"), "/joined/x"] {
        assert_eq!(visitor.open(nowhere).await.status, 404, "{nowhere}");
    }
    assert!(is_valid(&server, &token).await);
}

#[tokio::test]
async fn forms_that_no_browser_sends_are_refused() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    let page = visitor
        .submit(&path, &[("name", &"n".repeat(20_000))])
        .await;
    is_guarded(&page);
    page.shows(413, &["did not arrive whole"]);
    let page = visitor.submit(&path, &[("name", "a"), ("name", "b")]).await;
    is_guarded(&page);
    page.shows(400, &["did not arrive whole"]);
    let json = visitor
        .request(Method::POST, &path)
        .json(&json!({ "name": "anna", "password": PASSWORD, "again": PASSWORD }));
    let page = visitor.send(json).await;
    page.shows(400, &["Choose a user name"]);
    assert!(is_valid(&server, &token).await);
}

#[tokio::test]
async fn a_closed_server_says_so() {
    let server = Server::with(Config {
        registration: Registration::Closed,
        ..Config::default()
    });
    let (visitor, token) = (server.visitor(), server.invitation());
    for page in [
        visitor.open(&format!("/join/{token}")).await,
        visitor.join(&token, "anybody", PASSWORD).await,
    ] {
        is_guarded(&page);
        page.shows(403, &["Nobody can join at the moment"])
            .hides(&["<form"]);
    }
}

#[tokio::test]
async fn an_open_server_still_wants_the_invitation_and_uses_it_up() {
    let server = Server::start();
    let (visitor, token) = (server.visitor(), server.invitation());
    visitor.open("/join/nothing").await.shows(404, &[]);
    visitor
        .join("nothing", "nobody", PASSWORD)
        .await
        .shows(404, &[]);
    assert!(is_free(&server, "nobody").await);
    assert_eq!(visitor.join(&token, "somebody", PASSWORD).await.status, 303);
    visitor
        .join(&token, "somebody-else", PASSWORD)
        .await
        .shows(404, &[]);
}

#[tokio::test]
async fn of_twenty_at_once_with_one_invitation_one_joins() {
    let server = by_invitation("");
    let (visitor, token) = (server.visitor(), server.invitation());
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (visitor, token) = (visitor.clone(), token.clone());
        waiting.spawn(async move {
            let name = format!("racer{number}");
            visitor.join(&token, &name, PASSWORD).await.status
        });
    }
    let statuses = waiting.join_all().await;
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(303), count(404)), (1, 19), "{statuses:?}");
    let users = server.cairn_json(&["user", "list"]);
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
}

/// Opens pages until one is refused for the rate; panics if that never happens.
async fn until_limited(mut open: impl AsyncFnMut() -> Page) -> Page {
    for _ in 0..2_000 {
        let page = open().await;
        if page.status == 429 {
            is_guarded(&page);
            assert!(
                page.header("Retry-After").parse::<u64>().is_ok(),
                "{page:?}"
            );
            return page.shows(429, &["Too many tries", "seconds"]);
        }
    }
    panic!("never limited");
}

#[tokio::test]
async fn guessing_invitations_is_limited_and_keeps_what_was_typed() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        limits: true,
        ..Config::default()
    });
    let (visitor, token) = (server.visitor(), server.invitation());
    let page = until_limited(async || visitor.join("guess", "guesser", PASSWORD).await).await;
    page.shows(429, &["value=\"guesser\"", "role=\"alert\""])
        .hides(&[PASSWORD]);
    // Long before the limit on requests: pages are still there.
    visitor
        .open(&format!("/join/{token}"))
        .await
        .shows(200, &["<form"]);
}

#[tokio::test]
async fn opening_pages_is_limited_per_address() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        limits: true,
        listener: "trusted_proxies = [\"127.0.0.0/8\"]".into(),
        // So few that a busy machine reaches the limit too; still more than guesses.
        more: "requests_per_second_per_address = 1\nburst_per_address = 30".into(),
        ..Config::default()
    });
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    let from = async |address: &str| {
        let request = visitor.request(Method::GET, &path);
        visitor
            .send(request.header("X-Forwarded-For", address))
            .await
    };
    until_limited(async || from("192.0.2.1").await).await;
    from("192.0.2.2").await.shows(200, &["<form"]);
    // Mistakes in the form of a valid invitation are no guesses, only requests.
    let mut mistakes = 0;
    until_limited(async || {
        mistakes += 1;
        let form = visitor.form(&path, &[("name", "")]);
        visitor
            .send(form.header("X-Forwarded-For", "192.0.2.3"))
            .await
    })
    .await;
    assert!(mistakes > 30, "limited after {mistakes} mistakes");
}

#[tokio::test]
async fn neither_token_nor_password_gets_into_the_log() {
    let server = by_invitation("[log]\nlevel = \"trace\"");
    let (visitor, token) = (server.visitor(), server.invitation());
    let path = format!("/join/{token}");
    visitor.open(&path).await.shows(200, &[]);
    visitor.open(&format!("{path}/more")).await;
    visitor.submit(&path, &[("name", "")]).await.shows(400, &[]);
    assert_eq!(visitor.join(&token, "logged", PASSWORD).await.status, 303);
    visitor.open(&path).await.shows(404, &[]);
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(log.contains("POST /join/ 303"), "no access log: {log}");
    for secret in [token.as_str(), PASSWORD, &harness::escape(PASSWORD)] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
    let metrics = visitor.open("/metrics").await;
    metrics
        .shows(200, &["endpoint=\"/join/{token}\""])
        .hides(&[&token]);
}

const TOLD: &str = r#"
[well_known]
client = "https://chat.council.example/"

[joining]
sign_in_link = "https://mobile.example/element/?account_provider={server_name}&login_hint=mxid:{user_id}"
clients = [
  { name = "Element X", platform = "Android", address = "https://files.example/element-x.apk?a=1&b=2" },
  { name = "A <b>bold</b> \"app\"", platform = "Windows", address = "/apps/bold.msi" },
]
"#;

#[tokio::test]
async fn newcomers_are_told_what_the_operator_says() {
    let server = by_invitation(TOLD);
    let visitor = server.visitor();
    let page = visitor.open("/joined?name=anna").await;
    is_guarded(&page);
    let page = page
        .shows(
            200,
            &[
                ">https://chat.council.example</code>",
                "href=\"https://files.example/element-x.apk?a=1&amp;b=2\"",
                "Element X for Android",
                "A &lt;b&gt;bold&lt;/b&gt; &quot;app&quot; for Windows",
                "href=\"/apps/bold.msi\"",
            ],
        )
        .hides(&["<b>", "Any Matrix app does"]);
    let link = "https://mobile.example/element/?account_provider=localhost&login_hint=mxid:@anna:localhost";
    let escaped = link.replace('&', "&amp;");
    let page = page.shows(200, &[&format!("class=\"button\" href=\"{escaped}\"")]);
    assert_eq!(qr::in_page(&page.text), [link]);
    // Behind a proxy with another name the form is still ours.
    let token = server.invitation();
    let fields = [
        ("name", "anna"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    let form = visitor.form(&format!("/join/{token}"), &fields);
    let form = form.header("Origin", "https://chat.council.example");
    assert_eq!(visitor.send(form).await.status, 303);
}

#[tokio::test]
async fn the_code_may_hold_the_address_alone() {
    let server = by_invitation("[joining]\nsign_in_link = \"{address}\"");
    let page = server.visitor().open("/joined?name=anna").await;
    let page = page.shows(200, &[]).hides(&["class=\"button\""]);
    assert_eq!(qr::in_page(&page.text), [server.url()]);
}

#[tokio::test]
async fn pages_stand_where_clients_are_served_and_nowhere_else() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        more: "[[listener]]\naddress = \"127.0.0.1:0\"\nserves = [\"metrics\"]".into(),
        ..Config::default()
    });
    let token = server.invitation();
    let other = eventually("the second listener", 5, async || {
        let mut others = server.addresses().into_iter();
        others.find(|address| !server.url().ends_with(address))
    })
    .await;
    let elsewhere = Visitor::new(&format!("http://{other}"));
    elsewhere.open("/metrics").await.shows(200, &["# HELP"]);
    for path in [format!("/join/{token}"), "/joined".to_owned()] {
        assert_eq!(elsewhere.open(&path).await.status, 404, "{path}");
        server.visitor().open(&path).await.shows(200, &[]);
    }
}
