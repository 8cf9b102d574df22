//! Names of rooms (client-server API, "Room aliases").

use ::rooms::{AppendError, Rooms, aliases};
use accounts::Accounts;
use actions::Actions;
use delivery::Appservices;
use http::StatusCode;
use ruma_client_api::{
    alias::{create_alias::v3 as create, delete_alias::v3 as delete, get_alias::v3 as get},
    room::aliases::v3 as list,
};
use ruma_common::api::error::ErrorCode;
use services::Service;
use web::{ApiError, Newcomer, Part, RawJson, Reply, Routes, User};

use super::{answers, read, sender};
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(create_alias)
        .on(get_alias)
        .on(delete_alias)
        .on(list_aliases)
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
async fn create_alias(
    Part(rooms): Part<Rooms>,
    Part(accounts): Part<Accounts>,
    caller: User,
    request: create::Request,
) -> Reply<create::Response> {
    accounts.check_alias(&caller, &request.room_alias)?;
    let sender = sender(&caller);
    rooms
        .put_alias(&sender, &request.room_alias, &request.room_id)
        .await
        .map_err(taken)?;
    Ok(create::Response::new())
}

/// An alias that exists is another error here than for a room that is made with it.
fn taken(error: AppendError) -> ApiError {
    let is_taken = matches!(error, AppendError::AliasTaken(_));
    let error = ApiError::from(error);
    if is_taken {
        let message = error.message().to_owned();
        return ApiError::new(StatusCode::CONFLICT, ErrorCode::Unknown, message);
    }
    error
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
async fn get_alias(
    Part(actions): Part<Actions>,
    Part(appservices): Part<Appservices>,
    asker: Newcomer,
    request: get::Request,
) -> Reply<get::Response> {
    let asker = asker.service().ok().map(Service::id);
    appservices
        .provide_alias(&request.room_alias, asker)
        .await?;
    let found = actions.resolve_alias(&request.room_alias).await?;
    Ok(get::Response::new(found.room_id, found.servers))
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
async fn delete_alias(
    Part(rooms): Part<Rooms>,
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete::Request,
) -> Reply<delete::Response> {
    accounts.check_alias(&caller, &request.room_alias)?;
    let manages = accounts.manages_alias(&caller, &request.room_alias);
    rooms
        .delete_alias(&sender(&caller), &request.room_alias, manages)
        .await?;
    Ok(delete::Response::new())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
async fn list_aliases(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: list::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let aliases = read(rooms, move |_, view| aliases(view, &request.room_id, user)).await?;
    Ok(answers::object(&[("aliases", &answers::texts(&aliases))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_that_exists_is_a_conflict() {
        let error = taken(AppendError::AliasTaken("#a:localhost".to_owned()));
        assert_eq!(error.status(), 409);
        assert_eq!(error.errcode().unwrap().as_str(), "M_UNKNOWN");
        let error = taken(AppendError::Forbidden("no".to_owned()));
        assert_eq!(error.status(), 403);
    }
}
