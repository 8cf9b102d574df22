//! Invitations, which Synapse calls registration tokens.
//!
//! A token is known here by its hash alone: lists have the first characters of each, by which
//! it can be named, and only the answer to its making has all of it.

use accounts::Invitation;
use actions::{Actions, Administration, WantedInvitation};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty, unsupported},
};

const LIST: &str = "/_synapse/admin/v1/registration_tokens";
const NEW: &str = "/_synapse/admin/v1/registration_tokens/new";
const ONE: &str = "/_synapse/admin/v1/registration_tokens/{token}";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, LIST, list)
        .plain(Method::POST, NEW, make)
        .plain(Method::GET, ONE, show)
        .plain(Method::PUT, ONE, change)
        .plain(Method::DELETE, ONE, delete)
}

fn shown(invitation: &Invitation) -> Value {
    json!({
        "token": invitation.name,
        "uses_allowed": invitation.uses_allowed,
        // A token is used when the account is made, and not before.
        "pending": 0,
        "completed": invitation.uses,
        "expiry_time": invitation.expires_at,
    })
}

#[derive(Deserialize)]
struct Valid {
    valid: Option<bool>,
}

/// `GET /_synapse/admin/v1/registration_tokens`
async fn list(
    Part(actions): Part<Actions>,
    QueryOf(query): QueryOf<Valid>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let found = actions.invitations(&caller.administrator()).await?;
    let wanted = found
        .iter()
        .filter(|invitation| query.valid.is_none_or(|valid| valid == invitation.is_valid));
    let shown: Vec<Value> = wanted.map(shown).collect();
    Ok(answer(&json!({ "registration_tokens": shown })))
}

#[derive(Deserialize)]
struct Make {
    token: Option<String>,
    uses_allowed: Option<u32>,
    /// In ms since the Unix epoch.
    expiry_time: Option<u64>,
}

/// `POST /_synapse/admin/v1/registration_tokens/new`
async fn make(
    Part(actions): Part<Actions>,
    caller: Admin,
    JsonBody(body): JsonBody<Make>,
) -> Result<RawJson, ApiError> {
    if body.token.is_some() {
        return Err(unsupported(
            "Tokens are drawn here, so that nobody can guess one: leave it out.",
        ));
    }
    let wanted = WantedInvitation {
        uses_allowed: body.uses_allowed,
        expires_at: body.expiry_time,
    };
    let by = caller.administrator();
    let token = actions.make_invitation(&by, wanted).await?;
    Ok(answer(&json!({
        "token": token,
        "uses_allowed": body.uses_allowed,
        "pending": 0,
        "completed": 0,
        "expiry_time": body.expiry_time,
    })))
}

/// `GET /_synapse/admin/v1/registration_tokens/{token}`
async fn show(
    Part(actions): Part<Actions>,
    PathOf(token): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let one = actions.invitation(&by, &token).await?;
    let one = one.ok_or_else(|| ApiError::not_found("There is no such invitation."))?;
    Ok(answer(&shown(&one)))
}

/// `PUT /_synapse/admin/v1/registration_tokens/{token}`
async fn change(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported(
        "An invitation stays as it was made: end it, and make another.",
    ))
}

/// `DELETE /_synapse/admin/v1/registration_tokens/{token}`
async fn delete(
    Part(actions): Part<Actions>,
    PathOf(token): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let wish = Administration::RevokeInvitation { token };
    actions.administer(&caller.administrator(), wish).await?;
    Ok(empty())
}
