//! Telling other services who one is (client-server API, "OpenID").

use accounts::Accounts;
use ruma_client_api::account::request_openid_token::v3 as request_token;
use ruma_common::authentication::TokenType;
use web::{Part, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(request_token)
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`
async fn request_token(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: request_token::Request,
) -> Reply<request_token::Response> {
    caller.must_be(&request.user_id)?;
    let made = accounts.open_id_token(&caller).await?;
    Ok(request_token::Response::new(
        made.token,
        TokenType::Bearer,
        accounts.server_name().to_owned(),
        made.expires_in,
    ))
}
