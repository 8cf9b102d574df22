//! What guests may ask (client-server API, "Guest Access").

use http::Method;

/// The endpoints, without what stands before them.
const ENDPOINTS: &[(&Method, &str)] = &[
    // Events, and the files of them.
    (&Method::GET, "rooms/{room_id}/state"),
    (&Method::GET, "rooms/{room_id}/context/{event_id}"),
    (&Method::GET, "rooms/{room_id}/event/{event_id}"),
    (
        &Method::GET,
        "rooms/{room_id}/state/{event_type}/{state_key}",
    ),
    (&Method::GET, "rooms/{room_id}/messages"),
    (&Method::GET, "rooms/{room_id}/members"),
    (&Method::GET, "rooms/{room_id}/initialSync"),
    (&Method::GET, "sync"),
    (&Method::GET, "events"),
    (&Method::GET, "media/download/{server_name}/{media_id}"),
    (
        &Method::GET,
        "media/download/{server_name}/{media_id}/{filename}",
    ),
    (&Method::GET, "media/thumbnail/{server_name}/{media_id}"),
    // Saying something.
    (&Method::POST, "rooms/{room_id}/join"),
    // Not listed by the specification, but the only way to name servers that give the room, whose
    // id says nothing of them since room version 12.
    (&Method::POST, "join/{room_id_or_alias}"),
    (&Method::POST, "rooms/{room_id}/leave"),
    (&Method::PUT, "rooms/{room_id}/send/{event_type}/{txn_id}"),
    (
        &Method::PUT,
        "rooms/{room_id}/state/{event_type}/{state_key}",
    ),
    (&Method::PUT, "sendToDevice/{event_type}/{txn_id}"),
    // Themselves; of the profile they may change the name alone, which `accounts` sees to.
    (&Method::PUT, "profile/{user_id}/{field}"),
    (&Method::DELETE, "profile/{user_id}/{field}"),
    (&Method::GET, "devices"),
    (&Method::GET, "devices/{device_id}"),
    (&Method::PUT, "devices/{device_id}"),
    (&Method::GET, "account/whoami"),
    // Encryption.
    (&Method::POST, "keys/upload"),
    (&Method::POST, "keys/query"),
    (&Method::POST, "keys/claim"),
];

/// Whether a guest may ask this endpoint, whose path is written as ruma writes it.
pub(crate) fn may_ask(method: &Method, path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/_matrix/client/") else {
        return false;
    };
    // Behind the version.
    let Some((_, rest)) = rest.split_once('/') else {
        return false;
    };
    ENDPOINTS
        .iter()
        .any(|(known, endpoint)| *known == method && is_same(endpoint, rest))
}

/// Whether two paths are the same but for the names of their arguments.
fn is_same(one: &str, other: &str) -> bool {
    let shape = |path: &str| -> Vec<String> {
        let segments = path.split('/');
        let shaped = segments.map(|part| if part.starts_with('{') { "{}" } else { part });
        shaped.map(str::to_owned).collect()
    };
    shape(one) == shape(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_may_ask_what_is_listed_alone() {
        for (method, path, expected) in [
            (Method::GET, "/_matrix/client/v3/sync", true),
            (Method::POST, "/_matrix/client/v3/sync", false),
            (Method::GET, "/_matrix/client/r0/rooms/{id}/messages", true),
            (
                Method::POST,
                "/_matrix/client/v3/rooms/{room_id}/invite",
                false,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/join/{room_id_or_alias}",
                true,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/knock/{room_id_or_alias}",
                false,
            ),
            (Method::POST, "/_matrix/client/v3/createRoom", false),
            (
                Method::GET,
                "/_matrix/client/v1/media/download/{a}/{b}",
                true,
            ),
            (Method::POST, "/_matrix/media/v3/upload", false),
            (
                Method::DELETE,
                "/_matrix/client/v3/devices/{device_id}",
                false,
            ),
            (Method::GET, "/_cairn/sync", false),
        ] {
            assert_eq!(may_ask(&method, path), expected, "{method} {path}");
        }
    }
}
