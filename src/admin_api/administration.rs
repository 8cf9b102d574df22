//! The command line's verbs.

use actions::{Actions, Administration, AdministrationError};
use web::{ApiError, JsonBody, Operator, Part, RawJson, Routes};

/// The path of the one endpoint.
pub const ADMINISTRATION: &str = "/_cairn/admin/v1/administration";

pub(crate) fn routes() -> Routes<Actions> {
    Routes::new().plain(http::Method::POST, ADMINISTRATION, administer)
}

/// `POST /_cairn/admin/v1/administration`: one verb of the command line.
async fn administer(
    Part(actions): Part<Actions>,
    _operator: Operator,
    JsonBody(wish): JsonBody<Administration>,
) -> Result<RawJson, ApiError> {
    let answer = actions.administer(wish).await.map_err(refusal)?;
    Ok(RawJson(answer.to_string().into()))
}

fn refusal(error: AdministrationError) -> ApiError {
    match error {
        AdministrationError::Store(error) => ApiError::from(error),
        AdministrationError::UnknownUser(_) => ApiError::not_found(error.to_string()),
        other => ApiError::invalid_param(other.to_string()),
    }
}
