//! Registration (client-server API, "Account registration").

use accounts::{Accounts, NewAccount, RegisterError, Registered, RegistrationMode};
use ruma_client_api::account::{
    check_registration_token_validity::v1 as validity,
    get_username_availability::v3 as available,
    register::{LoginType, RegistrationKind, v3 as register},
};
use services::Service;
use web::{Anonymous, ApiError, Interactive, Newcomer, Origin, Part, Reply, Routes};

use crate::{ClientParts, prover::Prover};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(register)
        .on(is_available)
        .on(is_token_valid)
}

/// `POST /_matrix/client/v3/register`
async fn register(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    origin: Origin,
    newcomer: Newcomer,
    Interactive { request, operation }: Interactive<register::Request>,
) -> Reply<register::Response> {
    if request.login_type == Some(LoginType::ApplicationService) {
        return register_for(&accounts, newcomer.service()?, request).await;
    }
    if request.kind == RegistrationKind::Guest {
        let made = accounts.register_guest(request.initial_device_display_name, origin.place());
        return Ok(answer(made.await?));
    }
    let guest = match &request.guest_access_token {
        Some(token) => Some(
            accounts
                .prove_guest(token, request.username.as_deref())
                .await?,
        ),
        None => None,
    };
    check(&accounts, &request, guest.is_some()).await?;
    let passed = prover.newcomer(operation, request.auth.as_ref()).await?;
    let new = NewAccount {
        username: request.username,
        password: request.password,
        display_name: None,
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        inhibit_login: request.inhibit_login,
        refresh_token: request.refresh_token,
        from: origin.place(),
    };
    let made = accounts.register_or_keep(new, passed, guest).await?;
    Ok(answer(made))
}

/// Makes a user of an application service, which needs no password and proves nothing
/// else (application service API, "Server admin style permissions").
async fn register_for(
    accounts: &Accounts,
    service: &Service,
    request: register::Request,
) -> Reply<register::Response> {
    let missing = || ApiError::missing_param("There is no username.");
    let new = NewAccount {
        username: Some(request.username.ok_or_else(missing)?),
        device_id: request.device_id,
        initial_device_display_name: request.initial_device_display_name,
        inhibit_login: request.inhibit_login,
        refresh_token: request.refresh_token,
        ..NewAccount::default()
    };
    Ok(answer(accounts.register_for_service(service, new).await?))
}

fn answer(made: Registered) -> register::Response {
    let mut response = register::Response::new(made.user_id);
    if let Some(session) = made.session {
        response.device_id = Some(session.device_id);
        response.access_token = Some(session.access_token);
        response.refresh_token = session.refresh_token;
        response.expires_in = session.expires_in;
    }
    response
}

/// What would be refused in any case is refused before somebody goes through an
/// authentication for it.
async fn check(
    accounts: &Accounts,
    request: &register::Request,
    keeps: bool,
) -> Result<(), ApiError> {
    if request.kind != RegistrationKind::User {
        return Err(ApiError::invalid_param("There is no such kind of account."));
    }
    if request.login_type.is_some() {
        return Err(ApiError::forbidden("There is no such way to register."));
    }
    if accounts.registration_mode() == RegistrationMode::Closed {
        return Err(RegisterError::Closed.into());
    }
    if let Some(username) = request.username.as_ref().filter(|_| !keeps) {
        accounts.check_username(username).await?;
    }
    if let Some(password) = &request.password {
        accounts.check_new_password(password)?;
    }
    Ok(())
}

/// `GET /_matrix/client/v3/register/available`
async fn is_available(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    request: available::Request,
) -> Reply<available::Response> {
    accounts.check_username(&request.username).await?;
    Ok(available::Response::new(true))
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
async fn is_token_valid(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    request: validity::Request,
) -> Reply<validity::Response> {
    let is_valid = accounts.is_invitation_valid(&request.token).await?;
    Ok(validity::Response::new(is_valid))
}
