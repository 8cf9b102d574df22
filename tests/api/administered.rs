//! A server that somebody administers, for the tests of what administrators do.

use harness::{Config, Server, User};

/// A server with an administrator and two others.
pub(crate) async fn house() -> (Server, User, User, User) {
    house_with("").await
}

/// The same with lines at the end of its configuration.
pub(crate) async fn house_with(more: &str) -> (Server, User, User, User) {
    let server = Server::with(Config {
        more: more.to_owned(),
        ..Config::default()
    });
    let api = server.api();
    let boss = api.register_as("boss").await;
    let (anna, otto) = (api.register_as("anna").await, api.register_as("otto").await);
    server.cairn_json(&["user", "promote", "boss"]);
    (server, boss, anna, otto)
}
