//! Pushers (client-server API, "Push Notifications").

use std::sync::Arc;

use accounts::{Accounts, NewPusher, PusherKey};
use http::Method;
use ruma_client_api::push::get_pushers::v3 as get_pushers;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};
use store::{Snapshot, Store};
use web::{ApiError, JsonBody, Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, ServerInfo, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    let routes = Routes::new().on(get_pushers);
    // By hand, as ruma's request cannot tell which fields are missing.
    [
        "/_matrix/client/v3/pushers/set",
        "/_matrix/client/r0/pushers/set",
    ]
    .into_iter()
    .fold(routes, |routes, path| {
        routes.plain(Method::POST, path, set_pusher)
    })
}

/// `GET /_matrix/client/v3/pushers`
async fn get_pushers(
    Part(store): Part<Store>,
    caller: User,
    _: get_pushers::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let read = move |view: &Snapshot| accounts::pushers(view, user);
    let pushers: Vec<Value> = store.read(read).await?.into_iter().map(shown).collect();
    Ok(answers::json(&json!({ "pushers": pushers })))
}

fn shown(pusher: accounts::Pusher) -> Value {
    let mut data = pusher.data;
    data.insert("url".to_owned(), pusher.url.into());
    let mut shown = json!({
        "kind": "http",
        "app_id": pusher.key.app_id,
        "pushkey": pusher.key.pushkey,
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "lang": pusher.lang,
        "data": data,
    });
    if let Some(profile_tag) = pusher.profile_tag {
        shown["profile_tag"] = profile_tag.into();
    }
    shown
}

/// The body of `POST /pushers/set`, of which a deletion needs the first three fields.
#[derive(Deserialize)]
struct Wish {
    // Null is a value here, and a missing one is not: see `Kind`.
    #[serde(default)]
    kind: Kind,
    app_id: Option<String>,
    pushkey: Option<String>,
    app_display_name: Option<String>,
    device_display_name: Option<String>,
    profile_tag: Option<String>,
    lang: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    append: bool,
}

/// `kind` of a pusher.
#[derive(Default)]
enum Kind {
    /// The field is not there.
    #[default]
    Missing,
    /// `null`: the pusher is to be deleted.
    Delete,
    /// `"http"`
    Http,
    /// Something else.
    Other,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Text(String),
            Null(()),
            Other(IgnoredAny),
        }
        Ok(match Given::deserialize(deserializer)? {
            Given::Text(kind) if kind == "http" => Self::Http,
            Given::Null(()) => Self::Delete,
            Given::Text(_) | Given::Other(_) => Self::Other,
        })
    }
}

/// `POST /_matrix/client/v3/pushers/set`
async fn set_pusher(
    Part(accounts): Part<Accounts>,
    Part(info): Part<Arc<ServerInfo>>,
    caller: User,
    JsonBody(wish): JsonBody<Wish>,
) -> Reply<RawJson> {
    match wish.kind {
        Kind::Delete => {
            let key = key(wish.app_id, wish.pushkey)?;
            accounts.delete_pusher(caller.user, key, None).await?;
        }
        Kind::Http => {
            let new = new_pusher(wish)?;
            accounts
                .set_pusher(&caller, new, info.plain_push_gateways)
                .await?;
        }
        Kind::Missing => return Err(missing(&["kind"])),
        Kind::Other => {
            let text = "This server has pushers of the kind \"http\" only.";
            return Err(ApiError::invalid_param(text));
        }
    }
    Ok(answers::json(&json!({})))
}

fn new_pusher(wish: Wish) -> Result<NewPusher, ApiError> {
    let (Some(app_display_name), Some(device_display_name), Some(lang), Some(mut data)) = (
        wish.app_display_name.clone(),
        wish.device_display_name.clone(),
        wish.lang.clone(),
        wish.data.clone(),
    ) else {
        let given = [
            ("app_display_name", wish.app_display_name.is_some()),
            ("device_display_name", wish.device_display_name.is_some()),
            ("lang", wish.lang.is_some()),
            ("data", wish.data.is_some()),
        ];
        let names: Vec<&str> = given
            .iter()
            .filter(|(_, is_given)| !is_given)
            .map(|(name, _)| *name)
            .collect();
        return Err(missing(&names));
    };
    let url = match data.remove("url") {
        Some(Value::String(url)) => url,
        Some(_) => return Err(ApiError::invalid_param("data.url is no text.")),
        None => return Err(missing(&["data.url"])),
    };
    Ok(NewPusher {
        key: key(wish.app_id, wish.pushkey)?,
        app_display_name,
        device_display_name,
        profile_tag: wish.profile_tag,
        lang,
        url,
        data,
        append: wish.append,
    })
}

fn key(app_id: Option<String>, pushkey: Option<String>) -> Result<PusherKey, ApiError> {
    match (app_id, pushkey) {
        (Some(app_id), Some(pushkey)) => Ok(PusherKey { app_id, pushkey }),
        (app_id, pushkey) => {
            let mut names = Vec::new();
            names.extend(app_id.is_none().then_some("app_id"));
            names.extend(pushkey.is_none().then_some("pushkey"));
            Err(missing(&names))
        }
    }
}

fn missing(names: &[&str]) -> ApiError {
    ApiError::missing_param(format!("Missing parameters: {}.", names.join(", ")))
}
