//! The way to the relay.

use std::net::TcpListener;

use harness::{Config, Server};

use crate::{
    ADD_TOKEN,
    relay::{Relay, Wish},
    section, wish,
};

fn server(relay: &Relay, more: &str, trusts: bool) -> Server {
    let root = if trusts {
        format!("[outgoing]\ntrusted_roots = [{:?}]\n", relay.root())
    } else {
        String::new()
    };
    Server::with(Config {
        more: section(relay.port(), more) + &root,
        ..Config::default()
    })
}

#[tokio::test]
async fn letters_go_over_tls_with_a_name_and_a_password() {
    for tls in ["starttls", "implicit"] {
        let relay = Relay::start(&Wish {
            tls,
            user: Some(("cairn", "over the relay")),
            ..Wish::plain()
        });
        let password = relay.root().with_file_name("password");
        std::fs::write(&password, "over the relay\n").unwrap();
        let more = format!(
            "tls = {tls:?}\nuser = \"cairn\"\npassword_file = {password:?}\nsender_name = \"Rät\""
        );
        let server = server(&relay, &more, true);
        let alice = server.api().register("alice").await;
        alice.post(ADD_TOKEN, wish("a@example.org", 1)).await.ok();
        let letter = relay.letter();
        assert_eq!(
            (&letter["tls"], &letter["authenticated"]),
            (&true.into(), &true.into())
        );
        assert_eq!(letter["headers"]["from"], "Rät <chat@council.example>");
    }
}

#[tokio::test]
async fn a_relay_that_cannot_be_trusted_gets_nothing() {
    let user = Some(("cairn", "over the relay"));
    let with = "user = \"cairn\"\npassword = \"over the relay\"";
    for (tls, is, trusts, more) in [
        // A certificate of nobody.
        ("starttls", "starttls", false, with),
        ("implicit", "implicit", false, with),
        // One that does not offer TLS.
        ("none", "starttls", true, with),
        ("none", "implicit", true, ""),
        // A wrong password.
        (
            "starttls",
            "starttls",
            true,
            "user = \"cairn\"\npassword = \"wrong\"",
        ),
    ] {
        let relay = Relay::start(&Wish {
            tls,
            user,
            ..Wish::plain()
        });
        let server = server(&relay, &format!("tls = {is:?}\n{more}"), trusts);
        let alice = server.api().register("alice").await;
        let answer = alice.post(ADD_TOKEN, wish("a@example.org", 1)).await;
        answer.refused(500, "M_UNKNOWN");
        relay.is_quiet();
        let log = std::fs::read_to_string(server.log_file()).unwrap();
        assert!(log.contains("an e-mail was not sent"), "{log}");
        assert!(
            !log.contains("over the relay") && !log.contains("a@example.org"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn who_is_refused_is_told() {
    let relay = Relay::start(&Wish {
        refuses: true,
        ..Wish::plain()
    });
    let server = server(&relay, "tls = \"none\"", false);
    let alice = server.api().register("alice").await;
    let answer = alice.post(ADD_TOKEN, wish("a@example.org", 1)).await;
    answer.refused(500, "M_UNKNOWN");
}

#[tokio::test]
async fn the_same_attempt_goes_out_when_the_relay_is_back() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = Server::with(Config {
        more: section(port, "tls = \"none\""),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    let answer = alice.post(ADD_TOKEN, wish("a@example.org", 1)).await;
    answer.refused(500, "M_UNKNOWN");
    let relay = Relay::start(&Wish {
        port,
        ..Wish::plain()
    });
    alice.post(ADD_TOKEN, wish("a@example.org", 1)).await.ok();
    relay.letter();
}
