//! Files, as Synapse's tools administer them.

use actions::{Actions, FileSelection};
use http::Method;
use media::{FileFacts, FileName, Order};
use ruma_common::OwnedServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{Admin, ApiError, Part, PathOf, QueryOf, RawJson, Routes};

use crate::AdminParts;

/// How many files a page of a list has, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

const FILE: &str = "/_synapse/admin/v1/media/{server}/{media_id}";
const USER: &str = "/_synapse/admin/v1/users/{user_id}/media";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, FILE, show)
        .plain(Method::DELETE, FILE, delete)
        .plain(
            Method::POST,
            "/_synapse/admin/v1/media/quarantine/{server}/{media_id}",
            quarantine,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/media/unquarantine/{server}/{media_id}",
            unquarantine,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/media/quarantine_changes",
            quarantine_changes,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/media/protect/{media_id}",
            protect,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/media/unprotect/{media_id}",
            unprotect,
        )
        .plain(Method::POST, "/_synapse/admin/v1/media/delete", delete_old)
        .plain(
            Method::POST,
            "/_synapse/admin/v1/media/{server}/delete",
            delete_old_of,
        )
        .plain(Method::POST, "/_synapse/admin/v1/purge_media_cache", purge)
        .plain(
            Method::GET,
            "/_synapse/admin/v1/room/{room_id}/media",
            list_of_room,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/room/{room_id}/media/quarantine",
            quarantine_room,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/quarantine_media/{room_id}",
            quarantine_room,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/user/{user_id}/media/quarantine",
            quarantine_user,
        )
        .plain(Method::GET, USER, list_of_user)
        .plain(Method::DELETE, USER, delete_of_user)
}

fn answer(value: &Value) -> RawJson {
    RawJson(value.to_string().into())
}

fn name(server: &str, media_id: String) -> Result<FileName, ApiError> {
    let invalid = |_| ApiError::invalid_param("This is no server's name.");
    Ok(FileName {
        server: OwnedServerName::try_from(server).map_err(invalid)?,
        media_id,
    })
}

#[derive(Deserialize)]
struct ChangesFrom {
    #[serde(default)]
    from: u64,
}

/// `GET /_synapse/admin/v1/media/quarantine_changes`
async fn quarantine_changes(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<ChangesFrom>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let found = actions.quarantine_changes(&by, wanted.from, PAGE);
    let (changes, next) = found.await?;
    let changes = changes.into_iter().filter_map(|change| {
        let file = FileName::parse(&change.file)?;
        Some(json!({
            "origin": file.server,
            "media_id": file.media_id,
            "quarantined": change.is_quarantined,
        }))
    });
    let changes: Vec<Value> = changes.collect();
    Ok(answer(&json!({ "next_batch": next, "changes": changes })))
}

/// `GET /_synapse/admin/v1/media/{serverName}/{mediaId}`
async fn show(
    Part(actions): Part<Actions>,
    PathOf((server, media_id)): PathOf<(String, String)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let file = name(&server, media_id)?;
    let facts = actions.file_facts(&caller.administrator(), file).await?;
    let mut info = shown(&facts);
    info["media_origin"] = facts.name.server.as_str().into();
    info["user_id"] = facts.uploader.clone().into();
    info["authenticated"] = true.into();
    info["sha256"] = match &facts.content {
        Some(content) => hexadecimal(&content.hash).into(),
        None => Value::Null,
    };
    Ok(answer(&json!({ "media_info": info })))
}

/// A file as Synapse shows it.
fn shown(facts: &FileFacts) -> Value {
    let content = facts.content.as_ref();
    // The command line has no user id.
    let quarantined_by = facts
        .quarantine
        .as_ref()
        .map(|record| record.by.clone().unwrap_or_else(|| "system".to_owned()));
    json!({
        "created_ts": facts.created_at,
        // When a file was fetched last is not written down.
        "last_access_ts": null,
        "media_id": facts.name.media_id,
        "media_length": content.map(|content| content.length),
        "media_type": content.map(|content| content.content_type.as_str()),
        "quarantined_by": quarantined_by,
        "safe_from_quarantine": facts.is_protected,
        "upload_name": content.and_then(|content| content.filename.as_deref()),
    })
}

fn hexadecimal(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn deleted(files: &[FileName]) -> RawJson {
    let ids: Vec<&str> = files.iter().map(|file| file.media_id.as_str()).collect();
    answer(&json!({ "deleted_media": ids, "total": ids.len() }))
}

/// `DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}`
async fn delete(
    Part(actions): Part<Actions>,
    PathOf((server, media_id)): PathOf<(String, String)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let file = name(&server, media_id)?;
    if file.server != caller.user_id.server_name() {
        return Err(ApiError::invalid_param(
            "Only this server's own files can be deleted for ever.",
        ));
    }
    let files = actions
        .delete_files(&caller.administrator(), vec![file])
        .await?;
    if files.is_empty() {
        return Err(ApiError::not_found("There is no such file."));
    }
    Ok(deleted(&files))
}

/// `POST /_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}`
async fn quarantine(
    Part(actions): Part<Actions>,
    PathOf((server, media_id)): PathOf<(String, String)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let selection = FileSelection::File(name(&server, media_id)?.to_string());
    actions
        .quarantine_files(&caller.administrator(), &selection)
        .await?;
    Ok(answer(&json!({})))
}

/// `POST /_synapse/admin/v1/media/unquarantine/{serverName}/{mediaId}`
async fn unquarantine(
    Part(actions): Part<Actions>,
    PathOf((server, media_id)): PathOf<(String, String)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let selection = FileSelection::File(name(&server, media_id)?.to_string());
    actions
        .unquarantine_files(&caller.administrator(), &selection)
        .await?;
    Ok(answer(&json!({})))
}

/// `POST /_synapse/admin/v1/media/protect/{mediaId}`
async fn protect(
    Part(actions): Part<Actions>,
    PathOf(media_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    actions
        .protect_file(&caller.administrator(), &media_id, true)
        .await?;
    Ok(answer(&json!({})))
}

/// `POST /_synapse/admin/v1/media/unprotect/{mediaId}`
async fn unprotect(
    Part(actions): Part<Actions>,
    PathOf(media_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    actions
        .protect_file(&caller.administrator(), &media_id, false)
        .await?;
    Ok(answer(&json!({})))
}

/// Which old files are to go.
#[derive(Deserialize)]
struct Old {
    /// In ms since the Unix epoch.
    before_ts: u64,
    #[serde(default)]
    size_gt: u64,
    #[serde(default = "yes")]
    keep_profiles: bool,
}

fn yes() -> bool {
    true
}

/// `POST /_synapse/admin/v1/media/delete`
async fn delete_old(
    Part(actions): Part<Actions>,
    QueryOf(old): QueryOf<Old>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let files = actions
        .delete_old_files(
            &caller.administrator(),
            old.before_ts,
            old.size_gt,
            old.keep_profiles,
        )
        .await?;
    Ok(deleted(&files))
}

/// `POST /_synapse/admin/v1/media/{serverName}/delete`: the same at its old path.
async fn delete_old_of(
    Part(actions): Part<Actions>,
    PathOf(server): PathOf<String>,
    QueryOf(old): QueryOf<Old>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    if server != caller.user_id.server_name().as_str() {
        return Err(ApiError::invalid_param(
            "Only this server's own files can be deleted for ever.",
        ));
    }
    delete_old(Part(actions), QueryOf(old), caller).await
}

/// What of the files of other servers is to go.
#[derive(Deserialize)]
struct Cache {
    /// In ms since the Unix epoch.
    before_ts: u64,
}

/// `POST /_synapse/admin/v1/purge_media_cache`: removes what was fetched before a moment.
async fn purge(
    Part(actions): Part<Actions>,
    QueryOf(cache): QueryOf<Cache>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let count = actions
        .purge_remote_files(&caller.administrator(), cache.before_ts)
        .await?;
    Ok(answer(&json!({ "deleted": count })))
}

/// `GET /_synapse/admin/v1/room/{roomId}/media`
async fn list_of_room(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let selection = FileSelection::Room(room_id);
    let files = actions
        .select_files(&caller.administrator(), &selection)
        .await?;
    let own = caller.user_id.server_name();
    let (local, remote): (Vec<FileName>, Vec<FileName>) =
        files.into_iter().partition(|file| file.server == own);
    let uris =
        |files: Vec<FileName>| -> Vec<String> { files.iter().map(FileName::to_string).collect() };
    Ok(answer(
        &json!({ "local": uris(local), "remote": uris(remote) }),
    ))
}

async fn quarantine_all(
    actions: &Actions,
    caller: &Admin,
    selection: FileSelection,
) -> Result<RawJson, ApiError> {
    let count = actions
        .quarantine_files(&caller.administrator(), &selection)
        .await?;
    Ok(answer(&json!({ "num_quarantined": count })))
}

/// `POST /_synapse/admin/v1/room/{roomId}/media/quarantine`
async fn quarantine_room(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    quarantine_all(&actions, &caller, FileSelection::Room(room_id)).await
}

/// `POST /_synapse/admin/v1/user/{userId}/media/quarantine`
async fn quarantine_user(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    quarantine_all(&actions, &caller, FileSelection::User(user_id)).await
}

/// Which of a person's files are meant.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
    /// `f` for the oldest first, `b` for the newest first.
    dir: Option<String>,
}

impl Page {
    fn order(&self) -> Result<Order, ApiError> {
        match self.dir.as_deref() {
            None | Some("b") => Ok(Order::NewestFirst),
            Some("f") => Ok(Order::OldestFirst),
            Some(_) => Err(ApiError::invalid_param("A direction is f or b.")),
        }
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).min(LONGEST_PAGE)
    }
}

/// `GET /_synapse/admin/v1/users/{userId}/media`: by when they were uploaded, which is the
/// only order.
async fn list_of_user(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    QueryOf(page): QueryOf<Page>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let (from, limit, order) = (page.from, page.limit(), page.order()?);
    let user = actions.uploader(&user_id).await?;
    let found = actions
        .files_of_user(&caller.administrator(), user, order, from, limit)
        .await?;
    let files: Vec<Value> = found.files.iter().map(shown).collect();
    let next = from.saturating_add(files.len());
    let mut told = json!({ "media": files, "total": found.total });
    if u64::try_from(next).is_ok_and(|next| next < found.total) && !found.files.is_empty() {
        told["next_token"] = next.into();
    }
    Ok(answer(&told))
}

/// `DELETE /_synapse/admin/v1/users/{userId}/media`
async fn delete_of_user(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    QueryOf(page): QueryOf<Page>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let (from, limit, order) = (page.from, page.limit(), page.order()?);
    let user = actions.uploader(&user_id).await?;
    let found = actions
        .files_of_user(&caller.administrator(), user, order, from, limit)
        .await?;
    let names = found.files.into_iter().map(|facts| facts.name).collect();
    let files = actions.delete_files(&caller.administrator(), names).await?;
    Ok(deleted(&files))
}
