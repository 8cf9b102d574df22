//! Signing in and out (client-server API, "Login" and "Refreshing access tokens").

use std::sync::Arc;

use accounts::{Accounts, Login, LoginError, NewDevice, SignedIn};
use http::{Method, StatusCode};
use ruma_client_api::session::{
    get_login_token::v1 as get_token, get_login_types::v3 as types, login::v3 as login,
    logout::v3 as logout, logout_all::v3 as logout_all, refresh_token::v3 as refresh,
    sso_login::v3 as sso, sso_login_with_provider::v3 as sso_with_provider,
};
use ruma_common::{
    OwnedDeviceId,
    api::{
        IncomingRequest, Metadata,
        error::{DeserializationError, ErrorCode},
    },
};
use serde::Deserialize;
use web::{
    Anonymous, ApiError, Interactive, Limits, LockedOrNot, Newcomer, Origin, Part, Reply, Routes,
    User,
};

use crate::{ClientParts, ServerInfo, prover::Prover};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_types)
        .on(make_token)
        .on(redirect_to_sso)
        .on(redirect_to_provider)
        .on(log_in)
        .on(refresh)
        .on(log_out)
        .on(log_out_everywhere)
}

/// `GET /_matrix/client/v3/login`
async fn get_types(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    _: types::Request,
) -> Reply<types::Response> {
    let password = types::PasswordLoginType::new();
    let mut token = types::TokenLoginType::new();
    token.get_login_token = true;
    let mut flows = vec![
        types::LoginType::Password(password),
        types::LoginType::Token(token),
    ];
    if !accounts.services().all().is_empty() {
        let service = types::ApplicationServiceLoginType::new();
        flows.push(types::LoginType::ApplicationService(service));
    }
    Ok(types::Response::new(flows))
}

/// `GET /_matrix/client/v3/login/sso/redirect`: there is no identity provider, and no
/// kind of login names one.
async fn redirect_to_sso(_: Anonymous, _: sso::Request) -> Reply<sso::Response> {
    Err(ApiError::unrecognized())
}

/// `GET /_matrix/client/v3/login/sso/redirect/{idpId}`
async fn redirect_to_provider(
    _: Anonymous,
    _: sso_with_provider::Request,
) -> Reply<sso_with_provider::Response> {
    Err(ApiError::unrecognized())
}

/// The body of `POST /login`. ruma's own type panics where `type` is missing.
#[derive(Deserialize)]
pub(crate) struct LoginRequest {
    #[serde(rename = "type")]
    login_type: String,
    identifier: Option<Identifier>,
    /// How clients before `identifier` named the user.
    user: Option<String>,
    /// How they named a user by something else.
    medium: Option<String>,
    address: Option<String>,
    password: Option<String>,
    /// Of another device, for `m.login.token`.
    token: Option<String>,
    device_id: Option<OwnedDeviceId>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(rename = "type")]
    identifier_type: String,
    user: Option<String>,
    medium: Option<String>,
    address: Option<String>,
}

impl Metadata for LoginRequest {
    const METHOD: Method = login::Request::METHOD;
    const RATE_LIMITED: bool = login::Request::RATE_LIMITED;
    type Authentication = <login::Request as Metadata>::Authentication;
    type PathBuilder = <login::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = login::Request::PATH_BUILDER;
}

impl IncomingRequest for LoginRequest {
    type EndpointError = <login::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = login::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        _: &[&str],
    ) -> Result<Self, DeserializationError> {
        // An empty body is an empty object, of which more is missing than the form.
        let body: &[u8] = match request.body() {
            [] => b"{}",
            body => body,
        };
        Ok(serde_json::from_slice(body)?)
    }
}

/// `POST /_matrix/client/v3/login`
async fn log_in(
    Part(accounts): Part<Accounts>,
    Part(limits): Part<Limits>,
    Part(info): Part<Arc<ServerInfo>>,
    origin: Origin,
    newcomer: Newcomer,
    request: LoginRequest,
) -> Reply<login::Response> {
    if request.login_type == "m.login.token" {
        let session = log_in_with_token(&accounts, &limits, &origin, request).await?;
        return Ok(answer(session, &info));
    }
    if request.login_type == "m.login.application_service" {
        let service = newcomer.service()?;
        let user = user(request.identifier, request.user)?;
        let (device_id, name) = (request.device_id, request.initial_device_display_name);
        let session = accounts
            .login_for_service(service, &user, device_id, name, request.refresh_token)
            .await?;
        return Ok(answer(session, &info));
    }
    let mut wanted = wanted(by_user_id(&accounts, request).await?)?;
    wanted.from = origin.place();
    // However somebody writes the name, it is one user whose password is guessed.
    let who = accounts
        .typed_user_id(&wanted.user)
        .map_or_else(|| wanted.user.clone(), |user_id| user_id.to_string());
    let attempt = limits.sign_in(origin.address, &who)?;
    let result = accounts.login(wanted).await;
    if !matches!(result, Err(LoginError::Forbidden | LoginError::Deactivated)) {
        attempt.succeeded();
    }
    Ok(answer(result?, &info))
}

/// A sign-in with a token of another device.
async fn log_in_with_token(
    accounts: &Accounts,
    limits: &Limits,
    origin: &Origin,
    request: LoginRequest,
) -> Result<SignedIn, ApiError> {
    let token = request.token;
    let token = token.ok_or_else(|| ApiError::missing_param("There is no token."))?;
    // Whose token it is nobody knows who guesses it.
    let attempt = limits.sign_in(origin.address, &format!("token {}", origin.address))?;
    let device = NewDevice {
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        refresh_token: request.refresh_token,
        from: origin.place(),
    };
    let result = accounts.login_with_token(&token, device).await;
    if !matches!(result, Err(LoginError::Forbidden)) {
        attempt.succeeded();
    }
    Ok(result?)
}

fn answer(session: SignedIn, info: &ServerInfo) -> login::Response {
    let mut response =
        login::Response::new(session.user_id, session.access_token, session.device_id);
    response.refresh_token = session.refresh_token;
    response.expires_in = session.expires_in;
    if !info.well_known.client.is_empty() {
        let server = login::HomeserverInfo::new(info.well_known.client.clone());
        response.well_known = Some(login::DiscoveryInfo::new(server));
    }
    response
}

/// `POST /_matrix/client/v1/login/get_token`
async fn make_token(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<get_token::Request>,
) -> Reply<get_token::Response> {
    prover
        .user(&caller, operation, request.auth.as_ref())
        .await?;
    let made = accounts.login_token(&caller);
    Ok(get_token::Response::new(made.expires_in, made.token))
}

/// The same request with the id of the user whose e-mail address it names; of an address that
/// nobody has, with one that nobody has either, so that both are refused alike.
async fn by_user_id(
    accounts: &Accounts,
    mut request: LoginRequest,
) -> Result<LoginRequest, ApiError> {
    let named = match &request.identifier {
        Some(one) if one.identifier_type == "m.id.thirdparty" => (&one.medium, &one.address),
        Some(_) => return Ok(request),
        None => (&request.medium, &request.address),
    };
    let (Some(medium), Some(address)) = named else {
        return Ok(request);
    };
    if medium != "email" {
        return Err(unknown("This server knows no telephone numbers."));
    }
    let user_id = accounts.user_of_email(address).await?;
    let user = user_id.map_or_else(|| address.clone(), |user_id| user_id.to_string());
    request.identifier = Some(Identifier {
        identifier_type: "m.id.user".to_owned(),
        user: Some(user),
        medium: None,
        address: None,
    });
    Ok(request)
}

/// What is asked, if it is a way to sign in that this server has.
fn wanted(request: LoginRequest) -> Result<Login, ApiError> {
    if request.login_type != "m.login.password" {
        return Err(unknown("This server has no such way to sign in."));
    }
    Ok(Login {
        user: user(request.identifier, request.user)?,
        password: request
            .password
            .ok_or_else(|| ApiError::missing_param("There is no password."))?,
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        refresh_token: request.refresh_token,
        from: None,
    })
}

/// Who wants to sign in, named in either of two ways.
fn user(identifier: Option<Identifier>, user: Option<String>) -> Result<String, ApiError> {
    let user = match identifier {
        Some(identifier) if identifier.identifier_type == "m.id.user" => identifier.user,
        Some(identifier) if identifier.identifier_type == "m.id.thirdparty" => {
            return Err(ApiError::missing_param("There is no address."));
        }
        Some(_) => return Err(unknown("This server does not know users by that.")),
        None => user,
    };
    user.ok_or_else(|| ApiError::missing_param("There is no user."))
}

fn unknown(what: &'static str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::Unknown, what)
}

/// `POST /_matrix/client/v3/refresh`
async fn refresh(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    request: refresh::Request,
) -> Reply<refresh::Response> {
    let refreshed = accounts.refresh(&request.refresh_token).await?;
    let mut response = refresh::Response::new(refreshed.access_token);
    response.refresh_token = Some(refreshed.refresh_token);
    response.expires_in_ms = Some(refreshed.expires_in);
    Ok(response)
}

/// `POST /_matrix/client/v3/logout`
async fn log_out(
    Part(accounts): Part<Accounts>,
    caller: LockedOrNot,
    _: logout::Request,
) -> Reply<logout::Response> {
    accounts.logout(&caller.act(), &caller).await?;
    Ok(logout::Response::new())
}

/// `POST /_matrix/client/v3/logout/all`
async fn log_out_everywhere(
    Part(accounts): Part<Accounts>,
    caller: LockedOrNot,
    _: logout_all::Request,
) -> Reply<logout_all::Response> {
    accounts.logout_all(&caller.act(), &caller).await?;
    Ok(logout_all::Response::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<Login, String> {
        let request = http::Request::new(body.as_bytes());
        let request = LoginRequest::try_from_http_request_inner(request, &[])
            .map_err(|error| error.to_string())?;
        wanted(request).map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_to_name_the_user_is_understood() {
        for body in [
            r#"{"type":"m.login.password","password":"p","user":"a"}"#,
            r#"{"type":"m.login.password","password":"p","identifier":{"type":"m.id.user","user":"a"}}"#,
        ] {
            let login = parsed(body).unwrap();
            assert_eq!((login.user.as_str(), login.password.as_str()), ("a", "p"));
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for (body, expected) in [
            ("", "missing field `type`"),
            ("{}", "missing field `type`"),
            (r#"{"type":5}"#, "invalid type"),
            (r#"{"type":"m.login.token","token":"t"}"#, "M_UNKNOWN"),
            (
                r#"{"type":"m.login.password","password":"p"}"#,
                "M_MISSING_PARAM",
            ),
            (
                r#"{"type":"m.login.password","user":"a"}"#,
                "M_MISSING_PARAM",
            ),
            (
                r#"{"type":"m.login.password","password":"p","identifier":{"type":"m.id.phone"}}"#,
                "M_UNKNOWN",
            ),
        ] {
            let error = parsed(body).err().unwrap_or_default();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}
