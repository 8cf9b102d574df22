//! What users show of themselves (client-server API, "Profiles").

use accounts::ProfileError;
use actions::Actions;
use delivery::Appservices;
use model::UserSerial;
use ruma_client_api::profile::{
    delete_profile_field::v3 as delete_field, get_profile::v3 as get_profile,
    get_profile_field::v3 as get_field, set_profile_field::v3 as set_field,
};
use ruma_common::UserId;
use serde_json::{Map, Value, json};
use store::{Snapshot, Store};
use web::{Anonymous, ApiError, Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_profile)
        .on(get_field)
        .on(set_field)
        .on(delete_field)
}

/// The user of this server whose profile is asked for.
fn owner(view: &Snapshot, user_id: &UserId) -> Result<UserSerial, ProfileError> {
    match accounts::find(view, user_id)? {
        Some((user, account)) if !account.is_erased => Ok(user),
        _ => Err(ProfileError::NotFound),
    }
}

/// `GET /_matrix/client/v3/profile/{userId}`
async fn get_profile(
    Part(store): Part<Store>,
    Part(appservices): Part<Appservices>,
    Part(actions): Part<Actions>,
    _: Anonymous,
    request: get_profile::Request,
) -> Reply<RawJson> {
    if !actions.is_local(&request.user_id) {
        let fields = actions.remote_profile(&request.user_id, None).await?;
        let fields: Map<String, Value> = fields.into_iter().collect();
        return Ok(answers::json(&fields.into()));
    }
    appservices.provide_user(&request.user_id).await?;
    let read = move |view: &Snapshot| {
        let user = owner(view, &request.user_id)?;
        Ok::<_, ProfileError>(accounts::profile(view, user)?)
    };
    Ok(answers::json(&json!(store.read(read).await?)))
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
async fn get_field(
    Part(store): Part<Store>,
    Part(appservices): Part<Appservices>,
    Part(actions): Part<Actions>,
    _: Anonymous,
    request: get_field::Request,
) -> Reply<RawJson> {
    appservices.provide_user(&request.user_id).await?;
    let (name, user_id) = (request.field.to_string(), request.user_id);
    if !actions.is_local(&user_id) {
        let fields = actions.remote_profile(&user_id, Some(&name)).await?;
        let value = fields.into_iter().next().map(|(_, value)| value);
        let value = value.ok_or_else(no_field)?;
        return Ok(answers::json(&json!({ name: value })));
    }
    let wanted = name.clone();
    let read = move |view: &Snapshot| {
        let user = owner(view, &user_id)?;
        Ok::<_, ProfileError>(accounts::profile_field(view, user, &wanted)?)
    };
    let value = store.read(read).await?;
    let value = value.ok_or_else(no_field)?;
    Ok(answers::json(&json!({ name: value })))
}

fn no_field() -> ApiError {
    ApiError::not_found("The profile has no such field.")
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
async fn set_field(
    Part(actions): Part<Actions>,
    caller: User,
    request: set_field::Request,
) -> Reply<set_field::Response> {
    caller.must_be(&request.user_id)?;
    let name = request.value.field_name().to_string();
    actions
        .set_profile_field(&caller, &name, &request.value.value())
        .await?;
    Ok(set_field::Response::new())
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
async fn delete_field(
    Part(actions): Part<Actions>,
    caller: User,
    request: delete_field::Request,
) -> Reply<delete_field::Response> {
    caller.must_be(&request.user_id)?;
    let name = request.field.to_string();
    actions.remove_profile_field(&caller, &name).await?;
    Ok(delete_field::Response::new())
}
