//! Stored filters (client-server API, "Filtering").

use accounts::Accounts;
use ruma_client_api::filter::{create_filter::v3 as create, get_filter::v3 as get};
use store::{Snapshot, Store};
use web::{ApiError, Part, RawJson, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(create_filter).on(get_filter)
}

/// `POST /_matrix/client/v3/user/{userId}/filter`
async fn create_filter(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: create::Request,
) -> Reply<create::Response> {
    caller.must_be(&request.user_id)?;
    let json = serde_json::to_vec(&request.filter).map_err(ApiError::internal)?;
    let filter_id = accounts.create_filter(caller.user, &json).await?;
    Ok(create::Response::new(filter_id))
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
async fn get_filter(
    Part(store): Part<Store>,
    caller: User,
    request: get::Request,
) -> Reply<RawJson> {
    caller.must_be(&request.user_id)?;
    let user = caller.user;
    let read = move |view: &Snapshot| accounts::filter(view, user, &request.filter_id);
    let filter = store.read(read).await?;
    let filter = filter.ok_or_else(|| ApiError::not_found("There is no such filter."))?;
    Ok(RawJson(filter.into()))
}
