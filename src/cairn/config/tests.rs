//! Configurations, right and wrong ones.

use web::Serves;

use super::*;

const SMALL: &str = "server_name = \"a.test\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n";

fn problems(text: &str) -> Vec<String> {
    match Config::parse(Path::new("/etc/cairn/cairn.toml"), text) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_small_configuration_is_enough() {
    let config = Config::parse(Path::new("/etc/cairn/cairn.toml"), SMALL).unwrap();
    assert_eq!(config.server_name, "a.test");
    assert_eq!(config.data_dir, Path::new("/var/lib/cairn"));
    assert_eq!(config.rooms.default_version, "12");
    assert_eq!(config.listeners[0].serves, [Serves::Client]);
}

#[test]
fn paths_start_at_the_files_folder() {
    let text = format!("data_dir = \"data\"\n{SMALL}");
    let config = Config::parse(Path::new("/srv/cairn.toml"), &text).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/data"));
}

#[test]
fn secrets_are_not_shown() {
    let text = format!("{SMALL}[registration]\nshared_secret = \"hush\"\n");
    let config = Config::parse(Path::new("cairn.toml"), &text).unwrap();
    assert_eq!(config.registration.shared_secret.reveal(), "hush");
    for shown in [
        toml::to_string(&config).unwrap(),
        serde_json::to_string(&config).unwrap(),
        format!("{config:?}"),
    ] {
        assert!(
            !shown.contains("hush") && shown.contains("(hidden)"),
            "{shown}"
        );
    }
}

#[test]
fn credentials_that_are_not_there_are_named() {
    let text = format!("{SMALL}[registration]\nshared_secret = \"credential:mine\"\n");
    let config = Config::parse(Path::new("cairn.toml"), &text).unwrap();
    assert!(config.registration.shared_secret.is_empty());
    assert_eq!(config.absent_credentials(), ["mine"]);
}

#[test]
fn mistakes_are_named_with_their_line() {
    let file = "/etc/cairn/cairn.toml";
    let too_big = "server_name = \"a b\"";
    for (text, expected) in [
        (
            format!("{SMALL}adress = \"127.0.0.1:1\"\n"),
            "4: unknown key `adress` in [[listener]]; the nearest known key is `address`",
        ),
        (
            format!("sever_name = \"b.test\"\n{SMALL}"),
            "1: unknown key `sever_name`; the nearest known key is `server_name`",
        ),
        (
            format!("{SMALL}[romms]\n"),
            "4: unknown key `romms`; the nearest known key is `rooms`",
        ),
        (
            format!("default_version = \"12\"\n{SMALL}"),
            "1: unknown key `default_version`; it belongs in [rooms]",
        ),
        (
            format!("{SMALL}tls = {{ cert = \"x\" }}\n"),
            "4: unknown key `cert` in [listener.tls]; the nearest known key is `key`",
        ),
        (
            format!("{SMALL}[rooms]\ndefault_version = \"13\"\n"),
            "5: rooms of version `13` cannot be created here; \
             choose one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12",
        ),
        (
            SMALL.replace("\"a.test\"", "\"a b\""),
            "1: `a b` is no server name: write a domain such as council.example",
        ),
        (
            format!("{SMALL}tls = {{ certificate = \"/nowhere/a.pem\", key = \"/dev/null\" }}\n"),
            "4: /nowhere/a.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            format!("{SMALL}[media]\nunauthenticated_until = \"tomorrow\"\n"),
            "5: `unauthenticated_until` is \"tomorrow\": write \"\", \"always\" or a day \
             such as \"2026-12-31\"",
        ),
        (
            format!("{SMALL}[mail]\nrelay = \"mail.example\"\nsender = \"a@b.test\"\n"),
            "5: `relay` is a host and a port, such as mail.council.example:587",
        ),
        (
            format!("{SMALL}[registration]\nrequire_email = true\n"),
            "5: `require_email` needs a relay: name one in [mail]",
        ),
        (
            format!("{SMALL}[federation]\npinned_keys = {{ \"b.test\" = [\"x\"] }}\n"),
            "5: `x` is no key: write \"ed25519:<name> <key in base64>\"",
        ),
        (
            format!("{SMALL}[federation]\nkey_servers = [\"b.test\", \"b test\"]\n"),
            "5: `b test` is no server name",
        ),
        (
            format!("{SMALL}[well_known]\nserver = \"https://b.test\"\n"),
            "5: `https://b.test` is no server name, which has no https:// before it",
        ),
        (
            format!("{SMALL}[federation.overrides]\n\"b test\" = \"127.0.0.1:1\"\n"),
            "5: `b test` is no server name",
        ),
        (
            format!("{too_big}\n"),
            "1: `a b` is no server name: write a domain such as council.example",
        ),
    ] {
        assert_eq!(
            problems(&text).first(),
            Some(&format!("{file}:{expected}")),
            "{text}"
        );
    }
}

#[test]
fn values_of_the_wrong_kind_are_named_with_their_line() {
    for (text, line, part) in [
        (format!("{SMALL}serves = [\"client\", \"tea\"]\n"), 4, "tea"),
        (
            format!("{SMALL}trusted_proxies = [\"10.0.0.0/99\"]\n"),
            4,
            "not a network",
        ),
        (
            SMALL.replace("127.0.0.1:0", "localhost:80"),
            3,
            "socket address",
        ),
        (
            format!("{SMALL}[limits]\nenabled = \"yes\"\n"),
            5,
            "boolean",
        ),
        (
            format!("{SMALL}[registration]\nmode = \"opne\"\n"),
            5,
            "`open`",
        ),
        (format!("{SMALL}[limits\n"), 4, ""),
    ] {
        let problems = problems(&text);
        let place = format!("/etc/cairn/cairn.toml:{line}: ");
        let fits = |problem: &String| problem.starts_with(&place) && problem.contains(part);
        assert!(
            problems.len() == 1 && problems.iter().all(fits),
            "{text}\n{problems:?}"
        );
    }
}

#[test]
fn somebody_must_be_able_to_sign_in() {
    for text in [
        "server_name = \"a.test\"\n",
        "server_name = \"a.test\"\n[[listener]]\nserves = [\"metrics\"]\n",
    ] {
        let problems = problems(text);
        assert!(
            problems[0].contains("no listener serves \"client\""),
            "{problems:?}"
        );
    }
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let error = Config::load(Path::new("/nowhere/cairn.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/cairn.toml cannot be read: ")
    );
    assert!(error.to_string().contains("`cairn init`"));
}
