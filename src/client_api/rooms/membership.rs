//! Coming into rooms and going out of them (client-server API, "Room membership").

use ::rooms::{Rooms, joined_rooms, mutual_rooms};
use actions::Actions;
use delivery::Appservices;
use ruma_client_api::{
    knock::knock_room::v3 as knock,
    membership::{
        ThirdPartySigned,
        ban_user::v3 as ban,
        forget_room::v3 as forget,
        get_mutual_rooms::v1 as mutual,
        invite_user::v3::{self as invite, InvitationRecipient},
        join_room_by_id::v3 as join,
        join_room_by_id_or_alias::v3 as join_by_name,
        joined_rooms::v3 as joined,
        kick_user::v3 as kick,
        leave_room::v3 as leave,
        unban_user::v3 as unban,
    },
};
use ruma_common::{RoomAliasId, RoomOrAliasId};
use web::{ApiError, Part, RawJson, Reply, Routes, User, WithBody};

use super::{answers, read, sender};
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(list_joined)
        .on(list_mutual)
        .on(invite)
        .on(join)
        .on(join_by_name)
        .on(knock)
        .on(leave)
        .on(forget)
        .on(kick)
        .on(ban)
        .on(unban)
}

/// `GET /_matrix/client/v3/joined_rooms`
async fn list_joined(Part(rooms): Part<Rooms>, caller: User, _: joined::Request) -> Reply<RawJson> {
    let user = caller.user;
    let room_ids = read(rooms, move |_, view| Ok(joined_rooms(view, user)?)).await?;
    Ok(answers::object(&[(
        "joined_rooms",
        &answers::texts(&room_ids),
    )]))
}

/// `GET /_matrix/client/v1/mutual_rooms`
async fn list_mutual(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: mutual::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let found = read(rooms, move |_, view| {
        mutual_rooms(view, viewer, &request.user_id, request.from.as_deref())
    })
    .await?;
    let (joined, count) = (answers::texts(&found.room_ids), found.count.to_string());
    let next_batch = found.next_batch.as_ref().map(answers::text);
    let mut fields = vec![("joined", joined.as_str()), ("count", &count)];
    fields.extend(next_batch.as_deref().map(|next| ("next_batch", next)));
    Ok(answers::object(&fields))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`
async fn invite(
    Part(actions): Part<Actions>,
    caller: User,
    request: invite::Request,
) -> Reply<invite::Response> {
    let InvitationRecipient::UserId(recipient) = request.recipient else {
        return Err(ApiError::forbidden(
            "This server cannot invite by e-mail address or telephone number.",
        ));
    };
    actions
        .invite(
            &caller,
            &request.room_id,
            &recipient.user_id,
            recipient.reason,
        )
        .await?;
    Ok(invite::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`
async fn join(
    Part(actions): Part<Actions>,
    caller: User,
    WithBody { request, body }: WithBody<join::Request>,
) -> Reply<join::Response> {
    check_no_third_party(request.third_party_signed.as_ref())?;
    let room_id = actions
        .join(&caller, (&*request.room_id).into(), &[], &body)
        .await?;
    Ok(join::Response::new(room_id))
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`
async fn join_by_name(
    Part(actions): Part<Actions>,
    Part(appservices): Part<Appservices>,
    caller: User,
    WithBody { request, body }: WithBody<join_by_name::Request>,
) -> Reply<join_by_name::Response> {
    check_no_third_party(request.third_party_signed.as_ref())?;
    provide(&appservices, &caller, &request.room_id_or_alias).await?;
    let (target, via) = (&request.room_id_or_alias, &request.via);
    let room_id = actions.join(&caller, target, via, &body).await?;
    Ok(join_by_name::Response::new(room_id))
}

/// Lets application services make the room that an alias of theirs shall lead to.
async fn provide(
    appservices: &Appservices,
    caller: &User,
    target: &RoomOrAliasId,
) -> Result<(), ApiError> {
    if let Ok(alias) = <&RoomAliasId>::try_from(target) {
        appservices
            .provide_alias(alias, caller.service.as_deref())
            .await?;
    }
    Ok(())
}

/// Nobody can be invited by an e-mail address here, so there is no such invitation
/// that a signature could belong to.
fn check_no_third_party(signed: Option<&ThirdPartySigned>) -> Result<(), ApiError> {
    match signed {
        None => Ok(()),
        Some(_) => Err(ApiError::forbidden(
            "There is no invitation that third_party_signed belongs to.",
        )),
    }
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
async fn knock(
    Part(actions): Part<Actions>,
    Part(appservices): Part<Appservices>,
    caller: User,
    request: knock::Request,
) -> Reply<knock::Response> {
    provide(&appservices, &caller, &request.room_id_or_alias).await?;
    let (target, via) = (&request.room_id_or_alias, &request.via);
    let room_id = actions.knock(&caller, target, via, request.reason).await?;
    Ok(knock::Response::new(room_id))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
async fn leave(
    Part(actions): Part<Actions>,
    caller: User,
    request: leave::Request,
) -> Reply<leave::Response> {
    actions
        .leave(&caller, &request.room_id, request.reason)
        .await?;
    Ok(leave::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
async fn forget(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: forget::Request,
) -> Reply<forget::Response> {
    rooms.forget(&sender(&caller), &request.room_id).await?;
    Ok(forget::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
async fn kick(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: kick::Request,
) -> Reply<kick::Response> {
    let sender = sender(&caller);
    rooms
        .kick(&sender, &request.room_id, &request.user_id, request.reason)
        .await?;
    Ok(kick::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`
async fn ban(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: ban::Request,
) -> Reply<ban::Response> {
    let sender = sender(&caller);
    rooms
        .ban(&sender, &request.room_id, &request.user_id, request.reason)
        .await?;
    Ok(ban::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`
async fn unban(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: unban::Request,
) -> Reply<unban::Response> {
    let sender = sender(&caller);
    rooms
        .unban(&sender, &request.room_id, &request.user_id, request.reason)
        .await?;
    Ok(unban::Response::new())
}
