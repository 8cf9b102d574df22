//! What one person may use, until when, and what Synapse has besides and has no meaning here.

use actions::{Actions, LimitChanges};
use http::Method;
use model::PersonLimits;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty, unsupported},
};

const SHADOW_BAN: &str = "/_synapse/admin/v1/users/{user_id}/shadow_ban";
const RATE_LIMIT: &str = "/_synapse/admin/v1/users/{user_id}/override_ratelimit";
const FEATURES: &str = "/_synapse/admin/v1/experimental_features/{user_id}";
const VALIDITY: &str = "/_synapse/admin/v1/account_validity/validity";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::POST, SHADOW_BAN, shadow_ban)
        .plain(Method::DELETE, SHADOW_BAN, no_shadow_ban)
        .plain(Method::GET, RATE_LIMIT, rate_limit)
        .plain(Method::POST, RATE_LIMIT, set_rate_limit)
        .plain(Method::DELETE, RATE_LIMIT, no_rate_limit)
        .plain(Method::GET, FEATURES, features)
        .plain(Method::PUT, FEATURES, set_features)
        .plain(Method::POST, VALIDITY, set_validity)
}

/// Limits as Synapse tells them: nothing where they are as everybody's, 0 where there are none.
fn shown(limits: &PersonLimits) -> RawJson {
    match (limits.requests_per_second, limits.burst) {
        (None, None) => empty(),
        (rate, burst) => answer(&json!({
            "messages_per_second": rate.unwrap_or(0),
            "burst_count": burst.unwrap_or(0),
        })),
    }
}

/// `GET /_synapse/admin/v1/users/{userId}/override_ratelimit`
async fn rate_limit(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let person = actions.about_person(&by, &user_id).await?;
    Ok(shown(&person.limits))
}

#[derive(Deserialize)]
struct RateLimit {
    #[serde(default)]
    messages_per_second: u64,
    #[serde(default)]
    burst_count: u64,
}

/// `POST /_synapse/admin/v1/users/{userId}/override_ratelimit`: of all requests, not of
/// messages alone.
async fn set_rate_limit(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<RateLimit>,
) -> Result<RawJson, ApiError> {
    let changes = LimitChanges {
        requests_per_second: Some(body.messages_per_second),
        burst: Some(body.burst_count),
        ..LimitChanges::default()
    };
    let by = caller.administrator();
    let limits = actions.change_limits_of(&by, &user_id, changes).await?;
    Ok(shown(&limits))
}

/// `DELETE /_synapse/admin/v1/users/{userId}/override_ratelimit`
async fn no_rate_limit(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let kept = actions.about_person(&by, &user_id).await?.limits;
    let changes = LimitChanges {
        reset: true,
        media_bytes: kept.media_bytes,
        devices: kept.devices,
        ..LimitChanges::default()
    };
    actions.change_limits_of(&by, &user_id, changes).await?;
    Ok(empty())
}

/// `POST /_synapse/admin/v1/users/{userId}/shadow_ban`
async fn shadow_ban(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported(
        "This server deceives nobody: suspend or lock the account.",
    ))
}

/// What is so of everybody: of a person who is there, and whom the caller may look at.
async fn so_of_everybody(
    actions: &Actions,
    caller: &Admin,
    user_id: &str,
    so: RawJson,
) -> Result<RawJson, ApiError> {
    actions.person(&caller.administrator(), user_id).await?;
    Ok(so)
}

/// `DELETE /_synapse/admin/v1/users/{userId}/shadow_ban`: nobody is.
async fn no_shadow_ban(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    so_of_everybody(&actions, &caller, &user_id, empty()).await
}

/// `GET /_synapse/admin/v1/experimental_features/{userId}`: none is for some people only.
async fn features(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let none = answer(&json!({ "features": {} }));
    so_of_everybody(&actions, &caller, &user_id, none).await
}

#[derive(Deserialize)]
struct Features {
    features: Map<String, Value>,
}

/// `PUT /_synapse/admin/v1/experimental_features/{userId}`
async fn set_features(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<Features>,
) -> Result<RawJson, ApiError> {
    match body.features.is_empty() {
        true => so_of_everybody(&actions, &caller, &user_id, empty()).await,
        false => Err(unsupported("Nothing is for some people only here.")),
    }
}

#[derive(Deserialize)]
struct Validity {
    user_id: String,
    /// In ms since the Unix epoch; as long as new accounts are valid, if left out.
    expiration_ts: Option<u64>,
    #[serde(default = "yes")]
    enable_renewal_emails: bool,
}

fn yes() -> bool {
    true
}

/// `POST /_synapse/admin/v1/account_validity/validity`
async fn set_validity(
    Part(actions): Part<Actions>,
    caller: Admin,
    JsonBody(body): JsonBody<Validity>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let renewable = body.enable_renewal_emails;
    let end = match body.expiration_ts {
        None => actions.renew_account_of(&by, &body.user_id).await?,
        Some(end) => {
            let set = actions.set_end_of(&by, &body.user_id, Some(end), renewable);
            set.await?
        }
    };
    Ok(answer(&json!({ "expiration_ts": end })))
}
