//! An address is added to an account, and taken away again.

use harness::{Config, PASSWORD};
use serde_json::json;

use crate::{ADD_TOKEN, Post, RESET_TOKEN, SECRET, add, addresses, login, relay::link_of, wish};

#[tokio::test]
async fn an_address_is_added_when_its_person_has_confirmed() {
    let post = Post::start();
    let api = post.api();
    let alice = api.register("alice").await;
    let able = alice.get("v3/capabilities").await.ok();
    assert_eq!(able["capabilities"]["m.3pid_changes"]["enabled"], true);
    // However it is written, it is one address.
    let asked = alice
        .post(ADD_TOKEN, wish("Alice@Example.ORG", 1))
        .await
        .ok();
    let letter = post.relay.letter();
    assert_eq!(letter["to"], json!(["alice@example.org"]));
    assert_eq!(letter["from"], "chat@council.example");
    assert_eq!(letter["hello"], "localhost");
    let headers = &letter["headers"];
    assert_eq!(
        headers["subject"],
        "Confirm your e-mail address for localhost"
    );
    assert_eq!(headers["from"], "localhost <chat@council.example>");
    assert_eq!(headers["auto-submitted"], "auto-generated");
    let text = letter["text"].as_str().unwrap();
    assert!(text.contains(&alice.user_id), "{text}");
    assert!(text.contains(&post.server.url()), "{text}");

    // Programs that open every link in a letter confirm nothing.
    let link = link_of(&letter);
    for _ in 0..2 {
        let page = post.server.visitor().open(&link).await;
        let page = page.shows(200, &["alice@example.org", &alice.user_id, "Yes, confirm"]);
        assert_eq!(page.header("cache-control"), "no-store");
    }
    add(&alice, &asked)
        .await
        .refused(400, "M_THREEPID_AUTH_FAILED");
    // Nor does a form on another site.
    let form = post.server.visitor().form(&link, &[]);
    let forged = form.header("Origin", "https://evil.example");
    let page = post.server.visitor().send(forged).await;
    page.shows(403, &["another site"]);
    add(&alice, &asked)
        .await
        .refused(400, "M_THREEPID_AUTH_FAILED");

    post.confirm(&link).await.shows(200, &["Confirmed"]);
    post.confirm(&link).await.shows(200, &["Confirmed"]);
    // The password is wanted too, and the client's secret.
    let body = json!({ "client_secret": SECRET, "sid": asked["sid"] });
    alice.post(crate::ADD, body).await.asks_for_auth();
    let wrong = json!({ "client_secret": "another", "sid": asked["sid"] });
    let answer = alice
        .with_password(reqwest::Method::POST, crate::ADD, wrong)
        .await;
    answer.refused(400, "M_THREEPID_AUTH_FAILED");
    assert_eq!(addresses(&alice).await, Vec::<String>::new());
    let answer = add(&alice, &asked).await;
    assert_eq!(answer.ok(), json!({}));
    let listed = alice.get("v3/account/3pid").await.ok();
    let listed = &listed["threepids"][0];
    assert_eq!(listed["medium"], "email");
    assert_eq!(listed["address"], "alice@example.org");
    assert!(listed["added_at"].as_u64() >= listed["validated_at"].as_u64());
    assert!(listed["validated_at"].as_u64() > Some(1_700_000_000_000));
    // It is used up.
    add(&alice, &asked)
        .await
        .refused(400, "M_THREEPID_AUTH_FAILED");
    post.confirm(&link).await.shows(404, &["cannot be used"]);
}

#[tokio::test]
async fn one_signs_in_with_an_address_while_one_has_it() {
    let post = Post::start();
    let api = post.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    post.give(&alice, "alice@example.org").await;
    let signed_in = login(&api, "ALICE@example.org", PASSWORD).await.ok();
    assert_eq!(signed_in["user_id"], alice.user_id.as_str());
    let old = json!({
        "type": "m.login.password", "medium": "email", "address": "alice@example.org",
        "password": PASSWORD,
    });
    api.post("v3/login", old).await.ok();
    for (address, password) in [
        ("alice@example.org", "wrong words"),
        ("nobody@example.org", PASSWORD),
        ("", PASSWORD),
    ] {
        login(&api, address, password)
            .await
            .refused(403, "M_FORBIDDEN");
    }
    // Nobody else can have it meanwhile, and nobody else can take it away.
    let answer = bob.post(ADD_TOKEN, wish("alice@example.org", 1)).await;
    answer.refused(400, "M_THREEPID_IN_USE");
    let gone = json!({ "medium": "email", "address": "Alice@example.org" });
    bob.post("v3/account/3pid/delete", gone.clone()).await.ok();
    assert_eq!(addresses(&alice).await, ["alice@example.org"]);
    assert!(addresses(&bob).await.is_empty());
    let answer = alice.post("v3/account/3pid/delete", gone).await.ok();
    assert_eq!(answer, json!({ "id_server_unbind_result": "no-support" }));
    assert!(addresses(&alice).await.is_empty());
    let answer = login(&api, "alice@example.org", PASSWORD).await;
    answer.refused(403, "M_FORBIDDEN");
    post.give(&bob, "alice@example.org").await;
    let signed_in = login(&api, "alice@example.org", PASSWORD).await.ok();
    assert_eq!(signed_in["user_id"], bob.user_id.as_str());
}

#[tokio::test]
async fn a_password_is_also_proved_by_address() {
    let post = Post::start();
    let alice = post.api().register("alice").await;
    post.give(&alice, "alice@example.org").await;
    let auth = |address: &str| {
        json!({
            "type": "m.login.password", "password": PASSWORD,
            "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": address },
        })
    };
    let body = |address: &str| json!({ "devices": [], "auth": auth(address) });
    let answer = alice.post("v3/delete_devices", body("b@example.org")).await;
    answer.refused(403, "M_FORBIDDEN");
    let answer = alice
        .post("v3/delete_devices", body("alice@example.org"))
        .await;
    answer.ok();
}

#[tokio::test]
async fn one_attempt_is_one_letter() {
    let post = Post::start();
    let alice = post.api().register("alice").await;
    let first = alice.post(ADD_TOKEN, wish("a@example.org", 1)).await.ok();
    let old = post.relay.link();
    let again = alice.post(ADD_TOKEN, wish("a@example.org", 1)).await.ok();
    assert_eq!(first["sid"], again["sid"]);
    post.relay.is_quiet();
    let second = alice.post(ADD_TOKEN, wish("a@example.org", 2)).await.ok();
    assert_eq!(first["sid"], second["sid"]);
    let new = post.relay.link();
    // The newest letter counts.
    post.confirm(&old).await.shows(404, &["cannot be used"]);
    post.confirm(&new).await.shows(200, &["Confirmed"]);
    alice.post(ADD_TOKEN, wish("a@example.org", 3)).await.ok();
    post.relay.is_quiet();
    // Another secret, address or purpose is another confirmation.
    let mut other = wish("a@example.org", 1);
    other["client_secret"] = "another".into();
    let other = alice.post(ADD_TOKEN, other).await.ok();
    assert_ne!(first["sid"], other["sid"]);
    post.relay.letter();
    add(&alice, &first).await.ok();
    assert_eq!(addresses(&alice).await, ["a@example.org"]);
}

#[tokio::test]
async fn what_one_person_confirms_another_does_not_get() {
    let post = Post::start();
    let api = post.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let asked = alice.post(ADD_TOKEN, wish("a@example.org", 1)).await.ok();
    post.confirm(&post.relay.link()).await.shows(200, &[]);
    add(&bob, &asked)
        .await
        .refused(400, "M_THREEPID_AUTH_FAILED");
    // Two who have confirmed the same address: the first has it.
    let mut body = wish("a@example.org", 1);
    body["client_secret"] = "bobs".into();
    let bobs = bob.post(ADD_TOKEN, body).await.ok();
    post.confirm(&post.relay.link()).await.shows(200, &[]);
    add(&alice, &asked).await.ok();
    let body = json!({ "client_secret": "bobs", "sid": bobs["sid"] });
    let answer = bob
        .with_password(reqwest::Method::POST, crate::ADD, body)
        .await;
    answer.refused(400, "M_THREEPID_IN_USE");
}

#[tokio::test]
async fn what_is_no_address_or_secret_is_refused() {
    let post = Post::start();
    let alice = post.api().register("alice").await;
    for email in [
        "",
        "alice",
        "a@b@c.example",
        "a@example.org\r\nBcc: b@example.org",
        "a b@c.example",
    ] {
        let answer = alice.post(ADD_TOKEN, wish(email, 1)).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
    let mut body = wish("a@example.org", 1);
    body["client_secret"] = "no secret".into();
    let answer = alice.post(ADD_TOKEN, body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    post.relay.is_quiet();
    let visitor = post.server.visitor();
    for path in ["/confirm/a/b", "/confirm/%ff/b", "/confirm/AAAA/x"] {
        visitor.open(path).await.shows(404, &["cannot be used"]);
        visitor
            .submit(path, &[])
            .await
            .shows(404, &["cannot be used"]);
    }
}

#[tokio::test]
async fn one_goes_on_where_the_client_said() {
    let post = Post::start();
    let alice = post.api().register("alice").await;
    let mut body = wish("a@example.org", 1);
    body["next_link"] = "https://app.example/next?a=b".into();
    alice.post(ADD_TOKEN, body).await.ok();
    let link = post.relay.link();
    let page = post.server.visitor().open(&link).await;
    let page = page.shows(200, &["app.example"]);
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' https://app.example;"),
        "{policy}"
    );
    let page = post.confirm(&link).await;
    assert_eq!(page.status, 303, "{page:?}");
    assert_eq!(page.header("location"), "https://app.example/next?a=b");
    // Nothing that is no page.
    for (number, next) in ["javascript:alert(1)", "data:text/html,x", "/confirm", "x"]
        .iter()
        .enumerate()
    {
        let mut body = wish(&format!("b{number}@example.org"), 1);
        body["next_link"] = (*next).into();
        alice.post(ADD_TOKEN, body).await.ok();
        let link = post.relay.link();
        let page = post
            .server
            .visitor()
            .open(&link)
            .await
            .shows(200, &[])
            .hides(&["alert", "go on to"]);
        assert!(
            page.header("content-security-policy")
                .contains("form-action 'self';")
        );
        post.confirm(&link).await.shows(200, &["Confirmed"]);
    }
}

#[tokio::test]
async fn a_closed_account_has_no_address() {
    let mut post = Post::start();
    let api = post.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    post.give(&alice, "a@example.org").await;
    // What is confirmed stays so while the server restarts.
    let asked = bob.post(ADD_TOKEN, wish("b@example.org", 1)).await.ok();
    let link = post.relay.link();
    post.server.restart();
    post.confirm(&link).await.shows(200, &["Confirmed"]);
    post.server.restart();
    add(&bob, &asked).await.ok();
    assert_eq!(addresses(&bob).await, ["b@example.org"]);
    let answer = alice
        .with_password(reqwest::Method::POST, "v3/account/deactivate", json!({}))
        .await;
    answer.ok();
    login(&api, "a@example.org", PASSWORD)
        .await
        .refused(403, "M_FORBIDDEN");
    let answer = api.post(RESET_TOKEN, wish("a@example.org", 1)).await;
    answer.refused(400, "M_THREEPID_NOT_FOUND");
    post.give(&bob, "a@example.org").await;
    assert_eq!(addresses(&bob).await, ["a@example.org", "b@example.org"]);
    // Neither tokens nor addresses are in the log.
    let log = std::fs::read_to_string(post.server.log_file()).unwrap();
    let token = link.rsplit('/').next().unwrap();
    assert!(
        !log.contains(token) && !log.contains("@example.org"),
        "{log}"
    );
    // Nor tokens and secrets on the disk.
    for found in files(&post.server.data_dir()) {
        let bytes = std::fs::read(&found).unwrap();
        for secret in [token, SECRET] {
            let holds = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!holds, "{} holds {secret}", found.display());
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn nobody_gets_many_letters() {
    let post = Post::with(Config {
        limits: true,
        ..Config::default()
    });
    let alice = post.api().register("alice").await;
    for attempt in 1..=3 {
        alice
            .post(ADD_TOKEN, wish("a@example.org", attempt))
            .await
            .ok();
        post.relay.letter();
    }
    let answer = alice.post(ADD_TOKEN, wish("A@example.org", 4)).await;
    let body = answer.refused(429, "M_LIMIT_EXCEEDED");
    assert!(body["retry_after_ms"].as_u64() > Some(60_000), "{body}");
    alice.post(ADD_TOKEN, wish("b@example.org", 1)).await.ok();
    post.relay.letter();
    post.relay.is_quiet();
}
