//! What a stranger sees who types the server's address into a browser.

use harness::{Config, Registration, Server};
use reqwest::Method;

use crate::checks::look;
use crate::driver::Browser;

fn council(more: &str) -> Server {
    Server::with(Config {
        server_name: "council.example".into(),
        registration: Registration::Invite,
        more: more.into(),
        ..Config::default()
    })
}

#[tokio::test]
async fn a_stranger_learns_where_to_sign_in_and_whom_to_ask() {
    let server = council(
        "[well_known]\nsupport_email = \"help@council.example\"\n\
         support_page = \"https://council.example/it?a=1&b=<2>\"\nsupport_user = \"@it:council.example\"\n",
    );
    let browser = Browser::phone().await;
    browser.open(&format!("{}/", server.url())).await;
    assert_eq!(browser.title().await, "council.example");
    let heading = browser.find("h1").await;
    assert_eq!(heading.label().await, "council.example");
    assert_eq!(browser.find("#address").await.text().await, server.url());
    let code = browser.find("svg").await;
    assert_eq!(code.role().await, "image");
    let help = browser.find("#help").await.text().await;
    for way in [
        "https://council.example/it?a=1&b=<2>",
        "help@council.example",
        "@it:council.example",
    ] {
        assert!(help.contains(way), "{help}");
    }
    look(&browser, "landing").await;
    browser.find("main a").await.tap().await;
    assert_eq!(browser.title().await, "Sign in to council.example");

    let plain = council("");
    browser.open(&format!("{}/", plain.url())).await;
    let help = browser.find("#help").await.text().await;
    assert!(help.contains("Ask whoever invited you"), "{help}");
    look(&browser, "landing-without-help").await;
}

#[tokio::test]
async fn strangers_learn_nothing_about_the_program() {
    let server = council("");
    let version = server.cairn_json(&["version"]);
    let version = version["version"].as_str().unwrap().to_owned();
    let request = server.api().request(Method::GET, "/");
    let answer = server.api().send_request(request).await;
    assert_eq!(answer.status, 200);
    let policy = answer.header("content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let headers = format!("{:?}", answer.headers).to_lowercase();
    for word in [version.as_str(), "cairn", "<script"] {
        assert!(
            !answer.text.to_lowercase().contains(word),
            "{word} in {}",
            answer.text
        );
        assert!(!headers.contains(word), "{word} in {headers}");
    }
}
