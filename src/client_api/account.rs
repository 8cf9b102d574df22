//! One's own account (client-server API, "Account management" and "Current account
//! information").

use accounts::Accounts;
use actions::Actions;
use ruma_client_api::account::{
    ThirdPartyIdRemovalStatus, change_password::v3 as change_password,
    deactivate::v3 as deactivate, whoami::v3 as whoami,
};
use web::{Anyone, ApiError, Interactive, Origin, Part, Reply, Routes, User};

use crate::{ClientParts, prover::Prover};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(whoami).on(change_password).on(deactivate)
}

/// `GET /_matrix/client/v3/account/whoami`
async fn whoami(caller: User, _: whoami::Request) -> Reply<whoami::Response> {
    let mut response = whoami::Response::new(caller.user_id.clone(), caller.is_guest);
    response.device_id = caller.has_device().then(|| caller.device_id.clone());
    Ok(response)
}

/// `POST /_matrix/client/v3/account/password`: by somebody who is signed in, or by somebody
/// who has forgotten the password and confirms an e-mail address of the account.
async fn change_password(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    origin: Origin,
    caller: Anyone,
    Interactive { request, operation }: Interactive<change_password::Request>,
) -> Reply<change_password::Response> {
    let Anyone::User(caller) = caller else {
        accounts.check_new_password(&request.new_password)?;
        let proof = prover.forgetful(operation, request.auth.as_ref()).await?;
        accounts
            .reset_password_by_email(
                origin.place(),
                proof,
                request.new_password,
                request.logout_devices,
            )
            .await?;
        return Ok(change_password::Response::new());
    };
    if caller.service.is_some() {
        return Err(ApiError::forbidden(
            "Application services have no passwords to change.",
        ));
    }
    accounts.check_new_password(&request.new_password)?;
    prover
        .user(&caller, operation, request.auth.as_ref())
        .await?;
    accounts
        .change_password(
            &caller.act(),
            &caller,
            request.new_password,
            request.logout_devices,
        )
        .await?;
    Ok(change_password::Response::new())
}

/// `POST /_matrix/client/v3/account/deactivate`
async fn deactivate(
    Part(actions): Part<Actions>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<deactivate::Request>,
) -> Reply<deactivate::Response> {
    prover
        .user(&caller, operation, request.auth.as_ref())
        .await?;
    actions
        .deactivate(&caller.act(), &caller.user_id, caller.user, request.erase)
        .await?;
    // No identity server has been told anything, so nothing is left bound.
    Ok(deactivate::Response::new(
        ThirdPartyIdRemovalStatus::Success,
    ))
}
