//! One's own account (client-server API, "Account management" and "Current account
//! information").

use accounts::Accounts;
use actions::Actions;
use ruma_client_api::account::{
    ThirdPartyIdRemovalStatus, change_password::v3 as change_password,
    deactivate::v3 as deactivate, get_3pids::v3 as contacts, whoami::v3 as whoami,
};
use serde_json::json;
use web::{ApiError, Interactive, Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers, prover::Prover};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(whoami)
        .on(change_password)
        .on(deactivate)
        .on(get_contacts)
}

/// `GET /_matrix/client/v3/account/whoami`
async fn whoami(caller: User, _: whoami::Request) -> Reply<whoami::Response> {
    let mut response = whoami::Response::new(caller.user_id.clone(), caller.is_guest);
    response.device_id = caller.has_device().then(|| caller.device_id.clone());
    Ok(response)
}

/// `POST /_matrix/client/v3/account/password`
async fn change_password(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<change_password::Request>,
) -> Reply<change_password::Response> {
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
        .change_password(&caller, request.new_password, request.logout_devices)
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
        .deactivate(&caller.user_id, caller.user, request.erase)
        .await?;
    // There are no third-party identifiers, so none is left bound.
    Ok(deactivate::Response::new(
        ThirdPartyIdRemovalStatus::Success,
    ))
}

/// `GET /_matrix/client/v3/account/3pid`: nobody has third-party identifiers here.
async fn get_contacts(_: User, _: contacts::Request) -> Reply<RawJson> {
    Ok(answers::json(&json!({ "threepids": [] })))
}
