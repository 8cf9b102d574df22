//! Who somebody is, for services that the person has given a token (server-server API,
//! "OpenID").

use accounts::Accounts;
use http::StatusCode;
use ruma_common::api::error::ErrorCode;
use ruma_federation_api::openid::get_openid_userinfo::v1 as user_info;
use serde_json::json;
use web::{Anonymous, ApiError, Part, RawJson, Reply, Routes};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(tell_user)
}

/// `GET /_matrix/federation/v1/openid/userinfo`
async fn tell_user(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    request: user_info::Request,
) -> Reply<RawJson> {
    match accounts.open_id_user(&request.access_token).await? {
        Some(user_id) => answers::json(&json!({ "sub": user_id })),
        None => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::UnknownToken,
            "The token is unknown or has ended.",
        )),
    }
}
