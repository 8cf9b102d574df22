//! Making rooms (client-server API, "Creation").

use ::rooms::{CreateRoom, NewEvent, Preset};
use accounts::Accounts;
use actions::Actions;
use graph::{MAX_JSON_DEPTH, canonical};
use ruma_client_api::room::{
    Visibility,
    create_room::v3::{self as create_room, RoomPreset},
};
use ruma_common::{CanonicalJsonObject, RoomAliasId, serde::Raw};
use serde::Deserialize;
use serde_json::value::RawValue;
use web::{ApiError, Part, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(create_room)
}

/// `POST /_matrix/client/v3/createRoom`
async fn create_room(
    Part(actions): Part<Actions>,
    Part(accounts): Part<Accounts>,
    caller: User,
    request: create_room::Request,
) -> Reply<create_room::Response> {
    if let Some(name) = &request.room_alias_name
        && let Ok(alias) = RoomAliasId::parse(format!("#{name}:{}", accounts.server_name()))
    {
        accounts.check_alias(&caller, &alias)?;
    }
    let room_id = actions.create_room(&caller, wish(request)?).await?;
    Ok(create_room::Response::new(room_id))
}

/// What is asked, in the terms of the domain.
fn wish(request: create_room::Request) -> Result<CreateRoom, ApiError> {
    if !request.invite_3pid.is_empty() {
        return Err(ApiError::forbidden(
            "This server cannot invite by e-mail address or telephone number.",
        ));
    }
    Ok(CreateRoom {
        version: request.room_version.map(|version| version.to_string()),
        preset: request.preset.as_ref().map(preset).transpose()?,
        published: is_public(&request.visibility)?,
        name: request.name,
        topic: request.topic,
        creation_content: object(request.creation_content.as_ref())?,
        initial_state: request
            .initial_state
            .iter()
            .map(initial_event)
            .collect::<Result<_, _>>()?,
        invite: request.invite,
        is_direct: request.is_direct,
        room_alias_name: request.room_alias_name,
        power_level_content_override: object(request.power_level_content_override.as_ref())?,
        notices_for: None,
    })
}

fn preset(preset: &RoomPreset) -> Result<Preset, ApiError> {
    match preset {
        RoomPreset::PrivateChat => Ok(Preset::PrivateChat),
        RoomPreset::TrustedPrivateChat => Ok(Preset::TrustedPrivateChat),
        RoomPreset::PublicChat => Ok(Preset::PublicChat),
        _ => Err(ApiError::bad_json("There is no such preset.")),
    }
}

/// Whether a room with this visibility stands in the directory.
///
/// # Errors
/// 400 for a visibility that the specification does not know.
pub(crate) fn is_public(visibility: &Visibility) -> Result<bool, ApiError> {
    match visibility {
        Visibility::Public => Ok(true),
        Visibility::Private => Ok(false),
        _ => Err(ApiError::bad_json(
            "A room's visibility is public or private.",
        )),
    }
}

fn object<T>(json: Option<&Raw<T>>) -> Result<CanonicalJsonObject, ApiError> {
    match json {
        Some(json) => Ok(canonical(json.json().get().as_bytes(), MAX_JSON_DEPTH)?),
        None => Ok(CanonicalJsonObject::new()),
    }
}

/// An event of `initial_state`.
#[derive(Deserialize)]
struct InitialEvent<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    state_key: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

fn initial_event<T>(json: &Raw<T>) -> Result<NewEvent, ApiError> {
    let event: InitialEvent<'_> = serde_json::from_str(json.json().get())
        .map_err(|error| ApiError::bad_json(format!("An event of initial_state: {error}.")))?;
    let content = canonical(event.content.get().as_bytes(), MAX_JSON_DEPTH)?;
    Ok(NewEvent::state(
        &event.event_type,
        &event.state_key,
        content,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: &serde_json::Value) -> create_room::Request {
        use ruma_common::api::IncomingRequest as _;
        let body = body.to_string();
        let request = http::Request::post("/_matrix/client/v3/createRoom");
        let request = request.body(body.as_bytes()).unwrap();
        create_room::Request::try_from_http_request_inner(request, &[]).unwrap()
    }

    #[test]
    fn every_option_reaches_the_domain() {
        let wish = wish(request(&json!({
            "visibility": "public",
            "preset": "trusted_private_chat",
            "room_version": "11",
            "room_alias_name": "council",
            "name": "The council",
            "topic": "Roads",
            "invite": ["@bob:localhost"],
            "is_direct": true,
            "creation_content": { "m.federate": false },
            "initial_state": [
                { "type": "m.room.encryption", "content": { "algorithm": "a" } },
                { "type": "org.example.desk", "state_key": "3", "content": {} },
            ],
            "power_level_content_override": { "invite": 50 },
        })))
        .unwrap();
        assert!(wish.published && wish.is_direct);
        assert_eq!(wish.preset, Some(Preset::TrustedPrivateChat));
        assert_eq!(wish.version.as_deref(), Some("11"));
        assert_eq!(wish.room_alias_name.as_deref(), Some("council"));
        assert_eq!(wish.name.as_deref(), Some("The council"));
        assert_eq!(wish.topic.as_deref(), Some("Roads"));
        assert_eq!(wish.invite.len(), 1);
        assert_eq!(wish.creation_content.get("m.federate"), Some(&false.into()));
        assert_eq!(wish.power_level_content_override.len(), 1);
        let keys: Vec<_> = wish
            .initial_state
            .iter()
            .map(|event| (event.event_type.as_str(), event.state_key.as_deref()))
            .collect();
        assert_eq!(
            keys,
            [
                ("m.room.encryption", Some("")),
                ("org.example.desk", Some("3"))
            ]
        );
    }

    #[test]
    fn what_no_room_can_begin_with_is_refused() {
        for body in [
            json!({ "preset": "nonsense" }),
            json!({ "visibility": "nonsense" }),
            json!({ "creation_content": [] }),
            json!({ "creation_content": { "a": 1.5 } }),
            json!({ "initial_state": [{ "content": {} }] }),
            json!({ "initial_state": [{ "type": "a" }] }),
            json!({ "initial_state": [{ "type": "a", "content": 1 }] }),
            json!({ "initial_state": [{ "type": "a", "state_key": null, "content": {} }] }),
        ] {
            let error = wish(request(&body)).unwrap_err();
            assert_eq!(error.status(), 400, "{body}");
            assert_eq!(error.errcode().unwrap().as_str(), "M_BAD_JSON", "{body}");
        }
    }
}
