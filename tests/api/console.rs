//! The console at `/console/`: sessions, forms, roles, headers.

use harness::{Clerk, Config, PASSWORD, Server, User};
use reqwest::Method;
use serde_json::{Value, json};

const ROLES: [&str; 4] = ["administrator", "moderator", "helpdesk", "auditor"];

/// A server with one person of each role, and anna without.
pub(crate) async fn house() -> (Server, User) {
    let server = Server::start();
    for role in ROLES {
        server.api().register_as(role).await;
        server.cairn_json(&["user", "promote", role, "--role", role]);
    }
    let anna = server.api().register_as("anna").await;
    (server, anna)
}

pub(crate) async fn clerk(server: &Server, role: &str) -> Clerk {
    Clerk::at_desk(server.visitor(), role).await
}

pub(crate) fn audit(server: &Server, verb: &str) -> Vec<Value> {
    let shown = server.cairn_json(&["audit", "show", "--verb", verb]);
    shown["entries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn nothing_is_open_before_a_second_factor_was_set_up_and_given() {
    let (server, _anna) = house().await;
    let mut clerk = Clerk::new(server.visitor(), "helpdesk");
    let page = clerk.open("/console/people?q=an").await;
    assert_eq!(page.status, 303);
    let way = "/console/sign-in?next=%2Fconsole%2Fpeople%3Fq%3Dan";
    assert_eq!(page.header("location"), way);
    clerk.open(way).await.shows(200, &["/console/people?q=an"]);

    clerk
        .sign_in("wrong")
        .await
        .shows(403, &["The user name or the password is wrong."]);
    let page = clerk.sign_in(PASSWORD).await;
    assert_eq!(page.status, 303);
    for path in [
        "/console/",
        "/console/people",
        "/console/account",
        "/console/second-factor",
    ] {
        let page = clerk.open(path).await;
        assert_eq!(
            (page.status, page.header("location")),
            (303, "/console/set-up"),
            "{path}"
        );
    }
    let page = clerk.open("/console/set-up").await;
    let page = page.shows(200, &["Set up a second factor", "<svg"]);
    assert!(page.header("cache-control").contains("no-store"));
    let wrong = [("code", "000000"), ("password", PASSWORD)];
    clerk
        .submit("/console/set-up/codes", &wrong)
        .await
        .shows(400, &["This code is wrong"]);
    let before = clerk.cookies.clone();
    clerk.set_up().await;
    assert_eq!(clerk.recovery.len(), 10);
    clerk
        .open("/console/")
        .await
        .shows(200, &["Overview", "Health"]);
    // The token of before was given another.
    let mut earlier = Clerk::new(server.visitor(), "helpdesk");
    earlier.cookies = before;
    assert_eq!(earlier.open("/console/").await.status, 303);

    // From then on the code is asked for; used codes count no more.
    let mut again = Clerk::new(server.visitor(), "helpdesk");
    again.sign_in(PASSWORD).await;
    let page = again.open("/console/people").await;
    assert_eq!(page.header("location"), "/console/second-factor");
    assert_eq!(
        again.open("/console/set-up").await.header("location"),
        "/console/second-factor"
    );
    again.open("/console/second-factor").await;
    let used = clerk.used.clone();
    again
        .submit("/console/second-factor", &[("code", &used)])
        .await
        .shows(400, &["used before"]);
    let code = clerk.recovery[0].clone();
    let fields = [("code", code.as_str()), ("next", "/console/people")];
    let page = again.submit("/console/second-factor", &fields).await;
    assert_eq!(
        (page.status, page.header("location")),
        (303, "/console/people")
    );
    again
        .open("/console/people")
        .await
        .shows(200, &["@anna:localhost"]);
    assert_eq!(audit(&server, "console.opened").len(), 2);
    // The first is told at once, the others as a number later.
    let refused = audit(&server, "session.refused");
    assert_eq!(refused[0]["on"], "@helpdesk:localhost");

    // Signed in elsewhere: ended from there.
    let page = clerk
        .open("/console/account")
        .await
        .shows(200, &["Where you are signed in"]);
    let other = page.text.split("name=\"session\" value=\"").nth(1).unwrap();
    let other = other.split('"').next().unwrap().to_owned();
    clerk
        .submit("/console/account/end-session", &[("session", &other)])
        .await;
    assert_eq!(again.open("/console/people").await.status, 303);
    let page = clerk.submit("/console/sign-out", &[]).await;
    assert_eq!(page.header("location"), "/console/sign-in");
    assert!(page.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(clerk.open("/console/").await.status, 303);
    assert_eq!(audit(&server, "console.closed").len(), 2);
}

#[tokio::test]
async fn who_has_no_role_is_sent_away_and_told_so_only_with_the_password() {
    let (server, _anna) = house().await;
    let mut anna = Clerk::new(server.visitor(), "anna");
    anna.sign_in("wrong")
        .await
        .shows(403, &["The user name or the password is wrong."]);
    anna.sign_in(PASSWORD)
        .await
        .shows(403, &["no role on this server"]);
    let mut nobody = Clerk::new(server.visitor(), "nobody");
    nobody
        .sign_in(PASSWORD)
        .await
        .shows(403, &["The user name or the password is wrong."]);
    // A role that is taken ends at once.
    let mut clerk = clerk(&server, "helpdesk").await;
    clerk.open("/console/people").await.shows(200, &["People"]);
    server.cairn_json(&["user", "demote", "helpdesk"]);
    assert_eq!(clerk.open("/console/people").await.status, 303);
}

#[tokio::test]
async fn forms_count_from_our_own_pages_and_for_whom_they_were_shown() {
    let (server, _anna) = house().await;
    let mut helpdesk = clerk(&server, "helpdesk").await;
    let mut administrator = clerk(&server, "administrator").await;
    helpdesk.open("/console/people/@anna:localhost").await;
    let lock = "/console/people/@anna:localhost/lock";
    let reason = ("reason", "lost phone");
    // Without what ties it to the session, with that of another session, from another site.
    let number = std::mem::take(&mut helpdesk.form);
    helpdesk
        .submit(lock, &[reason])
        .await
        .shows(403, &["another session"]);
    administrator.open("/console/").await;
    helpdesk.form = administrator.form.clone();
    helpdesk
        .submit(lock, &[reason])
        .await
        .shows(403, &["another session"]);
    helpdesk.form = number.clone();
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let body = format!("form={number}&reason=x");
        let request = helpdesk.request(Method::POST, lock);
        let request = request.header(name, value).body(body);
        helpdesk.send(request).await.shows(403, &["another site"]);
    }
    let form = helpdesk.form.clone();
    let mut stranger = Clerk::new(server.visitor(), "helpdesk");
    stranger.form = form;
    let page = stranger.submit(lock, &[reason]).await;
    assert_eq!(page.header("location"), "/console/sign-in");
    let shown = server.cairn_json(&["user", "show", "anna"]);
    assert_eq!(shown["locked"], json!(false));
    // Rightly; and not without a reason.
    helpdesk
        .submit(lock, &[("reason", " ")])
        .await
        .shows(400, &["Say why"]);
    let page = helpdesk.submit(lock, &[reason]).await;
    assert_eq!(page.status, 303);
    let shown = server.cairn_json(&["user", "show", "anna"]);
    assert_eq!(shown["locked"], json!(true));
    let told = audit(&server, "person.lock");
    assert_eq!(told[0]["by"], "@helpdesk:localhost");
    assert_eq!(told[0]["reason"], "lost phone");
    assert_eq!(told[0]["from"], "127.0.0.1");
}

#[tokio::test]
async fn each_role_opens_its_own_pages_and_no_others() {
    let (server, anna) = house().await;
    let room = anna.create_room(json!({ "name": "Allotments" })).await;
    let old = anna.create_room(json!({ "name": "Old" })).await;
    server.api().register_as("ben").await;
    server.cairn_json(&["department", "create", "Works"]);
    // Each page, and who opens it.
    let pages: [(String, &[&str]); 19] = [
        ("".into(), &ROLES),
        ("account".into(), &ROLES),
        ("people".into(), &ROLES),
        ("people/@anna:localhost".into(), &ROLES),
        (
            "invitations".into(),
            &["administrator", "helpdesk", "auditor"],
        ),
        ("import".into(), &["administrator", "helpdesk"]),
        ("departments".into(), &ROLES),
        ("departments/Works".into(), &ROLES),
        (
            "moderation".into(),
            &["administrator", "moderator", "auditor"],
        ),
        (
            "abandoned-rooms".into(),
            &["administrator", "moderator", "auditor"],
        ),
        ("rooms".into(), &["administrator", "moderator", "auditor"]),
        (
            format!("rooms/{room}"),
            &["administrator", "moderator", "auditor"],
        ),
        (
            "register".into(),
            &["administrator", "moderator", "auditor"],
        ),
        ("reports".into(), &["administrator", "moderator"]),
        ("media".into(), &["administrator", "moderator"]),
        (
            "federation".into(),
            &["administrator", "moderator", "auditor"],
        ),
        ("audit".into(), &["administrator", "auditor"]),
        ("settings".into(), &["administrator", "auditor"]),
        ("backups".into(), &["administrator", "auditor"]),
    ];
    // Each act, and who may.
    let acts: [(String, &[&str]); 28] = [
        (
            "people/@anna:localhost/unlock".into(),
            &["administrator", "moderator", "helpdesk"],
        ),
        (
            "people/@anna:localhost/unsuspend".into(),
            &["administrator", "moderator", "helpdesk"],
        ),
        (
            "people/@anna:localhost/sign-out".into(),
            &["administrator", "helpdesk"],
        ),
        ("people/@anna:localhost/role".into(), &["administrator"]),
        ("people".into(), &["administrator", "helpdesk"]),
        ("invitations".into(), &["administrator", "helpdesk"]),
        (
            format!("rooms/{room}/unblock"),
            &["administrator", "moderator"],
        ),
        (
            "people/@anna:localhost/set-end".into(),
            &["administrator", "helpdesk"],
        ),
        (
            "people/@anna:localhost/kind".into(),
            &["administrator", "helpdesk"],
        ),
        (
            "people/@anna:localhost/limits".into(),
            &["administrator", "helpdesk"],
        ),
        (
            "people/@ben:localhost/close".into(),
            &["administrator", "helpdesk"],
        ),
        ("import".into(), &["administrator", "helpdesk"]),
        ("import/invite".into(), &["administrator", "helpdesk"]),
        ("departments".into(), &["administrator", "moderator"]),
        (
            "departments/Works/put-in".into(),
            &["administrator", "moderator", "helpdesk"],
        ),
        (
            "departments/Works/get-room".into(),
            &["administrator", "moderator"],
        ),
        (
            format!("rooms/{room}/open"),
            &["administrator", "moderator"],
        ),
        (
            format!("rooms/{room}/close"),
            &["administrator", "moderator"],
        ),
        (
            format!("rooms/{room}/reopen"),
            &["administrator", "moderator"],
        ),
        (format!("rooms/{old}/shrink"), &["administrator"]),
        (format!("rooms/{old}/delete"), &["administrator"]),
        ("moderation/redact".into(), &["administrator", "moderator"]),
        ("moderation/heed".into(), &["administrator", "moderator"]),
        ("moderation/ignore".into(), &["administrator", "moderator"]),
        ("audit/verify".into(), &["administrator", "auditor"]),
        ("federation/other.example/retry".into(), &["administrator"]),
        ("federation/block".into(), &["administrator"]),
        (
            "federation/other.example/unblock".into(),
            &["administrator"],
        ),
    ];
    for role in ROLES {
        let mut clerk = clerk(&server, role).await;
        let overview = clerk.open("/console/").await;
        for (path, may) in &pages {
            let page = clerk.open(&format!("/console/{path}")).await;
            let expected = if may.contains(&role) { 200 } else { 403 };
            assert_eq!(page.status, expected, "{role} {path}: {page:?}");
            // What they may not open is not shown either.
            let is_below = ["import", "abandoned-rooms"].contains(&path.as_str());
            let is_top = !path.contains('/') && !path.is_empty() && !is_below;
            if is_top {
                let link = format!("href=\"/console/{path}\"");
                assert_eq!(
                    overview.text.contains(&link),
                    may.contains(&role),
                    "{role} {path}"
                );
            }
        }
        let new = format!("new-{role}");
        for (path, may) in &acts {
            let typed = match path {
                path if path.contains("@ben") => "ben",
                path if path.contains(&old) => &old,
                _ => "anna",
            };
            let fields = [
                ("reason", "x"),
                ("server", "other.example"),
                ("user", if path == "people" { &new } else { "anna" }),
                ("name", &new),
                ("typed", typed),
                ("role", "take auditor"),
                ("kind", "member"),
                ("device", "NONE"),
                ("room", &room),
                ("before", "2099-01-01"),
                ("table", "localpart\nanna\n"),
                ("users", "anna"),
                ("count", "1"),
                ("uses", "1"),
                ("days", "1"),
            ];
            clerk.open("/console/").await;
            let page = clerk.submit(&format!("/console/{path}"), &fields).await;
            match may.contains(&role) {
                true => assert!([200, 303].contains(&page.status), "{role} {path}: {page:?}"),
                false => assert_eq!(page.status, 403, "{role} {path}: {page:?}"),
            }
        }
        // Who comes next is not told that it is being done already.
        harness::eventually("what was begun is done", 30, async || {
            let tasks = server.cairn_json(&["room", "purge-status"]).to_string();
            let goes_on = ["waiting", "active"].iter().any(|it| tasks.contains(it));
            (!goes_on).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn pages_keep_to_themselves() {
    let (server, _anna) = house().await;
    let mut clerk = clerk(&server, "administrator").await;
    let paths = [
        "",
        "account",
        "people",
        "people/@anna:localhost",
        "invitations",
        "import",
        "departments",
        "moderation",
        "rooms",
        "abandoned-rooms",
        "register",
        "reports",
        "media",
        "federation",
        "audit",
        "settings",
        "backups",
        "sign-in",
        "set-up",
    ];
    for path in paths {
        let page = clerk.open(&format!("/console/{path}")).await;
        let policy = page.header("content-security-policy").to_owned();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'nonce-"),
            "{path}: {policy}"
        );
        for part in ["unsafe", "*", "http:", "https:", "data:"] {
            assert!(!policy.contains(part), "{path}: {policy}");
        }
        for part in [
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value, "{path}");
        }
        let text = page.text.to_lowercase();
        for part in [" style=\"", " onclick", "<style", "javascript:"] {
            assert!(!text.contains(part), "{path}: {part}");
        }
        assert!(
            !page.text.contains(&clerk.cookies["cairn-console"]),
            "{path}"
        );
    }
    let page = clerk.open("/console/settings").await;
    let script = page
        .text
        .split("src=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let script = clerk.open(script).await;
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert!(script.header("cache-control").contains("immutable"));
    // Each answer has a number of its own.
    let (one, two) = (clerk.open("/console/").await, clerk.open("/console/").await);
    let policy = "content-security-policy";
    assert_ne!(one.header(policy), two.header(policy));
}

#[tokio::test]
async fn over_tls_the_cookie_is_for_this_host_alone() {
    let server = Server::with(Config {
        more: "[well_known]\nclient = \"https://chat.example\"\n".into(),
        ..Config::default()
    });
    let visitor = server.visitor();
    let page = visitor.open("/console/sign-in").await;
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-cairn-form="), "{cookie}");
    for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let server = Server::with(Config {
        serves: vec!["client".into()],
        ..Config::default()
    });
    assert_eq!(server.visitor().open("/console/sign-in").await.status, 404);
}

#[tokio::test]
async fn without_tls_nobody_signs_in_from_another_machine() {
    let server = Server::with(Config {
        listener: "trusted_proxies = [\"127.0.0.1/32\"]".into(),
        ..Config::default()
    });
    let visitor = server.visitor();
    let request = visitor.request(Method::GET, "/console/sign-in");
    let page = visitor
        .send(request.header("x-forwarded-for", "192.0.2.7"))
        .await;
    page.shows(403, &["encrypted connection"]);
    visitor
        .open("/console/sign-in")
        .await
        .shows(200, &["Password"]);
}

#[tokio::test]
async fn programs_of_those_with_a_second_factor_need_a_token_made_for_them() {
    let (server, _anna) = house().await;
    let api = server.api();
    let administrator = api.login("administrator").await;
    let people = "/_synapse/admin/v2/users";
    administrator.get(people).await.ok();
    let mut clerk = clerk(&server, "administrator").await;
    let refused = administrator.get(people).await.refused(403, "M_FORBIDDEN");
    let text = refused["error"].as_str().unwrap();
    assert!(
        text.contains("second factor") && text.contains("/console/"),
        "{text}"
    );
    let lock = "v1/admin/lock/@anna:localhost";
    administrator.get(lock).await.refused(403, "M_FORBIDDEN");
    // What everybody may do with their own account they may still.
    administrator.get("v3/account/whoami").await.ok();

    clerk.open("/console/account").await;
    let fields = [("name", "synadm"), ("days", "30")];
    let page = clerk.submit("/console/account/programs", &fields).await;
    let page = page.shows(200, &["shown only now"]);
    let token = page.text.split("<code id=\"token\">").nth(1).unwrap();
    let token = token.split('<').next().unwrap();
    let program = api.with_token(token);
    program.get(people).await.ok();
    clerk
        .open("/console/account")
        .await
        .shows(200, &["synadm"])
        .hides(&[token]);
    let made = server.cairn_json(&["user", "token", "administrator", "--name", "script"]);
    api.with_token(made["token"].as_str().unwrap())
        .get(people)
        .await
        .ok();
    assert_eq!(audit(&server, "session.program").len(), 2);

    let page = clerk.open("/console/account").await;
    let device = page.text.split("name=\"device\" value=\"").nth(2).unwrap();
    let device = device.split('"').next().unwrap().to_owned();
    clerk
        .submit("/console/account/end-program", &[("device", &device)])
        .await;
    program.get(people).await.refused(401, "M_UNKNOWN_TOKEN");

    // The operator resets it: sessions end, a new one is asked for.
    server.cairn_json(&[
        "user",
        "reset-second-factor",
        "administrator",
        "--reason",
        "lost",
    ]);
    assert_eq!(clerk.open("/console/").await.status, 303);
    clerk.sign_in(PASSWORD).await;
    assert_eq!(
        clerk.open("/console/").await.header("location"),
        "/console/set-up"
    );
    let told = audit(&server, "person.factor_removed");
    assert_eq!(
        (&told[0]["by"], &told[0]["reason"]),
        (&json!("operator"), &json!("lost"))
    );
}

#[tokio::test]
async fn the_configuration_can_demand_a_second_factor_of_all_with_a_role() {
    let server = Server::with(Config {
        more: "[accounts]\nsecond_factor_for_roles = true\n".into(),
        ..Config::default()
    });
    let administrator = server.api().register_as("administrator").await;
    server.cairn_json(&["user", "promote", "administrator"]);
    let people = "/_synapse/admin/v2/users";
    administrator.get(people).await.refused(403, "M_FORBIDDEN");
    let made = server.cairn_json(&["user", "token", "administrator", "--name", "synadm"]);
    let token = made["token"].as_str().unwrap();
    server.api().with_token(token).get(people).await.ok();
}

#[tokio::test]
async fn guessing_codes_and_passwords_is_limited() {
    let server = Server::with(Config {
        limits: true,
        ..Config::default()
    });
    server.api().register_as("helpdesk").await;
    server.cairn_json(&["user", "promote", "helpdesk", "--role", "helpdesk"]);
    let mut clerk = clerk(&server, "helpdesk").await;
    clerk.sign_in(PASSWORD).await;
    clerk.open("/console/second-factor").await;
    for _ in 0..5 {
        let page = clerk
            .submit("/console/second-factor", &[("code", "000000")])
            .await;
        page.shows(400, &["This code is wrong"]);
    }
    let good = clerk.recovery[0].clone();
    let page = clerk
        .submit("/console/second-factor", &[("code", &good)])
        .await;
    page.shows(429, &["Too many codes were wrong"]);
    let mut found = Vec::new();
    for _ in 0..12 {
        found.push(clerk.sign_in("wrong").await.status);
    }
    assert!(
        found.contains(&403) && found.last() == Some(&429),
        "{found:?}"
    );
}
