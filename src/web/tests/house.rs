//! A house with one small door.

use std::{collections::HashMap, net::IpAddr, path::Path, sync::Arc, time::Duration};

use accounts::{Accounts, AccountsOptions, NewAccount, Outcome, RegistrationOptions};
use axum::{body::Body, extract::FromRef, response::Response};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use ruma_client_api::{
    account::whoami, device::delete_device, directory::get_public_rooms, media::create_content,
    message::send_message_event, room::get_event_by_timestamp, session::logout,
    state::get_state_event_for_key, typing::create_typing_event,
};
use runtime::{Clock, Metrics, Random, Tasks, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};
use store::{Store, StoreOptions};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::{
    Admin, Anonymous, ApiError, Front, FrontParts, Interactive, JsonBody, Limits, LimitsOptions,
    Measures, Operator, Origin, Part, PathOf, Peer, QueryOf, RawJson, Reply, Routes, Upload, User,
    Whole, metrics_routes,
};

/// What the door's handlers need.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) accounts: Accounts,
}

impl FromRef<Parts> for Accounts {
    fn from_ref(parts: &Parts) -> Self {
        parts.accounts.clone()
    }
}

pub(crate) struct House {
    pub(crate) front: Front,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    /// Access tokens by the names that the tests give them: `alice`, `boss` (an
    /// administrator), `locked`, `expired`.
    tokens: HashMap<&'static str, String>,
    _folder: TempDir,
}

/// How many connections may be open in it.
pub(crate) const PLACES: usize = 4;

/// A house whose requests come from 192.0.2.1 or through a proxy in 10.0.0.0/8.
pub(crate) async fn house(options: LimitsOptions) -> House {
    let metrics = Metrics::new();
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let folder = tempfile::tempdir().unwrap();
    let accounts = accounts(folder.path(), &clock);
    let mut tokens = HashMap::new();
    for name in ["alice", "boss", "locked", "expired"] {
        tokens.insert(name, sign_in(&accounts, name).await);
    }
    // Only the token that can be refreshed ends.
    clock.advance(2 * 3_600_000);
    let limits = Limits::new(options, clock.clone());
    let tasks = Tasks::new();
    let router = door().into_router(Parts { accounts });
    let front = Front::new(FrontParts {
        contact: "mailto:help@a.test".into(),
        router: router.merge(metrics_routes(metrics.clone())),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        limits: limits.clone(),
        measures: Measures::new(&metrics),
        places: Arc::new(Semaphore::new(PLACES)),
        secret: [3; 32],
        tasks: tasks.clone(),
        clock: clock.clone(),
        random: Random::seeded(1),
    });
    House {
        front,
        clock,
        limits,
        metrics,
        tasks,
        tokens,
        _folder: folder,
    }
}

fn accounts(folder: &Path, clock: &Clock) -> Accounts {
    let random = Random::seeded(2);
    let store = Store::open(
        folder,
        "example.org",
        &StoreOptions::default(),
        clock,
        &random,
    );
    Accounts::new(
        store.unwrap(),
        clock.clone(),
        random,
        "example.org".try_into().unwrap(),
        RegistrationOptions::default(),
        AccountsOptions::default(),
    )
    .unwrap()
}

/// Makes the account `name`; returns its access token.
async fn sign_in(accounts: &Accounts, name: &str) -> String {
    let new = NewAccount {
        username: Some(name.to_owned()),
        refresh_token: name == "expired",
        ..NewAccount::default()
    };
    let roles = match name {
        "boss" => model::Roles::ADMINISTRATOR,
        _ => model::Roles::NONE,
    };
    let act = audit::Act::operator();
    let made = accounts.create_account(&act, new, roles).await.unwrap();
    if name == "locked" {
        accounts
            .set_locked(&audit::Act::operator(), made.user, true, None)
            .await
            .unwrap();
    }
    made.session.unwrap().access_token
}

fn door() -> Routes<Parts> {
    Routes::new()
        .on(who_am_i)
        .on(set_typing)
        .on(get_state)
        .on(send)
        .on(get_public_rooms)
        .on(find_event)
        .on(sign_out)
        .on(delete_device)
        .on(upload)
        .plain(Method::GET, "/_synapse/admin/v1/secret/{number}", secret)
        .plain(Method::POST, "/_cairn/admin/v1/echo", echo)
        .plain(Method::GET, "/_cairn/admin/v1/local", local)
        .plain(Method::GET, "/_matrix/client/v3/panic", panic_get)
        .plain(Method::POST, "/_matrix/client/v3/panic", panic_post)
        .plain(Method::GET, "/_matrix/client/v3/slow", slow)
        .plain(Method::GET, "/_matrix/client/v3/origin", origin)
}

async fn who_am_i(caller: User, _: whoami::v3::Request) -> Reply<whoami::v3::Response> {
    Ok(whoami::v3::Response::new(
        caller.user_id.clone(),
        caller.is_guest,
    ))
}

async fn set_typing(
    caller: User,
    request: create_typing_event::v3::Request,
) -> Reply<create_typing_event::v3::Response> {
    caller.must_be(&request.user_id)?;
    Ok(create_typing_event::v3::Response::new())
}

/// Answers with the state key.
async fn get_state(
    _: User,
    request: get_state_event_for_key::v3::Request,
) -> Reply<get_state_event_for_key::v3::Response> {
    let content = json!({"type": request.event_type, "state_key": request.state_key});
    Ok(get_state_event_for_key::v3::Response::new(
        to_raw_value(&content).map_err(ApiError::internal)?,
    ))
}

async fn send(_: User, request: send_message_event::v3::Request) -> Reply<RawJson> {
    Ok(RawJson(request.body.json().get().to_owned().into()))
}

async fn get_public_rooms(
    _: Anonymous,
    _: get_public_rooms::v3::Request,
) -> Reply<get_public_rooms::v3::Response> {
    Ok(get_public_rooms::v3::Response::new(Vec::new()))
}

async fn find_event(
    _: Anonymous,
    _: get_event_by_timestamp::v1::Request,
) -> Reply<get_event_by_timestamp::v1::Response> {
    Err(ApiError::not_found("There is no such event."))
}

async fn sign_out(_: User, _: logout::v3::Request) -> Reply<Whole> {
    Ok(Whole(Response::new("{}".into())))
}

/// Wants a password first.
async fn delete_device(
    Part(parts): Part<Parts>,
    caller: User,
    asked: Interactive<delete_device::v3::Request>,
) -> Reply<delete_device::v3::Response> {
    let accounts = &parts.accounts;
    let (flows, auth) = (accounts.account_flows(), asked.request.auth.as_ref());
    let outcome = accounts.authenticate_interactively(flows, Some(&caller), asked.operation, auth);
    match outcome.await? {
        Outcome::Passed(_) => Ok(delete_device::v3::Response::new()),
        Outcome::Challenge(challenge) => Err(challenge.into()),
    }
}

async fn upload(
    _: User,
    Upload { mut file, .. }: Upload<create_content::v3::Request>,
) -> Reply<create_content::v3::Response> {
    let mut length = 0;
    while let Some(piece) = file.next().await? {
        length += piece.len();
    }
    let uri = format!("mxc://example.org/{length}");
    Ok(create_content::v3::Response::new(uri.into()))
}

#[derive(Deserialize)]
struct Limit {
    limit: u64,
}

async fn secret(
    _: Admin,
    PathOf(number): PathOf<u64>,
    QueryOf(query): QueryOf<Limit>,
) -> Result<String, ApiError> {
    Ok(format!("{number} {}", query.limit))
}

#[derive(Deserialize)]
struct Echo {
    text: String,
}

async fn echo(JsonBody(echo): JsonBody<Echo>) -> String {
    echo.text
}

async fn local(_: Operator) -> &'static str {
    "welcome"
}

async fn panic_get() -> Response {
    panic!("on purpose")
}

async fn panic_post() -> Response {
    panic!("on purpose")
}

#[derive(Deserialize)]
struct Slow {
    #[serde(default = "one")]
    seconds: u64,
}

fn one() -> u64 {
    1
}

async fn slow(QueryOf(slow): QueryOf<Slow>) -> &'static str {
    tokio::time::sleep(Duration::from_secs(slow.seconds)).await;
    "done"
}

async fn origin(origin: Origin) -> String {
    format!(
        "{} {}",
        origin.address,
        origin.user_agent.unwrap_or_default()
    )
}

/// An answer, read.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn errcode(&self) -> String {
        self.json()["errcode"].as_str().unwrap_or("none").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl House {
    /// The access token of that name; the name itself if there is none.
    pub(crate) fn token<'a>(&'a self, name: &'a str) -> &'a str {
        self.tokens.get(name).map_or(name, String::as_str)
    }

    /// Asks as 192.0.2.1.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: impl Into<Body>,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            let token = self.token(token);
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(body.into()).unwrap();
        self.ask_from("192.0.2.1".parse().unwrap(), request).await
    }

    pub(crate) async fn ask_from(&self, address: IpAddr, request: Request<Body>) -> Answered {
        let peer = Peer {
            address,
            is_local: false,
        };
        let (parts, body) = self.front.answer(request, peer).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}
