//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use ruma_client_api::{
    account::register,
    backup::add_backup_keys,
    filter::{FilterDefinition, create_filter},
    keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys},
    membership::invite_user,
    push::set_pusher,
    read_marker::set_read_marker,
    receipt::create_receipt,
    room::create_room,
    search::search_events,
    to_device::send_event_to_device,
    user_directory::search_users,
};
use ruma_common::api::IncomingRequest;

use crate::{login, put_push_rule, sliding_sync};

type Read = fn(&[u8]) -> bool;

/// What the first byte chooses from.
const REQUESTS: [Read; 20] = [
    |body| read::<login::LoginRequest>(body, &[]),
    |body| read::<register::v3::Request>(body, &[]),
    |body| read::<create_room::v3::Request>(body, &[]),
    |body| read::<invite_user::v3::Request>(body, &["!a:a.example"]),
    |body| read::<create_filter::v3::Request>(body, &["@a:a.example"]),
    |body| read::<upload_keys::v3::Request>(body, &[]),
    |body| read::<get_keys::v3::Request>(body, &[]),
    |body| read::<claim_keys::v3::Request>(body, &[]),
    |body| read::<upload_signing_keys::v3::Request>(body, &[]),
    |body| read::<upload_signatures::v3::Request>(body, &[]),
    |body| read::<add_backup_keys::v3::Request>(body, &[]),
    |body| read::<set_pusher::v3::Request>(body, &[]),
    |body| read::<put_push_rule::Request>(body, &["override", "a"]),
    |body| read::<create_receipt::v3::Request>(body, &["!a:a.example", "m.read", "$a"]),
    |body| read::<set_read_marker::v3::Request>(body, &["!a:a.example"]),
    |body| read::<search_events::v3::Request>(body, &[]),
    |body| read::<sliding_sync::Request>(body, &[]),
    |body| read::<send_event_to_device::v3::Request>(body, &["m.a", "1"]),
    |body| read::<search_users::v3::Request>(body, &[]),
    |body| serde_json::from_slice::<FilterDefinition>(body).is_ok(),
];

fn read<R: IncomingRequest>(body: &[u8], arguments: &[&str]) -> bool {
    R::try_from_http_request_inner(http::Request::new(body), arguments).is_ok()
}

/// The body of a client's request, read as one of many.
pub fn client_request(bytes: &[u8]) {
    if let Some((first, body)) = bytes.split_first() {
        REQUESTS[usize::from(*first) % REQUESTS.len()](body);
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("client_request", super::client_request);
    }
}
