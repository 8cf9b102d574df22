//! Backups of room keys (client-server API, "Server-side key backups").

use std::collections::BTreeMap;

use accounts::{
    Accounts, BackedUpKeys, BackupScope, BackupState, KeyBackup, backed_up_key,
    key_backup as read_backup,
};
use js_int::UInt;
use ruma_client_api::backup::{
    BackupAlgorithm, RoomKeyBackup, add_backup_keys::v3 as put_all,
    add_backup_keys_for_room::v3 as put_of_room, add_backup_keys_for_session::v3 as put_one,
    create_backup_version::v3 as create, delete_backup_keys::v3 as delete_all,
    delete_backup_keys_for_room::v3 as delete_of_room,
    delete_backup_keys_for_session::v3 as delete_one, delete_backup_version::v3 as delete,
    get_backup_info::v3 as info, get_backup_keys::v3 as get_all,
    get_backup_keys_for_room::v3 as get_of_room, get_backup_keys_for_session::v3 as get_one,
    get_latest_backup_info::v3 as latest, update_backup_version::v3 as update,
};
use ruma_common::{OwnedRoomId, serde::Raw};
use serde_json::{json, value::RawValue};
use store::{Snapshot, Store};
use web::{ApiError, Part, Pieces, RawJson, Reply, Routes, Serving, User};

use crate::ClientParts;

/// Clients know these paths from before they were in the specification.
const WITH_UNSTABLE: Serving = Serving {
    unstable: true,
    waiting: false,
};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on_with(create, WITH_UNSTABLE)
        .on_with(latest, WITH_UNSTABLE)
        .on_with(info, WITH_UNSTABLE)
        .on_with(update, WITH_UNSTABLE)
        .on_with(delete, WITH_UNSTABLE)
        .on_with(put_all, WITH_UNSTABLE)
        .on_with(put_of_room, WITH_UNSTABLE)
        .on_with(put_one, WITH_UNSTABLE)
        .on_with(get_all, WITH_UNSTABLE)
        .on_with(get_of_room, WITH_UNSTABLE)
        .on_with(get_one, WITH_UNSTABLE)
        .on_with(delete_all, WITH_UNSTABLE)
        .on_with(delete_of_room, WITH_UNSTABLE)
        .on_with(delete_one, WITH_UNSTABLE)
}

fn count(count: u64) -> UInt {
    UInt::try_from(count).unwrap_or(UInt::MAX)
}

/// Algorithm and data as ruma takes them, whatever the algorithm.
fn algorithm(backup: &KeyBackup) -> Result<Raw<BackupAlgorithm>, ApiError> {
    let (name, data) = (json!(backup.algorithm), &backup.auth_data);
    let json = format!(r#"{{"algorithm":{name},"auth_data":{data}}}"#);
    RawValue::from_string(json)
        .map(Raw::from_json)
        .map_err(ApiError::internal)
}

/// `POST /_matrix/client/v3/room_keys/version`
async fn create(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: create::Request,
) -> Reply<create::Response> {
    let json = request.algorithm.json().get();
    let version = accounts.create_key_backup(caller.user, json).await?;
    Ok(create::Response::new(version))
}

/// `GET /_matrix/client/v3/room_keys/version`
async fn latest(
    Part(store): Part<Store>,
    caller: User,
    _: latest::Request,
) -> Reply<latest::Response> {
    let user = caller.user;
    let backup = store
        .read(move |view: &Snapshot| read_backup(view, user, None))
        .await?;
    let algorithm = algorithm(&backup)?;
    let (count, version) = (count(backup.count), backup.version);
    Ok(latest::Response::new(
        algorithm,
        count,
        backup.etag,
        version,
    ))
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`
async fn info(
    Part(store): Part<Store>,
    caller: User,
    request: info::Request,
) -> Reply<info::Response> {
    let user = caller.user;
    let backup = store
        .read(move |view: &Snapshot| read_backup(view, user, Some(&request.version)))
        .await?;
    let algorithm = algorithm(&backup)?;
    let (count, version) = (count(backup.count), backup.version);
    Ok(info::Response::new(algorithm, count, backup.etag, version))
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`
async fn update(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: update::Request,
) -> Reply<update::Response> {
    let json = request.algorithm.json().get();
    accounts
        .update_key_backup(caller.user, &request.version, json)
        .await?;
    Ok(update::Response::new())
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
async fn delete(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete::Request,
) -> Reply<delete::Response> {
    accounts
        .delete_key_backup(caller.user, &request.version)
        .await?;
    Ok(delete::Response::new())
}

/// Keys as they are stored: room id, session id, JSON.
type Keys = Vec<(String, String, Box<RawValue>)>;

fn keys_of(rooms: BTreeMap<OwnedRoomId, RoomKeyBackup>) -> Keys {
    rooms
        .into_iter()
        .flat_map(|(room_id, backup)| {
            let sessions = backup.sessions.into_iter();
            sessions.map(move |(session, key)| (room_id.to_string(), session, key.into_json()))
        })
        .collect()
}

/// `PUT /_matrix/client/v3/room_keys/keys`
async fn put_all(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: put_all::Request,
) -> Reply<put_all::Response> {
    let keys = keys_of(request.rooms);
    let BackupState { etag, count: keys } = accounts
        .put_backed_up_keys(caller.user, &request.version, keys)
        .await?;
    Ok(put_all::Response::new(etag, count(keys)))
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}`
async fn put_of_room(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: put_of_room::Request,
) -> Reply<put_of_room::Response> {
    let backup = RoomKeyBackup::new(request.sessions);
    let keys = keys_of(BTreeMap::from([(request.room_id, backup)]));
    let BackupState { etag, count: keys } = accounts
        .put_backed_up_keys(caller.user, &request.version, keys)
        .await?;
    Ok(put_of_room::Response::new(etag, count(keys)))
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn put_one(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: put_one::Request,
) -> Reply<put_one::Response> {
    let json = request.session_data.into_json();
    let keys = vec![(request.room_id.to_string(), request.session_id, json)];
    let BackupState { etag, count: keys } = accounts
        .put_backed_up_keys(caller.user, &request.version, keys)
        .await?;
    Ok(put_one::Response::new(etag, count(keys)))
}

/// The keys of a backup, or of one room in it, as they are read.
async fn keys(
    accounts: Accounts,
    caller: User,
    version: &str,
    room_id: Option<OwnedRoomId>,
) -> Reply<Pieces> {
    let room_id = room_id.map(|room_id| room_id.to_string());
    let keys = accounts
        .backed_up_keys(caller.user, version, room_id)
        .await?;
    Ok(Pieces::new(keys, |keys: BackedUpKeys| async move {
        Ok(keys.piece().await?)
    }))
}

/// `GET /_matrix/client/v3/room_keys/keys`
async fn get_all(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: get_all::Request,
) -> Reply<Pieces> {
    keys(accounts, caller, &request.version, None).await
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`
async fn get_of_room(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: get_of_room::Request,
) -> Reply<Pieces> {
    keys(accounts, caller, &request.version, Some(request.room_id)).await
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn get_one(
    Part(store): Part<Store>,
    caller: User,
    request: get_one::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let read = move |view: &Snapshot| {
        let (room_id, session_id) = (request.room_id.as_str(), &request.session_id);
        backed_up_key(view, user, &request.version, room_id, session_id)
    };
    let key = store.read(read).await?;
    Ok(RawJson(String::from(Box::<str>::from(key)).into()))
}

/// `DELETE /_matrix/client/v3/room_keys/keys`
async fn delete_all(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete_all::Request,
) -> Reply<delete_all::Response> {
    let BackupState { etag, count: keys } = accounts
        .delete_backed_up_keys(caller.user, &request.version, BackupScope::All)
        .await?;
    Ok(delete_all::Response::new(etag, count(keys)))
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`
async fn delete_of_room(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete_of_room::Request,
) -> Reply<delete_of_room::Response> {
    let scope = BackupScope::Room(request.room_id.to_string());
    let BackupState { etag, count: keys } = accounts
        .delete_backed_up_keys(caller.user, &request.version, scope)
        .await?;
    Ok(delete_of_room::Response::new(etag, count(keys)))
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn delete_one(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete_one::Request,
) -> Reply<delete_one::Response> {
    let scope = BackupScope::Session(request.room_id.to_string(), request.session_id);
    let BackupState { etag, count: keys } = accounts
        .delete_backed_up_keys(caller.user, &request.version, scope)
        .await?;
    Ok(delete_one::Response::new(etag, count(keys)))
}
