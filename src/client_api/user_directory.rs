//! Looking for people (client-server API, "User Directory").

use actions::Actions;
use ruma_client_api::user_directory::search_users::v3::{self as search, User as Found};
use ruma_common::OwnedUserId;
use web::{ApiError, Part, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(search)
}

/// `POST /_matrix/client/v3/user_directory/search`
async fn search(
    Part(actions): Part<Actions>,
    caller: User,
    request: search::Request,
) -> Reply<search::Response> {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let found = actions
        .search_users(&caller, request.search_term, limit)
        .await?;
    let results: Result<Vec<Found>, ApiError> = found.users.into_iter().map(shown).collect();
    Ok(search::Response::new(results?, found.limited))
}

fn shown(user: accounts::FoundUser) -> Result<Found, ApiError> {
    let user_id = OwnedUserId::try_from(user.user_id).map_err(ApiError::internal)?;
    let mut shown = Found::new(user_id);
    shown.display_name = user.display_name;
    shown.avatar_url = user.avatar_url.map(Into::into);
    Ok(shown)
}
