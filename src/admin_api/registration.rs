//! Registration with the shared secret, as Synapse's tools do it.

use accounts::{Accounts, NewAccount, SharedSecretError, SharedSecretRegistration};
use http::Method;
use ruma_common::OwnedDeviceId;
use serde::Deserialize;
use serde_json::json;
use web::{Anonymous, ApiError, JsonBody, Limits, Origin, Part, RawJson, Routes};

use crate::AdminParts;

/// Where programs ask.
const REGISTER: &str = "/_synapse/admin/v1/register";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, REGISTER, give_nonce)
        .plain(Method::POST, REGISTER, register)
}

/// `GET /_synapse/admin/v1/register`: a nonce for one registration within a minute.
async fn give_nonce(Part(accounts): Part<Accounts>, _: Anonymous) -> Result<RawJson, ApiError> {
    let nonce = accounts.registration_nonce()?;
    Ok(RawJson(json!({ "nonce": nonce }).to_string().into()))
}

/// The body of `POST /_synapse/admin/v1/register`.
#[derive(Deserialize)]
struct Registration {
    nonce: String,
    username: String,
    password: String,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    mac: String,
    displayname: Option<String>,
    device_id: Option<OwnedDeviceId>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
}

/// `POST /_synapse/admin/v1/register`
async fn register(
    Part(accounts): Part<Accounts>,
    Part(limits): Part<Limits>,
    origin: Origin,
    _: Anonymous,
    JsonBody(request): JsonBody<Registration>,
) -> Result<RawJson, ApiError> {
    // Whoever guesses codes guesses a secret, from whichever address it is.
    let attempt = limits.sign_in(origin.address, &format!("shared secret {}", origin.address))?;
    let is_admin = request.admin;
    let made = accounts
        .register_with_shared_secret(wish(request, origin.place()))
        .await;
    if !matches!(made, Err(SharedSecretError::WrongMac)) {
        attempt.succeeded();
    }
    let made = made?;
    log::info!(user_id = made.user_id.as_str(), administrator = is_admin; "account made with the shared secret");
    let mut answer = json!({
        "user_id": made.user_id,
        "home_server": made.user_id.server_name(),
    });
    if let Some(session) = made.session {
        answer["access_token"] = session.access_token.into();
        answer["device_id"] = session.device_id.as_str().into();
    }
    Ok(RawJson(answer.to_string().into()))
}

fn wish(request: Registration, from: Option<String>) -> SharedSecretRegistration {
    SharedSecretRegistration {
        nonce: request.nonce,
        account: NewAccount {
            username: Some(request.username),
            password: Some(request.password),
            display_name: request.displayname,
            device_id: request.device_id,
            initial_device_display_name: request.initial_device_display_name,
            inhibit_login: request.inhibit_login,
            refresh_token: false,
            from,
        },
        is_admin: request.admin,
        user_type: request.user_type,
        mac: request.mac,
    }
}
