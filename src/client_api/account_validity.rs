//! Accounts that end: a letter with the link that renews one, as Synapse's clients ask for it.

use accounts::Accounts;
use actions::Actions;
use http::Method;
use serde_json::json;
use web::{ApiError, Limits, LockedOrNot, Origin, Part, RawJson, Routes};

use crate::ClientParts;

const SEND_MAIL: &str = "/_matrix/client/unstable/account_validity/send_mail";

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().plain(Method::POST, SEND_MAIL, send_mail)
}

/// `POST /_matrix/client/unstable/account_validity/send_mail`, also of somebody whose account
/// has ended.
async fn send_mail(
    Part(accounts): Part<Accounts>,
    Part(actions): Part<Actions>,
    Part(limits): Part<Limits>,
    origin: Origin,
    caller: LockedOrNot,
) -> Result<RawJson, ApiError> {
    if !accounts.offers_email() {
        return Err(ApiError::forbidden("This server sends no e-mail."));
    }
    limits.mail(origin.address, caller.user_id.as_str())?;
    match actions.write_renewal(&caller).await? {
        true => Ok(RawJson(json!({}).to_string().into())),
        false => Err(ApiError::forbidden(
            "This account has no end that you could put off, or no e-mail address.",
        )),
    }
}
