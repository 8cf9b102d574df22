//! E-mail addresses: added to an account, registered with, used to reset a password and to
//! sign in; invitations and ends of accounts by e-mail. The letters go over a real mail server.

mod adding;
mod delivery;
mod people;
mod registering;
mod relay;
mod resetting;
mod without;

use harness::{Answer, Api, Config, Page, Server, User};
use reqwest::Method;
use serde_json::{Value, json};

use self::relay::{Relay, Wish};

const ADD: &str = "v3/account/3pid/add";
const ADD_TOKEN: &str = "v3/account/3pid/email/requestToken";
const REGISTER_TOKEN: &str = "v3/register/email/requestToken";
const RESET_TOKEN: &str = "v3/account/password/email/requestToken";
const SECRET: &str = "a.client_secret=of-the-test";

/// A server and its relay.
struct Post {
    server: Server,
    relay: Relay,
}

impl Post {
    fn start() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let relay = Relay::start(&Wish::plain());
        let server = Server::with(Config {
            more: format!(
                "{}\n{}",
                config.more,
                section(relay.port(), "tls = \"none\"")
            ),
            ..config
        });
        Self { server, relay }
    }

    fn api(&self) -> Api {
        self.server.api()
    }

    /// Presses the button of a letter's page.
    async fn confirm(&self, link: &str) -> Page {
        self.server.visitor().submit(link, &[]).await
    }

    /// Gives somebody an address.
    async fn give(&self, person: &User, email: &str) {
        let asked = person.post(ADD_TOKEN, wish(email, 1)).await.ok();
        let link = self.relay.link();
        self.confirm(&link).await.shows(200, &["Confirmed"]);
        add(person, &asked).await.ok();
    }
}

/// The section of the configuration that names a relay on this machine.
fn section(port: u16, more: &str) -> String {
    format!("[mail]\nrelay = \"127.0.0.1:{port}\"\nsender = \"chat@council.example\"\n{more}\n")
}

/// The body of a question for a letter.
fn wish(email: &str, attempt: u64) -> Value {
    json!({ "client_secret": SECRET, "email": email, "send_attempt": attempt })
}

/// Adds the address of a confirmation, with the password.
async fn add(person: &User, asked: &Value) -> Answer {
    let body = json!({ "client_secret": SECRET, "sid": asked["sid"] });
    person.with_password(Method::POST, ADD, body).await
}

/// The addresses of somebody.
async fn addresses(person: &User) -> Vec<String> {
    let listed = person.get("v3/account/3pid").await.ok();
    let listed = listed["threepids"].as_array().unwrap().clone();
    let address = |one: &Value| one["address"].as_str().unwrap().to_owned();
    listed.iter().map(address).collect()
}

/// The stage of a confirmed address.
fn stage(asked: &Value) -> Value {
    json!({
        "type": "m.login.email.identity",
        "threepid_creds": { "sid": asked["sid"], "client_secret": SECRET },
    })
}

/// Signs in with an address.
async fn login(api: &Api, address: &str, password: &str) -> Answer {
    let identifier = json!({ "type": "m.id.thirdparty", "medium": "email", "address": address });
    let body = json!({
        "type": "m.login.password", "identifier": identifier, "password": password,
    });
    api.post("v3/login", body).await
}
