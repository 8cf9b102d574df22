//! The command line's verbs.

use actions::{Actions, Administration, AdministrationError, Administrator};
use serde::{Deserialize, Serialize};
use web::{ApiError, JsonBody, Operator, Part, RawJson, Routes};

/// The path of the one endpoint.
pub const ADMINISTRATION: &str = "/_cairn/admin/v1/administration";

/// What the command line asks, and why.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub wish: Administration,
    /// Why.
    pub reason: Option<String>,
}

pub(crate) fn routes() -> Routes<Actions> {
    Routes::new().plain(http::Method::POST, ADMINISTRATION, administer)
}

/// `POST /_cairn/admin/v1/administration`: one verb of the command line.
async fn administer(
    Part(actions): Part<Actions>,
    _operator: Operator,
    JsonBody(order): JsonBody<Order>,
) -> Result<RawJson, ApiError> {
    let by = Administrator::operator().because(order.reason);
    let answer = actions.administer(&by, order.wish).await;
    let answer = answer.map_err(refusal)?;
    Ok(RawJson(answer.to_string().into()))
}

fn refusal(error: AdministrationError) -> ApiError {
    match error {
        AdministrationError::Store(error) => ApiError::from(error),
        AdministrationError::Denied(_) => ApiError::forbidden(error.to_string()),
        AdministrationError::UnknownUser(_) => ApiError::not_found(error.to_string()),
        other => ApiError::invalid_param(other.to_string()),
    }
}
